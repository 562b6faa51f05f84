public import AggCore
import Glibc
import Synchronization

/// Writes chunks to files named after their tag, time slice and fields.
public struct FileOutput: Output {
  public struct Config: Configurable {
    public enum Compress: String, ConfigEnum {
      case text, gzip, zstd
      case gz
    }
    var path = ""
    var append = false
    var addPathSuffix = true
    var pathSuffix = ".log"
    var compress = Compress.text
    var timeSliceFormat: String?
    var symlinkPath: String?
    var symlinkPathUseRelative = false
    var inject: InjectSection?
    var format: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("path", \.path, "Path of the files; the time slice, an index and a suffix are added"),
      .optional("append", \.append, "Append chunks to one file a slice, instead of a file each"),
      .optional("add_path_suffix", \.addPathSuffix, "Add path_suffix"),
      .optional("path_suffix", \.pathSuffix, "End of the file name"),
      .optional("compress", \.compress, "text, gzip or zstd"),
      .optional("time_slice_format", \.timeSliceFormat, "The time in the name, in place of one that fits timekey"),
      .optional("symlink_path", \.symlinkPath, "With a file buffer, a link to the text of the newest events, written or not"),
      .optional("symlink_path_use_relative", \.symlinkPathUseRelative, "Make that link relative"),
      .section("inject", \.inject, "Fields that are added to every record"),
      .element("format", \.format, "How an event is written; default out_file"),
      .ignored("recompress", "Chunks are compressed once, when they are written"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if path.isEmpty { throw ConfigValueError("'path' must not be empty") }
    }
    var compression: ChunkEncoder.Compression {
      switch compress {
      case .gzip, .gz: .gzip
      case .zstd: .zstd
      case .text: .none
      }
    }
  }
  public static let name = "file"
  public static let oldParameters = OldParameters(.format, .buffer, .inject, chunkKey: "time")
  public static let summary = "Writes files by tag, time slice and fields."
  public static let buffering = BufferDefaults(chunkKeys: ["time"], timekey: 86400, memory: "file")

  private let config: Config
  private let context: PluginContext
  private let formatter: any Formatter
  private let template: FilePathTemplate
  private let isSecondary: Bool
  private let notes: OutputNotes?
  private let staged: StagedCopy?
  private let isSynced: Bool
  private let indices = IndexHints()
  /// Why writing would fail for this user: a check by another one need not.
  private let obstacle: String?

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    formatter = try context.formatter(config.format, default: "out_file").injecting(Injector(config.inject, context))
    isSecondary = context.element.name == "secondary"
    let keys = context.chunkKeys ?? ChunkKeys()
    template = try FilePathTemplate(config, keys, isSecondary: isSecondary)
    for text in template.leftovers { context.config.warnings.add(context.element.at, "'path' has \(text), which is no placeholder and stays as it is") }
    let obstacle = isSecondary ? nil : FilePathTemplate.obstacle(template.example(keys))
    if case .structure(let why)? = obstacle { throw ConfigValueError("'path' cannot be written: \(why)") }
    self.obstacle = obstacle?.text
    let place = isSecondary ? nil : FileBufferPlace(context, defaultType: "file")
    isSynced = place?.isSynced ?? false
    notes = place.map { OutputNotes(prefix: $0.prefix, isSynced: $0.isSynced, context) }
    guard let link = config.symlinkPath else {
      staged = nil
      return
    }
    if isSecondary { throw ConfigValueError("'symlink_path' has no meaning in <secondary>: its chunks are not staged there") }
    for problem in ChunkTemplate.problems(in: link, parameter: "symlink_path", keys: keys, rules: [.known, .complete]) {
      context.config.warnings.add(context.element.at, problem + "; chunks of several keys share the link, which shows the newest")
    }
    let linkTemplate = try ChunkTemplate(link, parameter: "symlink_path", keys: keys, rules: [])
    // As in Fluentd, a buffer in memory has nothing to link to.
    if let place {
      staged = StagedCopy(linkTemplate, formatter, prefix: place.prefix, isRelative: config.symlinkPathUseRelative, context)
    } else {
      staged = nil
    }
  }

  public var chunkFormatter: (any Formatter)? { formatter }
  public static var takesFormatted: Bool { true }
  public var stagingObserver: (any StagingObserver)? { staged }

  public func prepare() async throws { if let obstacle { throw ConfigError(at: context.element.at, "'path' cannot be written: \(obstacle)") } }

  public func close() async { notes?.close() }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    let encoder = ChunkEncoder(formatter: isSecondary ? chunk.primaryFormatter : formatter, compression: config.compression)
    let rejects: [Rejection]
    do {
      let path = template.render(chunk)
      try File.makeDirectories(File.directory(of: path), permission: context.system.directoryPermission ?? 0o755, sync: isSynced)
      let job = FileJob(
        chunk: chunk, encoder: encoder, notes: notes, isSynced: isSynced, permission: context.system.filePermission ?? 0o644, context: context)
      let written: String
      if config.append {
        rejects = try await job.append(to: path)
        written = path
      } else {
        (rejects, written) = try job.writeWhole(path, indices)
      }
      staged?.written(chunk.id, to: written)
    } catch let error as WriteError { throw error } catch is CancellationError { throw WriteError(.cancelled, "cancelled") } catch { throw .retry("\(error)") }
    if !rejects.isEmpty { throw WriteError(.partial(rejected: rejects), "events that the formatter cannot write") }
  }
}

/// Where the next free index of a name probably is: Fluentd tries from 0 each time, which a million files make slow.
final class IndexHints: Sendable {
  private let next = Mutex<[String: Int]>([:])
  func start(_ path: String) -> Int { next.withLock { $0[path] ?? 0 } }
  func took(_ path: String, _ index: Int) {
    next.withLock { next in
      if next.count >= 1024 { next.removeAll() }
      next[path] = index + 1
    }
  }
}
