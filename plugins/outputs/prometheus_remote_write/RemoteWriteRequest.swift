import AggCore

/// One remote-write request: series with their samples, as 1.0 or 2.0 wants them.
struct RemoteWriteRequest: Sendable {
  enum Version: String, ConfigEnum {
    case one = "1.0"
    case two = "2.0"

    var contentType: String {
      switch self {
      case .one: "application/x-protobuf"
      case .two: "application/x-protobuf;proto=io.prometheus.write.v2.Request"
      }
    }
    var header: String {
      switch self {
      case .one: "0.1.0"
      case .two: "2.0.0"
      }
    }
  }
  /// Snappy's block of the message.
  let body: [UInt8]

  init(_ series: some Sequence<SeriesGroups.Series>, _ version: Version) {
    let message = version == .one ? Self.one(series) : Self.two(series)
    var out = ByteWriter(capacity: message.count / 2 + 64)
    message.withUnsafeBytes { SnappyBlock.compress($0, into: &out) }
    body = out.array
  }

  /// prometheus.WriteRequest: timeseries = 1 { labels = 1 { name = 1, value = 2 }, samples = 2 { value = 1, timestamp = 2 } }.
  private static func one(_ all: some Sequence<SeriesGroups.Series>) -> [UInt8] {
    var request = ProtobufWriter(capacity: 64 * 1024)
    var series = ProtobufWriter()
    var part = ProtobufWriter(capacity: 256)
    for one in all {
      series.removeAll()
      for label in one.labels {
        part.removeAll()
        part.string(1, label.name)
        part.string(2, label.value)
        series.message(1, part)
      }
      Self.samples(one.samples, into: &series, &part)
      request.message(1, series)
    }
    return request.out.array
  }

  /// io.prometheus.write.v2.Request: symbols = 4, timeseries = 5 { labels_refs = 1 (packed), samples = 2, metadata = 5 { type = 1 } }.
  private static func two(_ all: some Sequence<SeriesGroups.Series>) -> [UInt8] {
    var symbols: [String: UInt64] = ["": 0]
    var names: [String] = [""]
    func reference(_ text: String) -> UInt64 {
      if let known = symbols[text] { return known }
      let reference = UInt64(names.count)
      symbols[text] = reference
      names.append(text)
      return reference
    }
    var body = ProtobufWriter(capacity: 64 * 1024)
    var series = ProtobufWriter()
    var part = ProtobufWriter(capacity: 256)
    for one in all {
      series.removeAll()
      part.removeAll()
      for label in one.labels {
        part.varint(reference(label.name))
        part.varint(reference(label.value))
      }
      series.message(1, part)
      Self.samples(one.samples, into: &series, &part)
      part.removeAll()
      part.int64(1, Self.type(one.kind))
      series.message(5, part)
      body.message(5, series)
    }
    var request = ProtobufWriter(capacity: body.out.count + names.reduce(64) { $0 + $1.utf8.count + 4 })
    for name in names { request.string(4, name) }
    request.out.append(body.out.bytes)
    return request.out.array
  }

  private static func samples(_ samples: [SeriesGroups.Sample], into series: inout ProtobufWriter, _ part: inout ProtobufWriter) {
    for sample in samples {
      part.removeAll()
      part.double(1, sample.value)
      part.int64(2, sample.milliseconds)
      series.message(2, part)
    }
  }

  /// Metadata.MetricType.
  private static func type(_ kind: MetricKind) -> Int64 {
    switch kind {
    case .untyped: 0
    case .counter: 1
    case .gauge: 2
    case .histogram: 3
    case .summary: 5
    }
  }
}
