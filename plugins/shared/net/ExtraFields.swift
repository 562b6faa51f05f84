import AggCore

/// Fields that an input sets on every record of a batch (the peer's address, HTTP headers); one of that name is replaced in place.
struct ExtraFields: Sendable {
  private var fields: [(key: [UInt8], value: [UInt8])] = []
  /// All of them encoded, as they follow a record that has none of the names.
  private var encoded: [UInt8] = []

  init() {}
  var isEmpty: Bool { fields.isEmpty }

  /// A later field of the same name replaces the earlier one; nil is null.
  mutating func set(_ key: String, _ value: String?) {
    var out = ByteWriter(capacity: 64)
    if let value { out.putString(value) } else { out.putNil() }
    set(key, encoded: out.array)
  }

  /// `value` is one MessagePack value.
  mutating func set(_ key: String, encoded value: [UInt8]) {
    let key = Array(key.utf8)
    if let at = fields.firstIndex(where: { $0.key == key }) { fields[at].value = value } else { fields.append((key, value)) }
    var out = ByteWriter(capacity: 256)
    for field in fields {
      out.putString(field.key)
      out.append(field.value)
    }
    encoded = out.array
  }

  func applied(to batch: EventBatch) -> EventBatch {
    if isEmpty || batch.isEmpty { return batch }
    var builder = BatchBuilder(capacity: batch.byteCount + batch.count * (encoded.count + 4))
    batch.forEach { event in write(event.record, end: event.bytes, without: nil, event.time, into: &builder) }
    return builder.finish(tag: batch.tag)
  }

  /// Appends the event with these fields; the field whose key is at `dropped` is left out.
  func write(_ record: RecordView, without dropped: UnsafeRawPointer?, _ time: EventTime, into out: inout BatchBuilder) {
    write(record, end: record.bytes, without: dropped, time, into: &out)
  }

  /// As above for one whose bytes are known to end where those of `event` do.
  func write(
    _ record: RecordView, end event: UnsafeRawBufferPointer, without dropped: UnsafeRawPointer?, _ time: EventTime, into out: inout BatchBuilder
  ) {
    guard let start = event.baseAddress else { return }
    let bytes = UnsafeRawBufferPointer(start: record.pointer, count: start + event.count - record.pointer)
    out.begin(room: bytes.count + encoded.count + 8)
    let count = record.fieldCount - (dropped == nil ? 0 : 1)
    if fields.allSatisfy({ record.find($0.key) == nil }) {
      out.writer.putMapHeader(count + fields.count)
      var cursor = record.fields
      if let dropped {
        while let (key, value) = cursor.next() {
          if key.pointer == dropped {
            out.writer.append(value.end, start + event.count - value.end)
            break
          }
          out.writer.append(key.pointer, value.end - key.pointer)
        }
      } else if let first = cursor.next()?.key.pointer {
        out.writer.append(first, start + event.count - first)
      }
      encoded.withUnsafeBytes { out.writer.append($0) }
    } else {
      let mark = out.writer.beginMap()
      var written = 0
      var set: Set<Int> = []
      record.forEachField { key, value in
        if key.pointer == dropped { return }
        out.writer.append(key.bytes)
        if let text = key.textBytes, let at = fields.firstIndex(where: { text.elementsEqual($0.key) }) {
          out.writer.append(fields[at].value)
          set.insert(at)
        } else {
          out.writer.append(value.bytes)
        }
        written += 1
      }
      for (at, field) in fields.enumerated() where !set.contains(at) {
        out.writer.putString(field.key)
        out.writer.append(field.value)
        written += 1
      }
      out.writer.end(mark, count: written)
    }
    out.commit(time: time)
  }
}
