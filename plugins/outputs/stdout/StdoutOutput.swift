public import AggCore
import Glibc

/// Prints events; at once, or from a buffer where `<buffer>` is given.
public struct StdoutOutput: Output, DirectOutput {
  public struct Config: Configurable {
    var inject: InjectSection?
    var format: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .section("inject", \.inject, "Fields that are added to every record"),
      .element("format", \.format, "How an event is printed; default stdout"),
      .ignored("use_logger", "Events go to standard output, also where the log is a file"),
    ]
  }
  public static let name = "stdout"
  public static let oldParameters = OldParameters(.inject, .format)
  public static let summary = "Prints events."
  public static let buffering = BufferDefaults(chunkKeys: ["tag"], flushAtShutdown: true)
  private let formatter: any Formatter
  private let log: Log

  public init(_ config: Config, _ context: PluginContext) throws {
    var format = config.format
    // Every event is a line here, however its formatter would end it.
    format?.entries.removeAll { $0.name == "add_newline" || $0.name == "newline" }
    formatter = try context.formatter(format, default: "stdout").injecting(Injector(config.inject, context))
    log = context.log
  }

  public func process(_ batch: EventBatch) throws(WriteError) {
    var out = ByteWriter(capacity: batch.byteCount * 2 + 256)
    var rejects: [Rejection] = []
    formatter.format(batch, into: &out, &rejects)
    if let first = rejects.first { log.error("\(rejects.count) events cannot be printed: \(first.reason)") }
    do throws(FileError) { try File.standardOutput.write(out.bytes) } catch { throw .retry("\(error)") }
  }
  public static var takesFormatted: Bool { true }
  public func write(_ chunk: ChunkView) async throws(WriteError) {
    if let formatted = chunk.formatted {
      do throws(FileError) { try formatted.withBytes { (bytes) throws(FileError) in try File.standardOutput.write(bytes) } } catch { throw .retry("\(error)") }
    }
    for batch in chunk.batches { try process(batch) }
  }
}

extension File {
  /// A duplicate of descriptor 1, so that nothing closes that.
  static let standardOutput = File(descriptor: dup(1), path: "standard output")
}
