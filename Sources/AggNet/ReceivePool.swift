import NIOCore
import Synchronization

/// One pool of receive blocks for each network thread.
final class ReceivePools: Sendable {
  private let pools = Mutex<[ObjectIdentifier: ReceivePool]>([:])

  func pool(of loop: any EventLoop) -> ReceivePool {
    pools.withLock { pools in
      let id = ObjectIdentifier(loop)
      if let pool = pools[id] { return pool }
      let pool = ReceivePool(loop)
      pools[id] = pool
      return pool
    }
  }
}

/// The large blocks that one network thread reads into: in use only between a socket being readable and its reader's copy.
///
/// So thousands of idle connections hold none, and a block that was just read is still in the cache when it is copied.
final class ReceivePool: Sendable {
  /// A block a read: large enough that a system call's cost disappears, small enough for the second-level cache.
  static let blockSize = 256 << 10
  /// For a reader that receives the rest itself: most reads of a quiet connection are smaller.
  static let smallSize = 8 << 10
  /// More are rarely out at once; the rest is freed.
  private static let kept = 2

  private struct State {
    var free: [ByteBuffer] = []
    var small: [ByteBuffer] = []
    var wasUsed = false
    var isTimerSet = false
  }

  let loop: any EventLoop
  let executor: LoopExecutor
  private let state = Mutex(State())

  init(_ loop: any EventLoop) {
    self.loop = loop
    executor = LoopExecutor(loop)
  }

  func take(_ allocator: ByteBufferAllocator, isSmall: Bool) -> ByteBuffer {
    let block = state.withLock { state -> ByteBuffer? in
      state.wasUsed = true
      return isSmall ? state.small.popLast() : state.free.popLast()
    }
    guard var block else { return allocator.buffer(capacity: isSmall ? Self.smallSize : Self.blockSize) }
    block.clear()
    return block
  }

  /// Gives a block back that the caller is done with. Others than this pool's blocks are freed.
  func give(_ block: ByteBuffer) {
    let isSmall = block.capacity == Self.smallSize
    guard isSmall || block.capacity == Self.blockSize else { return }
    let setTimer = state.withLock { state in
      guard isSmall ? state.small.count < Self.kept : state.free.count < Self.kept else { return false }
      if isSmall { state.small.append(block) } else { state.free.append(block) }
      defer { state.isTimerSet = true }
      return !state.isTimerSet
    }
    if setTimer { armTrim() }
  }

  /// A second without any read frees the blocks: an idle daemon stays small.
  private func armTrim() {
    loop.scheduleTask(in: .seconds(1)) {
      let again = self.state.withLock { state in
        if !state.wasUsed { (state.free, state.small) = ([], []) }
        state.isTimerSet = state.wasUsed
        state.wasUsed = false
        return state.isTimerSet
      }
      if again { self.armTrim() }
    }
  }
}

/// What the reader of a channel does, for the choice of its next block.
final class ReadHint: Sendable {
  /// The reader is a task on the channel's loop: what a small block cannot hold it receives itself.
  let readsOnLoop = Atomic(false)
  /// A block waits for the reader. More blocks after it are what a peer that closed has left behind.
  let isHolding = Atomic(false)
  var receivesTheRest: Bool { readsOnLoop.load(ordering: .relaxed) && !isHolding.load(ordering: .relaxed) }
}

/// Tells NIO to read into the pool's blocks.
///
/// NIO keeps the first buffer of each channel, so that one is small; `record` says true ("may grow") to make it ask
/// for a new buffer each time (NIOPooledRecvBufferAllocator with one message a read).
struct PooledReceiveAllocator: RecvByteBufferAllocator {
  private static let firstSize = 512

  let pool: ReceivePool?
  /// Not the handler, which leads back to the channel that keeps this.
  let hint: ReadHint
  /// For what TLS reads: its blocks are not given back by us, and its records have at most 16 KiB.
  private static let tlsSize = 32 << 10
  private var isFirst = true

  init(pool: ReceivePool?, _ hint: ReadHint) {
    self.pool = pool
    self.hint = hint
  }

  func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
    if isFirst { return allocator.buffer(capacity: Self.firstSize) }
    return pool?.take(allocator, isSmall: hint.receivesTheRest) ?? allocator.buffer(capacity: Self.tlsSize)
  }

  func nextBufferSize() -> Int? { nil }

  mutating func record(actualReadBytes: Int) -> Bool {
    isFirst = false
    return true
  }
}
