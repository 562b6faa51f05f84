public import AggCore

/// Cuts the bytes of one connection into messages of the forward protocol, MessagePack or JSON text.
///
/// The first byte decides: `{` and `[` begin JSON, as in Fluentd. Append what arrives to `buffer`, then call `next`.
public struct ForwardReader: ~Copyable {
  /// Messages that are whole, as MessagePack values in one block.
  public struct Messages {
    public var block: Block
    public var messages: [Range<Int>] = []
    /// Sizes of messages that were larger than the limit and are gone.
    public var oversized: [Int] = []
  }
  public struct Malformed: Error, CustomStringConvertible {
    public var description: String
    init(_ description: String) { self.description = description }
  }

  /// What has arrived and is not taken yet.
  public var buffer = ByteWriter(capacity: Self.idleCapacity)
  /// Set with the first byte.
  public private(set) var isJSON: Bool?

  private static let idleCapacity = 4096
  /// The most that one read of a connection brings.
  private static let readSize = 256 << 10
  private var framer = MessagePackFramer()
  private var jsonFramer = JSONFramer()
  /// Larger messages are dropped as they arrive; never more than this and one read is kept.
  private var limit: Int
  /// The beginning of a message that is too large was dropped.
  public private(set) var isDropping = false
  private var dropped = 0

  public init(limit: Int) { self.limit = limit }

  /// The limit of the messages that begin from now on.
  public mutating func setLimit(_ limit: Int) { self.limit = limit }

  /// What is whole now, `count` messages of it; nil when nothing is. What cannot be a message at all throws, after what came before it was returned.
  public mutating func next(atMost count: Int = .max) throws(Malformed) -> Messages? {
    guard buffer.count > 0 else { return nil }
    if isJSON == nil { isJSON = buffer.bytes[0] == 0x7b || buffer.bytes[0] == 0x5b }
    return isJSON == true ? try nextJSON(count) : try nextMessagePack(count)
  }

  private mutating func nextMessagePack(_ count: Int) throws(Malformed) -> Messages? {
    var found: [Range<Int>] = []
    var oversized: [Int] = []
    var start = 0
    scanning: while found.count < count {
      switch framer.next(buffer.bytes) {
      case .value(let end):
        if isDropping || framer.size > limit {
          oversized.append(framer.size)
          isDropping = false
          // What was found before it has to stay where it is.
          if found.isEmpty {
            buffer.removeFirst(end)
            framer.discard(end)
            start = 0
          } else {
            start = end
          }
          continue
        }
        found.append(start..<end)
        start = end
      case .needMore:
        if framer.isInside, framer.size > limit { isDropping = true }
        break scanning
      case .invalid(let why):
        guard found.isEmpty, oversized.isEmpty else { break scanning }  // the next call meets it again
        throw Malformed("not MessagePack: \(why)")
      }
    }
    if isDropping, found.isEmpty {
      let passed = framer.position
      buffer.removeFirst(passed)
      framer.discard(passed)
      if buffer.isEmpty { buffer.trim(to: Self.idleCapacity) }
    }
    if found.isEmpty, oversized.isEmpty { return nil }
    return Messages(block: found.isEmpty ? EventBatch.empty(Tag("")).block : takeFront(start), messages: found, oversized: oversized)
  }

  /// The first `n` bytes as a block; the rest stays. Copies the lesser part.
  private mutating func takeFront(_ n: Int) -> Block {
    framer.discard(n)
    let rest = buffer.count - n
    if rest > n {
      let block = Block(copying: UnsafeRawBufferPointer(rebasing: buffer.bytes[..<n]))
      buffer.removeFirst(n)
      return block
    }
    // A sender in full flow sends more of the same size, and one read brings more than is missing.
    var next = ByteWriter(capacity: rest == 0 ? Self.idleCapacity : min(n + Self.readSize, 4 << 20))
    next.append(UnsafeRawBufferPointer(rebasing: buffer.bytes[n...]))
    swap(&buffer, &next)
    return Block(next)
  }

  private mutating func nextJSON(_ count: Int) throws(Malformed) -> Messages? {
    var out = ByteWriter(capacity: buffer.count)
    var found: [Range<Int>] = []
    var oversized: [Int] = []
    var transcoder = JSONTranscoder()
    buffer.reserve(1)  // so that the padding the transcoder wants is there
    var end = 0
    scanning: while found.count < count {
      switch jsonFramer.next(buffer.bytes) {
      case .value(let range):
        end = range.upperBound
        if range.count > limit {
          oversized.append(range.count)
          continue
        }
        let start = out.count
        guard transcoder.transcodeValue(UnsafeRawBufferPointer(rebasing: buffer.bytes[range]), into: &out) else {
          if found.isEmpty { throw Malformed("not JSON") }
          end = range.lowerBound
          jsonFramer = JSONFramer()
          break scanning
        }
        found.append(start..<out.count)
      case .needMore(let pending):
        // White space is no beginning of a message.
        if pending == 0 { end = buffer.count }
        // JSON cannot be passed over unread.
        if pending > limit { throw Malformed("a JSON message is larger than \(limit) bytes") }
        break scanning
      case .invalid(let at):
        if found.isEmpty { throw Malformed("not JSON, at byte \(at)") }
        break scanning
      }
    }
    if end > 0 {
      buffer.removeFirst(end)
      jsonFramer.discard(end)
      if buffer.isEmpty { buffer.trim(to: Self.idleCapacity) }
    }
    return found.isEmpty && oversized.isEmpty ? nil : Messages(block: Block(out), messages: found, oversized: oversized)
  }
}
