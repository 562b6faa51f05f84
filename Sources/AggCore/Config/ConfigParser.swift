/// Reads a configuration, Fluentd's classic v1 language or YAML (by the file's ending), into a tree of elements.
///
/// All syntax errors that one pass finds are thrown together, each with its file and line.
public struct ConfigParser {
  public var environment: ConfigEnvironment
  /// What has no effect or is likely a mistake; running daemons log it, `agg check` fails on it.
  public let warnings: ConfigWarnings

  public init(environment: ConfigEnvironment, warnings: ConfigWarnings = ConfigWarnings()) {
    self.environment = environment
    self.warnings = warnings
  }

  /// Reads a file and all that it includes; the root element is named `ROOT`.
  public func load(path: String) throws(ConfigErrors) -> ConfigElement {
    let bytes: [UInt8]
    do throws(ConfigValueError) { bytes = try environment.readFile(path) } catch {
      throw ConfigErrors(at: SourceLocation(file: path, line: 1), "cannot be read: \(error.message); check the path and its permissions")
    }
    return try parse(bytes, file: path)
  }

  /// Reads a text as if it stood in `file`, whose folder is where relative includes start.
  public func parse(_ text: String, file: String) throws(ConfigErrors) -> ConfigElement {
    try parse(Array(text.utf8), file: file)
  }

  private func parse(_ bytes: [UInt8], file: String) throws(ConfigErrors) -> ConfigElement {
    let session = ConfigSession(environment: environment, warnings: warnings)
    var root = ConfigFrame(ConfigElement(name: "ROOT", at: SourceLocation(file: file, line: 1)))
    if ConfigPath.isYAML(file) {
      root.element.children = YAMLConfig.read(bytes, file: file, session)
    } else {
      session.including(file) { ClassicParser.read(bytes, file: file, into: &root, session) }
    }
    if !session.errors.isEmpty { throw ConfigErrors(session.errors) }
    return root.element
  }
}

/// What one run of the parser shares between the files that it reads. Used by one thread.
final class ConfigSession {
  let environment: ConfigEnvironment
  let warnings: ConfigWarnings
  private(set) var errors: [ConfigError] = []
  private var open: [String] = []
  private var filesLeft = 4096
  private var bytesLeft = 64 << 20

  init(environment: ConfigEnvironment, warnings: ConfigWarnings) {
    self.environment = environment
    self.warnings = warnings
  }

  /// After 100 errors the rest is noise; reading stops there, since each may have looked ahead through its whole file.
  var isFull: Bool { errors.count >= 100 }
  func report(_ error: ConfigError) { if !isFull { errors.append(error) } }

  func including(_ path: String, _ body: () -> Void) {
    open.append(path)
    body()
    open.removeLast()
  }

  /// Gives the files of an include in byte order of their paths, each with its content; what cannot be read is reported.
  func include(_ pattern: String, at: SourceLocation, _ body: (_ path: String, _ bytes: [UInt8]) -> Void) {
    if pattern.hasPrefix("http://") || pattern.hasPrefix("https://") {
      return report(ConfigError(at: at, "'\(pattern)' is not included: agg fetches no configuration over the network; download it and include the file"))
    }
    let target = ConfigPath.join(ConfigPath.folder(at.file), ConfigPath.decode(pattern))
    let paths = environment.glob(target).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    if paths.isEmpty { warnings.add(at, "no file matches '\(target)'; nothing is included") }
    for path in paths {
      if pattern.hasSuffix("*.conf"), let word = ConfigPath.backupWord(path) {
        warnings.add(at, "includes '\(path)', which looks like a backup (\(word)); rename it if it is not meant to be read")
      }
      if open.contains(path) {
        report(ConfigError(at: at, "includes '\(path)', which is being read already (\((open + [path]).joined(separator: " -> "))); remove this include"))
        continue
      }
      // 32 levels and 4,096 files are far above what people write, and bound files that include each other many times.
      if isFull { return }
      guard open.count < 32, filesLeft > 0 else {
        return report(ConfigError(at: at, "includes too many files (32 levels and 4096 files are the limit)"))
      }
      filesLeft -= 1
      let bytes: [UInt8]
      do throws(ConfigValueError) { bytes = try environment.readFile(path) } catch {
        report(ConfigError(at: at, "'\(path)' cannot be included: \(error.message)"))
        continue
      }
      bytesLeft -= bytes.count
      guard bytesLeft >= 0 else { return report(ConfigError(at: at, "includes more than 64 MiB of text")) }
      including(path) { body(path, bytes) }
    }
  }
}

/// A section being read; a repeated name takes the place of its first line, with the last line's value (Fluentd's hash).
struct ConfigFrame {
  var element: ConfigElement
  private var index: [String: Int]

  init(_ element: ConfigElement) {
    self.element = element
    index = [:]
  }

  mutating func set(_ entry: ConfigElement.Entry, _ warnings: ConfigWarnings) {
    if let i = index[entry.name] {
      warnings.add(entry.at, "'\(entry.name)' was given at line \(element.entries[i].at.line) already; this one counts")
      element.entries[i] = entry
    } else {
      index[entry.name] = element.entries.count
      element.entries.append(entry)
    }
  }
}

/// Paths as texts; nothing here touches the file system.
enum ConfigPath {
  static func isYAML(_ path: String) -> Bool { path.hasSuffix(".yaml") || path.hasSuffix(".yml") }

  static func folder(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "" }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// `..` and `.` are resolved in the text, as Fluentd does before it looks for files.
  static func join(_ folder: String, _ path: String) -> String {
    let whole = path.hasPrefix("/") || folder.isEmpty ? path : folder + "/" + path
    var parts: [Substring] = []
    for part in whole.split(separator: "/") where part != "." {
      if part == "..", let last = parts.last, last != ".." { parts.removeLast() } else if part == "..", whole.hasPrefix("/") { continue } else { parts.append(part) }
    }
    return (whole.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
  }

  /// `file://` and `%20` forms.
  static func decode(_ text: String) -> String {
    var bytes: [UInt8] = []
    let source = Array((text.hasPrefix("file://") ? text.dropFirst(7) : text[...]).utf8)
    var i = 0
    while i < source.count {
      if source[i] == UInt8(ascii: "%"), i + 2 < source.count, let high = hexValue(source[i + 1]), let low = hexValue(source[i + 2]) {
        bytes.append(high << 4 | low)
        i += 3
      } else {
        bytes.append(source[i])
        i += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  static func backupWord(_ path: String) -> String? {
    ["bak", "old", "backup", "orig", "prev", "conf", "tmp", "temp", "debug", "wip"].first {
      path.hasSuffix(".\($0).conf") || path.hasSuffix("_\($0).conf")
    }
  }
}

func hexValue(_ byte: UInt8) -> UInt8? {
  switch byte {
  case 0x30...0x39: byte - 0x30
  case 0x41...0x46: byte - 0x37
  case 0x61...0x66: byte - 0x57
  default: nil
  }
}
