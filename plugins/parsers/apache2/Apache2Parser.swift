public import AggCore
import Glibc

/// Apache's common and combined log: code and size as numbers, `-` as null.
public struct Apache2Parser: Parser {
  public struct Config: ParseConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters()
    public init() {}
    public static let parameters: [Parameter<Self>] = parseRows
    public mutating func validate(_ context: ConfigContext) throws {
      time.timeFormat = "%d/%b/%Y:%H:%M:%S %z"
      try time.validate()
    }
  }
  public static let name = "apache2"
  public static let summary = "Apache access log; code and size as numbers."
  package static let standard =
    #"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>(?:[^\"]|\\")*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>(?:[^\"]|\\")*)" "(?<agent>(?:[^\"]|\\")*)")?$"#
  private static let names = ["host", "user", "method", "path", "code", "size", "referer", "agent", "time"]

  private let regexp: Regexp
  private let rules: ParseRules
  private let keys: KeyTable

  public init(_ config: Config, _ context: PluginContext) throws {
    regexp = try Regexp(Self.standard)
    // Neither types nor a time key count here: the expression's fields have theirs.
    var own = ParseParameters()
    own.keepTimeKey = config.parse.keepTimeKey
    rules = try ParseRules(own, config.time)
    keys = KeyTable(Self.names, rules)
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var writer = FieldWriter(rules)
    var cache = TimeTextCache()
    if let base = text.baseAddress, memchr(base, 0x0a, text.count) == nil,
      let outcome = scan(text, &writer, &cache, into: &batch, &context)
    {
      return outcome
    }
    var matcher = regexp.matcher()
    return match(text, &matcher, &writer, &cache, into: &batch, &context)
  }

  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    var matcher = regexp.matcher()
    var writer = FieldWriter(rules)
    var cache = TimeTextCache()
    forEachLine(block) { line, offset in
      let outcome =
        scan(line, &writer, &cache, into: &batch, &context) ?? match(line, &matcher, &writer, &cache, into: &batch, &context)
      if case .rejected(let reason) = outcome { context.rejects.append((offset..<offset + line.count, reason)) }
    }
  }

  @inline(__always)
  private func scan(
    _ line: UnsafeRawBufferPointer, _ writer: inout FieldWriter, _ cache: inout TimeTextCache, into batch: inout BatchBuilder,
    _ context: inout ParseContext
  ) -> ParseOutcome? {
    guard let base = line.baseAddress, let head = AccessLine(base, line.count), head.end == line.count else { return nil }
    let referer = head.hasAgent ? head.referer : nil
    let agent = head.hasAgent ? head.agent : nil
    return write(
      line, (head.first, head.user, head.time, head.method, head.path, head.code, head.size, referer, agent), &writer, &cache,
      into: &batch, &context)
  }

  private func match(
    _ line: UnsafeRawBufferPointer, _ matcher: inout RegexpMatcher, _ writer: inout FieldWriter, _ cache: inout TimeTextCache,
    into batch: inout BatchBuilder, _ context: inout ParseContext
  ) -> ParseOutcome {
    guard matcher.match(line), let host = matcher.range(of: 1), let user = matcher.range(of: 2), let time = matcher.range(of: 3),
      let method = matcher.range(of: 4), let code = matcher.range(of: 6), let size = matcher.range(of: 7)
    else { return .rejected("pattern not matched") }
    let parts = (host, user, time, method, matcher.range(of: 5), code, size, matcher.range(of: 8), matcher.range(of: 9))
    return write(line, parts, &writer, &cache, into: &batch, &context)
  }

  private typealias Parts = (
    host: Range<Int>, user: Range<Int>, time: Range<Int>, method: Range<Int>, path: Range<Int>?, code: Range<Int>, size: Range<Int>,
    referer: Range<Int>?, agent: Range<Int>?
  )

  @inline(__always)
  private func write(
    _ line: UnsafeRawBufferPointer, _ parts: Parts, _ writer: inout FieldWriter, _ cache: inout TimeTextCache,
    into batch: inout BatchBuilder, _ context: inout ParseContext
  ) -> ParseOutcome {
    guard let base = line.baseAddress,
      let time = cache.time(UnsafeRawBufferPointer(start: base + parts.time.lowerBound, count: parts.time.count), rules.time)
    else { return .rejected("its time cannot be read") }
    writer.begin(&batch, room: keys.byteCount &+ line.count, fields: keys.count)
    @inline(__always) func text(_ index: Int, _ range: Range<Int>?, dash: Bool = true) {
      if let range, !(dash && range.count == 1 && ByteScan.byte(base, range.lowerBound) == 0x2d) {
        writer.put(keys, index, base + range.lowerBound, range.count, &batch)
      } else {
        writer.putNil(keys, index, &batch)
      }
    }
    @inline(__always) func number(_ index: Int, _ range: Range<Int>, zero: Bool) {
      var value: Int64 = 0
      var i = range.lowerBound
      while i < range.upperBound, range.count <= 18, ByteScan.byte(base, i) &- 48 <= 9 {
        value = value &* 10 &+ Int64(ByteScan.byte(base, i) &- 48)
        i &+= 1
      }
      if i == range.upperBound, value != 0 || (zero && !range.isEmpty) {
        writer.put(keys, index, number: value, &batch)
      } else {
        writer.putNumber(keys, index, UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count), zero: zero, &batch)
      }
    }
    text(0, parts.host)
    text(1, parts.user)
    text(2, parts.method, dash: false)
    text(3, parts.path, dash: false)
    number(4, parts.code, zero: false)
    if parts.size.count == 1, ByteScan.byte(base, parts.size.lowerBound) == 0x2d { writer.putNil(keys, 5, &batch) } else {
      number(5, parts.size, zero: true)
    }
    text(6, parts.referer)
    text(7, parts.agent)
    if rules.keepTimeKey { text(8, parts.time, dash: false) }
    writer.set(time: time)
    return writer.finish(&batch, &context)
  }
}

extension FieldWriter {
  @inline(__always) mutating func put(_ table: KeyTable, _ index: Int, number: Int64, _ batch: inout BatchBuilder) {
    let key = table.keys[index]
    didPut()
    let o = MessagePackStore.raw(table.bytes + key.start, key.length, batch.writer.end)
    batch.writer.advance(to: MessagePackStore.integer(number, o))
  }
  /// `to_i` of a text that is not plain digits; 0 is null unless `zero`.
  mutating func putNumber(_ table: KeyTable, _ index: Int, _ text: UnsafeRawBufferPointer, zero: Bool, _ batch: inout BatchBuilder) {
    let key = table.keys[index]
    didPut()
    batch.writer.append(table.bytes + key.start, key.length)
    let start = batch.writer.count
    batch.writer.putRubyInteger(text)
    if !zero, batch.writer.bytes[start] == 0 {
      batch.writer.count = start
      batch.writer.putNil()
    }
  }
}
