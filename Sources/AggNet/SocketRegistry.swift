import Glibc
import NIOCore
import Synchronization

/// The bound sockets that nobody uses at the moment but a reload may take over.
///
/// Between `keep` and `take` the kernel goes on queueing connections and datagrams, so no peer notices. Sockets that a
/// service manager passes to the process (LISTEN_FDS) belong here too: put in with `keep` before the first bind.
final class SocketRegistry: Sendable {
  private struct Key: Hashable {
    let kind: BoundSocket.Kind
    let endpoint: Endpoint
  }

  private let kept = Mutex<[Key: BoundSocket]>([:])

  func keep(_ socket: BoundSocket) {
    let replaced = kept.withLock { $0.updateValue(socket, forKey: Key(kind: socket.kind, endpoint: socket.endpoint)) }
    replaced?.close()
  }

  func take(_ kind: BoundSocket.Kind, _ endpoint: Endpoint) -> BoundSocket? {
    kept.withLock { $0.removeValue(forKey: Key(kind: kind, endpoint: endpoint)) }
  }

  /// The socket that a service manager made for one of the addresses.
  func takeActivated(_ kind: BoundSocket.Kind, _ addresses: [SocketAddress]) -> BoundSocket? {
    kept.withLock { kept in
      for address in addresses {
        let found = kept.first { $0.value.isActivated && $0.key.kind == kind && $0.value.serves(address) }
        if let found { return kept.removeValue(forKey: found.key) }
      }
      return nil
    }
  }

  var hasActivated: Bool { kept.withLock { $0.values.contains(where: \.isActivated) } }
  var all: [BoundSocket] { kept.withLock { Array($0.values) } }

  func releaseUnclaimed() {
    let sockets = kept.withLock { kept in
      let released = kept.filter { !$0.value.isActivated }
      kept = kept.filter { $0.value.isActivated }
      return released
    }
    for socket in sockets.values { socket.close() }
  }

  /// Another process has them now: what they are bound to stays as it is.
  func forget() {
    let sockets = kept.withLock { kept in
      defer { kept = [:] }
      return kept
    }
    for socket in sockets.values { _ = Glibc.close(socket.descriptor) }
  }
}

extension Network {
  /// The kept socket of this endpoint, or a new one.
  func bindSocket(_ kind: BoundSocket.Kind, _ endpoint: Endpoint, _ options: SocketOptions) async throws -> BoundSocket {
    if let socket = sockets.take(kind, endpoint) {
      if kind == .stream { _ = listen(socket.descriptor, options.backlog) }
      if case .unix(let path) = endpoint, let permissions = options.unixPermissions { chmod(path, mode_t(permissions)) }
      return socket
    }
    let addresses = try await addresses(endpoint, passive: true)
    if sockets.hasActivated, let socket = sockets.takeActivated(kind, addresses) { return socket }
    guard let address = addresses.first else { throw NetworkError(.unknownHost, "no address (\(endpoint))") }
    var options = options
    if sharesPorts { options.reusePort = true }
    return try BoundSocket.open(kind, endpoint, address, options)
  }
}
