public import AggCore
import Glibc

/// nginx's combined log, with or without http_x_forwarded_for.
public struct NginxParser: Parser {
  package static let standard =
    #"^(?<remote>[^ ]*) (?<host>[^ ]*) (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)"(?:\s+\"?(?<http_x_forwarded_for>[^\"]*)\"?)?)?$"#
  public struct Config: ParseConfigurable {
    public var time = TimeParameters(timeFormat: "%d/%b/%Y:%H:%M:%S %z")
    public var parse = ParseParameters(timeKey: "time")
    var expression = try? Regexp(NginxParser.standard)
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("expression", \.expression, "Another expression"),
        .unsupported("ignorecase", "write (?i) in the expression"), .unsupported("multiline", "write (?m) in the expression"),
      ] + parseRows
  }
  public static let name = "nginx"
  public static let summary = "nginx access log."
  private let fields: RegexpFields
  /// The expression is the standard one, which plain lines need not be matched against.
  private let isStandard: Bool

  public init(_ config: Config, _ context: PluginContext) throws {
    guard let regexp = config.expression else { throw ConfigValueError("'expression' must not be nil") }
    fields = try RegexpFields(regexp, ParseRules(config.parse, config.time))
    isStandard = regexp.source == Self.standard && regexp.options.isEmpty
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome
  {
    if isStandard, let base = text.baseAddress, memchr(base, 0x0a, text.count) == nil {
      var writer = FieldWriter(fields.rules)
      if let outcome = scan(text, &writer, into: &batch, &context) { return outcome }
    }
    return fields.parse(text, into: &batch, &context)
  }

  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    guard isStandard else { return fields.parseLines(block, into: &batch, &context) }
    var matcher = fields.regexp.matcher()
    var writer = FieldWriter(fields.rules)
    forEachLine(block) { line, offset in
      let outcome =
        scan(line, &writer, into: &batch, &context) ?? fields.parse(line, &matcher, &writer, into: &batch, &context).outcome
      if case .rejected(let reason) = outcome { context.rejects.append((offset..<offset + line.count, reason)) }
    }
  }

  /// Reads a plain line without a newline in it as the expression would; nil where that takes the expression itself.
  @inline(__always)
  private func scan(
    _ line: UnsafeRawBufferPointer, _ writer: inout FieldWriter, into batch: inout BatchBuilder, _ context: inout ParseContext
  ) -> ParseOutcome? {
    guard let base = line.baseAddress, let head = AccessLine(base, line.count) else { return nil }
    let n = line.count
    var forwarded: Range<Int>?
    var at = head.end
    if head.hasAgent, at < n {
      // \s+"?([^"]*)"?$
      while at < n, Self.isSpace(ByteScan.byte(base, at)) { at &+= 1 }
      guard at > head.end else { return nil }
      if at < n, ByteScan.byte(base, at) == 0x22 { at &+= 1 }
      let close = ByteScan.find(base, at, n, 0x22)
      guard close &+ 1 >= n else { return nil }
      forwarded = at..<close
      at = n
    }
    guard at == n else { return nil }
    let keys = fields.keys
    writer.begin(&batch, room: keys.byteCount &+ n, fields: keys.count)
    @inline(__always) func put(_ index: Int, _ range: Range<Int>) {
      writer.put(keys, index, base + range.lowerBound, range.count, &batch)
    }
    put(0, head.first)
    put(1, head.second)
    put(2, head.user)
    put(3, head.time)
    put(4, head.method)
    put(5, head.path)
    put(6, head.code)
    put(7, head.size)
    if head.hasAgent {
      put(8, head.referer)
      put(9, head.agent)
    }
    if let forwarded { put(10, forwarded) }
    return writer.finish(&batch, &context)
  }

  @inline(__always) private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 9 && byte <= 13) }
}
