import Glibc
import Synchronization

/// Ports of the loopback that no test of this process and no outgoing connection takes in the meantime.
///
/// A port that the system chose and that was closed again can be chosen again, by another test's listener or as the near
/// end of a connection. These are below the system's range (`ip_local_port_range` starts at 32768), each handed out once.
public enum TestPort {
  private static let next = Atomic<UInt32>(UInt32(getpid()) % 1000 * 20)

  /// A port that nobody listens on, TCP or UDP.
  public static func free() -> UInt16 {
    while true {
      let (number, _) = next.wrappingAdd(1, ordering: .relaxed)
      let port = UInt16(11_000 + number % 20_000)
      if isFree(port, Int32(SOCK_STREAM.rawValue)), isFree(port, Int32(SOCK_DGRAM.rawValue)) { return port }
    }
  }

  private static func isFree(_ port: UInt16, _ kind: Int32) -> Bool {
    let descriptor = socket(AF_INET, kind, 0)
    defer { close(descriptor) }
    var on: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
    }
  }
}
