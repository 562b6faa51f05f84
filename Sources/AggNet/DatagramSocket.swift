public import AggCore
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Datagrams that arrived together: their bytes one after the other and where each begins.
public struct DatagramBatch: ~Copyable, Sendable {
  public struct Entry: Sendable {
    public let range: Range<Int>
    public let peer: PeerAddress
  }

  public private(set) var bytes: ByteWriter
  public private(set) var entries: [Entry] = []

  public init() { bytes = ByteWriter() }

  public var count: Int { entries.count }

  /// One datagram's bytes, valid until the batch is filled again.
  public func datagram(_ index: Int) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes.bytes[entries[index].range])
  }

  mutating func removeAll() {
    bytes.removeAll()
    entries.removeAll(keepingCapacity: true)
  }

  mutating func append(_ data: ByteBuffer, from peer: PeerAddress) {
    let start = bytes.count
    data.withUnsafeReadableBytes { bytes.append($0) }
    entries.append(Entry(range: start..<bytes.count, peer: peer))
  }
}

/// How a datagram socket is bound.
public struct DatagramOptions: Sendable {
  /// SO_RCVBUF in bytes: what the kernel holds while nobody receives, as far as it allows that much.
  ///
  /// The system's 208 KiB are some 200 short datagrams, each counted with its frame: fewer than syslog senders send at once.
  public var receiveBuffer: Int? = 4 << 20
  public var reusePort = false
  /// The socket file's mode, such as 0o660.
  public var unixPermissions: UInt32?
  /// Longer datagrams are cut at this many bytes.
  public var maxLength = 65_536

  public init() {}
}

/// A UDP or unix datagram socket; one task receives, any may send.
///
/// Nothing is read while nobody is in `receive`: the kernel's buffer is the only queue, and it counts what it drops.
public final class DatagramSocket: Sendable {
  public let endpoint: Endpoint
  /// Receiving on it costs no change of threads.
  public var executor: any TaskExecutor { pool.executor }

  private let network: Network
  private let socket: Mutex<BoundSocket?>
  private let channel: any Channel
  private let handler: DatagramHandler
  private let pool: ReceivePool

  /// Binds, or takes over a socket that was closed with `keepingSocket`. A host with port 0 makes a socket for sending.
  public static func bind(
    _ endpoint: Endpoint, _ options: DatagramOptions = DatagramOptions(), on network: Network
  ) async throws -> DatagramSocket {
    let settings = SocketOptions(
      reusePort: options.reusePort, receiveBuffer: options.receiveBuffer, unixPermissions: options.unixPermissions)
    let socket = try await network.bindSocket(.datagram, endpoint, settings)
    do {
      let handler = DatagramHandler(rest: ReadPace.rest(room: socket.receiveRoom))
      let loop = try network.eventLoops().next()
      let size = max(512, min(options.maxLength, 65_536))
      let channel = try await DatagramBootstrap(group: loop)
        .channelOption(.autoRead, value: false)
        .channelOption(.maxMessagesPerRead, value: 1)
        .channelOption(.datagramVectorReadMessageCount, value: DatagramHandler.vector)
        .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: size * DatagramHandler.vector))
        .channelInitializer { $0.pipeline.addHandler(handler) }
        .withBoundSocket(try socket.duplicate()).get()
      return DatagramSocket(network, socket, channel, handler, network.buffers.pool(of: loop))
    } catch {
      socket.close()
      throw NetworkError.wrap(error, "\(endpoint)")
    }
  }

  private init(_ network: Network, _ socket: BoundSocket, _ channel: any Channel, _ handler: DatagramHandler, _ pool: ReceivePool)
  {
    self.network = network
    self.channel = channel
    self.handler = handler
    self.pool = pool
    self.socket = Mutex(socket)
    endpoint = socket.endpoint
  }

  /// Waits for datagrams and fills `batch` with those that are there, at most 32; returns how many, 0 when the socket
  /// was closed or the task is cancelled.
  public func receive(into batch: inout DatagramBatch) async throws -> Int {
    batch.removeAll()
    while true {
      let (taken, isEnded) = handler.take(&batch)
      if taken > 0 { return taken }
      if isEnded || Task.isCancelled { return 0 }
      await handler.arrival(channel)
    }
  }

  /// Sends one datagram. Throws `NetworkError`, also for what the peer's machine said about an earlier one.
  public func send(_ bytes: UnsafeRawBufferPointer, to peer: PeerAddress) async throws {
    guard let address = peer.address else { throw NetworkError(.configuration, "a peer without an address") }
    do {
      try await channel.writeAndFlush(AddressedEnvelope(remoteAddress: address, data: ByteBuffer(bytes: bytes)))
    } catch { throw NetworkError.wrap(error, "\(peer)") }
  }

  /// Datagrams that the kernel dropped since the socket was made, for want of room; nil when it does not say.
  public var kernelDrops: Int? {
    socket.withLock { socket in
      guard let socket else { return nil }
      // SO_MEMINFO (linux/sock_diag.h): nine 32-bit values, the last is SK_MEMINFO_DROPS.
      var values = [UInt32](repeating: 0, count: 9)
      var size = socklen_t(values.count * 4)
      guard getsockopt(socket.descriptor, SOL_SOCKET, 55, &values, &size) == 0, size >= 36 else { return nil }
      return Int(values[8])
    }
  }

  /// Ends `receive`. With `keepingSocket` the kernel goes on queueing for whoever binds the same endpoint next.
  public func close(keepingSocket: Bool = false) async {
    let socket = self.socket.withLock { $0.take() }
    try? await channel.close(mode: .all)
    guard let socket else { return }
    if keepingSocket { network.sockets.keep(socket) } else { socket.close() }
  }
}

/// Holds what one vector read brought until `receive` takes it.
private final class DatagramHandler: ChannelInboundHandler, Sendable {
  typealias InboundIn = AddressedEnvelope<ByteBuffer>

  /// Messages a system call.
  static let vector = 32

  private struct State {
    var ready: [AddressedEnvelope<ByteBuffer>] = []
    var waiter: UnsafeContinuation<Void, Never>?
    var isEnded = false
    /// Senders repeat, and making an address readable costs as much as receiving it.
    var last: PeerAddress?
    var pace = ReadPace()
    /// The last read brought as many as it could: more are waiting.
    var wasFull = false

    mutating func takeWaiter() -> UnsafeContinuation<Void, Never>? {
      defer { waiter = nil }
      return waiter
    }
  }

  private let state = Mutex(State())
  private let rest: TimeAmount?
  /// `rest` between reads that come often; nil for none.
  init(rest: TimeAmount?) { self.rest = rest }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let envelope = unwrapInboundIn(data)
    state.withLock { $0.ready.append(envelope) }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    let (waiter, readMore) = state.withLock { state -> (UnsafeContinuation<Void, Never>?, Bool) in
      state.ready.isEmpty ? (nil, state.waiter != nil) : (state.takeWaiter(), false)
    }
    waiter?.resume()
    if readMore { context.read() }
  }

  /// An ICMP answer to something sent: the socket stays good.
  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if state.withLock({ $0.waiter != nil }) { context.read() }
  }

  func channelInactive(context: ChannelHandlerContext) { end() }

  private func end() {
    let waiter = state.withLock { state in
      state.isEnded = true
      return state.takeWaiter()
    }
    waiter?.resume()
  }

  func take(_ batch: inout DatagramBatch) -> (count: Int, isEnded: Bool) {
    var (ready, last, isEnded) = state.withLock { state in
      let result = (state.ready, state.last, state.isEnded)
      state.ready = []
      return result
    }
    for envelope in ready {
      let peer: PeerAddress
      if let last, last.address == envelope.remoteAddress { peer = last } else { peer = PeerAddress(envelope.remoteAddress) }
      last = peer
      batch.append(envelope.data, from: peer)
    }
    if !ready.isEmpty {
      let (bytes, count) = (batch.bytes.count, ready.count)
      state.withLock { [last] state in
        state.last = last
        state.wasFull = count >= Self.vector
        state.pace.got(bytes, at: .now())
      }
    }
    return (ready.count, isEnded)
  }

  func arrival(_ channel: any Channel) async {
    await withTaskCancellationHandler {
      await withUnsafeContinuation { waiter in
        let rests = state.withLock { state -> Bool? in
          if !state.ready.isEmpty || state.isEnded { return nil }
          state.waiter = waiter
          return state.pace.rests && !state.wasFull
        }
        guard let rests else { return waiter.resume() }
        if rests, let rest { channel.eventLoop.scheduleTask(in: rest) { [channel] in channel.read() } } else { channel.read() }
        // A cancellation that came before the waiter was in place.
        if Task.isCancelled { wake() }
      }
    } onCancel: {
      wake()
    }
  }

  private func wake() { state.withLock { $0.takeWaiter() }?.resume() }
}
