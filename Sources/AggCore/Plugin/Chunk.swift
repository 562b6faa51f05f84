/// 16 random bytes that name sealed content, in buffers, over forward and to HTTP receivers.
public struct ChunkID: Hashable, Sendable, CustomStringConvertible {
  public var high: UInt64
  public var low: UInt64
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }
  public static func random() -> ChunkID {
    var random = SystemRandomNumberGenerator()
    return ChunkID(high: random.next(), low: random.next())
  }
  /// 32 hexadecimal digits.
  public var description: String { hex(high) + hex(low) }
  public init?(_ text: String) {
    guard text.utf8.count == 32, let high = UInt64(text.prefix(16), radix: 16), let low = UInt64(text.suffix(16), radix: 16) else { return nil }
    self.init(high: high, low: low)
  }
  public var bytes: [UInt8] {
    withUnsafeBytes(of: high.bigEndian) { Array($0) } + withUnsafeBytes(of: low.bigEndian) { Array($0) }
  }
}

func hex(_ value: UInt64) -> String {
  let text = String(value, radix: 16)
  return String(repeating: "0", count: 16 - text.utf8.count) + text
}

/// What all events of a chunk share: its key.
public struct ChunkMetadata: Hashable, Sendable {
  /// Set when `tag` is a chunk key.
  public var tag: Tag?
  /// Start of the time slice in seconds since 1970, when `time` is a chunk key.
  public var timekey: Int64?
  /// Record fields that are chunk keys, in the configuration's order, as text.
  public var variables: [Variable]
  public struct Variable: Hashable, Sendable {
    public var name: String
    public var value: String?
    public init(name: String, value: String?) {
      self.name = name
      self.value = value
    }
  }
  public init(tag: Tag? = nil, timekey: Int64? = nil, variables: [Variable] = []) {
    self.tag = tag
    self.timekey = timekey
    self.variables = variables
  }
}

/// A sealed chunk as an output sees it. A plain value: it may be kept across awaits.
public struct ChunkView: Sendable {
  public let id: ChunkID
  public let metadata: ChunkMetadata
  /// In the order they were stored; each has one tag.
  public let batches: [EventBatch]
  /// The buffer's time slice length and zone, for placeholders.
  public let timekeySeconds: Int64?

  /// Set for a chunk that Fluentd formatted before agg took it over: it is delivered as it stands, and `batches` is empty.
  public var formatted: FormattedChunk?

  /// Set for a secondary: how the primary would have formatted the chunk (nil: it sends MessagePack).
  public var primaryFormatter: (any Formatter)?

  public init(id: ChunkID, metadata: ChunkMetadata, batches: [EventBatch], timekeySeconds: Int64? = nil) {
    self.id = id
    self.metadata = metadata
    self.batches = batches
    self.timekeySeconds = timekeySeconds
  }
  public var count: Int { formatted?.count ?? batches.reduce(0) { $0 + $1.count } }
  public var byteCount: Int { formatted?.block.count ?? batches.reduce(0) { $0 + $1.byteCount } }
}

/// Events as another daemon's formatter wrote them, back to back; nothing of them can be told apart any more.
public struct FormattedChunk: Sendable {
  public let block: Block
  /// How many events there are, as their writer counted them.
  public let count: Int
  public init(_ block: Block, count: Int) {
    self.block = block
    self.count = count
  }
  public func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    let result = try body(block.bytes)
    withExtendedLifetime(block) {}
    return result
  }
}
