package import AggCore

/// An event that is still growing: the first record of it, and the text that its lines make so far.
package struct HeldEvent: Sendable {
  var tag: Tag
  /// When the first of it happened.
  var time: EventTime
  /// The first record, a MessagePack map.
  var record: [UInt8]
  /// The lines, joined; with `parts`, back to back in the order that they came.
  private(set) var text: [UInt8]
  private(set) var lines = 1
  /// What the plugin keeps beside: bytes counted, or the state of a detector.
  var mark = 0
  /// Which of the plugin's fields grows.
  var field = 0
  /// Names what is stored of it; never used twice.
  var serial: UInt64 = 0
  /// From when its time to wait counts.
  var since: MonotonicTime
  /// The number and length of each part, where their order is told by the parts themselves.
  private var parts: [(ordinal: Int64, length: Int)]?

  package init(tag: Tag, time: EventTime, record: RecordView, text: UnsafeRawBufferPointer, ordinal: Int64? = nil, since: MonotonicTime) {
    self.tag = tag
    self.time = time
    self.record = Array(record.bytes)
    self.text = Array(text)
    self.since = since
    parts = ordinal.map { [($0, text.count)] }
  }

  /// One more line; `ordinal` only where the first had one.
  package mutating func add(_ line: UnsafeRawBufferPointer, separator: [UInt8], ordinal: Int64? = nil) {
    lines += 1
    if parts == nil {
      text += separator
    } else {
      parts?.append((ordinal ?? 0, line.count))
    }
    text += line
  }

  var byteCount: Int { text.count + record.count }

  /// The whole text, parts in their order.
  package func joined(separator: [UInt8]) -> [UInt8] {
    guard let parts, parts.count > 1 else { return text }
    var pieces: [(ordinal: Int64, index: Int, range: Range<Int>)] = []
    var start = 0
    for (index, part) in parts.enumerated() {
      pieces.append((part.ordinal, index, start..<start + part.length))
      start += part.length
    }
    pieces.sort { ($0.ordinal, $0.index) < ($1.ordinal, $1.index) }
    return Array(pieces.map { text[$0.range] }.joined(separator: separator))
  }

  /// Writes the first record with the whole text in the field `key`, without `removed`.
  package func writeJoined(key: [UInt8], separator: [UInt8], removing removed: [UInt8]? = nil, into out: inout ByteWriter) {
    let text = joined(separator: separator)
    record.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      let mark = out.beginMap()
      var count = 0
      var isSet = false
      RecordView(unchecked: ValueView(unchecked: start)).forEachField { name, value in
        let fieldName = name.stringBytes
        if let removed, let fieldName, fieldName.elementsEqual(removed) { return }
        count += 1
        out.append(name.bytes)
        if !isSet, let fieldName, fieldName.elementsEqual(key) {
          isSet = true
          out.putString(text)
        } else {
          out.append(value.bytes)
        }
      }
      if !isSet {
        count += 1
        out.putString(key)
        out.putString(text)
      }
      out.end(mark, count: count)
    }
  }
}

extension ByteWriter {
  /// Copies a record without the fields `names`.
  mutating func put(_ record: RecordView, without names: [[UInt8]]) {
    let mark = beginMap()
    var count = 0
    record.forEachField { name, value in
      if let text = name.stringBytes, names.contains(where: { text.elementsEqual($0) }) { return }
      append(name.bytes)
      append(value.bytes)
      count += 1
    }
    end(mark, count: count)
  }
}

// MARK: What is stored of it

extension HeldEvent {
  private static let version: Int64 = 1

  /// The stream's key and this, for the commit.
  package func encoded(_ key: [UInt8]) -> [UInt8] {
    var out = ByteWriter(capacity: byteCount + key.count + 128)
    out.putArrayHeader(9)
    out.putInt(Self.version)
    key.withUnsafeBytes { out.putBinary($0) }
    out.putString(tag.description)
    out.putInt(time.seconds)
    out.putUInt(UInt64(time.nanoseconds))
    record.withUnsafeBytes { out.putBinary($0) }
    text.withUnsafeBytes { out.putBinary($0) }
    out.putArrayHeader(3)
    out.putInt(Int64(lines))
    out.putInt(Int64(mark))
    out.putInt(Int64(field))
    if let parts {
      out.putArrayHeader(parts.count * 2)
      for part in parts {
        out.putInt(part.ordinal)
        out.putInt(Int64(part.length))
      }
    } else {
      out.putNil()
    }
    return out.array
  }

  /// nil for bytes that are none, or of another version.
  package static func decode(_ bytes: [UInt8], since: MonotonicTime) -> (key: [UInt8], event: HeldEvent)? {
    guard let fields = bytes.withUnsafeBytes({ Value(validating: $0) })?.array, fields.count == 9, fields[0] == .int(version),
      case .binary(let key) = fields[1], let tag = fields[2].text, case .int(let seconds) = fields[3],
      case .int(let nanoseconds) = fields[4],
      case .binary(let record) = fields[5], case .binary(let text) = fields[6], let counts = fields[7].array, counts.count == 3,
      case .int(let lines) = counts[0], case .int(let mark) = counts[1], case .int(let field) = counts[2],
      record.withUnsafeBytes({
        MessagePackScanner.validate($0) && ($0.baseAddress.map { ValueView(unchecked: $0).isMap } ?? false)
      })
    else { return nil }
    var event = HeldEvent(
      restored: Tag(tag), EventTime(seconds: seconds, nanoseconds: UInt32(clamping: min(nanoseconds, 999_999_999))), record, text,
      since)
    // Whatever the bytes say: sums of these must not overflow.
    event.lines = Int(min(max(lines, 1), Int64(Int32.max)))
    event.mark = Int(min(max(mark, 0), Int64(Int32.max)))
    event.field = Int(min(max(field, 0), 255))
    if let numbers = fields[8].array {
      var parts: [(ordinal: Int64, length: Int)] = []
      var left = text.count
      for index in stride(from: 0, to: numbers.count - 1, by: 2) {
        guard case .int(let ordinal) = numbers[index], case .int(let length) = numbers[index + 1], length >= 0, length <= left
        else { return nil }
        parts.append((ordinal, Int(length)))
        left -= Int(length)
      }
      if left != 0 { return nil }
      event.parts = parts
    }
    return (key, event)
  }

  private init(restored tag: Tag, _ time: EventTime, _ record: [UInt8], _ text: [UInt8], _ since: MonotonicTime) {
    self.tag = tag
    self.time = time
    self.record = record
    self.text = text
    self.since = since
  }
}
