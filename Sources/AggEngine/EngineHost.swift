public import AggCore
import Synchronization

/// What outlives a configuration: threads, timers, the log, and services the executable registered.
public final class EngineHost: Sendable {
  public let pool: BlockingPool
  public let timers: TimerQueue
  public let log: Log
  /// Of the process: it outlives a configuration, as what is held does.
  public let memory: MemoryBudget
  private let services: Mutex<[ObjectIdentifier: any Sendable]> = Mutex([:])

  public init(pool: BlockingPool = BlockingPool(), timers: TimerQueue = TimerQueue(), log: Log, memory: MemoryBudget? = nil) {
    self.memory = memory ?? MemoryBudget(timers)
    self.pool = pool
    self.timers = timers
    self.log = log
    register(pool)
    register(timers)
    register(self.memory)
  }
  /// Makes `service` available to plugins as `context.shared(Type.self)`.
  public func register<S: Sendable>(_ service: S) { services.withLock { $0[ObjectIdentifier(S.self)] = service } }
  public func shared<S: Sendable>(_ type: S.Type) -> S? { services.withLock { $0[ObjectIdentifier(type)] } as? S }
}
