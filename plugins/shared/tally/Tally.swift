import AggCore
import Synchronization

/// What is counted by name (a tag, mostly), in the order that the names came; used from several tasks at once.
final class Tally<Count: Sendable>: Sendable {
  struct Row: Sendable {
    var name: String
    var count: Count
  }
  private struct State: Sendable {
    var rows: [Row] = []
    var places: [String: Int] = [:]
  }
  /// Names come from outside: events of more are not counted, which is.
  static var maximumNames: Int { 10_000 }
  private let state = Mutex(State())
  private let context: PluginContext
  private let warned = Atomic(false)

  init(_ context: PluginContext) { self.context = context }

  /// Adds to a name's count, which begins as `zero`; `events` are lost to the count where there are too many names.
  func add(_ name: String, events: Int, zero: @autoclosure () -> Count, _ body: (inout Count) -> Void) {
    let isCounted = state.withLock { state in
      if let place = state.places[name] {
        body(&state.rows[place].count)
        return true
      }
      if state.rows.count >= Self.maximumNames { return false }
      var count = zero()
      body(&count)
      state.places[name] = state.rows.count
      state.rows.append(Row(name: name, count: count))
      return true
    }
    if isCounted { return }
    context.counters.drop(events, "too_many_tags", from: .delivered)
    if !warned.exchange(true, ordering: .relaxed) {
      context.log.warn(
        "more than \(Self.maximumNames) tags in one interval: events of others are not counted; use aggregate all, or a narrower <match>"
      )
    }
  }

  /// All counts; those for which `next` gives a beginning stay known.
  func takeAll(_ next: (Row) -> Count?) -> [Row] {
    state.withLock { state in
      let rows = state.rows
      state = State()
      for row in rows {
        guard let count = next(row) else { continue }
        state.places[row.name] = state.rows.count
        state.rows.append(Row(name: row.name, count: count))
      }
      return rows
    }
  }
}

/// Numbers as these plugins round them.
enum Rate {
  /// Per second, cut after two places.
  static func perSecond(_ count: Int, _ step: Double) -> Double {
    let value = (Double(count) * 100 / max(step, 1e-9)).rounded(.down)
    return value / 100
  }
}
