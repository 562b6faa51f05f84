import AggCore

/// What lines of stack traces look like, by language: from which state a line of which form leads where.
///
/// The forms are those that the languages' runtimes print; source of what is taken for a trace: fluent-plugin-detect-exceptions 0.0.15.
enum TraceRules {
  /// Where a detector is. The numbers are stored with held traces: they keep their meaning.
  enum State: Int, Sendable, CaseIterable {
    case outside = 0
    case javaHeader = 1, javaFrames = 2, javaNested = 3
    case pythonFrames = 10, pythonCode = 11
    case phpHeader = 20, phpFrames = 21
    case goPanic = 30, goSignal = 31, goRoutine = 32, goFunction = 33, goPlace = 34
    case railsHeader = 40, rubyFrames = 41
    case dartHeader = 50, dartFrames = 51
    case dartType1 = 52, dartType2 = 53, dartType3 = 54, dartType4 = 55
    case dartFormat1 = 56, dartFormat2 = 57, dartFormat3 = 58
    case dartMethod1 = 59, dartMethod2 = 60, dartMethod3 = 61
  }
  struct Rule: Sendable, Hashable {
    var from: [State]
    var form: String
    var to: State
    init(_ from: State..., form: String, to: State) {
      self.from = from
      self.form = form
      self.to = to
    }
  }

  /// Java, JavaScript and C# print much the same.
  static let java: [Rule] = [
    Rule(.outside, .javaNested, form: #"(?:Exception|Error|Throwable|V8 errors stack trace)[:\r\n]"#, to: .javaHeader),
    Rule(.javaHeader, form: #"^[ \t]*nested exception is:[ \t]*"#, to: .javaNested),
    Rule(.javaHeader, form: #"^[\r\n]*$"#, to: .javaHeader),
    Rule(.javaHeader, .javaFrames, form: #"^[ \t]+(?:eval )?at "#, to: .javaFrames),
    // .NET puts the inner exception on a line of its own.
    Rule(.javaHeader, form: "^[ \\t]*---> ", to: .javaHeader),
    Rule(.javaHeader, .javaFrames, form: "^[ \\t]+--- End of inner exception stack trace ---$", to: .javaFrames),
    Rule(
      .javaHeader, .javaFrames, form: "^--- End of stack trace from previous location where exception was thrown ---$",
      to: .javaFrames),
    Rule(.javaHeader, .javaFrames, form: #"^[ \t]*(?:Caused by|Suppressed):"#, to: .javaHeader),
    Rule(.javaHeader, .javaFrames, form: #"^[ \t]*\.\.\. \d+ (?:more|common frames omitted)"#, to: .javaFrames),
  ]
  static let python: [Rule] = [
    Rule(.outside, form: #"^Traceback \(most recent call last\):$"#, to: .pythonFrames),
    Rule(.pythonFrames, form: #"^[ \t]+File "#, to: .pythonCode),
    Rule(.pythonCode, form: #"[^ \t]"#, to: .pythonFrames),
    // Python 3.11 and later point at the part of the line.
    Rule(.pythonFrames, form: #"^[ \t]+[~^]+[ \t~^]*$"#, to: .pythonFrames),
    Rule(.pythonFrames, form: #"^(?:[^\s.:()]+\.)*[^\s.:()]+:"#, to: .outside),
  ]
  static let php: [Rule] = [
    Rule(.outside, form: #"PHP (?:Notice|Parse error|Fatal error|Warning):|exception '[^']+' with message '"#, to: .phpHeader),
    Rule(.phpHeader, form: "^Stack trace:", to: .phpFrames),
    Rule(.phpFrames, form: #"^#\d"#, to: .phpFrames),
    Rule(.phpFrames, form: #"^\s+thrown in "#, to: .outside),
  ]
  static let go: [Rule] = [
    Rule(.outside, form: #"\bpanic: "#, to: .goPanic),
    Rule(.outside, form: "http: panic serving", to: .goRoutine),
    Rule(.goPanic, .goSignal, .goFunction, form: "^$", to: .goRoutine),
    Rule(.goPanic, form: #"^\[signal "#, to: .goSignal),
    Rule(.goRoutine, form: #"^goroutine \d+ \[[^\]]+\]:$"#, to: .goFunction),
    Rule(.goFunction, form: #"^created by |^(?:[^\s.:]+\.)*[^\s.:()]+\("#, to: .goPlace),
    Rule(.goPlace, form: #"^\s"#, to: .goFunction),
  ]
  static let ruby: [Rule] = [
    Rule(.outside, form: #"Error \(.*\):$"#, to: .railsHeader),
    Rule(.railsHeader, form: "^  $", to: .rubyFrames),
    // Ruby 3.4 quotes with ' on both sides.
    Rule(.railsHeader, .rubyFrames, form: #"^[ \t]+.*?\.rb:\d+:in [`']"#, to: .rubyFrames),
  ]
  private static let dartFrame = #"^#\d+\s+.+?\(.+?\)$"#
  static let dart: [Rule] = [
    Rule(.outside, form: "^Unhandled exception:$", to: .dartHeader),
    Rule(
      .dartHeader,
      form:
        "^(?:Instance of|Exception|Bad state|IntegerDivisionByZeroException|Invalid argument|RangeError|Assertion failed|Cannot instantiate"
        + "|Reading static variable|UnimplementedError|Unsupported operation|Concurrent modification|Out of Memory|Stack Overflow)",
      to: .dartFrames),
    Rule(.dartHeader, form: "^'.+?':.+?$", to: .dartType1),
    Rule(.dartType1, form: dartFrame, to: .dartFrames),
    Rule(.dartType1, form: "^.+?$", to: .dartType2),
    Rule(.dartType2, form: #"^.*?\^.*?$"#, to: .dartType3),
    Rule(.dartType3, form: "^$", to: .dartType4),
    Rule(.dartType4, form: "^$", to: .dartFrames),
    Rule(.dartHeader, form: "^FormatException", to: .dartFormat1),
    Rule(.dartFormat1, form: dartFrame, to: .dartFrames),
    Rule(.dartFormat1, form: "^.", to: .dartFormat2),
    Rule(.dartFormat2, form: #"^.*?\^"#, to: .dartFormat3),
    Rule(.dartFormat3, form: "^$", to: .dartFrames),
    Rule(.dartHeader, form: "^NoSuchMethodError:", to: .dartMethod1),
    Rule(.dartMethod1, form: "^Receiver:", to: .dartMethod2),
    Rule(.dartMethod2, form: "^Tried calling:", to: .dartMethod3),
    Rule(.dartMethod3, form: "^Found:", to: .dartFrames),
    Rule(.dartMethod3, .dartFrames, form: dartFrame, to: .dartFrames),
    Rule(.dartFrames, form: "^<asynchronous suspension>$", to: .dartFrames),
  ]

  /// In the order in which their rules are looked at: what begins a Java trace stands in others' first lines too.
  static let languages: [(names: [String], rules: [Rule])] = [
    (["php"], php), (["python", "py"], python), (["go"], go), (["ruby", "rb"], ruby), (["dart"], dart),
    (["java", "javascript", "js", "csharp"], java),
  ]
}
