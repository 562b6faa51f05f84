public import AggCore
import Glibc

/// Prints events; at once, or from a buffer where `<buffer>` is given.
public struct StdoutOutput: Output, DirectOutput {
  public struct Config: Configurable {
    var format: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [.element("format", \.format, "How an event is printed; default stdout")]
  }
  public static let name = "stdout"
  public static let summary = "Prints events."
  private let formatter: any Formatter

  public init(_ config: Config, _ context: PluginContext) throws { formatter = try context.formatter(config.format, default: "stdout") }

  public func process(_ batch: EventBatch) throws(WriteError) {
    var out = ByteWriter(capacity: batch.byteCount * 2 + 256)
    var rejects: [Rejection] = []
    formatter.format(batch, into: &out, &rejects)
    do throws(FileError) { try File.standardOutput.write(out.bytes) } catch { throw .retry("\(error)") }
  }
  public func write(_ chunk: ChunkView) async throws(WriteError) { for batch in chunk.batches { try process(batch) } }
}

extension File {
  /// A duplicate of descriptor 1, so that nothing closes that.
  static let standardOutput = File(descriptor: dup(1), path: "standard output")
}
