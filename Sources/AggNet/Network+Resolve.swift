import Glibc
import NIOCore
import NIOPosix

extension Network {
  /// Every address of `host`, in the system's order of preference; asked anew each time, never on a network thread.
  public func resolve(_ host: String, port: Int) async throws -> [PeerAddress] {
    try await addresses(.host(host, port)).map { PeerAddress($0) }
  }

  /// The name of `peer` as the system's resolver knows it, nil when it has none.
  public func hostName(of peer: PeerAddress) async -> String? {
    guard let address = peer.address else { return nil }
    return try? await blocking {
      address.withSockAddr { pointer, size in
        var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let status = getnameinfo(pointer, socklen_t(size), &name, socklen_t(name.count), nil, 0, NI_NAMEREQD)
        return status == 0 ? name.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } } ?? nil : nil
      }
    }
  }

  func addresses(_ endpoint: Endpoint, passive: Bool = false) async throws -> [SocketAddress] {
    switch endpoint {
    case .unix(let path):
      guard let address = try? SocketAddress(unixDomainSocketPath: path) else {
        throw NetworkError(.configuration, "the path of a unix socket has at most 107 bytes (\(endpoint))")
      }
      return [address]
    case .host(let host, let port):
      guard (0...65535).contains(port) else { throw NetworkError(.configuration, "no such port (\(endpoint))") }
      // Plain addresses need neither a thread nor the resolver.
      if let address = try? SocketAddress(ipAddress: host, port: port) { return [address] }
      return try await blocking { try lookUp(host, port, passive: passive) }
    }
  }
}

private func lookUp(_ host: String, _ port: Int, passive: Bool) throws -> [SocketAddress] {
  var hints = addrinfo()
  hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
  hints.ai_flags = passive ? AI_PASSIVE : 0
  var list: UnsafeMutablePointer<addrinfo>?
  let status = getaddrinfo(host.isEmpty ? nil : host, String(port), &hints, &list)
  guard status == 0 else {
    let reason = gai_strerror(status).map { String(cString: $0) } ?? "error \(status)"
    throw NetworkError(.unknownHost, "unknown host \(host): \(reason)")
  }
  defer { freeaddrinfo(list) }
  var result: [SocketAddress] = []
  var next = list
  while let entry = next {
    defer { next = entry.pointee.ai_next }
    guard let pointer = entry.pointee.ai_addr else { continue }
    switch entry.pointee.ai_family {
    case AF_INET:
      result.append(pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { SocketAddress($0.pointee, host: host) })
    case AF_INET6:
      result.append(pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { SocketAddress($0.pointee, host: host) })
    default: continue
    }
  }
  guard !result.isEmpty else { throw NetworkError(.unknownHost, "unknown host \(host): no address") }
  return result
}
