import AggCore
import AggEngine
import AggExpression
import AggNet
import AggPlugins
import AggTesting
import Foundation

/// Whole configurations: what `agg check` does with them. A number of any size, in any parameter of any plugin, is taken or refused.
enum TopologyTargets {
  static let all = [topology]

  private static let network = Network()

  /// The example on each plugin's page, and what ships in conf/.
  private static var examples: [[UInt8]] {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    var texts: [String] = []
    for name in FileManager.default.enumerator(atPath: root.appending(path: "plugins").path)?.compactMap({ $0 as? String })
      .sorted() ?? [] where name.hasSuffix("README.md")
    {
      let parts =
        (try? String(contentsOf: root.appending(path: "plugins/\(name)"), encoding: .utf8))?.components(separatedBy: "```conf\n")
        ?? []
      if parts.count > 1, let example = parts[1].components(separatedBy: "```").first { texts.append(example) }
    }
    if let text = try? String(contentsOf: root.appending(path: "conf/agg.conf"), encoding: .utf8) { texts.append(text) }
    return texts.map { Array($0.utf8) }
  }

  /// Every plugin's parameters, with a value at the edge.
  private static var words: [String] {
    var names: Set<String> = [
      "timekey", "timekey_wait", "flush_interval", "chunk_limit_size", "total_limit_size", "chunk_limit_records", "retry_wait",
      "retry_max_times", "retry_timeout",
      "retry_exponential_backoff_base", "flush_thread_count", "flush_thread_interval", "queue_limit_length",
      "delayed_commit_timeout", "slow_flush_log_threshold", "workers",
    ]
    for type in builtins.inputs { names.formUnion(type.parameters().map(\.name)) }
    for type in builtins.filters { names.formUnion(type.parameters().map(\.name)) }
    for type in builtins.outputs { names.formUnion(type.parameters().map(\.name)) }
    for type in builtins.parsers { names.formUnion(type.parameters().map(\.name)) }
    for type in builtins.formatters { names.formUnion(type.parameters().map(\.name)) }
    let values = [
      "-1", "0", "9223372036854775807", "-9223372036854775808", "1e300", "0.000000001", "99999999999d", "[]", "{}", "/(/", "nan",
      "true", "\"\"", "%", "a.**", "${tag_parts[9223372036854775807]}",
    ]
    return names.sorted().flatMap { name in values.map { "\n\(name) \($0)\n" } }
      + [
        "<buffer tag,time>\n", "</buffer>\n", "<parse>\n", "</parse>\n", "<format>\n", "</format>\n", "<secondary>\n",
        "</secondary>\n", "<store>\n", "</store>\n", "@type ", "@id x\n", "@label @A\n",
      ]
  }

  static let topology = FuzzTarget("topology", words: words, short: 1500, bytes: examples) { bytes in
    let environment = ConfigEnvironment(
      variables: ["X": "x"], hostname: "h",
      readFile: { (path: String) throws(ConfigValueError) in throw ConfigValueError("no such file") }, glob: { _ in [] })
    for strict in [false, true] {
      let warnings = ConfigWarnings()
      guard
        let root = try? ConfigParser(environment: environment.evaluatingExpressions, warnings: warnings).parse(
          String(decoding: bytes, as: UTF8.self), file: "fuzz.conf")
      else { return }
      let host = EngineHost(log: Log(level: .fatal, writer: SilentLog()))
      host.register(network)
      host.register(LedgerReader())
      do {
        let topology = try TopologyBuilder(
          plugins: builtins, host: host, system: SystemConfig(), info: SystemInfo(hostname: "h"),
          context: ConfigContext(strict: strict, warnings: warnings)
        ).build(root)
        _ = TopologyText(topology)
      } catch { try FuzzFailure.unless(!"\(error)".isEmpty, "an error that says nothing") }
    }
  }
}
