public import AggCore

/// Writes the chunks that another output could not deliver, as that output would have formatted them.
public struct SecondaryFileOutput: Output {
  public struct Config: Configurable {
    public enum Compress: String, ConfigEnum { case text, gzip }
    var directory = ""
    var basename = "dump.bin"
    var append = false
    var compress = Compress.text
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("directory", \.directory, "Where the files are; placeholders of the output's chunk keys"),
      .optional("basename", \.basename, "Name of the files; placeholders of the output's chunk keys"),
      .optional("append", \.append, "Append chunks to one file, instead of a numbered file each"),
      .optional("compress", \.compress, "text (as it is) or gzip"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if basename.utf8.contains(UInt8(ascii: "/")) { throw ConfigValueError("'basename' must not have a slash; put directories into 'directory'") }
      if (directory + basename).utf8.contains(0) { throw ConfigValueError("'directory' and 'basename' must not have a NUL byte") }
    }
  }
  public static let name = "secondary_file"
  public static let summary = "Keeps what another output could not deliver in files."

  private let config: Config
  private let context: PluginContext
  private let template: ChunkTemplate
  private let indices = IndexHints()

  public init(_ config: Config, _ context: PluginContext) throws {
    guard context.element.name == "secondary" else { throw ConfigValueError("secondary_file can only be used in a <secondary> section") }
    self.config = config
    self.context = context
    let keys = context.chunkKeys ?? ChunkKeys()
    var directory = config.directory[...]
    while directory.count > 1, directory.last == "/" { directory = directory.dropLast() }
    let path = directory + "/" + config.basename
    for (name, text) in [("directory", config.directory), ("basename", config.basename)] {
      if let problem = ChunkTemplate.problems(in: text, parameter: name, keys: keys, rules: [.known, .timeKnown]).first { throw ConfigValueError(problem) }
      // Stricter than for other outputs, which take %Y alone as text.
      if !keys.time, StrftimeProgram(text).string(.now(), zone: .utc) != text {
        throw ConfigValueError("'\(name)' has a time placeholder, but time is not a chunk key of the output; remove it from '\(text)'")
      }
    }
    let suffix = config.compress == .gzip ? ".gz" : ""
    template = try ChunkTemplate(path + (config.append ? suffix : ".\0" + suffix), parameter: "basename", keys: keys, rules: [])
    if case .structure(let why)? = FilePathTemplate.obstacle(path) { throw ConfigValueError("'directory' cannot be written: \(why)") }
  }

  public static var takesFormatted: Bool { true }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    let encoder = ChunkEncoder(formatter: chunk.primaryFormatter, compression: config.compress == .gzip ? .gzip : .none)
    let rejects: [Rejection]
    do {
      let path = template.renderPath(chunk)
      try File.makeDirectories(File.directory(of: path), permission: context.system.directoryPermission ?? 0o755)
      let job = FileJob(
        chunk: chunk, encoder: encoder, notes: nil, isSynced: false, permission: context.system.filePermission ?? 0o644, context: context)
      rejects = config.append ? try await job.append(to: path) : try job.writeWhole(path, indices).0
    } catch let error as WriteError { throw error } catch is CancellationError { throw WriteError(.cancelled, "cancelled") } catch { throw .retry("\(error)") }
    if !rejects.isEmpty { throw WriteError(.partial(rejected: rejects), "events that cannot be written") }
  }
}
