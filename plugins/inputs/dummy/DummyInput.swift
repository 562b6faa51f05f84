public import AggCore

/// The older name of the sample input.
public struct DummyInput: Input {
  public typealias Config = SampleInput.Config
  public static let name = "dummy"
  public static let summary = "The older name of the sample input."
  private let input: SampleInput
  public init(_ config: Config, _ context: PluginContext) throws { input = try SampleInput(config, context) }
  public var tags: SourceTags { input.tags }
  public func run(_ emitter: Emitter) async throws { try await input.run(emitter) }
}
