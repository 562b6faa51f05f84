extension Value {
  /// Decodes validated bytes. What nests deeper than validation lets in becomes nil.
  public init(_ view: ValueView) { self.init(view, depth: 0) }
  public init(_ record: RecordView) { self.init(record.value) }

  /// Decodes exactly one value from bytes that nobody has validated.
  public init?(validating bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress, MessagePackScanner.validate(bytes) else { return nil }
    self.init(ValueView(unchecked: base))
  }

  /// Twice what is let in from outside: filters may nest what they got once more.
  private static let decodingDepth = 2 * MessagePack.maximumDepth

  private init(_ view: ValueView, depth: Int) {
    switch view.kind {
    case .null: self = .null
    case .bool: self = .bool(view.bool ?? false)
    case .int: self = .int(view.int64 ?? 0)
    case .uint: self = .uint(view.uint64 ?? 0)
    case .double: self = .double(view.double ?? 0)
    case .string: self = .string(view.stringBytes.map { Array($0) } ?? [])
    case .binary: self = .binary(view.binaryBytes.map { Array($0) } ?? [])
    case .ext:
      let (type, bytes) = view.ext ?? (0, UnsafeRawBufferPointer(start: nil, count: 0))
      self = .ext(type: type, Array(bytes))
    case .array where depth == Self.decodingDepth, .map where depth == Self.decodingDepth: self = .null
    case .array:
      var elements: [Value] = []
      elements.reserveCapacity(view.count)
      view.forEachElement { elements.append(Value($0, depth: depth + 1)) }
      self = .array(elements)
    case .map:
      var fields: [FieldMap.Field] = []
      fields.reserveCapacity(view.count)
      var cursor = FieldCursor(view)
      while let (key, value) = cursor.next() {
        fields.append(FieldMap.Field(key: Value(key, depth: depth + 1), value: Value(value, depth: depth + 1)))
      }
      self = .map(FieldMap(fields))
    }
  }

  public func encode(into out: inout ByteWriter) {
    switch self {
    case .null: out.putNil()
    case .bool(let value): out.putBool(value)
    case .int(let value): out.putInt(value)
    case .uint(let value): out.putUInt(value)
    case .double(let value): out.putDouble(value)
    case .string(let bytes): out.putString(bytes)
    case .binary(let bytes): bytes.withUnsafeBytes { out.putBinary($0) }
    case .ext(let type, let bytes): bytes.withUnsafeBytes { out.putExtension(type: type, $0) }
    case .array(let elements):
      out.putArrayHeader(elements.count)
      for element in elements { element.encode(into: &out) }
    case .map(let map): map.encode(into: &out)
    }
  }
}

extension FieldMap {
  public init(_ record: RecordView) { self = Value(record).map ?? FieldMap() }

  public func encode(into out: inout ByteWriter) {
    out.putMapHeader(count)
    for field in fields {
      field.key.encode(into: &out)
      field.value.encode(into: &out)
    }
  }
}
