import AggCore
import Testing

@Suite struct ConfigTextTests {
  @Test func `a tree prints in the classic form with its secrets masked`() throws {
    let root = try parse("<match a b>\n  @type x\n  shared_key s3cret\n  m \" a # b\\n\"\n  j [1, \"#x\"]\n  n \"#{use_nil}\"\n  e\n  <buffer>\n  </buffer>\n</match>\n")
    #expect(
      root.description == ##"""
        <ROOT>
          <match a b>
            @type x
            shared_key xxxxxx
            m " a # b\n"
            j [1,"#x"]
            n "#{use_nil}"
            e ""
            <buffer>
            </buffer>
          </match>
        </ROOT>

        """##)
  }

  @Test func `what prints reads back as the same tree`() throws {
    let texts = ["", " a", "a ", "x # y", "x#y", "#c", "'q'", "\"q", "[1]", "[1, 2]", "[x", "{}", "#{hostname}", "a #{x}", "\\n", "a\nb\\", "tab\there", "é", "\u{8}\u{c}\0"]
    var element = ConfigElement(name: "a", argument: "p> q", at: SourceLocation(file: "x", line: 1))
    for (i, text) in texts.enumerated() { element.entries.append(.init(name: i == 0 ? "odd name" : "k\(i)", text: text, at: element.at)) }
    let again = try #require(try parse(element.text()).child("a"))
    #expect(again.argument == "p> q")
    #expect(again.entries.map(\.value) == element.entries.map(\.value))
    #expect(again.entries.map(\.name) == element.entries.map(\.name))
  }

  /// A fixed seed, so that a failure can be repeated.
  private struct Random: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ (state >> 29)
    }
  }

  private static let classic = """
    <source>
      @type tail # comment
      path "#{ENV['HOME'] || 'x'}/a\\n\\"b"
      list [1, "two", {"three": [4, null]}, # c
        5.5]
      <parse>
        @type 'json'
      </parse>
    </source>
    @include x.conf
    <match a.** "b">
      m "line\\
      two"
    </match>

    """
  private static let yaml = """
    system: &s {log_level: info, x: &n [1, ~]}
    other: *n
    config:
      - source: {$type: tail, <<: *s, parse: {$type: json}, list: [1, 'a', "b\\t"]}
      - match:
          $tag: a.**
          obj: !fluent/json {"a": [1, 0x1f, 1.5e+3, 12:30]}
          txt: !fluent/s "#{ENV['A'].to_i + 1}"
          block: |
            two
            lines

    """

  @Test(arguments: [("a.conf", classic), ("a.yaml", yaml)])
  func `garbage never crashes or hangs`(file: String, text: String) {
    var random = Random(state: 42)
    let parser = ConfigParser(environment: ConfigEnvironment(readFile: { _ throws(ConfigValueError) in [] }, glob: { _ in [] }))
    let pieces = ["\"", "'", "#{", "}", "[", "]", "{", "<", "</", ">", "\\", "\n", "\r", "\t", ":", "- ", "&a ", "*a", "|", "!", "@include ", "é", "\0", "use_nil", ","].map { Array($0.utf8) }
    var accepted = 0
    for _ in 0..<4000 {
      var bytes = Array(text.utf8)
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let at = Int.random(in: 0...bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes.insert(contentsOf: pieces.randomElement(using: &random) ?? [], at: at)
        case 1: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 0...20, using: &random)))
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
        default: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + 40)], at: bytes.indices.randomElement(using: &random) ?? 0)
        }
      }
      do throws(ConfigErrors) {
        let root = try parser.parse(String(decoding: bytes, as: UTF8.self), file: file)
        #expect(!root.description.isEmpty)
        accepted += 1
      } catch { #expect(!error.errors.isEmpty && error.errors.allSatisfy { $0.at.line >= 1 }) }
    }
    #expect(accepted > 10)
  }
}
