import Glibc
import NIOCore

/// A bound socket of ours: made here rather than by NIO, so that a reload can hand it on without closing it.
///
/// NIO works on duplicates; the kernel's socket lives until `close`.
struct BoundSocket: Sendable {
  enum Kind: Sendable, Hashable { case stream, datagram }

  let kind: Kind
  /// With the port that the system chose.
  let endpoint: Endpoint
  let descriptor: CInt
  /// The socket file's identity, so that only our own file is removed.
  let file: FileIdentity?
  /// A service manager made it and keeps it: it is matched by address, and never given up.
  var isActivated = false

  struct FileIdentity: Sendable, Hashable {
    let device: UInt
    let inode: UInt
  }

  func duplicate() throws -> CInt {
    let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { throw NetworkError.system(errno, "\(endpoint)") }
    return copy
  }

  /// Bytes that the kernel keeps until they are read, its own frames included (socket(7): twice what SO_RCVBUF was set to, or less).
  var receiveRoom: Int {
    var (room, size) = (CInt(0), socklen_t(MemoryLayout<CInt>.size))
    return getsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &room, &size) == 0 ? Int(room) : 0
  }

  func close() {
    if case .unix(let path) = endpoint, let file, Self.identity(of: path) == file { unlink(path) }
    _ = Glibc.close(descriptor)
  }

  static func identity(of path: String) -> FileIdentity? {
    var info = stat()
    guard lstat(path, &info) == 0 else { return nil }
    return FileIdentity(device: UInt(info.st_dev), inode: UInt(info.st_ino))
  }
}

extension BoundSocket {
  /// Makes and binds a socket; a stream also listens. Throws `NetworkError` with `addressInUse` or `cannotBind`.
  static func open(_ kind: Kind, _ endpoint: Endpoint, _ address: SocketAddress, _ options: SocketOptions) throws -> BoundSocket {
    let type =
      CInt((kind == .stream ? SOCK_STREAM : SOCK_DGRAM).rawValue) | CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    let family: CInt
    switch address {
    case .v4: family = AF_INET
    case .v6: family = AF_INET6
    case .unixDomainSocket: family = AF_UNIX
    }
    let descriptor = socket(family, type, 0)
    guard descriptor >= 0 else { throw NetworkError.system(errno, "\(endpoint)", default: .cannotBind) }
    do {
      try set(descriptor, kind, options, endpoint)
      if case .unix(let path) = endpoint { try removeStale(path, kind) }
      let result = address.withSockAddr { Glibc.bind(descriptor, $0, socklen_t($1)) }
      guard result == 0 else { throw NetworkError.system(errno, "\(endpoint)", default: .cannotBind) }
      var file: FileIdentity?
      if case .unix(let path) = endpoint {
        file = identity(of: path)
        if let permissions = options.unixPermissions, chmod(path, mode_t(permissions)) != 0 {
          throw NetworkError.system(errno, "\(endpoint)", default: .cannotBind)
        }
      }
      if kind == .stream, listen(descriptor, options.backlog) != 0 {
        throw NetworkError.system(errno, "\(endpoint)", default: .cannotBind)
      }
      return BoundSocket(kind: kind, endpoint: actual(endpoint, descriptor), descriptor: descriptor, file: file)
    } catch {
      _ = Glibc.close(descriptor)
      throw error
    }
  }

  private static func set(_ descriptor: CInt, _ kind: Kind, _ options: SocketOptions, _ endpoint: Endpoint) throws {
    func turnOn(_ level: CInt, _ name: CInt, _ value: CInt = 1) throws {
      var value = value
      guard setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<CInt>.size)) == 0 else {
        throw NetworkError.system(errno, "\(endpoint)", default: .cannotBind)
      }
    }
    if case .host = endpoint {
      // For streams only: two UDP sockets with it would share a port, and one of them would get nothing.
      if kind == .stream { try turnOn(SOL_SOCKET, SO_REUSEADDR) }
      if options.reusePort { try turnOn(SOL_SOCKET, SO_REUSEPORT) }
    }
    if let size = options.receiveBuffer {
      // Beyond net.core.rmem_max only with CAP_NET_ADMIN; else the kernel gives what it allows.
      if (try? turnOn(SOL_SOCKET, SO_RCVBUFFORCE, CInt(clamping: size))) == nil { try turnOn(SOL_SOCKET, SO_RCVBUF, CInt(clamping: size)) }
    }
  }

  /// Removes the socket file of a process that is gone; a live one, or a file that is no socket, is an error.
  private static func removeStale(_ path: String, _ kind: Kind) throws {
    var info = stat()
    guard lstat(path, &info) == 0 else { return }
    guard info.st_mode & S_IFMT == S_IFSOCK else {
      throw NetworkError(.cannotBind, "a file that is no socket is in the way (unix:\(path))")
    }
    let type =
      CInt((kind == .stream ? SOCK_STREAM : SOCK_DGRAM).rawValue) | CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    let probe = socket(AF_UNIX, type, 0)
    guard probe >= 0, let address = try? SocketAddress(unixDomainSocketPath: path) else { return }
    defer { _ = Glibc.close(probe) }
    let result = address.withSockAddr { Glibc.connect(probe, $0, socklen_t($1)) }
    // EAGAIN: it lives, its backlog is full. EPROTOTYPE: it lives, as the other kind.
    if result == 0 || errno == EAGAIN || errno == EPROTOTYPE || errno == EINPROGRESS {
      throw NetworkError(.addressInUse, "address already in use (unix:\(path))")
    }
    unlink(path)
  }

  private static func actual(_ endpoint: Endpoint, _ descriptor: CInt) -> Endpoint {
    guard case .host(let host, 0) = endpoint else { return endpoint }
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let status = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    guard status == 0 else { return endpoint }
    // sin_port and sin6_port are at the same place.
    let port = withUnsafeBytes(of: &storage) { $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self).bigEndian }
    return .host(host, Int(port))
  }
}

/// What is set on a socket before it is bound.
struct SocketOptions: Sendable {
  var backlog: CInt = 1024
  var reusePort = false
  var receiveBuffer: Int?
  var unixPermissions: UInt32?
}
