import NIOCore
import NIOSSL
import NIOTLS
import Synchronization

/// Why a reader that waited goes on.
enum Wake: Sendable { case look, timedOut, cancelled }

/// The last handler of a stream: holds what one read brought until the connection's task takes it, and reads only when asked.
final class StreamHandler: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  struct State: Sendable {
    var first: ByteBuffer?
    /// Only filled when the peer closes: NIO then takes what the kernel holds at once.
    var rest: [ByteBuffer] = []
    var waiter: UnsafeContinuation<Wake, Never>?
    var isEnded = false
    var failure: NetworkError?
    /// The reads so far, to see whether a draining connection fell quiet.
    var reads = 0
    /// Nobody reads any more; what comes is dropped until TLS's goodbye.
    var isClosing = false
    var isCancelled = false
    var drainEnd: NIODeadline?
    var deadline: NIODeadline?
    /// When what is being written must be taken by the peer; `isWriteOver` when it was not.
    var writeEnd: NIODeadline?
    var isWriteOver = false
    /// When the pending timer fires; only ever one a connection.
    var timer: NIODeadline?
    /// The socket is connected; false for ever when connecting fails.
    var isActive = false
    var isReady = false
    /// The reader has waited for bytes, or queued behind readers that had.
    var hasQueued = false
    /// Nil without a limit for messages.
    var patience: MessagePatience?
    var pace = ReadPace()
    /// Since when the reader waits for more of a message.
    var waitStart: NIODeadline?

    mutating func takeWaiter() -> UnsafeContinuation<Wake, Never>? {
      defer { waiter = nil }
      if let waitStart {
        patience?.wait((NIODeadline.now() - waitStart).nanoseconds)
        self.waitStart = nil
      }
      return waiter
    }
  }

  let state: Mutex<State>
  let place: String
  /// Called once, on the loop, when bytes can be exchanged (after the TLS handshake) or when that failed.
  private let ready: @Sendable (NetworkError?) -> Void

  init(place: String, tls: Bool, ready: @escaping @Sendable (NetworkError?) -> Void) {
    self.place = place
    self.ready = ready
    state = Mutex(State())
    isTLS = tls
    socket = tls ? nil : DirectSocket()
  }
  private let isTLS: Bool
  /// Nil with TLS.
  let socket: DirectSocket?
  let hint = ReadHint()

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { start(context) }
  }

  func channelActive(context: ChannelHandlerContext) {
    start(context)
    context.fireChannelActive()
  }

  private func start(_ context: ChannelHandlerContext) {
    state.withLock { $0.isActive = true }
    if isTLS { context.read() } else { becomeReady(nil) }
  }

  private func becomeReady(_ error: NetworkError?) {
    let isFirst = state.withLock { state in
      defer { state.isReady = true }
      return !state.isReady
    }
    if isFirst { ready(error) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    hint.isHolding.store(true, ordering: .relaxed)
    state.withLock { state in
      state.reads &+= 1
      if state.isClosing { return }
      if state.first == nil { state.first = buffer } else { state.rest.append(buffer) }
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    let (waiter, readMore) = state.withLock { state -> (UnsafeContinuation<Wake, Never>?, Bool) in
      guard state.isReady, !state.isClosing else { return (nil, true) }
      // Bytes came but no plaintext yet: half a TLS record.
      guard state.first != nil else { return (nil, state.waiter != nil) }
      return (state.takeWaiter(), false)
    }
    waiter?.resume(returning: .look)
    if readMore { context.read() }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case ChannelEvent.inputClosed: end(nil)
    case TLSUserEvent.handshakeCompleted: becomeReady(nil)
    default: break
    }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A peer that closes without TLS's goodbye: the protocols above know where a message ends.
    if case .uncleanShutdown? = error as? NIOSSLError {
      end(nil)
    } else {
      end(NetworkError.wrap(error, place) as? NetworkError ?? NetworkError(.other, "\(error) (\(place))"))
    }
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    socket?.close()
    end(nil)
    context.fireChannelInactive()
  }

  /// Also for a channel that never became active.
  func handlerRemoved(context: ChannelHandlerContext) {
    socket?.close()
    end(nil)
  }

  private func end(_ failure: NetworkError?) {
    let waiter = state.withLock { state in
      if !state.isEnded {
        state.isEnded = true
        state.failure = failure
      }
      return state.takeWaiter()
    }
    waiter?.resume(returning: .look)
    becomeReady(failure ?? NetworkError(.closed, "connection closed by peer (\(place))"))
  }
}

extension StreamHandler {
  /// Closes without a reader; reading what comes lets TLS say goodbye.
  func abandon(_ channel: any Channel) {
    state.withLock { $0.isClosing = true }
    // NIOSSL answers a goodbye at once only without half-closure.
    _ = channel.setOption(.allowRemoteHalfClosure, value: false)
    channel.close(promise: nil)
    channel.read()
  }

  /// Sets the one timer of this connection if none fires early enough.
  func arm(_ channel: any Channel, _ deadline: NIODeadline) {
    let isNeeded = state.withLock { state in
      if let timer = state.timer, timer <= deadline { return false }
      state.timer = deadline
      return true
    }
    guard isNeeded else { return }
    // A connection that has ended is not kept until its time would have come.
    _ = channel.eventLoop.scheduleTask(deadline: deadline) { [weak self, weak channel] in
      if let self, let channel { self.fired(channel, deadline) }
    }
  }

  private func fired(_ channel: any Channel, _ time: NIODeadline) {
    let now = NIODeadline.now()
    let (waiter, next, isOver) = state.withLock { state -> (UnsafeContinuation<Wake, Never>?, NIODeadline?, Bool) in
      guard state.timer == time else { return (nil, nil, false) }
      state.timer = nil
      if let end = state.writeEnd, end <= now {
        state.isWriteOver = true
        return (nil, nil, true)
      }
      guard state.waiter != nil, let deadline = state.deadline else { return (nil, state.writeEnd, false) }
      if deadline <= now { return (state.takeWaiter(), state.writeEnd, false) }
      return (nil, min(deadline, state.writeEnd ?? deadline), false)
    }
    if isOver { channel.close(promise: nil) }
    waiter?.resume(returning: .timedOut)
    if let next { arm(channel, next) }
  }

  /// After cancellation: the reader is told the end when a read brings nothing for a moment.
  func watchQuiet(_ channel: any Channel) {
    let reads = state.withLock { $0.reads }
    // Long enough for a thread to be scheduled; the kernel's bytes come with the next poll.
    _ = channel.eventLoop.scheduleTask(in: .milliseconds(20)) {
      // The loop may have been busy all the while, and has not looked.
      if self.socket?.hasMore(channel) == true, self.state.withLock({ $0.waiter != nil && $0.drainEnd.map { $0 > .now() } ?? false }) {
        channel.read()
        return self.watchQuiet(channel)
      }
      let waiter = self.state.withLock { state -> UnsafeContinuation<Wake, Never>? in
        guard state.waiter != nil, state.reads == reads, state.first == nil else { return nil }
        state.isEnded = true
        return state.takeWaiter()
      }
      waiter?.resume(returning: .look)
    }
  }
}
