import AggCore
import Glibc
import NIOCore

/// How many connections there may be, and what happens to further ones.
extension Acceptor {
  /// A connection was accepted; false when it is one too many. Those in their handshake count too, or slow ones could take every descriptor.
  func begins() -> Bool {
    let (isRefused, pause) = state.withLock { state in
      if state.open + state.pending >= options.maxConnections { return (true, false) }
      state.pending += 1
      let pause = state.open + state.pending >= share && !state.isPaused
      if pause { state.isPaused = true }
      return (false, pause)
    }
    if isRefused {
      refusing?.failed("\(endpoint): \(options.maxConnections) connections are open, the limit; further ones are closed")
      options.onEvent?(.refused)
      return false
    }
    refusing?.worked("\(endpoint): connections are accepted again")
    options.onEvent?(.accepted)
    if pause {
      starving?.failed(
        "\(endpoint): \(share) connections are open, half of the file descriptors that agg may have; further ones wait")
      applyPause()
    } else {
      starving?.worked("\(endpoint): connections are accepted again")
    }
    return true
  }

  /// The process, or the machine, has no descriptor for a connection. It waits in the backlog; NIO would ask for it without a pause.
  func starve(_ error: IOError) {
    guard error.errnoCode != ECONNABORTED else { return }
    starving?.failed("\(NetworkError.system(error.errnoCode, "\(endpoint)")); connections wait")
    state.withLock { $0.isStarved = true }
    applyPause()
    server.eventLoop.scheduleTask(in: .milliseconds(250)) { [self] in
      state.withLock { $0.isStarved = false }
      applyPause()
    }
  }

  func resumeIfRoom() {
    let resume = state.withLock { state in
      guard state.isPaused, state.open + state.pending < share else { return false }
      state.isPaused = false
      return !state.isStopped
    }
    if resume { applyPause() }
  }

  /// What is decided on several threads is put into effect on one, as it is decided by then: else an older decision could come last.
  private func applyPause() {
    server.eventLoop.execute { [self] in
      let accepts = state.withLock { !$0.isPaused && !$0.isStarved && !$0.isStopped }
      _ = server.setOption(.autoRead, value: accepts)
    }
  }
}

/// Hears of connections that could not be accepted, on the listening channel's loop.
final class AcceptErrors: ChannelInboundHandler, Sendable {
  typealias InboundIn = any Channel
  private let tell: @Sendable (IOError) -> Void
  init(_ tell: @escaping @Sendable (IOError) -> Void) { self.tell = tell }
  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if let error = error as? IOError { tell(error) } else { context.fireErrorCaught(error) }
  }
}
