import Synchronization

/// Lets one emit at a time through a filter that holds events, until its batch is stored or refused.
///
/// Held state changes when the filter runs and is stored with the batch's commit. Were a second batch to build on a state whose
/// own batch is then refused, the two could not be told apart again: so it waits. First come, first served.
public final class HoldGate: Sendable {
  private struct State {
    var isTaken = false
    var waiting: [UnsafeContinuation<Void, Never>] = []
    var head = 0
    mutating func take() -> Bool {
      if isTaken { return false }
      isTaken = true
      return true
    }
  }
  private static let count = Atomic<UInt64>(0)
  /// Several gates are always taken in this order: nobody waits for one while holding a later one.
  public let order: UInt64
  private let state = Mutex(State())

  public init() { order = Self.count.wrappingAdd(1, ordering: .relaxed).newValue }

  public func acquire() async {
    if state.withLock({ $0.take() }) { return }
    await withUnsafeContinuation { continuation in
      let isMine = state.withLock { state in
        if state.take() { return true }
        state.waiting.append(continuation)
        return false
      }
      if isMine { continuation.resume() }
    }
  }

  public func release() {
    let next = state.withLock { state -> UnsafeContinuation<Void, Never>? in
      guard state.head < state.waiting.count else {
        state.waiting.removeAll(keepingCapacity: true)
        state.head = 0
        state.isTaken = false
        return nil
      }
      state.head += 1
      let next = state.waiting[state.head - 1]
      if state.head >= 256, state.head * 2 >= state.waiting.count {
        state.waiting.removeFirst(state.head)
        state.head = 0
      }
      return next
    }
    next?.resume()
  }
}
