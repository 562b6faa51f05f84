public import AggCore
import Glibc

/// Syslog lines of RFC 3164 and RFC 5424.
public struct SyslogParser: Parser {
  public struct Config: ParseConfigurable {
    public enum MessageFormat: String, ConfigEnum { case rfc3164, rfc5424, auto }
    public enum Engine: String, ConfigEnum { case regexp, string }
    public var time = TimeParameters(timeFormat: "%b %d %H:%M:%S")
    public var parse = ParseParameters()
    var withPriority = false
    var messageFormat = MessageFormat.rfc3164
    var rfc5424TimeFormat = "%Y-%m-%dT%H:%M:%S.%L%z"
    var engine = Engine.regexp
    var supportsColonlessIdent = true
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("with_priority", \.withPriority, "Lines begin with a priority, <9>"),
        .optional("message_format", \.messageFormat, "rfc3164, rfc5424, or auto: whichever a line looks like"),
        .optional("rfc5424_time_format", \.rfc5424TimeFormat, "Format of the time in RFC 5424 lines"),
        .optional("parser_engine", \.engine, "regexp or string: two readings that differ on odd lines", alias: "parser_type"),
        .optional("support_colonless_ident", \.supportsColonlessIdent, "With string: a word without a colon is the ident too"),
      ] + parseRows
  }
  public static let name = "syslog"
  public static let summary = "Syslog lines of RFC 3164 and RFC 5424."

  let config: Config
  let rules: ParseRules
  /// The fields of both formats, in the order of `Field`.
  let keys: KeyTable
  private let bsd: SyslogTime
  private let ietf: SyslogTime
  /// For lines of RFC 5424 whose parts are not where they belong: Fluentd's expression looks for them further on.
  private let regexp5424: Regexp

  enum Field: Int { case pri, time, host, ident, pid, msgid, extradata, message }

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    rules = try ParseRules(ParseParameters(), config.time)
    keys = KeyTable(["pri", "time", "host", "ident", "pid", "msgid", "extradata", "message"], rules)
    let hasFormat = context.element.entries.contains { $0.name == "time_format" }
    let own = config.time.timeFormat ?? "%b %d %H:%M:%S"
    bsd = try SyslogTime(own, config.time)
    ietf = try SyslogTime(
      config.messageFormat == .rfc5424 && hasFormat ? own : config.rfc5424TimeFormat, config.time, fallback: "%Y-%m-%dT%H:%M:%S%z")
    regexp5424 = try Regexp(
      #"(?<host>[!-~]{1,255}) (?<ident>[!-~]{1,48}) (?<pid>[!-~]{1,128}) (?<msgid>[!-~]{1,32}) (?<extradata>(?:\-|(?:\[.*?(?<!\\)\])))(?: (?<message>.+))?\z"#,
      options: .multiline)
  }

  /// Lines begin with a priority of at most three digits, and no rule makes anything else of it than its number.
  var leavesPriorityAlone: Bool {
    config.withPriority && config.engine == .regexp && !rules.convertsValues && !keys.keys[Field.pri.rawValue].isTime
  }

  /// What a line has at its begin that `leavesPriorityAlone` is true of: `<9>`, below 1000. Nil: no such parser takes the line.
  package static func priority(of line: UnsafeRawBufferPointer) -> Int? {
    line.baseAddress.flatMap { SyslogLine.priority($0, line.count) }.map { Int($0.value) }
  }
  package static let mismatch = "pattern not matched"

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var session = Session(self)
    return session.parse(text, into: &batch, &context)
  }
  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    parseLines(block, into: &batch, &context, omitsPriority: false)
  }
  package func parseLines(
    _ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext, omitsPriority: Bool
  ) {
    var session = Session(self, omitsPriority: omitsPriority)
    forEachLine(block) { line, offset in
      if case .rejected(let reason) = session.parse(line, into: &batch, &context) {
        context.rejects.append((offset..<offset + line.count, reason))
      }
    }
  }

  /// What a block's lines share.
  struct Session: ~Copyable {
    private let parser: SyslogParser
    private var writer: FieldWriter
    private var bsdTimes = TimeTextCache()
    private var bsdHour = SyslogHour()
    private var ietfTimes = TimeTextCache()
    private let omitsPriority: Bool

    /// `omitsPriority`: it is not written into the record.
    init(_ parser: SyslogParser, omitsPriority: Bool = false) {
      self.parser = parser
      self.omitsPriority = omitsPriority
      writer = FieldWriter(parser.rules)
    }

    @inline(__always)
    mutating func parse(_ line: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
      guard let base = line.baseAddress else { return .rejected(SyslogParser.mismatch) }
      let isIETF: Bool
      switch parser.config.messageFormat {
      case .rfc3164: isIETF = false
      case .rfc5424: isIETF = true
      case .auto: isIETF = SyslogLine.looksLike5424(base, line.count)
      }
      var parts: SyslogLine
      do throws(SyslogLine.Mismatch) {
        switch (isIETF, parser.config.engine) {
        case (false, .regexp):
          parts = try SyslogLine(header3164: base, line.count, priority: parser.config.withPriority, parser.bsd)
          try parts.read3164()
        case (true, .regexp):
          parts = try SyslogLine(header5424: base, line.count, priority: parser.config.withPriority, parser.ietf)
          if !parts.read5424() { try match(line, &parts) }
        case (false, .string):
          parts = try SyslogLine(
            string3164: base, line.count, priority: parser.config.withPriority, parser.bsd, colonless: parser.config.supportsColonlessIdent)
        case (true, .string):
          parts = try SyslogLine(string5424: base, line.count, priority: parser.config.withPriority, parser.ietf)
        }
      } catch { return .rejected(SyslogParser.mismatch) }
      let text = UnsafeRawBufferPointer(start: base + parts.time.lowerBound, count: parts.time.count)
      let now = context.now
      let inHour = !isIETF && parser.bsd.isPlain ? bsdHour.time(text, parser.bsd, now) : nil
      guard let time = inHour ?? (isIETF ? ietfTimes.time(text, parser.ietf, now) : bsdTimes.time(text, parser.bsd, now)) else {
        return .rejected("its time cannot be read")
      }
      if omitsPriority { parts.pri = nil }
      write(base, line.count, parts, isIETF, &batch)
      writer.set(time: time)
      return writer.finish(&batch, &context)
    }

    /// Fluentd's expression, which finds its parts wherever they begin.
    private func match(_ line: UnsafeRawBufferPointer, _ parts: inout SyslogLine) throws(SyslogLine.Mismatch) {
      var matcher = parser.regexp5424.matcher()
      guard matcher.match(line, from: parts.body) else { throw SyslogLine.Mismatch() }
      parts.host = matcher.range(of: 1)
      parts.ident = matcher.range(of: 2)
      parts.pid = matcher.range(of: 3)
      parts.msgid = matcher.range(of: 4)
      parts.extradata = matcher.range(of: 5)
      parts.message = matcher.range(of: 6)
    }

    @inline(__always)
    private mutating func write(_ base: UnsafeRawPointer, _ n: Int, _ parts: SyslogLine, _ isIETF: Bool, _ batch: inout BatchBuilder) {
      let keys = parser.keys
      let isString = parser.config.engine == .string
      writer.begin(&batch, room: keys.byteCount &+ n &+ parts.time.count, fields: keys.count)
      @inline(__always) func put(_ field: Field, _ range: Range<Int>?) {
        if let range { writer.put(keys, field.rawValue, base + range.lowerBound, range.count, &batch) }
      }
      @inline(__always) func putPriority() {
        if let pri = parts.pri { writer.put(keys, Field.pri.rawValue, number: pri, &batch) }
      }
      if !isString {
        putPriority()
        if parser.config.parse.keepTimeKey { putTime(base, parts.time, &batch) }
      }
      put(.host, parts.host)
      if isString, !isIETF { putPriority() }
      put(.ident, parts.ident)
      put(.pid, parts.pid)
      put(.msgid, parts.msgid)
      if isString, isIETF { putPriority() }
      if isString, let data = parts.extradata { putWithoutBackslashes(base, data, &batch) } else { put(.extradata, parts.extradata) }
      put(.message, parts.message.map { SyslogLine.chomped(base, $0) })
      if isString, parser.config.parse.keepTimeKey { putTime(base, parts.time, &batch) }
    }

    /// Runs of blanks become one, as Fluentd's `squeeze` does.
    private mutating func putTime(_ base: UnsafeRawPointer, _ range: Range<Int>, _ batch: inout BatchBuilder) {
      var text = ByteWriter(capacity: range.count + 1)
      for i in range where !(ByteScan.byte(base, i) == 0x20 && i > range.lowerBound && ByteScan.byte(base, i - 1) == 0x20) {
        text.append(ByteScan.byte(base, i))
      }
      writer.put(parser.keys, Field.time.rawValue, text.bytes, &batch)
    }

    private mutating func putWithoutBackslashes(_ base: UnsafeRawPointer, _ range: Range<Int>, _ batch: inout BatchBuilder) {
      var text = ByteWriter(capacity: range.count + 1)
      for i in range where ByteScan.byte(base, i) != 0x5c { text.append(ByteScan.byte(base, i)) }
      writer.put(parser.keys, Field.extradata.rawValue, text.bytes, &batch)
    }
  }
}
