import AggCore

/// Writes records with other field names; names that become the same collapse as in a Ruby hash: last value, first place.
struct DedotRun: ~Copyable {
  private let separator: [UInt8]
  private let nested: Bool
  /// The new names of the maps that are being written, one behind the other; inner maps come last.
  private var names = ByteWriter(capacity: 1024)
  private var ends: [Int] = []
  /// Maps with more fields than this are not searched pair by pair.
  private static let searched = 128

  init(separator: [UInt8], nested: Bool) {
    self.separator = separator
    self.nested = nested
  }

  static func hasDots(_ value: ValueView, nested: Bool) -> Bool {
    switch value.kind {
    case .map:
      var cursor = FieldCursor.of(value)
      while let (key, inner) = cursor?.next() {
        if let text = key.textBytes, text.contains(UInt8(ascii: ".")) { return true }
        if nested, hasDots(inner, nested: true) { return true }
      }
      return false
    case .array:
      var found = false
      // Fluentd looks at the maps in an array, not at arrays in it.
      value.forEachElement { element in if !found, element.isMap { found = hasDots(element, nested: true) } }
      return found
    default: return false
    }
  }

  mutating func put(_ map: RecordView, into out: inout ByteWriter) {
    let count = map.fieldCount
    let base = ends.count
    let start = names.count
    var dotted = 0
    map.forEachField { key, _ in
      if let text = key.textBytes { dotted += rename(text) ? 1 : 0 }
      ends.append(names.count)
    }
    if dotted > 0, count > Self.searched {
      putLarge(map, base: base, start: start, into: &out)
    } else {
      let mark = out.beginMap()
      var written = 0
      var index = 0
      map.forEachField { key, value in
        defer { index += 1 }
        guard key.textBytes != nil else {
          written += 1
          out.append(key.bytes)
          return putValue(value, into: &out)
        }
        if dotted > 0, same(index, in: 0..<index, base, start) != nil { return }
        let last = dotted > 0 ? same(index, in: index + 1..<count, base, start) : nil
        written += 1
        out.putString(name(index, base, start))
        putValue(last.flatMap { Self.value(map, at: $0) } ?? value, into: &out)
      }
      out.end(mark, count: written)
    }
    ends.removeSubrange(base...)
    names.count = start
  }

  private mutating func putValue(_ value: ValueView, into out: inout ByteWriter) {
    guard nested else { return out.append(value.bytes) }
    if let map = value.map { return put(map, into: &out) }
    guard value.kind == .array else { return out.append(value.bytes) }
    out.putArrayHeader(value.count)
    value.forEachElement { element in
      if let map = element.map { put(map, into: &out) } else { out.append(element.bytes) }
    }
  }

  /// Appends the new name; whether it is another one.
  private mutating func rename(_ text: UnsafeRawBufferPointer) -> Bool {
    guard text.contains(UInt8(ascii: ".")) else {
      names.append(text)
      return false
    }
    for byte in text { if byte == UInt8(ascii: ".") { names.append(separator) } else { names.append(byte) } }
    return true
  }

  private func name(_ index: Int, _ base: Int, _ start: Int) -> UnsafeRawBufferPointer {
    let from = index == 0 ? start : ends[base + index - 1]
    return UnsafeRawBufferPointer(rebasing: names.bytes[from..<ends[base + index]])
  }
  /// The last of the fields `range` whose new name is that of `index`.
  private func same(_ index: Int, in range: Range<Int>, _ base: Int, _ start: Int) -> Int? {
    let wanted = name(index, base, start)
    for other in range.reversed() {
      let candidate = name(other, base, start)
      if candidate.count == wanted.count, candidate.elementsEqual(wanted) { return other }
    }
    return nil
  }
  private static func value(_ map: RecordView, at index: Int) -> ValueView? {
    var cursor = map.fields
    var left = index
    while let (_, value) = cursor.next() {
      if left == 0 { return value }
      left -= 1
    }
    return nil
  }

  /// A peer chooses how many fields there are: no search through all of them for each.
  private mutating func putLarge(_ map: RecordView, base: Int, start: Int, into out: inout ByteWriter) {
    var fields: [FieldMap.Field] = []
    fields.reserveCapacity(map.fieldCount)
    var index = 0
    map.forEachField { key, value in
      var encoded = ByteWriter(capacity: 256)
      putValue(value, into: &encoded)
      let inner = encoded.bytes.baseAddress.map { Value(ValueView(unchecked: $0)) } ?? .null
      fields.append(.init(key: key.textBytes == nil ? Value(key) : .string(Array(name(index, base, start))), value: inner))
      index += 1
    }
    FieldMap(fields).encode(into: &out)
  }
}

extension FieldCursor {
  static func of(_ value: ValueView) -> FieldCursor? { value.map?.fields }
}
