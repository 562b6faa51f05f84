public import AggCore
import Glibc

/// Reads a page in Prometheus' text format 0.0.4 or in OpenMetrics 1.0 into metric events.
///
/// A line that is wrong is rejected alone. Memory is bounded by the page: nothing is kept of one line for the next but the family.
public struct ExpositionParser: ~Copyable {
  /// Labels of one sample; a page with more is not Prometheus' own.
  static let labelLimit = 256

  /// Timestamps are seconds, and `# {…}` after a sample is an exemplar.
  let isOpenMetrics: Bool
  /// Given to every sample, sorted as they stand.
  let common: [(name: [UInt8], value: [UInt8])]
  /// A sample's own label wins over a common one; else it is renamed `exported_…`, as in Prometheus.
  let honorsLabels: Bool
  let honorsTimestamps: Bool
  /// The time of samples without a timestamp of their own.
  let now: EventTime

  public private(set) var samples = 0
  public private(set) var rejected = 0
  /// An OpenMetrics page ends with `# EOF`: without it a part is missing.
  public var isComplete: Bool { !isOpenMetrics || sawEnd }
  private var sawEnd = false
  private(set) var firstProblem: String?

  private var family: [UInt8] = []
  private var kind = MetricKind.untyped
  private var labels = ByteWriter(capacity: 1024)
  private var text = ByteWriter(capacity: 256)

  public init(
    isOpenMetrics: Bool, common: [(String, String)] = [], honorsLabels: Bool = false, honorsTimestamps: Bool = true,
    now: EventTime
  ) {
    self.isOpenMetrics = isOpenMetrics
    self.common = common.map { (Array($0.0.utf8), Array($0.1.utf8)) }
    self.honorsLabels = honorsLabels
    self.honorsTimestamps = honorsTimestamps
    self.now = now
  }

  /// Appends the page's samples, at most `limit`; false when there are more.
  public mutating func parse(_ page: UnsafeRawBufferPointer, limit: Int, into writer: inout MetricWriter) -> Bool {
    var at = 0
    while at < page.count, let base = page.baseAddress {
      let end = memchr(base + at, 0x0a, page.count - at).map { UnsafeRawPointer($0) - base } ?? page.count
      var line = ExpositionCursor(UnsafeRawBufferPointer(rebasing: page[at..<end]))
      at = end + 1
      line.skipBlanks()
      guard let first = line.peek else { continue }
      if first == UInt8(ascii: "#") {
        comment(&line)
        continue
      }
      if samples >= limit { return false }
      do throws(Problem) {
        try sample(&line, into: &writer)
        samples += 1
      } catch {
        rejected += 1
        if firstProblem == nil {
          firstProblem = "\(error.what): \(String(decoding: page[(end - line.bytes.count)..<end].prefix(200), as: UTF8.self))"
        }
      }
    }
    return true
  }

  private struct Problem: Error { let what: String }

  /// `# TYPE name type`; the rest says nothing about values.
  private mutating func comment(_ line: inout ExpositionCursor) {
    line.advance(1)
    line.skipBlanks()
    let word = line.word()
    if word.elementsEqual("EOF".utf8) { sawEnd = true }
    guard word.elementsEqual("TYPE".utf8) else { return }
    line.skipBlanks()
    family = Array(line.word())
    line.skipBlanks()
    switch String(decoding: line.word(), as: UTF8.self) {
    case "counter": kind = .counter
    case "gauge", "gaugehistogram", "info", "stateset": kind = .gauge
    case "histogram": kind = .histogram
    case "summary": kind = .summary
    default: kind = .untyped
    }
  }

  /// The kind of a sample of that name, by the last `# TYPE`.
  private func kind(of name: UnsafeRawBufferPointer) -> MetricKind {
    guard name.count >= family.count, !family.isEmpty, name.prefix(family.count).elementsEqual(family) else { return .untyped }
    let suffix = name.dropFirst(family.count)
    if suffix.isEmpty { return kind }
    let allowed: [StaticString]
    switch kind {
    case .counter: allowed = ["_total"]
    case .histogram: allowed = ["_bucket", "_sum", "_count"]
    case .summary: allowed = ["_sum", "_count"]
    case .gauge: allowed = ["_bucket", "_gsum", "_gcount", "_info"]
    case .untyped: allowed = []
    }
    if allowed.contains(where: { text in
      suffix.elementsEqual(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }) {
      return kind
    }
    // A time, not a count.
    return suffix.elementsEqual("_created".utf8) ? .gauge : .untyped
  }

  private mutating func sample(_ line: inout ExpositionCursor, into writer: inout MetricWriter) throws(Problem) {
    var name = line.name()
    labels.removeAll()
    let map = labels.beginMap()
    var count = 0
    let hasGap = line.skipBlanks()
    if line.peek == UInt8(ascii: "{") {
      line.advance(1)
      try readLabels(&line, &name, &count)
    }
    guard let name, !name.isEmpty else { throw Problem(what: "no metric name") }
    count += addCommon()
    labels.end(map, count: count)
    guard line.skipBlanks() || hasGap || line.isAfterBrace else { throw Problem(what: "no value") }
    guard let value = Self.number(line.word()) else { throw Problem(what: "the value is no number") }
    line.skipBlanks()
    var time = now
    if let next = line.peek, next != UInt8(ascii: "#") {
      guard let stamp = Self.number(line.word()), stamp.isFinite else { throw Problem(what: "the timestamp is no number") }
      if honorsTimestamps { time = EventTime(isOpenMetrics ? stamp : stamp / 1000) }
      line.skipBlanks()
    }
    // An exemplar is left out; anything else makes the line something else.
    if let rest = line.peek, !(isOpenMetrics && rest == UInt8(ascii: "#")) { throw Problem(what: "something follows the sample") }
    writer.add(name, value, kind(of: name), labels: labels.bytes, at: time)
  }

  private mutating func readLabels(_ line: inout ExpositionCursor, _ name: inout UnsafeRawBufferPointer?, _ count: inout Int)
    throws(Problem)
  {
    while true {
      line.skipBlanks()
      guard let byte = line.peek else { throw Problem(what: "labels do not end") }
      if byte == UInt8(ascii: "}") {
        line.advance(1)
        line.isAfterBrace = true
        return
      }
      var label: UnsafeRawBufferPointer?
      var quoted: [UInt8]?
      if byte == UInt8(ascii: "\"") {
        // Prometheus 3: names that are no words stand in quotes, the metric's own without a value.
        guard line.string(into: &text) else { throw Problem(what: "a quoted name does not end") }
        quoted = text.array
      } else {
        label = line.name()
        if label?.isEmpty ?? true { throw Problem(what: "a label has no name") }
      }
      line.skipBlanks()
      if line.peek == UInt8(ascii: "=") {
        line.advance(1)
        line.skipBlanks()
        guard line.peek == UInt8(ascii: "\""), line.string(into: &text) else {
          throw Problem(what: "a label's value is not in quotes")
        }
        count += 1
        if count > Self.labelLimit { throw Problem(what: "more than \(Self.labelLimit) labels") }
        if let quoted { quoted.withUnsafeBytes { add($0) } } else if let label { add(label) }
      } else if let quoted, name?.isEmpty ?? true {
        // The bytes stay where they are in the page: without escapes the quoted text is a part of it.
        guard let plain = line.lastPlainString, plain.count == quoted.count else {
          throw Problem(what: "a metric's name has escapes")
        }
        name = plain
      } else {
        throw Problem(what: "a label has no value")
      }
      line.skipBlanks()
      if line.peek == UInt8(ascii: ",") {
        line.advance(1)
      } else if line.peek != UInt8(ascii: "}") {
        throw Problem(what: "expected , or } after a label")
      }
    }
  }

  /// Adds a label whose value is in `text`.
  private mutating func add(_ label: UnsafeRawBufferPointer) {
    if !honorsLabels, common.contains(where: { $0.name.elementsEqual(label) }) {
      var renamed = Array("exported_".utf8)
      renamed += label
      labels.putString(renamed)
    } else {
      labels.putString(label)
    }
    labels.putString(text.bytes)
    if honorsLabels { taken.append(contentsOf: common.indices.filter { common[$0].name.elementsEqual(label) }) }
  }
  /// The common labels that the sample has itself.
  private var taken: [Int] = []

  private mutating func addCommon() -> Int {
    var count = 0
    for index in common.indices where !taken.contains(index) {
      labels.putString(common[index].name)
      labels.putString(common[index].value)
      count += 1
    }
    if !taken.isEmpty { taken = [] }
    return count
  }

  /// A number as Go's ParseFloat reads it.
  private static func number(_ word: UnsafeRawBufferPointer) -> Double? {
    guard !word.isEmpty, word.count <= 64 else { return nil }
    if let value = Double(String(decoding: word, as: UTF8.self)) { return value }
    return nil
  }
}
