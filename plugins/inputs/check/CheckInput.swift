public import AggCore

/// `mackerel_check` under the name that says what it does: its reports may go anywhere.
public struct CheckInput: Input {
  public typealias Config = CheckInputConfig
  public static let name = "check"
  public static let summary = "Reports of a check plugin; another name of mackerel_check."

  public static let sharesWorkers = false
  public var tags: SourceTags { input.tags }

  private let input: MackerelCheckInput
  public init(_ config: Config, _ context: PluginContext) throws { input = try MackerelCheckInput(config, context) }
  public func run(_ emitter: Emitter) async throws { try await input.run(emitter) }
}
