public import AggCore
import Glibc

/// Runs a command for each chunk, with the path of a file that holds the chunk as its last argument.
public struct ExecOutput: Output {
  public struct Config: Configurable {
    var command = ""
    var commandTimeout = TimeSpan(seconds: 270)
    var format: ConfigElement?
    var inject: InjectSection?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("command", \.command, "What /bin/sh runs; the file's path is appended"),
      .optional("command_timeout", \.commandTimeout, "A command that takes longer is killed with its children, and the chunk is retried"),
      .element("format", \.format, "How an event is written; default tsv"),
      .section("inject", \.inject, "Fields that are added to records; times as string in UTC by default"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if commandTimeout.nanoseconds <= 0 { throw ConfigValueError("'command_timeout' must be more than 0") }
    }
  }
  public static let name = "exec"
  public static let oldParameters = OldParameters(.inject, .format, .buffer, chunkKey: "time")
  public static let summary = "Runs a command for each chunk."

  private let config: Config
  private let context: PluginContext
  private let formatter: any Formatter

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    let injector = try CommandSections.inject(config.inject, context.element.child("inject"), timeType: .string, localtime: false, context)
    formatter = try context.formatter(CommandSections.format(config.format, at: context.element.at)).injecting(injector)
  }

  public var chunkFormatter: (any Formatter)? { formatter }
  public static var takesFormatted: Bool { true }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    let rejects = try await WriteError.mapping {
      let services = try CommandServices(context)
      let (path, rejects) = try file(chunk)
      defer { try? File.remove(path) }
      if chunk.formatted == nil, rejects.count == chunk.count { return rejects }
      let child = try ChildProcess.start(
        "\(config.command) \(path)", input: false, output: false, errors: .logged, pool: services.pool, timers: services.timers)
      let log = context.log
      let result = try await child.supervise(timeout: config.commandTimeout.duration) {
        var nothing = ByteWriter(capacity: 64)
        var lines = ErrorLines(log)
        var ended = ChildProcess.Ended()
        _ = child.read(into: &nothing, &lines, &ended)
        lines.finish()
      }
      try Task.checkCancellation()
      if result.timedOut { throw WriteError.retry("the command took longer than command_timeout and was killed") }
      if !result.ending.isSuccess { throw WriteError.retry("the command \(result.ending)") }
      return rejects
    }
    if !rejects.isEmpty { throw WriteError(.partial(rejected: rejects), "\(rejects.count) events could not be formatted") }
  }

  /// The chunk as text in a file of its own, readable by the daemon's user alone.
  private func file(_ chunk: ChunkView) throws -> (path: String, rejects: [Rejection]) {
    let folder = getenv("TMPDIR").map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
    let path = "\(folder)/agg-exec-\(chunk.id)-\(UInt32.random(in: 0 ... .max))"
    let file = try File(path, [.write, .create, .exclusive], permission: 0o600)
    do {
      var rejects: [Rejection] = []
      var out = ByteWriter(capacity: 65_536)
      var first = 0
      if let formatted = chunk.formatted { try formatted.withBytes { try file.write($0) } }
      for batch in chunk.batches {
        var own: [Rejection] = []
        formatter.format(batch, into: &out, &own)
        for reject in own { rejects.append(Rejection(index: first &+ reject.index, reason: reject.reason)) }
        first += batch.count
        try file.write(out.bytes)
        out.removeAll()
      }
      return (path, rejects)
    } catch {
      try? File.remove(path)
      throw error
    }
  }
}
