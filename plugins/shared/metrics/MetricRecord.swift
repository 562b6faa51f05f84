public import AggCore
import Glibc

// Metrics are events. A metric event's time is the metric's time, its tag is whatever routes it, and its record is a map of
//
//     name     string   as Prometheus or Mackerel knows it: `http_requests_total`, `loadavg5`, `custom.app.queue`
//     value    int or float
//     kind     string   `MetricKind`: counter (cumulative), gauge, histogram, summary, untyped
//     labels   map of string to string, empty where there is none
//     host     string, optional: whose metric it is, where that is not this machine
//     service  string, optional: the service (Mackerel) that the metric belongs to instead of a host
//
// in this order when agg writes it, in any order when it is read; other fields are passed over, so filters may add some. A
// histogram is its series, each an event of kind `histogram`: NAME_bucket with the label `le` (cumulative), NAME_sum, NAME_count.
// A summary is NAME with the label `quantile`, NAME_sum, NAME_count, of kind `summary`.
//
// Writing: `MetricWriter`, one a batch. Reading: `EventBatch.forEachMetric`, in place.

/// What a metric's value means.
public enum MetricKind: String, Sendable, CaseIterable {
  /// Only grows; a smaller value is a new start.
  case counter
  case gauge
  case histogram
  case summary
  /// Nobody said.
  case untyped

  /// The kind that a record names; what is unknown, or Prometheus' own "unknown", is `untyped`.
  init(_ text: UnsafeRawBufferPointer) {
    self = Self.allCases.first { $0.rawValue.utf8.elementsEqual(text) } ?? .untyped
  }
}

extension Double {
  /// The NaN that tells that a series has ended: a payload of its own, so it is known by its bits. Source: remote write.
  static let staleMarkerBits: UInt64 = 0x7ff0_0000_0000_0002
}

/// Labels as a record holds them, encoded once for all metrics that have them.
public struct MetricLabels: Sendable, Hashable {
  let encoded: [UInt8]
  public static let none = MetricLabels([])

  /// In the given order; a name that comes twice should not.
  public init(_ pairs: [(name: String, value: String)]) {
    var out = ByteWriter(capacity: 256)
    out.putMapHeader(pairs.count)
    for pair in pairs {
      out.putString(pair.name)
      out.putString(pair.value)
    }
    encoded = out.array
  }
}

/// Writes metric events of one batch: `var writer = MetricWriter()`, `add` for each, `finish(tag:)`.
public struct MetricWriter: ~Copyable {
  private var builder: BatchBuilder
  /// `host` and `service` with their keys, the same for all metrics.
  private let ending: [UInt8]
  private let fields: Int

  public init(host: String? = nil, service: String? = nil, capacity: Int = 16 * 1024) {
    builder = BatchBuilder(capacity: capacity)
    var out = ByteWriter(capacity: 128)
    if let host {
      out.putString("host")
      out.putString(host)
    }
    if let service {
      out.putString("service")
      out.putString(service)
    }
    ending = out.array
    fields = 4 + (host == nil ? 0 : 1) + (service == nil ? 0 : 1)
  }

  public var count: Int { builder.count }
  public var byteCount: Int { builder.byteCount }

  public mutating func add(
    _ name: String, _ value: Double, _ kind: MetricKind, _ labels: MetricLabels = .none, at time: EventTime
  ) {
    begin(name)
    builder.writer.putDouble(value)
    end(kind, labels, time)
  }
  public mutating func add(_ name: String, _ value: Int64, _ kind: MetricKind, _ labels: MetricLabels = .none, at time: EventTime)
  {
    begin(name)
    builder.writer.putInt(value)
    end(kind, labels, time)
  }
  /// Counters of the kernel fill 64 bits.
  public mutating func add(
    _ name: String, _ value: UInt64, _ kind: MetricKind, _ labels: MetricLabels = .none, at time: EventTime
  ) {
    begin(name)
    builder.writer.putUInt(value)
    end(kind, labels, time)
  }

  /// As above, for names and labels that are bytes already: `labels` is one encoded map of strings.
  public mutating func add(
    _ name: UnsafeRawBufferPointer, _ value: Double, _ kind: MetricKind, labels: UnsafeRawBufferPointer, at time: EventTime
  ) {
    builder.begin(room: 64 + name.count + labels.count + ending.count)
    builder.writer.putMapHeader(fields)
    builder.writer.putString("name")
    builder.writer.putString(name)
    builder.writer.putString("value")
    builder.writer.putDouble(value)
    builder.writer.putString("kind")
    builder.writer.putString(kind.rawValue)
    builder.writer.putString("labels")
    builder.writer.append(labels)
    builder.writer.append(ending)
    builder.commit(time: time)
  }

  private mutating func begin(_ name: String) {
    builder.begin()
    builder.writer.putMapHeader(fields)
    builder.writer.putString("name")
    builder.writer.putString(name)
    builder.writer.putString("value")
  }
  private mutating func end(_ kind: MetricKind, _ labels: MetricLabels, _ time: EventTime) {
    builder.writer.putString("kind")
    builder.writer.putString(kind.rawValue)
    builder.writer.putString("labels")
    builder.writer.append(labels.encoded)
    builder.writer.append(ending)
    builder.commit(time: time)
  }

  public consuming func finish(tag: Tag) -> EventBatch { builder.finish(tag: tag) }
}

/// Why a record is no metric.
public struct NotAMetric: Error, Sendable, CustomStringConvertible {
  public let description: String
}

/// One metric, read in place: valid inside the closure that handed it out.
public struct MetricView {
  /// Never empty.
  public let name: UnsafeRawBufferPointer
  /// An integer or a float.
  public let value: ValueView
  public let kind: MetricKind
  /// A map; its values are texts, or what `forEachLabel` makes texts of. Nil where the record has none.
  public let labels: RecordView?
  public let host: UnsafeRawBufferPointer?
  public let service: UnsafeRawBufferPointer?

  /// Throws `NotAMetric` where `name` is no text or `value` no number; the other fields may be missing.
  public init(_ record: RecordView) throws(NotAMetric) {
    var name: UnsafeRawBufferPointer?
    var value: ValueView?
    var kind = MetricKind.untyped
    var labels: RecordView?
    var host: UnsafeRawBufferPointer?
    var service: UnsafeRawBufferPointer?
    record.forEachField { key, field in
      if key.equals("name") {
        name = field.textBytes
      } else if key.equals("value") {
        value = field
      } else if key.equals("kind") {
        kind = field.textBytes.map { MetricKind($0) } ?? .untyped
      } else if key.equals("labels") {
        labels = field.map
      } else if key.equals("host") {
        host = field.textBytes
      } else if key.equals("service") {
        service = field.textBytes
      }
    }
    guard let name, name.count > 0 else { throw NotAMetric(description: "it has no 'name'") }
    guard let value, value.number != nil else {
      throw NotAMetric(description: "'value' of \(String(decoding: name.prefix(200), as: UTF8.self)) is no number")
    }
    self.name = name
    self.value = value
    self.kind = kind
    self.labels = labels
    self.host = host
    self.service = service
  }

  /// The value; integers beyond 2^53 are rounded.
  public var number: Double { value.number ?? 0 }
  public var nameText: String { String(decoding: name, as: UTF8.self) }

  /// Calls `body` with every label in the record's order; numbers and booleans as text, nil as the empty text.
  public func forEachLabel<E: Error>(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws(E) -> Void)
    throws(E)
  {
    guard let labels else { return }
    try labels.forEachField { (key, value) throws(E) in
      guard let name = key.textBytes else { return }
      if let text = value.textBytes { return try body(name, text) }
      var text = ByteWriter(capacity: 64)
      text.append(value.displayText)
      try body(name, text.bytes)
    }
  }

  /// The labels as texts, sorted by name, one of each name (the last, as everywhere).
  public var labelTexts: [(name: String, value: String)] {
    var pairs: [(name: String, value: String)] = []
    forEachLabel { name, value in pairs.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self))) }
    if pairs.count < 2 { return pairs }
    var sorted: [(name: String, value: String)] = []
    for (_, pair) in pairs.enumerated().sorted(by: { ($0.element.name, $0.offset) < ($1.element.name, $1.offset) }) {
      if sorted.last?.name == pair.name { sorted[sorted.count - 1] = pair } else { sorted.append(pair) }
    }
    return sorted
  }

  /// Appends bytes that are equal for the same series: name, host, service and the labels as they stand. Two orders of the
  /// same labels give two keys, so who must not see them apart makes one of `labelTexts` the first time a key comes.
  public func appendSeriesKey(to out: inout ByteWriter) {
    out.putString(name)
    if let labels { out.append(labels.bytes) } else { out.putMapHeader(0) }
    if let host { out.putString(host) } else { out.putNil() }
    if let service { out.putString(service) } else { out.putNil() }
  }
}

extension EventBatch {
  /// Calls `body` for every metric, in order; returns what was none, by its index.
  public func forEachMetric<E: Error>(_ body: (EventTime, MetricView) throws(E) -> Void) throws(E) -> [Rejection] {
    var rejections: [Rejection] = []
    var index = 0
    try forEachEvent { (time, record) throws(E) in
      defer { index += 1 }
      let metric: MetricView
      do throws(NotAMetric) { metric = try MetricView(record) } catch {
        rejections.append(Rejection(index: index, reason: "not a metric: \(error)"))
        return
      }
      try body(time, metric)
    }
    return rejections
  }
}
