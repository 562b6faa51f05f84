import AggCore
import AggNet

/// Why a request is answered with 400.
struct HTTPBadRequest: Error {
  let reason: String
  init(_ reason: String) { self.reason = reason }
}

/// Makes events of what a request holds.
struct HTTPRecords: Sendable {
  enum Kind { case json, ndjson, msgpack, custom }

  /// Nil: the built-in reading.
  let parser: (any Parser)?
  let parserName: String
  let recordTime: HTTPRecordTime

  /// The events, and how many records were left out with the reason.
  ///
  /// JSON that is broken makes no event and no error, as with Fluentd; a record that is no object refuses the whole request.
  func events(_ kind: Kind, _ body: Block, time: EventTime?, now: EventTime, _ tag: Tag) throws(HTTPBadRequest) -> (batch: EventBatch, invalid: Int) {
    var builder = BatchBuilder(capacity: body.count + body.count / 8 + 256)
    let invalid =
      switch kind {
      case .json: try json(body.bytes, time, now, &builder)
      case .ndjson: try lines(body.bytes, time, now, &builder)
      case .msgpack: try msgpack(body.bytes, time, now, &builder)
      case .custom: try custom(body.bytes, now, &builder)
      }
    withExtendedLifetime(body) {}
    let batch = builder.finish(tag: tag)
    if kind == .custom, let time { return (batch.retimed { _, _ in time }, invalid) }
    return (batch, invalid)
  }

  private func json(_ text: UnsafeRawBufferPointer, _ time: EventTime?, _ now: EventTime, _ builder: inout BatchBuilder) throws(HTTPBadRequest) -> Int {
    guard text.contains(0x0a) else { return try transcode(text, time, now, &builder) }
    // One value: to JSON its line breaks are blanks.
    var copy = ByteWriter(capacity: text.count)
    copy.append(text)
    for i in 0..<copy.count where copy.mutableBytes[i] == 0x0a { copy.mutableBytes[i] = 0x20 }
    return try transcode(copy.bytes, time, now, &builder)
  }

  private func lines(_ text: UnsafeRawBufferPointer, _ time: EventTime?, _ now: EventTime, _ builder: inout BatchBuilder) throws(HTTPBadRequest) -> Int {
    let invalid = try transcode(text, time, now, &builder)
    if invalid > 0 { throw HTTPBadRequest("\(invalid) lines are not JSON") }
    return 0
  }

  /// Returns how many lines were not JSON.
  private func transcode(
    _ text: UnsafeRawBufferPointer, _ time: EventTime?, _ now: EventTime, _ builder: inout BatchBuilder
  ) throws(HTTPBadRequest) -> Int {
    var transcoder = JSONTranscoder()
    var invalid = 0
    var refusal: HTTPBadRequest?
    let reject = { (range: Range<Int>, why: JSONTranscoder.Rejection) in
      switch why {
      case .invalid: invalid += 1
      case .notAnObject: refusal = HTTPBadRequest("a record is no JSON object")
      case .badTime: refusal = HTTPBadRequest("the time of a record cannot be read")
      }
    }
    if let time = time ?? (recordTime.key.isEmpty ? now : nil) {
      transcoder.transcodeLines(text, into: &builder, time: time, rejects: reject)
    } else {
      transcoder.transcodeLines(
        text, into: &builder, timeKey: recordTime.key, keepTimeKey: recordTime.keepsKey, time: { recordTime.time($0, now) }, rejects: reject)
    }
    if let refusal { throw refusal }
    return invalid
  }

  private func msgpack(
    _ bytes: UnsafeRawBufferPointer, _ time: EventTime?, _ now: EventTime, _ builder: inout BatchBuilder
  ) throws(HTTPBadRequest) -> Int {
    var at = 0
    while at < bytes.count {
      guard case .complete(let end) = MessagePackScanner.skip(bytes, at: at), let base = bytes.baseAddress else {
        throw HTTPBadRequest("not MessagePack, or cut off, at byte \(at)")
      }
      let value = ValueView(unchecked: base + at)
      at = end
      if let record = value.map { try add(record, time, now, &builder) } else {
        guard value.kind == .array else { throw HTTPBadRequest("a record is no map") }
        try value.forEachElement { (element: ValueView) throws(HTTPBadRequest) in
          guard let record = element.map else { throw HTTPBadRequest("a record is no map") }
          try add(record, time, now, &builder)
        }
      }
    }
    return 0
  }

  private func add(_ record: RecordView, _ time: EventTime?, _ now: EventTime, _ builder: inout BatchBuilder) throws(HTTPBadRequest) {
    let none = ExtraFields()
    if let time { return none.write(record, without: nil, time, into: &builder) }
    var found: (key: UnsafeRawPointer, value: ValueView)?
    record.forEachField { key, value in
      if let text = key.stringBytes, text.elementsEqual(recordTime.key) { found = (key.pointer, value) }
    }
    guard let time = recordTime.time(found?.value, now) else { throw HTTPBadRequest("the time of a record cannot be read") }
    none.write(record, without: recordTime.keepsKey ? nil : found?.key, time, into: &builder)
  }

  private func custom(_ text: UnsafeRawBufferPointer, _ now: EventTime, _ builder: inout BatchBuilder) throws(HTTPBadRequest) -> Int {
    guard let parser else { return 0 }
    var context = ParseContext(now: now)
    if case .rejected(let reason) = parser.parseRecord(text, into: &builder, &context) {
      throw HTTPBadRequest("Received event is not \(parserName) (\(reason)): \(QuietLog.excerpt(text))")
    }
    return 0
  }
}
