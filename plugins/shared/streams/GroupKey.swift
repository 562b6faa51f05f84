import AggCore

/// Makes the byte string that a record's group goes by: its fields as they are encoded, one behind the other, nil for what is absent.
struct GroupKey: ~Copyable {
  /// Longer keys are cut here and end in a hash of the whole: a peer's field may be of any size.
  static let limit = 512
  private let paths: [RecordPath]
  private var key = ByteWriter(capacity: 256)

  init(_ paths: [RecordPath]) { self.paths = paths }

  /// Valid until the next call.
  mutating func bytes(_ record: RecordView) -> UnsafeRawBufferPointer {
    key.removeAll()
    for path in paths {
      if let value = path.find(record) { key.append(value.bytes) } else { key.putNil() }
    }
    if key.count > Self.limit {
      var hasher = Hasher()
      hasher.combine(bytes: key.bytes)
      let hash = hasher.finalize()
      key.count = Self.limit
      withUnsafeBytes(of: hash) { key.append($0) }
    }
    return key.bytes
  }

  /// The fields as Ruby prints an array of them.
  func text(_ record: RecordView) -> String {
    var out = ByteWriter(capacity: 256)
    out.append(UInt8(ascii: "["))
    for (index, path) in paths.enumerated() {
      if index > 0 { out.append(", " as StaticString) }
      if let value = path.find(record) { RubyText.inspect(value, into: &out) } else { out.append("nil" as StaticString) }
      if out.count > Self.limit { break }
    }
    out.append(UInt8(ascii: "]"))
    return out.string
  }
}
