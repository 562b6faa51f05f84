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
    var symlinkPath: String?
    var inject: InjectSection?
    var format: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("path", \.path, "Path of the files; the time slice, an index and a suffix are added"),
      .optional("append", \.append, "Append chunks to one file a slice, instead of a file each"),
      .optional("add_path_suffix", \.addPathSuffix, "Add path_suffix"),
      .optional("path_suffix", \.pathSuffix, "End of the file name"),
      .optional("compress", \.compress, "text, gzip or zstd"),
      .optional("symlink_path", \.symlinkPath, "A link that points at the file last written"),
      .section("inject", \.inject, "Fields that are added to every record"),
      .element("format", \.format, "How an event is written; default out_file"),
      .ignored("recompress", "Chunks are compressed once, when they are written"),
      .ignored("symlink_path_use_relative", "The link is as the path is written"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if path.isEmpty { throw ConfigValueError("'path' must not be empty") }
    }
  }
  public static let name = "file"
  public static let summary = "Writes files by tag, time slice and fields."
  public static let buffering = BufferDefaults(chunkKeys: ["time"], timekey: 86400, memory: "file")

  private let config: Config
  private let context: PluginContext
  private let formatter: any Formatter
  private let template: ChunkTemplate
  private let symlink: ChunkTemplate?
  private let writers = FileWriters()

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    formatter = try context.formatter(config.format, default: "out_file").injecting(Injector(config.inject, context))
    let keys = context.chunkKeys ?? ChunkKeys()
    template = try ChunkTemplate(try Self.pathTemplate(config, keys), parameter: "path", keys: keys)
    symlink = try config.symlinkPath.map { try ChunkTemplate($0, parameter: "symlink_path", keys: keys) }
  }

  public var chunkFormatter: (any Formatter)? { formatter }

  /// Fluentd's naming: the slice's time where the path has none, `_**` for the index, the suffixes.
  static func pathTemplate(_ config: Config, _ keys: ChunkKeys) throws -> String {
    let compression: String
    switch config.compress {
    case .gzip, .gz: compression = ".gz"
    case .zstd: compression = ".zstd"
    case .text: compression = ""
    }
    let suffix = config.addPathSuffix ? config.pathSuffix : ""
    let index = config.append ? "" : "_**"
    let time = keys.time ? timeFormat(keys.timekey ?? 86400) : ""
    if config.path.contains("*") {
      if time.isEmpty { throw ConfigValueError("'path' has *, the place of the time: the buffer needs time as a chunk key") }
      return config.path.split(separator: "*", omittingEmptySubsequences: false).joined(separator: time + index) + compression
    }
    if time.isEmpty { return config.path + index + suffix + compression }
    let parts = stride(from: 0, to: time.utf8.count, by: 2).map { String(Array(time)[$0..<$0 + 2]) }
    let present = parts.filter { config.path.contains($0) }
    if present.isEmpty { return config.path + "." + time + index + suffix + compression }
    if present.count < parts.count {
      throw ConfigValueError("'path' lacks \(parts.filter { !present.contains($0) }.joined(separator: " ")): two time slices would share a file")
    }
    return config.path + index + suffix + compression
  }
  private static func timeFormat(_ timekey: Int64) -> String {
    timekey < 60 ? "%Y%m%d%H%M%S" : timekey < 3600 ? "%Y%m%d%H%M" : timekey < 86400 ? "%Y%m%d%H" : "%Y%m%d"
  }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    let path = template.renderPath(chunk)
    do {
      try File.makeDirectories(File.directory(of: path), permission: context.system.directoryPermission ?? 0o755)
      if config.append {
        try writers.exclusively(path) { try write(chunk, to: path, [.write, .create, .append]) }
        link(chunk, to: path)
      } else {
        let final = try writers.exclusively(path) { try writeNew(chunk, path) }
        link(chunk, to: final)
      }
    } catch let error as WriteError { throw error } catch { throw .retry("\(error)") }
  }

  /// `append false`: the first free index; written under another name and linked, so that a reader sees whole files.
  private func writeNew(_ chunk: ChunkView, _ path: String) throws -> String {
    let temporary = File.directory(of: path) + "/.agg-" + chunk.id.description
    try? File.remove(temporary)
    try write(chunk, to: temporary, [.write, .create, .truncate])
    defer { try? File.remove(temporary) }
    guard path.contains("**") else { throw WriteError.discard("bad_path", "\(path) has no place for an index") }
    for index in 0..<1_000_000 {
      let candidate = path.split(separator: "**", maxSplits: 1, omittingEmptySubsequences: false).joined(separator: String(index))
      if Glibc.link(temporary, candidate) == 0 { return candidate }
      if errno != EEXIST { throw FileError(candidate, "link") }
    }
    throw WriteError.retry("\(path): a million files of this name exist")
  }

  private func write(_ chunk: ChunkView, to path: String, _ mode: File.Mode) throws {
    let file = try File(path, mode, permission: context.system.filePermission ?? 0o644)
    file.lock()
    let start = try file.status().size
    do {
      var out = ByteWriter(capacity: 1 << 20)
      var packed = ByteWriter(capacity: 4096)
      for batch in chunk.batches {
        var rejects: [Rejection] = []
        formatter.format(batch, into: &out, &rejects)
        if let first = rejects.first { context.log.error("\(rejects.count) events cannot be written: \(first.reason)") }
        if out.count >= 1 << 20 { try flush(&out, &packed, file) }
      }
      if !out.isEmpty { try flush(&out, &packed, file) }
    } catch {
      // Half a chunk would come twice with the retry.
      try? file.truncate(to: start)
      throw error
    }
  }

  /// Whole gzip members (or zstd frames) of about 1 MiB each: memory stays bounded.
  private func flush(_ out: inout ByteWriter, _ packed: inout ByteWriter, _ file: File) throws {
    switch config.compress {
    case .text: try file.write(out.bytes)
    case .gzip, .gz:
      packed.removeAll()
      Gzip.compress(out.bytes, into: &packed)
      try file.write(packed.bytes)
    case .zstd:
      packed.removeAll()
      Zstd.compress(out.bytes, into: &packed)
      try file.write(packed.bytes)
    }
    out.removeAll()
  }

  private func link(_ chunk: ChunkView, to path: String) {
    guard let symlink else { return }
    let name = symlink.renderPath(chunk)
    let temporary = name + ".agg-tmp"
    unlink(temporary)
    guard Glibc.symlink(path, temporary) == 0, rename(temporary, name) == 0 else {
      context.log.warn("\(FileError(name, "link to \(path)"))")
      return
    }
  }
}

/// One writer per final path in this process; across processes the file's lock. 64 stripes: two paths seldom share one.
final class FileWriters: Sendable {
  private final class Stripe: Sendable { let lock = Mutex(()) }
  private let stripes = (0..<64).map { _ in Stripe() }
  func exclusively<R>(_ path: String, _ body: () throws -> R) throws -> R {
    var result: Result<R, any Error>?
    stripes[Int(UInt(bitPattern: path.hashValue) % 64)].lock.withLock { _ in result = Result { try body() } }
    guard let result else { preconditionFailure("withLock runs its body") }
    return try result.get()
  }
}
