import AggCore
import Glibc

/// How out_file names its files: the path, where it has none the slice's time, an index for whole files, the suffixes.
///
/// Source: generate_path_template in Fluentd's out_file.rb.
struct FilePathTemplate: Sendable {
  /// Stands for the index while the path is rendered: no value and no path holds a NUL.
  private static let index: Character = "\0"
  private let template: ChunkTemplate
  var leftovers: [String] { template.leftovers }

  init(_ config: FileOutput.Config, _ keys: ChunkKeys, isSecondary: Bool) throws(ConfigValueError) {
    if config.path.utf8.contains(0) { throw ConfigValueError("'path' has a NUL byte") }
    let source = try Self.source(config, keys)
    let marked = source.firstRange(of: "_**").map { source.replacingCharacters(in: $0, with: "_\0") } ?? source
    // A secondary's chunks have the primary's keys, which its path need not tell apart.
    let rules: ChunkTemplate.Rules = isSecondary ? [.timeKnown, .timeComplete] : .all
    if let problem = ChunkTemplate.problems(in: source, parameter: "path", keys: keys, rules: rules).first { throw ConfigValueError(problem) }
    template = try ChunkTemplate(config.append ? source : marked, parameter: "path", keys: keys, rules: [])
  }

  private static func source(_ config: FileOutput.Config, _ keys: ChunkKeys) throws(ConfigValueError) -> String {
    let compression = config.compression.suffix
    let suffix = config.addPathSuffix ? config.pathSuffix : ""
    let index = config.append ? "" : "_**"
    let timekey = keys.time ? keys.timekey ?? 86400 : nil
    let standard = timekey.map { timeFormat($0) }
    let time = timekey == nil ? nil : config.timeSliceFormat ?? standard
    if config.path.contains("*") {
      guard let time else { throw ConfigValueError("'path' has *, the place of the time: the buffer needs time as a chunk key; write <buffer time> with 'timekey'") }
      return config.path.split(separator: "*", omittingEmptySubsequences: false).joined(separator: time + index) + compression
    }
    guard let time, let standard else { return config.path + index + suffix + compression }
    if config.timeSliceFormat == nil {
      let bytes = Array(standard.utf8)
      let parts = stride(from: 0, to: bytes.count, by: 2).map { String(decoding: bytes[$0..<$0 + 2], as: UTF8.self) }
      let missing = parts.filter { !config.path.contains($0) }
      if missing.isEmpty { return config.path + index + suffix + compression }
      if missing.count < parts.count {
        throw ConfigValueError(
          "'path' has insufficient timestamp placeholders for timekey \(timekey ?? 0): add \(missing.joined()) (all of \(standard), or none)")
      }
    }
    return config.path + "." + time + index + suffix + compression
  }

  static func timeFormat(_ timekey: Int64) -> String {
    timekey < 60 ? "%Y%m%d%H%M%S" : timekey < 3600 ? "%Y%m%d%H%M" : timekey < 86400 ? "%Y%m%d%H" : "%Y%m%d"
  }

  /// The path; with `append false` it still wants an index, see `indexed`.
  func render(_ chunk: ChunkView) -> String { template.renderPath(chunk) }

  static func indexed(_ path: String, _ index: Int) -> String {
    path.split(separator: Self.index, maxSplits: 1, omittingEmptySubsequences: false).joined(separator: String(index))
  }

  /// A path that chunks could have, to try at start.
  func example(_ keys: ChunkKeys) -> String {
    var metadata = ChunkMetadata()
    if keys.tag { metadata.tag = Tag("a") }
    if keys.time { metadata.timekey = EventTime.now().seconds }
    metadata.variables = keys.fields.map { .init(name: $0, value: "data") }
    return Self.indexed(render(ChunkView(id: .random(), metadata: metadata, batches: [])), 0)
  }

  enum Obstacle: Equatable {
    /// No right would help: something else is in the way.
    case structure(String)
    case permission(String)
    var text: String { switch self { case .structure(let text), .permission(let text): text } }
  }
  /// Why nothing could be written at `path`, its directories made where they are missing; source: writable_p? of Fluentd.
  static func obstacle(_ path: String) -> Obstacle? {
    if let status = File.status(path) {
      if status.isDirectory { return .structure("\(path) is a directory, not a file") }
      return access(path, W_OK) == 0 ? nil : .permission("\(path) is not writable for this user")
    }
    var directory = File.directory(of: path)
    while true {
      if let status = File.status(directory) {
        if !status.isDirectory { return .structure("\(path) cannot be made: \(directory) is no directory") }
        return access(directory, W_OK) == 0 ? nil : .permission("\(path) cannot be made: \(directory) is not writable for this user")
      }
      let above = File.directory(of: directory)
      if above == directory { return nil }
      directory = above
    }
  }
}

extension String {
  fileprivate func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
    String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
  }
}
