public import AggCore

/// Takes events and drops them.
public struct NullOutput: Output, DirectOutput {
  public struct Config: Configurable {
    var neverFlush = false
    public init() {}
    public static let parameters: [Parameter<Self>] = [.optional("never_flush", \.neverFlush, "Fail every delivery, for tests of buffers")]
  }
  public static let name = "null"
  public static let summary = "Drops events."
  public static let buffering = BufferDefaults(chunkKeys: ["tag"], flushAtShutdown: true)
  private let neverFlush: Bool
  public init(_ config: Config, _ context: PluginContext) throws { neverFlush = config.neverFlush }
  public static var takesFormatted: Bool { true }
  public func process(_ batch: EventBatch) throws(WriteError) { if neverFlush { throw .retry("never_flush is set") } }
  public func write(_ chunk: ChunkView) async throws(WriteError) { if neverFlush { throw .retry("never_flush is set") } }
}
