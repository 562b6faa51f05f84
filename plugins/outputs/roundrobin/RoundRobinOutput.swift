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

  /// The stores in turn; with weights, one shuffled order in which each comes as often as its weight.
  private final class Round: Sendable {
    private let order: [Int]
    private let at = Mutex(0)
    init(_ weights: [Int]) {
      let divisor = max(1, weights.reduce(0) { Self.gcd($0, $1) })
      let turns = weights.enumerated().flatMap { Array(repeating: $0.offset, count: $0.element / divisor) }
      order = weights.allSatisfy { $0 <= 1 } ? turns : turns.shuffled()
    }
    private static func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? a : gcd(b, a % b) }
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
      if !(0...100_000).contains(weight) {
        throw ConfigErrors(at: element.entry("weight")?.at ?? element.at, "'weight' must be between 0 (never) and 100000; got \(weight)")
      }
      weights.append(weight)
      var plain = element
      plain.entries.removeAll { $0.name == "weight" }
      return try context.output(plain)
    }
    if !weights.contains(where: { $0 > 0 }) { throw ConfigValueError("every <store> has weight 0: no events could go anywhere") }
    round = Round(weights)
  }
  public func route(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) {
    try stores[round.next()].take(batch, &transaction)
  }
}
