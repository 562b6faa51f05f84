import NIOCore
import Synchronization

/// One client's connection: its requests one after the other, in the order they came.
final class HTTPServerConnection: Accepted {
  let peer: PeerAddress
  private let channel: any Channel
  private let inbox: HTTPInbox
  private let options: HTTPServerOptions
  private let pool: ReceivePool

  init(_ channel: any Channel, _ inbox: HTTPInbox, _ options: HTTPServerOptions, _ pool: ReceivePool) {
    self.channel = channel
    self.inbox = inbox
    self.options = options
    self.pool = pool
    peer = PeerAddress(channel.remoteAddress)
  }

  var executor: any TaskExecutor { pool.executor }
  func close() async {
    inbox.state.withLock { $0.isDiscarding = true }
    await closeFully(channel, tls: options.listen.tls != nil)
  }
  func close(after grace: Duration) {
    _ = channel.eventLoop.scheduleTask(in: TimeAmount(grace)) { [channel] in channel.close(promise: nil) }
  }

  func serve(_ body: @Sendable (HTTPServerRequest) async -> HTTPResponse) async throws {
    while true {
      switch await next() {
      case .end: return
      case .refusal(let status):
        try await respond(options.refusal(status), keepAlive: false, isHead: false)
        return await linger()
      case .shed(let isKeptAlive):
        let isKept = isKeptAlive && !Task.isCancelled
        try await respond(options.refusal(503), keepAlive: isKept, isHead: false)
        if !isKept { return await linger() }
      case .request(let request):
        let response = await body(request)
        let isKept = request.isKeptAlive && !Task.isCancelled
        try await respond(response, keepAlive: isKept, isHead: request.method == "HEAD")
        if !isKept { return await linger() }
      }
    }
  }

  private func respond(_ response: HTTPResponse, keepAlive: Bool, isHead: Bool) async throws {
    var buffer = channel.allocator.buffer(capacity: 256 + response.body.count)
    response.encode(keepAlive: keepAlive, isHead: isHead, announcesKeepAlive: options.announcesKeepAlive, into: &buffer)
    // Answers to pipelined requests leave together with the last one.
    if keepAlive, inbox.state.withLock({ $0.hasEvents }), channel.isWritable {
      channel.write(buffer, promise: nil)
    } else {
      startWriting()
      do { try await channel.writeAndFlush(buffer) } catch {
        if inbox.state.withLock({ $0.isOver }) { throw NetworkError(.timeout, "the answer was not taken in time (\(peer))") }
        throw NetworkError.wrap(error, "\(peer)")
      }
      inbox.state.withLock { $0.writeEnd = nil }
    }
  }

  /// A client that does not read its answer has as long as one that does not end its request.
  private func startWriting() {
    guard options.listen.messageTimeout > .zero else { return }
    let end = NIODeadline.now() + .nanoseconds(options.listen.messageTimeout.nanoseconds)
    inbox.state.withLock { $0.writeEnd = end }
    arm(end)
  }

  private func next() async -> HTTPEvent {
    while true {
      let event = inbox.state.withLock { state -> HTTPEvent? in
        state.popEvent() ?? (state.isEnded ? .end : nil)
      }
      if let event { return event }
      await arrival()
    }
  }

  private func arrival() async {
    await withTaskCancellationHandler {
      await withUnsafeContinuation { waiter in
        let (isNow, needsContinue) = inbox.state.withLock { state -> (Bool, Bool) in
          if state.hasEvents || state.isEnded { return (true, false) }
          state.waiter = waiter
          let now = NIODeadline.now()
          state.deadline = now + TimeAmount(options.idleTimeout)
          if state.isPartial, state.requestStart == nil { state.requestStart = now }
          defer { state.continueDue = false }
          return (false, state.continueDue)
        }
        if isNow { return waiter.resume() }
        if needsContinue { channel.writeAndFlush(ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n"), promise: nil) }
        channel.read()
        let message = options.listen.messageTimeout
        arm(NIODeadline.now() + TimeAmount(message > .zero ? min(message, options.idleTimeout) : options.idleTimeout))
        if Task.isCancelled { endWhenQuiet() }
      }
    } onCancel: {
      endWhenQuiet()
    }
  }

  /// After cancellation: a request that arrives now or has begun is still answered, then the connection ends.
  private func endWhenQuiet() {
    _ = channel.eventLoop.scheduleTask(in: .milliseconds(20)) {
      self.inbox.state.withLock { state -> UnsafeContinuation<Void, Never>? in
        guard !state.isPartial, state.waiter != nil else { return nil }
        state.isEnded = true
        return state.takeWaiter()
      }?.resume()
    }
  }

  private func arm(_ deadline: NIODeadline) {
    let isNeeded = inbox.state.withLock { state in
      if let timer = state.timer, timer <= deadline { return false }
      state.timer = deadline
      return true
    }
    guard isNeeded else { return }
    // A connection that has ended is not kept until its time would have come.
    _ = channel.eventLoop.scheduleTask(deadline: deadline) { [weak self] in self?.fired(deadline) }
  }

  private func fired(_ time: NIODeadline) {
    let now = NIODeadline.now()
    let (waiter, again, isOver) = inbox.state.withLock { state -> (UnsafeContinuation<Void, Never>?, NIODeadline?, Bool) in
      guard state.timer == time else { return (nil, nil, false) }
      state.timer = nil
      if let end = state.writeEnd {
        if end > now { return (nil, end, false) }
        state.isOver = true
        return (nil, nil, true)
      }
      guard state.waiter != nil, let deadline = state.deadline else { return (nil, nil, false) }
      if deadline > now { return (nil, deadline, false) }
      let isRequest = state.isPartial || state.requestStart != nil
      if state.isPartial { state.events.append(.refusal(408)) } else { state.isEnded = true }
      return (state.takeWaiter(), nil, isRequest)
    }
    if isOver { options.listen.onEvent?(.timedOut) }
    if isOver, waiter == nil { channel.close(promise: nil) }
    waiter?.resume()
    if let again { arm(again) }
  }

  /// Closing while the client still sends would reset the connection and lose the answer: end the sending side, drop
  /// what comes, for a second at most.
  private func linger() async {
    inbox.state.withLock { state in
      state.isDiscarding = true
      state.events.removeAll()
      state.next = 0
    }
    // Fails when the client has gone already.
    try? await channel.close(mode: .output)
    await withUnsafeContinuation { waiter in
      let isNow = inbox.state.withLock { state in
        if state.isEnded { return true }
        state.waiter = waiter
        return false
      }
      if isNow { return waiter.resume() }
      channel.read()
      _ = channel.eventLoop.scheduleTask(in: .seconds(1)) { self.inbox.state.withLock { $0.takeWaiter() }?.resume() }
    }
  }
}
