@preconcurrency import Glibc

/// What a configuration may look at outside its own text: variables, the host, and the files it includes.
public struct ConfigEnvironment: Sendable {
  /// Reads `ENV['NAME']`.
  public var variables: [String: String]
  /// What `hostname` and `Socket.gethostname` give.
  public var hostname: String
  /// What `worker_id` gives; nil (an empty text) in the supervisor, as in Fluentd.
  public var workerID: Int?
  /// A file's bytes; the error's message is the reason alone, without the path.
  public var readFile: @Sendable (String) throws(ConfigValueError) -> [UInt8]
  /// The paths that a pattern matches, in any order; a missing file gives none.
  public var glob: @Sendable (String) -> [String]
  /// Evaluates what stands between `#{` and `}`. AggExpression gives the language; without it every `#{…}` is refused.
  public var evaluate: @Sendable (String, ConfigEnvironment) throws(ConfigValueError) -> EmbeddedResult = {
    _, _ throws(ConfigValueError) in throw ConfigValueError("is code, which this program does not evaluate")
  }
  /// Whether a text is whole code of that language: tells where a `#{…}` ends.
  public var understands: @Sendable (String) -> Bool = { _ in true }

  public init(
    variables: [String: String] = [:], hostname: String = "localhost", workerID: Int? = nil,
    readFile: @escaping @Sendable (String) throws(ConfigValueError) -> [UInt8] = { path throws(ConfigValueError) in try ConfigFiles.read(path) },
    glob: @escaping @Sendable (String) -> [String] = { ConfigFiles.glob($0) }
  ) {
    self.variables = variables
    self.hostname = hostname
    self.workerID = workerID
    self.readFile = readFile
    self.glob = glob
  }

  /// This process's variables and host name, and the real file system.
  public static func current(workerID: Int? = nil) -> ConfigEnvironment {
    var variables: [String: String] = [:]
    var next = environ
    while let line = next.pointee {
      let text = String(cString: line)
      if let equals = text.firstIndex(of: "=") { variables[String(text[..<equals])] = String(text[text.index(after: equals)...]) }
      next += 1
    }
    var name = [UInt8](repeating: 0, count: 256)
    let failed = name.withUnsafeMutableBytes { $0.baseAddress.map { gethostname($0, 255) } != 0 }
    let hostname = failed ? "localhost" : String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
    return ConfigEnvironment(variables: variables, hostname: hostname, workerID: workerID)
  }
}

/// The value of one `#{…}`.
public enum EmbeddedResult: Sendable, Hashable {
  case text(String)
  /// `use_nil`: the whole parameter has no value.
  case useNil
  /// `use_default`: the whole parameter is as if it were not there.
  case useDefault
}

/// The file system as configuration reading needs it; may block, and is called before anything runs.
public enum ConfigFiles {
  /// A configuration file is text written by hand: 16 MiB is far above any, and bounds a wrong path such as /dev/zero.
  static let limit = 16 << 20

  public static func read(_ path: String) throws(ConfigValueError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw ConfigValueError(String(cString: strerror(errno))) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let n = block.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
      if n < 0 {
        if errno == EINTR { continue }
        throw ConfigValueError(String(cString: strerror(errno)))
      }
      if n == 0 { return bytes }
      bytes += block[..<n]
      if bytes.count > limit { throw ConfigValueError("is larger than 16 MiB, which no configuration file is") }
    }
  }

  /// Shell patterns with `*`, `?`, `[…]` and `{a,b}`; `**/` also matches any folders below.
  public static func glob(_ pattern: String) -> [String] {
    guard let stars = pattern.firstRange(of: "**/") else { return matches(pattern) }
    let head = String(pattern[..<stars.lowerBound])
    let tail = String(pattern[stars.upperBound...])
    var found: [String] = []
    var folders = [head]
    // 16 levels of folders: a bound for links that lead back up.
    for _ in 0..<16 where !folders.isEmpty {
      for folder in folders { found += glob(folder + tail) }
      folders = folders.flatMap { matches($0 + "*/") }
    }
    return Array(Set(found))
  }

  private static func matches(_ pattern: String) -> [String] {
    var result = glob_t()
    defer { globfree(&result) }
    guard Glibc.glob(pattern, GLOB_BRACE, nil, &result) == 0 else { return [] }
    return (0..<Int(result.gl_pathc)).compactMap { i in result.gl_pathv[i].map { String(cString: $0) } }
  }
}
