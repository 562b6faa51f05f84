public import AggCore

/// Keeps events in a buffer of its own and sends them on, to a label as a rule.
public struct BufferOutput: Output {
  public struct Config: Configurable {
    public init() {}
    public static let parameters: [Parameter<Self>] = []
  }
  public static let name = "buffer"
  public static let summary = "Keeps events in a buffer and routes them again, to a label."
  public static let buffering = BufferDefaults(chunkKeys: ["tag"], flushInterval: 10, memory: "file")

  private let emitter: Emitter

  public init(_ config: Config, _ context: PluginContext) throws {
    if let label = context.element["@label"] { _ = context.label(label, at: context.element.entry("@label")?.at ?? context.element.at) }
    emitter = context.emitter()
  }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    if Task.isCancelled { throw WriteError(.cancelled, "cancelled") }
    let batches = chunk.batches.filter { !$0.isEmpty }
    if batches.isEmpty { return }
    do throws(EmitError) { try await emitter.emit(batches) } catch {
      if case .closed = error { throw WriteError(.cancelled, error.description) }
      throw .retry(error.description)
    }
  }
}
