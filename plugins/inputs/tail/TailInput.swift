public import AggCore
import Glibc

/// Follows growing files: rotation by rename and by copy-and-truncate, globs, positions.
///
/// Nothing of a file is kept in memory between passes: an unfinished line (or multi-line event) is read again from
/// its start, so a position never covers an event that is not stored.
public struct TailInput: Input {
  public static let name = "tail"
  public static let oldParameters = OldParameters(.parse)
  public static let summary = "Follows growing files, over rotation and restarts."
  public static let sharesWorkers = false

  /// Fluentd's smallest read.
  static let leastBytesPerSecond = 8192

  let config: Config
  let context: PluginContext
  let parser: any Parser
  let patterns: [PathPattern]
  let excluded: [PathPattern]

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    var parse = config.parse
    if let section = parse, config.emitUnmatchedLines, section.type == "multiline", section["format_firstline"] != nil {
      // Lines behind an event that match no format are told by themselves, which only the parser can.
      parse?.entries.append(.init(name: "unmatched_lines", text: "true", at: section.at))
    }
    parser = try context.parser(parse)
    let zone = try config.pathTimezone.map { try Zone(configText: $0) } ?? .local()
    let names = config.path.split(separator: config.pathDelimiter).map { String($0).trimmed }.filter { !$0.isEmpty }
    if names.isEmpty { throw ConfigValueError("'path' names no file") }
    patterns = names.map { PathPattern($0, zone: zone, policy: config.globPolicy) }
    excluded = config.excludePath.map { PathPattern($0, zone: zone, policy: config.globPolicy) }
    if let path = config.posFile { try context.config.claims.claim("pos_file \(path)", by: context.id, at: context.element.entry("pos_file")?.at ?? context.element.at) }
    if let limit = config.readBytesLimitPerSecond, limit.bytes > 0, limit.bytes < Self.leastBytesPerSecond {
      context.config.warnings.add(
        context.element.entry("read_bytes_limit_per_second")?.at ?? context.element.at,
        "'read_bytes_limit_per_second' below \(Self.leastBytesPerSecond) has no effect and is taken as that")
    }
    _ = try TailGroups(config.group)
    for reason in ["possible_loss", "tail_rotation_lost"] { context.counters.dropBytes(0, reason) }
    if config.tag.filter({ $0 == "*" }).count > 1 { throw ConfigValueError("'tag' has more than one *") }
    if let encoding = config.fromEncoding ?? config.encoding, !TextEncoding.isKnown(encoding) {
      throw ConfigValueError("'\(config.fromEncoding == nil ? "encoding" : "from_encoding")' is unknown: '\(encoding)'")
    }
  }

  /// `*` stands for any path.
  public var tags: SourceTags {
    let parts = config.tag.split(separator: "*", omittingEmptySubsequences: false).map { TagPattern.literal(String($0)) }
    guard parts.count == 2 else { return .tag(config.tag) }
    // An escaped dot stays: a path is never empty.
    let before = parts[0].hasSuffix(".") ? parts[0].dropLast() + "\\." : parts[0][...]
    return .pattern("\(before)**\(parts[1])")
  }

  public func run(_ emitter: Emitter) async throws {
    var positions: PositionFile?
    if let path = config.posFile {
      positions = try PositionFile(
        path, permission: context.system.filePermission ?? 0o644, directoryPermission: context.system.directoryPermission ?? 0o755,
        byInode: config.followInodes, isSynced: context.survivesPowerLoss, log: context.log)
    }
    let watch = TailWatch()
    let set = TailSet(self, positions: positions, watch: watch, emitter: emitter)
    try await withTaskCancellationHandler {
      try await set.run()
    } onCancel: {
      watch.wake()
    }
  }

  /// Events that will not be read; of a loss whose events nobody can count, one, and its bytes as far as they are known.
  func givenUp(_ n: Int, _ reason: String, bytes: Int = 0) {
    context.counters.add(.received, n)
    context.counters.drop(n, reason)
    if bytes > 0 { context.counters.dropBytes(bytes, reason) }
  }

  /// Fluentd's rule: slashes become dots, runs of dots one, none at the front.
  func tag(for path: String) -> Tag {
    guard config.tag.contains("*") else { return Tag(config.tag) }
    var dotted = ""
    for character in path {
      let character = character == "/" ? "." : character
      if character == ".", dotted.isEmpty || dotted.last == "." { continue }
      dotted.append(character)
    }
    return Tag(config.tag.split(separator: "*", maxSplits: 1, omittingEmptySubsequences: false).joined(separator: dotted))
  }
}

/// One of the configured paths: a glob whose % parts are the date.
struct PathPattern: Sendable {
  let text: String
  private let program: StrftimeProgram?
  private let zone: Zone
  private let policy: TailInput.GlobPolicy
  init(_ text: String, zone: Zone, policy: TailInput.GlobPolicy) {
    self.text = text
    self.zone = zone
    self.policy = policy
    program = text.contains("%") ? StrftimeProgram(text) : nil
  }
  /// What is there now. A path that is no glob need not exist.
  func files() -> (paths: [String], isGlob: Bool) {
    let pattern = program?.string(.now(), zone: zone) ?? text
    return isGlob(pattern) ? (ConfigFiles.glob(pattern), true) : ([pattern], false)
  }
  private func isGlob(_ pattern: String) -> Bool {
    if pattern.contains("*") { return true }
    if policy == .backwardCompatible { return false }
    if pattern.contains("?") || pattern.contains("[") && pattern.contains("]") { return true }
    return policy == .always && pattern.contains("{") && pattern.contains(",") && pattern.contains("}")
  }
  /// Whether a path can be one of them, on any day.
  func covers(_ path: String) -> Bool {
    if path == text { return true }
    guard program != nil || text.contains(where: { "*?[{".contains($0) }) else { return false }
    // Dates are any text; braces, which fnmatch does not know, too.
    var pattern = ""
    var depth = 0
    var afterPercent = false
    for character in text {
      if afterPercent { pattern += "*"; afterPercent = false; continue }
      if character == "{" { depth += 1; pattern += "*" } else if character == "}" { depth -= 1 } else if depth > 0 { continue } else if character == "%" {
        afterPercent = true
      } else { pattern.append(character) }
    }
    return fnmatch(pattern, path, 0) == 0
  }
  /// The directory that new files appear in, for inotify.
  var directory: String { File.directory(of: text) }
}

extension String {
  var trimmed: String {
    var part = self[...]
    while part.first?.isWhitespace ?? false { part.removeFirst() }
    while part.last?.isWhitespace ?? false { part.removeLast() }
    return String(part)
  }
}
