import AggCore
import AggEngine
import AggExpression

/// A configuration file, read and with its `<system>` section decoded.
struct LoadedConfig {
  let root: ConfigElement
  let system: SystemConfig
  let info: SystemInfo
  let context: ConfigContext

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
    info = SystemInfo(
      hostname: environment.hostname, workerID: workerID ?? 0, workers: max(1, system.workers), rootDirectory: system.rootDirectory,
      filePermission: system.filePermission.map { Int($0.mode) }, directoryPermission: system.directoryPermission.map { Int($0.mode) })
  }

  enum ProcessKind { case supervisor, worker(Int) }

  /// Where several processes rotate a log each has a file of its own, named as Fluentd names them: agg-0.log, agg-supervisor-0.log.
  func logOptions(_ run: Run, process: ProcessKind) -> DaemonLog.Options {
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
  var logLevel: LogLevel { system.logLevel.flatMap { LogLevel(name: $0.rawValue) } ?? .info }
}
