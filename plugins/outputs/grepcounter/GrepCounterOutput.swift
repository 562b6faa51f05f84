public import AggCore
import Synchronization

/// Counts events whose fields match, and reports a count that passes a bound each interval.
///
/// Source: fluent-plugin-grepcounter 0.6.
public struct GrepCounterOutput: TimedOutput {
  public static let name = "grepcounter"
  public static let summary = "Counts events whose fields match and reports counts that pass a bound."
  /// Bytes of texts that are kept for one report.
  static let maximumText = 8 << 20

  struct Count: Sendable {
    var events = 0
    var texts: [[UInt8]] = []
  }
  private struct Test: Sendable {
    var key: [UInt8]
    var regexp: Regexp
    var matches: Bool
  }
  private let config: Config
  private let tests: [Test]
  private let inputKey: [UInt8]?
  private let reportTag: ReportTag
  private let tally: Tally<Count>
  private let timer: ReportTimer
  private let texts: Texts
  private let context: PluginContext

  /// How much text is kept for the next reports.
  private final class Texts: Sendable {
    private let state = Mutex((bytes: 0, left: 0))
    func takes(_ n: Int) -> Bool {
      state.withLock { state in
        if state.bytes + n > GrepCounterOutput.maximumText {
          state.left += 1
          return false
        }
        state.bytes += n
        return true
      }
    }
    /// How many were left out.
    func reset() -> Int {
      state.withLock { state in
        defer { state = (0, 0) }
        return state.left
      }
    }
  }

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    inputKey = config.inputKey.map { Array($0.utf8) }
    var tests: [Test] = []
    if let key = inputKey {
      if let text = config.regexp { tests.append(Test(key: key, regexp: try Regexp(text), matches: true)) }
      if let text = config.exclude { tests.append(Test(key: key, regexp: try Regexp(text), matches: false)) }
    }
    for (list, name, matches) in [(config.regexps, "regexp", true), (config.excludes, "exclude", false)] {
      var keys: Set<String> = []
      for (index, text) in list.enumerated() {
        guard let text else { continue }
        let parts = text.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 else {
          throw ConfigValueError("\(name)\(index + 1) does not contain 2 parameters: a field and an expression; got '\(text)'")
        }
        if !keys.insert(parts[0]).inserted {
          throw ConfigValueError("\(name)\(index + 1) contains a duplicated key, \(parts[0])")
        }
        tests.append(Test(key: Array(parts[0].utf8), regexp: try Regexp(parts[1]), matches: matches))
      }
    }
    self.tests = tests
    reportTag = try ReportTag(config, hasLabel: context.element["@label"] != nil)
    tally = Tally(context)
    timer = ReportTimer(seconds: config.interval.seconds, context)
    texts = Texts()
  }

  public func process(_ batch: EventBatch) throws(WriteError) {
    var passes = [Bool](repeating: true, count: batch.count)
    var text = ByteWriter(capacity: 256)
    for test in tests {
      var matcher = test.regexp.matcher()
      var index = 0
      batch.forEachEvent { _, record in
        defer { index += 1 }
        if passes[index] { passes[index] = matcher.match(Self.text(record, test.key, &text)) == test.matches }
      }
    }
    let count = passes.count { $0 }
    var kept: [[UInt8]] = []
    if let inputKey, count > 0 {
      var index = 0
      batch.forEachEvent { _, record in
        defer { index += 1 }
        guard passes[index] else { return }
        let found = Self.text(record, inputKey, &text)
        if texts.takes(found.count) { kept.append(Array(found)) }
      }
    }
    let tag = batch.tag.description
    let name = config.aggregate == .all ? "" : config.aggregate == .outTag ? reportTag.tag(tag) : tag
    tally.add(name, events: batch.count, zero: Count()) { sum in
      sum.events += count
      sum.texts += kept
    }
  }

  /// The field as text; valid until the next call.
  private static func text(_ record: RecordView, _ key: [UInt8], _ out: inout ByteWriter) -> UnsafeRawBufferPointer {
    let value = record.find(key)
    if let bytes = value?.textBytes { return bytes }
    out.removeAll()
    if let value { RubyText.write(value, into: &out) }
    return out.bytes
  }

  public func run() async {
    await timer.run { moment in
      let rows = tally.takeAll { _ in nil }
      let left = texts.reset()
      if left > 0 { context.log.warn("\(left) texts are left out of the report: \(Self.maximumText) bytes are kept at most") }
      return rows.compactMap { row in isReported(row.count.events) ? report(row, moment.time) : nil }
    }
  }

  private func isReported(_ events: Int) -> Bool {
    let count = Double(events)
    if events == 0 { return false }
    if let bound = config.lessThan, count >= bound { return false }
    if let bound = config.lessEqual, count > bound { return false }
    if let bound = config.greaterThan, count <= bound { return false }
    if let bound = config.greaterEqual, count < bound { return false }
    return true
  }

  private func report(_ row: Tally<Count>.Row, _ time: EventTime) -> EventBatch {
    var record = FieldMap()
    record["count"] = .int(Int64(row.count.events))
    if inputKey != nil {
      if let delimiter = config.delimiter {
        record["message"] = .string(Array(row.count.texts.joined(separator: Array(delimiter.utf8))))
      } else {
        record["message"] = .array(row.count.texts.map { .string($0) })
      }
    }
    let tag: String
    switch config.aggregate {
    case .all: tag = config.tag ?? ""
    case .outTag: tag = row.name
    case .inTag, .tag:
      tag = reportTag.tag(row.name)
      record["input_tag"] = Value(row.name)
      record["input_tag_last"] = Value(String(row.name.split(separator: ".").last ?? ""))
    }
    return .report(tag, time, record)
  }
}
