import AggCore
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// The socket under a connection without TLS, for bytes that go to and from the caller's memory without a copy in between.
///
/// Received is on the channel's loop, which alone closes the network's descriptor. Sent is on any thread, by a descriptor of its own:
/// the network's number could be another socket's by then.
final class DirectSocket: Sendable {
  /// Less than this is not worth a descriptor; it costs a copy in the cache.
  static let smallestSend = 32 << 10
  /// The most that one read receives.
  static let readSize = ReceivePool.blockSize

  private struct Sender {
    /// -1 before it is made, and where it cannot be.
    var descriptor: CInt = -1
    var isMade = false
    var isClosed = false
    /// Threads inside send(2).
    var users = 0
  }
  private let sender = Mutex(Sender())
  /// Of the network's; used on its loop.
  private let receiver = Atomic<CInt>(-1)

  /// What has arrived, up to `readSize`; 0 where nothing has, or only the network can tell what is the matter. On the channel's loop.
  func receive(_ channel: any Channel, into writer: inout ByteWriter) -> Int {
    // So that thousands of connections do not each hold room for what they might send.
    let (descriptor, waiting) = arrived(channel)
    guard waiting > 0 else { return 0 }
    let size = min(waiting, Self.readSize)
    writer.reserve(size)
    let count = recv(descriptor, writer.end, size, CInt(MSG_DONTWAIT))
    guard count > 0 else { return 0 }
    writer.count += count
    return count
  }

  /// Bytes wait in the socket; on the channel's loop.
  func hasMore(_ channel: any Channel) -> Bool { arrived(channel).bytes > 0 }

  private func arrived(_ channel: any Channel) -> (descriptor: CInt, bytes: Int) {
    guard channel.isActive else { return (-1, 0) }
    var descriptor = receiver.load(ordering: .relaxed)
    if descriptor < 0 {
      descriptor = Self.descriptor(channel)
      receiver.store(descriptor, ordering: .relaxed)
    }
    var waiting: CInt = 0
    guard descriptor >= 0, ioctl(descriptor, UInt(FIONREAD), &waiting) == 0 else { return (-1, 0) }
    return (descriptor, Int(waiting))
  }

  /// Makes `send` possible; on the channel's loop.
  func prepare(_ channel: any Channel) {
    sender.withLock { sender in
      guard !sender.isMade, !sender.isClosed else { return }
      sender.isMade = true
      guard channel.isActive else { return }
      let descriptor = Self.descriptor(channel)
      if descriptor >= 0 { sender.descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0) }
    }
  }
  var isPrepared: Bool { sender.withLock { $0.isMade } }

  /// Sends what the kernel takes now; 0 where that is nothing, also of a connection that has ended.
  func send(_ bytes: UnsafeRawBufferPointer) -> Int {
    let descriptor = sender.withLock { sender -> CInt in
      guard sender.descriptor >= 0, !sender.isClosed else { return -1 }
      sender.users += 1
      return sender.descriptor
    }
    guard descriptor >= 0 else { return 0 }
    let count = Glibc.send(descriptor, bytes.baseAddress, bytes.count, CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL))
    release { $0.users -= 1 }
    return max(0, count)
  }

  /// The channel has ended: the peer must see that too.
  func close() { release { $0.isClosed = true } }

  private func release(_ change: (inout Sender) -> Void) {
    let descriptor = sender.withLock { sender -> CInt in
      change(&sender)
      guard sender.isClosed, sender.users == 0 else { return -1 }
      defer { sender.descriptor = -1 }
      return sender.descriptor
    }
    if descriptor >= 0 { Glibc.close(descriptor) }
  }

  private static func descriptor(_ channel: any Channel) -> CInt {
    (try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }) ?? -1
  }
}
