import Glibc
import Synchronization

/// A unix datagram socket that only receives, read on a thread that may block.
///
/// NIO ends the process on a datagram whose sender has no name, and that is every DogStatsD client.
public final class UnixDatagrams: Sendable {
  private static let longest = 65_536

  private let network: Network
  private let socket: Mutex<BoundSocket?>
  private let descriptor: CInt
  private let wakeEnds: (read: CInt, write: CInt)

  /// Binds, taking the place of a socket that nobody listens on any more, or takes over one that was closed with `keepingSocket`.
  /// `permissions` are the socket file's. Throws `NetworkError`.
  public static func bind(_ path: String, receiveBuffer: Int? = nil, permissions: UInt32 = 0o666, on network: Network)
    async throws -> UnixDatagrams
  {
    let options = SocketOptions(receiveBuffer: receiveBuffer, unixPermissions: permissions)
    return try UnixDatagrams(try await network.bindSocket(.datagram, .unix(path), options), network)
  }

  private init(_ socket: BoundSocket, _ network: Network) throws {
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else {
      let code = errno
      socket.close()
      throw NetworkError.system(code, "\(socket.endpoint)", default: .cannotBind)
    }
    for end in ends {
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
    }
    self.network = network
    self.socket = Mutex(socket)
    descriptor = socket.descriptor
    wakeEnds = (ends[0], ends[1])
  }
  deinit {
    socket.withLock { $0.take() }?.close()
    _ = Glibc.close(wakeEnds.read)
    _ = Glibc.close(wakeEnds.write)
  }

  /// Calls `body` for every datagram until the task is cancelled; blocks the calling thread. What was not read by then stays in the socket.
  public func run(_ body: (UnsafeRawBufferPointer) -> Void) async {
    await withTaskCancellationHandler {
      receive(body)
    } onCancel: {
      var byte: UInt8 = 1
      _ = write(wakeEnds.write, &byte, 1)
    }
  }

  /// After `run`. With `keepingSocket` the kernel goes on queueing datagrams for whoever binds the path next, until `Network.releaseUnclaimed`.
  public func close(keepingSocket: Bool = false) {
    guard let socket = socket.withLock({ $0.take() }) else { return }
    if keepingSocket { network.sockets.keep(socket) } else { socket.close() }
  }

  private func receive(_ body: (UnsafeRawBufferPointer) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: Self.longest, alignment: 8) { buffer in
      while !Task.isCancelled {
        let n = recv(descriptor, buffer.baseAddress, buffer.count, 0)
        if n >= 0 {
          body(UnsafeRawBufferPointer(rebasing: buffer[..<n]))
          continue
        }
        if errno != EAGAIN, errno != EINTR { return }
        var descriptors = [
          pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: wakeEnds.read, events: Int16(POLLIN), revents: 0),
        ]
        _ = poll(&descriptors, 2, -1)
      }
    }
  }
}
