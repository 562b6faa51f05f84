import AggCore
import Glibc
import NIOCore
import NIOHTTP1
import NIOSSL
import NIOTLS
import Synchronization

/// What a connection's task is given next.
enum HTTPEvent: Sendable {
  case request(HTTPServerRequest)
  /// There was no memory for the request's body: it is read and dropped, and the client told to come again.
  case shed(isKeptAlive: Bool)
  /// The request cannot be served; this status is the last answer of the connection.
  case refusal(Int)
  case end
}

/// What the handler on the loop and the connection's task share.
final class HTTPInbox: Sendable {
  struct State {
    var events: [HTTPEvent] = []
    /// Index of the next of `events`.
    var next = 0
    var waiter: UnsafeContinuation<Void, Never>?
    /// A head came whose body is still to come.
    var isPartial = false
    /// The client waits for `100 Continue`, until the answers before it are sent.
    var continueDue = false
    /// The last answer is given: what still comes is read and dropped.
    var isDiscarding = false
    var isEnded = false
    var deadline: NIODeadline?
    var timer: NIODeadline?
    var requestStart: NIODeadline?
    /// When an answer that is being sent must be taken; `isOver` when it was not.
    var writeEnd: NIODeadline?
    var isOver = false

    mutating func takeWaiter() -> UnsafeContinuation<Void, Never>? {
      defer { waiter = nil }
      return waiter
    }
    var hasEvents: Bool { next < events.count }
    mutating func popEvent() -> HTTPEvent? {
      guard next < events.count else { return nil }
      defer {
        next += 1
        if next == events.count {
          events.removeAll(keepingCapacity: true)
          next = 0
        }
      }
      return events[next]
    }
  }

  let state = Mutex(State())
}

/// Collects the decoder's parts into whole requests; lives on the loop.
final class HTTPServerHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart

  /// A body without memory is read over to its end while it is not longer than this; what is longer ends the connection.
  private static let shedLimit = 1 << 20
  /// What is reserved at once on a client's word alone.
  private static let firstReservation = 1 << 20

  private let inbox: HTTPInbox
  private let options: HTTPServerOptions
  private let isTLS: Bool
  private let memory: MemoryBudget?
  private let ready: (NetworkError?) -> Void
  private var isReady = false
  private var peer: PeerAddress?
  private var tls: TLSInfo?
  private var head: HTTPRequestHead?
  private var body = ByteWriter(capacity: 64)
  private var isRefused = false
  /// Bytes of the body that were dropped for want of memory; nil while there is some.
  private var shed: Int?

  init(_ inbox: HTTPInbox, _ options: HTTPServerOptions, tls: Bool, memory: MemoryBudget? = nil, ready: @escaping (NetworkError?) -> Void) {
    self.inbox = inbox
    self.options = options
    isTLS = tls
    self.memory = memory
    self.ready = ready
  }

  func channelActive(context: ChannelHandlerContext) {
    peer = PeerAddress(context.channel.remoteAddress)
    if isTLS { context.read() } else { becomeReady(nil) }
  }

  func becomeReady(_ error: NetworkError?) {
    guard !isReady else { return }
    isReady = true
    ready(error)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isRefused else { return }
    switch unwrapInboundIn(data) {
    case .head(let head): start(head)
    case .body(let bytes):
      guard bytes.readableBytes <= options.bodyLimit - body.count else { return refuse(413) }
      if shed == nil, let memory, memory.isSuspended {
        shed = body.count
        body = ByteWriter(capacity: 64)
      }
      if let dropped = shed {
        shed = dropped + bytes.readableBytes
        return dropped > Self.shedLimit ? refuse(503) : ()
      }
      bytes.withUnsafeReadableBytes { body.append($0) }
    case .end: finish()
    }
  }

  private func start(_ head: HTTPRequestHead) {
    let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
    // A decoder that saw an upgrade reads no further requests; those it does not know are served and closed.
    guard length <= options.bodyLimit else { return refuse(413) }
    shed = nil
    if let memory, length > 0 || head.headers.contains(name: "transfer-encoding"), !memory.admits() {
      guard length <= Self.shedLimit, !head.headers.contains(name: "expect") else { return refuse(503) }
      shed = 0
    }
    if let expectation = head.headers.first(name: "expect"), head.version == .http1_1 {
      guard expectation.lowercased() == "100-continue" else { return refuse(417) }
      inbox.state.withLock { $0.continueDue = true }
    }
    self.head = head
    inbox.state.withLock { $0.isPartial = true }
    body = ByteWriter(capacity: shed == nil ? max(64, min(length, Self.firstReservation)) : 64)
  }

  private func finish() {
    guard let head else { return }
    self.head = nil
    body.reserve(0)
    memset(body.end, 0, ByteWriter.padding)
    var content = ByteWriter(capacity: 64)
    swap(&content, &body)
    // After an upgrade that nobody answers the decoder takes no further request.
    let isLast = head.method == .CONNECT || head.headers.contains(name: "upgrade")
    let isShed = shed != nil
    let request = HTTPServerRequest(
      method: head.method.rawValue, target: head.uri, fields: HTTPFields(head.headers), body: Block(content),
      peer: peer ?? PeerAddress(nil), tls: tls, isKeptAlive: head.isKeepAlive && !isLast)
    inbox.state.withLock { state in
      state.isPartial = false
      state.continueDue = false
      state.requestStart = nil
      state.events.append(isShed ? .shed(isKeptAlive: request.isKeptAlive) : .request(request))
    }
  }

  private func refuse(_ status: Int) {
    guard !isRefused else { return }
    isRefused = true
    head = nil
    body = ByteWriter(capacity: 64)
    inbox.state.withLock { state in
      state.continueDue = false
      state.events.append(.refusal(status))
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    guard isReady else { return context.read() }
    let (waiter, needsContinue, readMore) = inbox.state.withLock { state -> (UnsafeContinuation<Void, Never>?, Bool, Bool) in
      if state.isDiscarding { return (nil, false, true) }
      if state.hasEvents { return (state.takeWaiter(), false, false) }
      guard state.waiter != nil else { return (nil, false, false) }
      // Half a request: the time for the rest starts anew, within the time for the whole.
      let now = NIODeadline.now()
      let start = state.requestStart ?? now
      state.requestStart = start
      state.deadline = now + TimeAmount(options.idleTimeout)
      if options.listen.messageTimeout > .zero {
        let whole = MessagePatience.extended(options.listen.messageTimeout.nanoseconds, by: Int64(shed ?? body.count))
        state.deadline = min(now + TimeAmount(options.idleTimeout), start + .nanoseconds(whole))
      }
      defer { state.continueDue = false }
      return (nil, state.continueDue, true)
    }
    if needsContinue { context.writeAndFlush(NIOAny(ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n")), promise: nil) }
    waiter?.resume()
    if readMore { context.read() }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case ChannelEvent.inputClosed: end()
    case TLSUserEvent.handshakeCompleted:
      tls = TLSInfo(context.channel)
      becomeReady(nil)
    default: break
    }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error {
    case HTTPParserError.invalidEOFState: end()
    case HTTPParserError.headerOverflow: refuse(431)
    case is HTTPParserError, is NIOHTTPDecoderError: refuse(400)
    default:
      becomeReady(NetworkError.wrap(error, "\(peer ?? PeerAddress(nil))") as? NetworkError)
      end()
      return context.close(promise: nil)
    }
    inbox.state.withLock { $0.hasEvents ? $0.takeWaiter() : nil }?.resume()
  }

  func channelInactive(context: ChannelHandlerContext) { end() }
  func handlerRemoved(context: ChannelHandlerContext) { end() }

  private func end() {
    inbox.state.withLock { state in
      state.isEnded = true
      return state.takeWaiter()
    }?.resume()
    becomeReady(NetworkError(.closed, "connection closed by peer (\(peer ?? PeerAddress(nil)))"))
  }
}
