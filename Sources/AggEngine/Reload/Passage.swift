import AggCore
import Synchronization

/// Where every batch goes in on its way through the topology: a reload closes it while it exchanges what is behind.
///
/// One lock a batch each way. Who waits here holds nothing; whoever is inside is waited for.
final class Passage: Sendable {
  enum Side: Int { case input, inner }
  /// `inputs`: what inputs emit waits, what filters and outputs let go passes. `ended`: nobody comes in ever again.
  enum Level: Int, Comparable {
    case open, inputs, all, ended
    static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
  }
  fileprivate struct State {
    var level = Level.open
    var inside = [0, 0]
    var waiting: [(side: Side, continuation: UnsafeContinuation<Bool, Never>)] = []
    func lets(_ side: Side) -> Bool { level == .open || level == .inputs && side == .inner }
  }
  private let state = Mutex(State())

  /// False when the topology behind is gone for good. Every true is followed by `leave`.
  func enter(_ side: Side) async -> Bool {
    let known = state.withLock { s in s.tryEnter(side) }
    if let known { return known }
    return await withUnsafeContinuation { continuation in
      let known = state.withLock { s -> Bool? in
        if let known = s.tryEnter(side) { return known }
        s.waiting.append((side, continuation))
        return nil
      }
      if let known { continuation.resume(returning: known) }
    }
  }
  func leave(_ side: Side) { state.withLock { $0.inside[side.rawValue] -= 1 } }

  /// A batch that waits for room inside goes back out and comes again.
  var isClosing: Bool { state.withLock { $0.level != .open } }

  /// Lets nobody in from now on and waits until all of that side are out; false when they are not by `deadline`.
  func close(_ level: Level, until deadline: MonotonicTime, _ timers: TimerQueue) async -> Bool {
    state.withLock { $0.level = max($0.level, level) }
    let pause = Waker(timers)
    while true {
      let inside = state.withLock { s in level == .inputs ? s.inside[0] : s.inside[0] + s.inside[1] }
      if inside == 0 { return true }
      if MonotonicTime.now() >= deadline { return false }
      await pause.wait(until: .now().adding(nanoseconds: 2_000_000))
    }
  }

  var isEnded: Bool { state.withLock { $0.level == .ended } }

  func open() {
    let waiting = state.withLock { s in
      if s.level != .ended { s.level = .open }
      return s.takeWaiting()
    }
    for (continuation, isIn) in waiting { continuation.resume(returning: isIn) }
  }

  /// The topology behind is gone: who waits is told.
  func end() {
    let waiting = state.withLock { s in
      s.level = .ended
      return s.takeWaiting()
    }
    for (continuation, isIn) in waiting { continuation.resume(returning: isIn) }
  }
}

extension Passage.State {
  fileprivate mutating func tryEnter(_ side: Passage.Side) -> Bool? {
    if level == .ended { return false }
    guard lets(side) else { return nil }
    inside[side.rawValue] += 1
    return true
  }
  fileprivate mutating func takeWaiting() -> [(UnsafeContinuation<Bool, Never>, Bool)] {
    let all = waiting
    waiting = []
    return all.map { entry in
      if level == .open { inside[entry.side.rawValue] += 1 }
      return (entry.continuation, level == .open)
    }
  }
}
