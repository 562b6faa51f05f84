/// One decoder under hostile input: what it is called, where its inputs start from, and what must hold of each.
public struct FuzzTarget: Sendable, CustomStringConvertible {
  public let name: String
  public let seeds: @Sendable () -> [[UInt8]]
  public let words: [String]
  /// How many damaged inputs are tried where no time is asked for.
  public let short: Int
  /// Throws when something does not hold; a trap, a hang and too much memory are failures as well.
  public let run: @Sendable ([UInt8]) throws -> Void

  public init(
    _ name: String, words: [String] = [], short: Int = 20_000, bytes seeds: @autoclosure @escaping @Sendable () -> [[UInt8]],
    _ run: @escaping @Sendable ([UInt8]) throws -> Void
  ) {
    (self.name, self.words, self.short) = (name, words, short)
    (self.seeds, self.run) = (seeds, run)
  }
  public init(
    _ name: String, words: [String] = [], short: Int = 20_000, texts seeds: [String],
    _ run: @escaping @Sendable ([UInt8]) throws -> Void
  ) {
    self.init(name, words: words, short: short, bytes: seeds.map { Array($0.utf8) }, run)
  }
  public var description: String { name }

  public func fuzz() throws { try Fuzzer(name, corpus: seeds(), words: words, short: short).run(run) }
}
