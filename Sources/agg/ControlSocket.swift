import AggCore
import AggEngine
import CAgg
import Dispatch
import Glibc

/// Where a running agg is spoken to on its own machine: messages over an abstract unix socket named by its process number.
///
/// It answers its own user and root only. An idle socket costs no thread.
final class ControlSocket: @unchecked Sendable {  // the source is used by `init` only
  private let socket: CInt
  private let source: any DispatchSourceRead

  /// Workers have names of their own: whoever looks for a daemon finds their supervisor.
  static func name(_ pid: pid_t) -> [UInt8] { [0] + Array("\(WorkerID.current == nil ? "agg" : "agg-worker").\(pid)".utf8) }

  /// Calls `serve` for every connection, in a task on the pool. Throws `StoreError`.
  init(on pool: BlockingPool, _ serve: @escaping @Sendable (ControlConnection) async -> Void) throws {
    let name = Self.name(getpid())
    let made = agg_unix_listen(CInt(SOCK_SEQPACKET.rawValue), name, name.count)
    guard made >= 0 else { throw StoreError("no control socket: \(String(cString: strerror(-made)))") }
    socket = made
    source = DispatchSource.makeReadSource(fileDescriptor: made, queue: .global())
    let accept: @Sendable () -> Void = {
      while true {
        let descriptor = agg_accept(made)
        guard descriptor >= 0 else { break }
        let connection = ControlConnection(descriptor)
        guard let peer = connection.peer, peer.user == geteuid() || peer.user == 0 else { continue }
        Task(executorPreference: pool) { await serve(connection) }
      }
    }
    source.setEventHandler(handler: accept)
    source.resume()
  }

  /// The processes of this network namespace that have such a socket.
  static var running: [pid_t] {
    guard let block = try? File.contents("/proc/net/unix", limit: 64 << 20) else { return [] }
    return block.string.split(separator: "\n").compactMap { line in
      line.split(separator: " ").last.flatMap { $0.hasPrefix("@agg.") ? pid_t($0.dropFirst(5)) : nil }
    }.filter { kill($0, 0) == 0 || errno == EPERM }.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}

/// One connection to a control socket; messages are text of at most 64 KiB, each with a descriptor or without. Blocks: use it on the pool.
final class ControlConnection: Sendable {
  private let descriptor: CInt

  init(_ descriptor: CInt) { self.descriptor = descriptor }
  deinit { close(descriptor) }

  /// Connects to the agg with that process number. Throws `StoreError`.
  convenience init(to pid: pid_t) throws {
    let name = ControlSocket.name(pid)
    let made = agg_unix_connect(CInt(SOCK_SEQPACKET.rawValue), name, name.count)
    guard made >= 0 else {
      throw StoreError(
        "process \(pid) is no running agg, or one of another network namespace: \(String(cString: strerror(-made)))")
    }
    self.init(made)
    // Anybody can take a name that is free.
    guard let peer, peer.pid == pid || peer.pid == 0 else {
      throw StoreError("the control socket of process \(pid) is another process's")
    }
  }

  var peer: (pid: pid_t, user: UInt32)? {
    var pid: CInt = 0
    var user: UInt32 = 0
    return agg_peer(descriptor, &pid, &user) == 0 ? (pid, user) : nil
  }

  /// False when the other side is gone.
  @discardableResult func send(_ text: String, _ attached: CInt = -1) -> Bool {
    let bytes = Array(text.utf8)
    return agg_message_send(descriptor, bytes, bytes.count, attached) >= 0
  }

  /// Returns when the other side is gone.
  func waitForEnd() {
    var never = timeval()
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &never, socklen_t(MemoryLayout<timeval>.size))
    var byte: UInt8 = 0
    while recv(descriptor, &byte, 1, 0) > 0 || errno == EINTR { errno = 0 }
  }

  /// The next message; nil when the other side is gone or `seconds` have passed.
  func receive(seconds: Int) -> (text: String, descriptor: CInt?)? {
    var limit = timeval(tv_sec: seconds, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var bytes = [UInt8](repeating: 0, count: 64 << 10)
    var attached: CInt = -1
    let count = agg_message_receive(descriptor, &bytes, bytes.count, &attached)
    guard count > 0 else { return nil }
    return (String(decoding: bytes[..<count], as: UTF8.self), attached >= 0 ? attached : nil)
  }
}
