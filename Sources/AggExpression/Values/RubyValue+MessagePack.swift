public import AggCore

extension RubyValue {
  /// Reads a value in place: maps stay in their bytes, arrays are decoded one level.
  public init(_ view: ValueView) {
    switch view.kind {
    case .null: self = .null
    case .bool: self = .bool(view.bool ?? false)
    case .int: self = .int(view.int64 ?? 0)
    case .uint: self = .uint(view.uint64 ?? 0)
    case .double: self = .double(view.double ?? 0)
    case .string: self = .string(RubyString(view.stringBytes.map { Array($0) } ?? []))
    case .binary: self = .string(RubyString(view.binaryBytes.map { Array($0) } ?? [], isBinary: true))
    case .ext:
      let (type, bytes) = view.ext ?? (0, UnsafeRawBufferPointer(start: nil, count: 0))
      self = .ext(RubyExtension(type: type, bytes: Array(bytes)))
    case .array:
      var elements: [RubyValue] = []
      elements.reserveCapacity(view.count)
      view.forEachElement { elements.append(RubyValue($0)) }
      self = .array(RubyArray(elements))
    case .map: self = .hash(RubyHash(RecordView(unchecked: view)))
    }
  }

  /// Takes over a decoded value, a level at a time.
  init(_ value: Value, depth: Int = 0) {
    switch value {
    case .null: self = .null
    case .bool(let value): self = .bool(value)
    case .int(let value): self = .int(value)
    case .uint(let value): self = .uint(value)
    case .double(let value): self = .double(value)
    case .string(let bytes): self = .string(RubyString(bytes))
    case .binary(let bytes): self = .string(RubyString(bytes, isBinary: true))
    case .ext(let type, let bytes): self = .ext(RubyExtension(type: type, bytes: bytes))
    case .array(let elements): self = depth < Self.maximumDepth ? .array(RubyArray(elements.map { RubyValue($0, depth: depth + 1) })) : .null
    case .map(let map):
      guard depth < Self.maximumDepth else {
        self = .null
        return
      }
      self = .hash(RubyHash(map.fields.map { (RubyValue($0.key, depth: depth + 1), RubyValue($0.value, depth: depth + 1)) }))
    }
  }

  /// Appends the value as MessagePack, as Fluentd would pack it: symbols, times, regular expressions and classes as their text.
  /// False, with some of it written, when it nests deeper than a record may or takes more than 64 MiB or a million values:
  /// containers may hold each other many times over.
  public func encode(into out: inout ByteWriter) -> Bool {
    var budget = 1 << 20
    return encode(into: &out, limit: out.count &+ (64 << 20), &budget, 0)
  }

  private func encode(into out: inout ByteWriter, limit: Int, _ budget: inout Int, _ depth: Int) -> Bool {
    budget -= 1
    guard depth <= MessagePack.maximumDepth, out.count <= limit, budget > 0 else { return false }
    switch self {
    case .null: out.putNil()
    case .bool(let value): out.putBool(value)
    case .int(let value): out.putInt(value)
    case .uint(let value): out.putUInt(value)
    case .double(let value): out.putDouble(value)
    case .string(let text):
      if text.isBinary { text.bytes.withUnsafeBytes { out.putBinary($0) } } else { out.putString(text.bytes) }
    case .symbol(let bytes): out.putString(bytes)
    case .ext(let ext): ext.bytes.withUnsafeBytes { out.putExtension(type: ext.type, $0) }
    case .array(let array):
      out.putArrayHeader(array.elements.count)
      for element in array.elements where !element.encode(into: &out, limit: limit, &budget, depth + 1) { return false }
    case .hash(let hash):
      // A whole record may nest as deep as a record can: only what was inside one goes in again as it is.
      if depth <= 1, !hash.isWholeRecord, let view = hash.untouched {
        out.append(view.bytes)
        return true
      }
      if depth == 0 || (depth == 1 && !hash.isWholeRecord) {
        let done = hash.encodeEdited(into: &out) { value, out in value.encode(into: &out, limit: limit, &budget, depth + 1) }
        if let done { return done }
      }
      out.putMapHeader(hash.count)
      for (key, value) in hash.pairs {
        if !key.encode(into: &out, limit: limit, &budget, depth + 1) || !value.encode(into: &out, limit: limit, &budget, depth + 1) { return false }
      }
    case .time, .range, .regexp, .match, .module, .exception: out.putString(displayBytes)
    }
    return true
  }

  /// The value decoded, independent of any record; nil when it nests too deep.
  public var decoded: Value? {
    var out = ByteWriter(capacity: 64)
    guard encode(into: &out) else { return nil }
    return out.bytes.baseAddress.map { Value(ValueView(unchecked: $0)) }
  }
}
