public import AggCore
import Synchronization

/// Sends each batch to the next of its stores, by weight.
public struct RoundRobinOutput: RoutingOutput {
  public struct Config: Configurable {
    var stores: [ConfigElement] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [.elements("store", \.stores, "An output, with `weight` (default 1)", required: true)]
  }
  public static let name = "roundrobin"
  public static let summary = "Sends each batch to the next of its stores."

  private let stores: [any Sink]
  private let round: Round

  /// One shuffled order in which each store comes as often as its weight.
  private final class Round: Sendable {
    private let order: [Int]
    private let at = Mutex(0)
    init(_ weights: [Int]) { order = weights.enumerated().flatMap { Array(repeating: $0.offset, count: $0.element) }.shuffled() }
    func next() -> Int {
      at.withLock { at in
        defer { at = (at + 1) % order.count }
        return order[at]
      }
    }
  }

  public init(_ config: Config, _ context: PluginContext) throws {
    var weights: [Int] = []
    stores = try config.stores.map { element in
      let weight = try element["weight"].map { try Int(configText: $0, strict: context.config.strict) } ?? 1
      if !(1...1000).contains(weight) {
        throw ConfigErrors(at: element.entry("weight")?.at ?? element.at, "'weight' must be between 1 and 1000; got \(weight)")
      }
      weights.append(weight)
      var plain = element
      plain.entries.removeAll { $0.name == "weight" }
      return try context.output(plain)
    }
    round = Round(weights)
  }
  public func route(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) {
    try stores[round.next()].take(batch, &transaction)
  }
}
