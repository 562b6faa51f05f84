import AggCore
import AggEngine
import AggExpression

/// A configuration file, read and with its `<system>` section decoded.
struct LoadedConfig: Sendable {
  var root: ConfigElement
  var system: SystemConfig
  let info: SystemInfo
  let context: ConfigContext

  /// `<source_only_buffer>` as it stands.
  private let sourceOnlySection: ConfigElement?
  /// What `<system>` says of things that running plugins were made with; where it differs, a reload makes all of them anew.
  let systemText: String

  /// `workerID` is nil in a supervisor.
  init(path: String, warnings: ConfigWarnings, workerID: Int? = 0) throws {
    let environment = ConfigEnvironment.current(workerID: workerID).evaluatingExpressions
    root = try ConfigParser(environment: environment, warnings: warnings).load(path: path)
    let sections = root.children("system")
    let merged = ConfigElement(
      name: "system", entries: sections.flatMap(\.entries), children: sections.flatMap(\.children), at: sections.first?.at ?? root.at)
    let strict = merged["strict_config_value"].map { $0 == "true" || $0 == "yes" || $0.isEmpty } ?? false
    context = ConfigContext(strict: strict, warnings: warnings)
    system = try SystemConfig.load(merged, context)
    if let directory = system.configIncludeDirectory, !directory.isEmpty {
      root.children += try Self.included(
        under: directory, ConfigParser(environment: environment, warnings: warnings), besides: root, warnings,
        at: merged.entry("config_include_dir")?.at ?? merged.at)
    }
    sourceOnlySection = merged.child("source_only_buffer")
    var lasting = merged
    lasting.entries.removeAll { ["rpc_endpoint", "enable_get_dump", "process_name"].contains($0.name) }
    systemText = lasting.text { _, _ in false }
    info = SystemInfo(
      hostname: environment.hostname, workerID: workerID ?? 0, workers: max(1, system.workers), rootDirectory: system.rootDirectory,
      filePermission: system.filePermission.map { Int($0.mode) }, directoryPermission: system.directoryPermission.map { Int($0.mode) })
  }

  /// `config_include_dir`: the sections of every configuration file under it, in the order of their names, that is not read anyway.
  private static func included(
    under directory: String, _ parser: ConfigParser, besides root: ConfigElement, _ warnings: ConfigWarnings, at: SourceLocation
  ) throws -> [ConfigElement] {
    let known = Set(root.children.map(\.at.file) + [root.at.file])
    var sections: [ConfigElement] = []
    let names: [String]
    do { names = try File.list(directory) } catch {
      warnings.add(at, "'config_include_dir': \(error)")
      return []
    }
    for name in names {
      let path = directory + "/" + name
      guard let status = File.status(path) else { continue }
      if status.isDirectory {
        sections += try included(under: path, parser, besides: root, warnings, at: at)
      } else if [".conf", ".yaml", ".yml"].contains(where: { name.hasSuffix($0) }), !known.contains(path) {
        sections += try parser.load(path: path).children.filter { $0.name != "system" }
      }
    }
    return sections
  }

  /// The file as it is run: with what `with_source_only` changes in it, or what an earlier run in that way has left.
  func rootToRun(sourceOnly: Bool, workerID: Int?) throws -> ConfigElement {
    if !sourceOnly, system.rootDirectory == nil { return root }
    let plan = try SourceOnly(system, sourceOnlySection, workerID: workerID, at: root.at)
    return sourceOnly ? plan.holding(root) : plan.draining(root)
  }

  enum ProcessKind { case supervisor, worker(Int) }

  /// Where several processes rotate a log each has a file of its own, named as Fluentd names them: agg-0.log, agg-supervisor-0.log.
  func logOptions(_ run: RunOptions, process: ProcessKind) -> DaemonLog.Options {
    var options = DaemonLog.Options(
      path: run.log ?? system.log.path, isJSON: system.log.format == .json, timeFormat: system.log.timeFormat,
      rotateSize: run.logRotateSize ?? system.log.rotateSize?.bytes, rotateAge: run.logRotateAge ?? system.log.rotateAge,
      repeatInterval: (system.ignoreRepeatedLogInterval ?? system.ignoreSameLogInterval).map { Int64($0.nanoseconds) })
    let suffix: String
    switch process {
    case .supervisor:
      options.workerID = nil
      suffix = "-supervisor-0"
    case .worker(let id):
      options.workerID = id
      suffix = "-\(id)"
    }
    if info.workers > 1, options.rotateSize != nil || options.rotateAge != nil, let path = options.path {
      let name = File.name(of: path)
      let stem = name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name
      options.path = String(path.dropLast(name.count)) + stem + suffix + name.dropFirst(stem.count)
    }
    return options
  }
  var logLevel: LogLevel { LogLevel(name: system.logLevel.rawValue) ?? .info }
}
