public import AggCore
import NIOCore
import NIOPosix
import Synchronization

/// A stream to a peer: TCP, unix socket or TLS.
///
/// One task reads and one writes at a time. Reading stops at the socket while nobody is in `read`, so a slow consumer
/// slows its sender. Cancelling the task of an accepted connection ends its reads gracefully (see `read`), cancelling
/// that of an outgoing one ends reads and writes with `CancellationError`.
public final class Connection: Sendable {
  public let peer: PeerAddress
  /// The port on this machine, 0 for a unix socket.
  public let localPort: Int
  /// What the handshake agreed on; nil without TLS.
  public let tls: TLSInfo?

  let channel: any Channel
  let handler: StreamHandler
  let pool: ReceivePool
  private let isAccepted: Bool
  private let idleTimeout: TimeAmount?
  /// For a write; of accepted connections only.
  private let answerTimeout: Duration?
  private let onEvent: (@Sendable (ConnectionEvent) -> Void)?
  private let memory: MemoryBudget?
  /// What the network is given while the socket's room is full: it comes back when the peer has taken as much.
  private static let waitingSize = 64 << 10

  init(
    _ channel: any Channel, _ handler: StreamHandler, _ pool: ReceivePool, accepted: Bool, idleTimeout: Duration?, tls: TLSInfo?,
    memory: MemoryBudget? = nil, messageTimeout: Duration = .zero, onEvent: (@Sendable (ConnectionEvent) -> Void)? = nil
  ) {
    self.memory = memory
    self.onEvent = onEvent
    answerTimeout = messageTimeout > .zero ? messageTimeout : nil
    if let patience = MessagePatience(messageTimeout) { handler.state.withLock { $0.patience = patience } }
    self.channel = channel
    self.handler = handler
    self.pool = pool
    self.tls = tls
    isAccepted = accepted
    self.idleTimeout = idleTimeout.map { TimeAmount($0) }
    peer = PeerAddress(channel.remoteAddress)
    localPort = channel.localAddress?.port ?? 0
  }

  /// Prefer this for the tasks that use the connection: they then run on the thread that reads the socket.
  public var executor: any TaskExecutor { pool.executor }

  /// Waits for bytes and appends all that arrived (up to some 256 KiB) to `writer`; returns how many, 0 at the end.
  ///
  /// The end is the peer's end, or, once the task of an accepted connection is cancelled, the moment when what had
  /// arrived until then is read. Throws `NetworkError` (`timeout` when nothing came for `timeout`, `idle` for the listener's idle
  /// timeout where no message has begun; the connection can still be used).
  ///
  /// What is left in `writer` is the beginning of a message, whose end the listener's `messageTimeout` wants in time; so is what the
  /// caller dropped of a message where it says that it `isInside` one.
  public func read(into writer: inout ByteWriter, timeout: Duration? = nil, isInside: Bool = false) async throws -> Int {
    let held = writer.count
    handler.hint.readsOnLoop.store(handler.socket != nil && channel.eventLoop.inEventLoop, ordering: .relaxed)
    let mustQueue = handler.state.withLock { state in
      state.patience?.begin(held: held, isInside: isInside)
      return !state.hasQueued && state.first != nil
    }
    if mustQueue { await queue() }
    while true {
      // Here: what arrives meanwhile stays in the socket, or in one block of the network's.
      if let memory, !memory.admits() { await memory.wait(ObjectIdentifier(self)) }
      if let count = try take(&writer) { return count }
      switch await arrival(timeout.map { TimeAmount($0) } ?? idleTimeout) {
      case .look: continue
      case .timedOut: throw timedOut(isIdle: timeout == nil && isAccepted && held == 0 && !isInside)
      case .cancelled: throw CancellationError()
      }
    }
  }

  private func timedOut(isIdle: Bool) -> NetworkError {
    onEvent?(.timedOut)
    if let patience = handler.state.withLock({ $0.patience }), patience.isPartial, patience.left <= 0 {
      return NetworkError(.timeout, "a message that has begun is not complete in time (\(handler.place))")
    }
    return NetworkError(isIdle ? .idle : .timeout, "nothing received in time (\(handler.place))")
  }

  /// Sends the bytes and returns when the kernel has them all.
  ///
  /// Throws `NetworkError`; with `timeout` when they could not be sent in that time. The connection is closed then,
  /// since part of them may have been sent.
  public func write(_ bytes: UnsafeRawBufferPointer, timeout: Duration? = nil) async throws {
    guard bytes.count > 0 else { return }
    try await send(bytes, timeout)
  }
  public func write(_ writer: borrowing ByteWriter, timeout: Duration? = nil) async throws {
    guard writer.count > 0 else { return }
    try await send(writer.bytes, timeout)
  }
  public func write(_ bytes: [UInt8], timeout: Duration? = nil) async throws {
    guard bytes.count > 0 else { return }
    let buffer = ByteBuffer(bytes: bytes)
    try await limited(timeout) { try await channel.writeAndFlush(buffer) }
  }

  /// Ends the sending direction; the peer's bytes can still be read.
  public func closeOutput() async throws {
    do { try await channel.close(mode: .output) } catch { throw NetworkError.wrap(error, handler.place) }
  }

  /// Closes both directions; does nothing when it is closed already.
  public func close() async {
    handler.state.withLock { $0.isClosing = true }
    await closeFully(channel, tls: tls != nil)
  }
}

extension Connection {
  /// For a first read that finds bytes: goes behind the tasks that the loop has woken for bytes that came before these.
  ///
  /// Without it, of peers that connect one after the other, send and close, a later one's events could pass an earlier one's.
  private func queue() async {
    handler.state.withLock { $0.hasQueued = true }
    await withUnsafeContinuation { turn in channel.eventLoop.execute { turn.resume() } }
  }

  /// What arrived, nil when the reader has to wait.
  private func take(_ writer: inout ByteWriter) throws -> Int? {
    let held = writer.count
    let (first, rest, failure, isEnded) = handler.state.withLock { state in
      if let first = state.first {
        let count = state.rest.reduce(first.readableBytes) { $0 + $1.readableBytes }
        state.patience?.got(count, held: held + count)
      }
      let result = (state.first, state.rest, state.failure, state.isEnded)
      (state.first, state.rest) = (nil, [])
      return result
    }
    guard let first else {
      if let failure { throw failure }
      return isEnded ? 0 : nil
    }
    // A full block was made small for the sake of what follows here (see PooledReceiveAllocator).
    let isMore = rest.isEmpty && first.writableBytes == 0 && handler.hint.readsOnLoop.load(ordering: .relaxed)
    handler.hint.isHolding.store(false, ordering: .relaxed)
    var count = append(first, &writer)
    for buffer in rest { count += append(buffer, &writer) }
    let more = isMore ? handler.socket?.receive(channel, into: &writer) ?? 0 : 0
    count += more
    handler.state.withLock { state in
      state.pace.got(count, at: .now())
      if more > 0 { state.patience?.got(more, held: held + count) }
    }
    return count
  }

  private func append(_ buffer: ByteBuffer, _ writer: inout ByteWriter) -> Int {
    let count = buffer.readableBytes
    buffer.withUnsafeReadableBytes { writer.append($0) }
    pool.give(buffer)
    return count
  }

  private func arrival(_ timeout: TimeAmount?) async -> Wake {
    await withTaskCancellationHandler {
      await withUnsafeContinuation { waiter in
        var deadline = timeout.map { NIODeadline.now() + $0 }
        enum Step { case wake(Wake), wait(draining: Bool, rests: Bool) }
        let step = handler.state.withLock { state -> Step in
          if state.first != nil || state.isEnded { return .wake(.look) }
          if state.isCancelled {
            guard isAccepted else { return .wake(.cancelled) }
            // A sender that never pauses is cut here.
            if let end = state.drainEnd, end < NIODeadline.now() {
              state.isEnded = true
              return .wake(.look)
            }
          }
          if let patience = state.patience, patience.isPartial {
            let now = NIODeadline.now()
            state.waitStart = now
            let end = now + .nanoseconds(patience.left)
            deadline = min(deadline ?? end, end)
          }
          state.waiter = waiter
          state.hasQueued = true
          state.deadline = deadline
          return .wait(draining: state.isCancelled, rests: state.pace.rests && !state.isCancelled)
        }
        switch step {
        case .wake(let reason): waiter.resume(returning: reason)
        case .wait(let draining, let rests):
          if rests {
            channel.eventLoop.scheduleTask(in: ReadPace.rest) { [channel] in channel.read() }
          } else {
            channel.read()
          }
          if let deadline { handler.arm(channel, deadline) }
          if draining { handler.watchQuiet(channel) }
        }
      }
    } onCancel: {
      cancelRead()
    }
  }

  private func cancelRead() {
    let (waiter, isFirst) = handler.state.withLock { state -> (UnsafeContinuation<Wake, Never>?, Bool) in
      guard !state.isCancelled else { return (nil, false) }
      state.isCancelled = true
      state.drainEnd = NIODeadline.now() + .milliseconds(500)
      return (isAccepted ? nil : state.takeWaiter(), true)
    }
    waiter?.resume(returning: .cancelled)
    if isAccepted, isFirst { handler.watchQuiet(channel) }
  }

  private func send(_ bytes: UnsafeRawBufferPointer, _ timeout: Duration?) async throws {
    guard bytes.count >= DirectSocket.smallestSend, let socket = handler.socket else {
      let buffer = ByteBuffer(bytes: bytes)
      return try await limited(timeout) { try await channel.writeAndFlush(buffer) }
    }
    try await limited(timeout) {
      if !socket.isPrepared { try await channel.eventLoop.submit { [channel] in socket.prepare(channel) }.get() }
      var rest = bytes
      while rest.count > 0 {
        var sent = socket.send(rest)
        if sent == 0 {
          // The network waits for room, or knows why there will be none.
          sent = min(rest.count, Self.waitingSize)
          try await channel.writeAndFlush(ByteBuffer(bytes: UnsafeRawBufferPointer(rebasing: rest[..<sent])))
        }
        rest = UnsafeRawBufferPointer(rebasing: rest[sent...])
      }
    }
  }

  /// Runs `body`, which writes, within the limits of time.
  private func limited(_ timeout: Duration?, _ body: () async throws -> Void) async throws {
    handler.state.withLock { $0.pace.answered() }
    if timeout == nil, let answerTimeout {
      let end = NIODeadline.now() + TimeAmount(answerTimeout)
      handler.state.withLock { $0.writeEnd = end }
      handler.arm(channel, end)
    }
    defer { if timeout == nil, answerTimeout != nil { handler.state.withLock { $0.writeEnd = nil } } }
    let expiry = timeout.map { _ in Expiry() }
    let timer = timeout.map { timeout in
      channel.eventLoop.scheduleTask(in: TimeAmount(timeout)) { [channel] in
        expiry?.isOver.store(true, ordering: .relaxed)
        channel.close(promise: nil)
      }
    }
    defer { timer?.cancel() }
    do {
      if isAccepted {
        try await body()
      } else {
        try await withTaskCancellationHandler {
          try await body()
        } onCancel: {
          channel.close(promise: nil)
        }
      }
    } catch {
      if !isAccepted, Task.isCancelled { throw CancellationError() }
      if let limit = timeout ?? answerTimeout, expiry?.isOver.load(ordering: .relaxed) ?? handler.state.withLock({ $0.isWriteOver }) {
        onEvent?(.timedOut)
        throw NetworkError(.timeout, "could not send for \(limit) (\(handler.place))")
      }
      throw NetworkError.wrap(error, handler.place)
    }
  }

  /// Ends a connection that does not end by itself after its task was cancelled.
  func close(after grace: Duration) {
    _ = channel.eventLoop.scheduleTask(in: TimeAmount(grace)) { [channel] in channel.close(promise: nil) }
  }
}

/// Closes; with TLS after the peer's goodbye (NIOSSL waits 5 s for it), which takes reading.
func closeFully(_ channel: any Channel, tls: Bool) async {
  guard tls else { return (try? await channel.close(mode: .all)) ?? () }
  _ = channel.setOption(.allowRemoteHalfClosure, value: false)
  let promise = channel.eventLoop.makePromise(of: Void.self)
  channel.close(mode: .all, promise: promise)
  channel.read()
  try? await promise.futureResult.get()
}

/// Whether a write was cut by its own timeout.
private final class Expiry: Sendable { let isOver = Atomic(false) }
