import NIOCore
import NIOPosix

extension Connection {
  /// Whether an idle connection can still be used: the peer has not ended it, and nothing it sent waits to be read.
  ///
  /// Looks at the kernel's state of the socket without reading; bytes that the kernel holds are not noticed.
  public func isQuiet() async -> Bool {
    let isOpen = handler.state.withLock { $0.first == nil && !$0.isEnded && $0.failure == nil && !$0.isClosing }
    guard isOpen, channel.isActive else { return false }
    // A unix socket has no such state.
    guard localPort != 0, let provider = channel as? any SocketOptionProvider else { return true }
    guard let info = try? await provider.getTCPInfo().get() else { return false }
    return info.tcpi_state == 1  // TCP_ESTABLISHED
  }
}
