import Glibc
import NIOCore

/// A listening or datagram socket on its way from one process to another.
public struct HandedSocket: Sendable {
  /// Which socket it is, as text without line breaks; `Network.adopt` reads it.
  public let description: String
  public let descriptor: CInt
}

extension Network {
  /// The sockets that nobody uses at the moment, to be given to the process that takes over. They stay open here.
  public var handedSockets: [HandedSocket] {
    sockets.all.map { socket in
      let kind = socket.kind == .stream ? "stream" : "datagram"
      let owner = socket.isActivated ? "activated" : "own"
      switch socket.endpoint {
      case .host(let host, let port):
        return HandedSocket(description: "\(kind)\t\(owner)\thost\t\(port)\t\(host)", descriptor: socket.descriptor)
      case .unix(let path): return HandedSocket(description: "\(kind)\t\(owner)\tunix\t0\t\(path)", descriptor: socket.descriptor)
      }
    }
  }

  /// Takes over a socket that another agg has described; false, and it is closed, when that is no description.
  public func adopt(_ description: String, _ descriptor: CInt) -> Bool {
    let parts = description.split(separator: "\t", maxSplits: 4, omittingEmptySubsequences: false)
    guard parts.count == 5, let port = Int(parts[3]), Self.kind(of: descriptor) == (parts[0] == "stream" ? .stream : .datagram)
    else {
      _ = Glibc.close(descriptor)
      return false
    }
    let place = String(parts[4])
    let endpoint = parts[2] == "unix" ? Endpoint.unix(place) : .host(place, port)
    let isActivated = parts[1] == "activated"
    let file = parts[2] == "unix" && !isActivated ? BoundSocket.identity(of: place) : nil
    sockets.keep(
      BoundSocket(
        kind: parts[0] == "stream" ? .stream : .datagram, endpoint: endpoint, descriptor: descriptor, file: file,
        isActivated: isActivated))
    return true
  }

  /// Takes over a socket that a service manager made, whose address says what it is for; false when agg has no use for its kind.
  public func adoptActivated(_ descriptor: CInt) -> Bool {
    guard let kind = Self.kind(of: descriptor), let endpoint = BoundSocket.address(of: descriptor).flatMap(BoundSocket.endpoint)
    else { return false }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    let flags = fcntl(descriptor, F_GETFL)
    _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
    sockets.keep(BoundSocket(kind: kind, endpoint: endpoint, descriptor: descriptor, file: nil, isActivated: true))
    return true
  }

  /// Sockets of a service manager that no plugin listens on, by their addresses.
  public var unusedActivated: [String] { sockets.all.filter(\.isActivated).map { "\($0.endpoint)" }.sorted() }

  /// The sockets that were kept now belong to the process that took over.
  public func forgetHandedSockets() { sockets.forget() }

  private static func kind(of descriptor: CInt) -> BoundSocket.Kind? {
    var type: CInt = 0
    var size = socklen_t(MemoryLayout<CInt>.size)
    guard getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) == 0 else { return nil }
    if type == CInt(SOCK_DGRAM.rawValue) { return .datagram }
    var listens: CInt = 0
    guard type == CInt(SOCK_STREAM.rawValue), getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0,
      listens == 1
    else { return nil }
    return .stream
  }
}

extension BoundSocket {
  /// What a descriptor is bound to; nil for other families.
  static func address(of descriptor: CInt) -> SocketAddress? {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let status = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    guard status == 0 else { return nil }
    let family = CInt(storage.ss_family)
    return withUnsafePointer(to: &storage) { pointer in
      switch family {
      case AF_INET: pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { SocketAddress($0.pointee) }
      case AF_INET6: pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { SocketAddress($0.pointee) }
      case AF_UNIX: pointer.withMemoryRebound(to: sockaddr_un.self, capacity: 1) { SocketAddress($0.pointee) }
      default: nil
      }
    }
  }

  static func endpoint(of address: SocketAddress) -> Endpoint? {
    if let path = address.pathname, !path.isEmpty { return .unix(path) }
    guard let host = address.ipAddress, let port = address.port else { return nil }
    return .host(host, port)
  }

  /// Whether it is bound to the address; one bound to every address of both families also serves 0.0.0.0.
  func serves(_ wanted: SocketAddress) -> Bool {
    guard let own = Self.address(of: descriptor) else { return false }
    if let path = wanted.pathname { return own.pathname == path }
    guard own.port == wanted.port, let mine = own.ipAddress, let theirs = wanted.ipAddress else { return false }
    if mine == theirs { return true }
    guard mine == "::", theirs == "0.0.0.0" else { return false }
    var isV6Only: CInt = 0
    var size = socklen_t(MemoryLayout<CInt>.size)
    return getsockopt(descriptor, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &isV6Only, &size) == 0 && isV6Only == 0
  }
}
