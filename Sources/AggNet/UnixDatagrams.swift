import AggCore
import CAgg
import Glibc

/// A unix datagram socket that only receives, read on a thread that may block.
///
/// The network library ends the process on a datagram whose sender has no name, and that is every DogStatsD client.
final class UnixDatagrams: Sendable {
  private static let longest = 65_536

  private let descriptor: Int32
  private let path: String
  /// Of the socket's file: another process may have put its own in the place since.
  private let file: (device: UInt64, inode: UInt64)?
  private let wakeEnds: (read: Int32, write: Int32)

  /// Takes the place of a socket that nobody listens on any more; throws `FileError`.
  init(path: String, receiveBuffer: Int?) throws(FileError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw FileError(path, "bind a unix socket", ENAMETOOLONG)
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let fd = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
    guard fd >= 0 else { throw FileError(path, "make a unix socket") }
    var isInUse = false
    func call(_ body: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
      }
    }
    if let status = File.status(path, followingLinks: false), !status.isRegular, !status.isDirectory {
      isInUse = call { connect($0, $1, $2) } == 0
      if !isInUse { unlink(path) }
    }
    if isInUse || call({ bind($0, $1, $2) }) != 0 {
      let code = isInUse ? EADDRINUSE : errno
      close(fd)
      throw FileError(path, "bind a unix socket", code)
    }
    // Clients run as whoever they are.
    _ = chmod(path, 0o666)
    if var size = receiveBuffer.map({ Int32(clamping: $0) }) {
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    }
    var ends: [Int32] = [-1, -1]
    _ = pipe(&ends)
    for end in ends {
      _ = agg_fcntl_int(end, F_SETFL, O_NONBLOCK)
      _ = agg_fcntl_int(end, F_SETFD, FD_CLOEXEC)
    }
    (descriptor, self.path) = (fd, path)
    wakeEnds = (ends[0], ends[1])
    file = File.status(path, followingLinks: false).map { ($0.device, $0.inode) }
  }
  deinit {
    close(descriptor)
    close(wakeEnds.read)
    close(wakeEnds.write)
    if let file, let now = File.status(path, followingLinks: false), (now.device, now.inode) == file { unlink(path) }
  }

  /// Calls `body` for every datagram until the task is cancelled; blocks the calling thread.
  func run(_ body: (UnsafeRawBufferPointer) -> Void) async {
    await withTaskCancellationHandler {
      receive(body)
    } onCancel: {
      var byte: UInt8 = 1
      _ = write(wakeEnds.write, &byte, 1)
    }
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
