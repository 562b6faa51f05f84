import AggCore
import AggEngine
import AggExpression
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct CatalogueTests {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  @Test(arguments: [
    ("inputs", builtins.inputs.map(\.name)), ("filters", builtins.filters.map(\.name)), ("outputs", builtins.outputs.map(\.name)),
    ("parsers", builtins.parsers.map(\.name)), ("formatters", builtins.formatters.map(\.name)),
  ])
  func `every plugin folder is registered and every registered plugin has a folder`(kind: String, names: [String]) throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: Self.root.appending(path: "plugins/\(kind)").path)
    #expect(folders.sorted() == names.sorted())
  }

  static func topology(_ text: String, _ file: String) throws -> [ConfigError] {
    let warnings = ConfigWarnings()
    let root = try ConfigParser(environment: .current().evaluatingExpressions, warnings: warnings).parse(text, file: file)
    let context = ConfigContext(warnings: warnings)
    let host = EngineHost(log: Log(level: .fatal, writer: SilentLog()))
    host.register(Network())
    _ = try TopologyBuilder(
      plugins: builtins, host: host, system: SystemConfig(), info: SystemInfo(hostname: "test"), context: context
    ).build(root)
    return warnings.all
  }

  @Test func `the example on every plugin's page loads without a warning`() throws {
    var count = 0
    for kind in ["inputs", "filters", "outputs", "parsers", "formatters"] {
      for name in try FileManager.default.contentsOfDirectory(atPath: Self.root.appending(path: "plugins/\(kind)").path) {
        let page = try String(contentsOf: Self.root.appending(path: "plugins/\(kind)/\(name)/README.md"), encoding: .utf8)
        let parts = page.components(separatedBy: "```conf\n")
        let example = try #require(parts.count == 2 ? parts[1].components(separatedBy: "```").first : nil, "\(name) has one example")
        #expect(try Self.topology(example, "\(name)/README.md").map(\.description) == [])
        count += 1
      }
    }
    #expect(count > 10)
  }

  @Test func `the parameter table on every plugin's page is the declaration's`() throws {
    func check(_ kind: String, _ name: String, _ docs: [ParameterDoc]) throws {
      if docs.isEmpty { return }
      let file = Self.root.appending(path: "plugins/\(kind)/\(name)/README.md")
      var page = try String(contentsOf: file, encoding: .utf8)
      if ProcessInfo.processInfo.environment["AGG_WRITE_PAGES"] == "1", let head = page.range(of: "| parameter | type | default | meaning |\n|---|---|---|---|\n") {
        let rest = page[head.upperBound...].split(separator: "\n", omittingEmptySubsequences: false).drop { $0.hasPrefix("|") }
        page = page[..<head.lowerBound] + ParameterTable.markdown(docs) + rest.joined(separator: "\n")
        try page.write(to: file, atomically: true, encoding: .utf8)
      }
      #expect(page.contains(ParameterTable.markdown(docs)), "\(kind)/\(name): run `agg plugins \(name)` and copy its table, or set AGG_WRITE_PAGES=1")
    }
    for type in builtins.inputs { try check("inputs", type.name, type.parameters()) }
    for type in builtins.filters { try check("filters", type.name, type.parameters()) }
    for type in builtins.outputs { try check("outputs", type.name, type.parameters()) }
    for type in builtins.parsers { try check("parsers", type.name, type.parameters()) }
    for type in builtins.formatters { try check("formatters", type.name, type.parameters()) }
  }

  @Test func `conf agg.conf is valid`() throws {
    let text = try String(contentsOf: Self.root.appending(path: "conf/agg.conf"), encoding: .utf8)
    #expect(try Self.topology(text, "conf/agg.conf").map(\.description) == [])
  }

  @Test func `all mistakes of a file are told in one run, each at its line`() throws {
    let text = """
      <source>
        @type tial
      </source>
      <match a.**>
        @type file
        path /tmp/x
        <buffer>
          flush_mode sometimes
        </buffer>
      </match>
      <match **>
        @type relabel
        @label @NOWHERE
      </match>
      """
    let error = #expect(throws: ConfigErrors.self) { _ = try Self.topology(text, "a.conf") }
    let lines = error?.errors.map(\.description) ?? []
    #expect(lines.contains { $0.hasPrefix("a.conf:2: unknown input plugin 'tial'; did you mean 'tail'?") })
    #expect(lines.contains { $0.hasPrefix("a.conf:8: 'flush_mode'") })
    #expect(lines.contains { $0.hasPrefix("a.conf:13: label @NOWHERE is not defined") })
    #expect(lines.count == 3)
  }
}

@Suite struct OldConfigurationTests {
  @Test func `a configuration of Fluentd v0·12 loads`() throws {
    let text = """
      <source>
        type tail
        format /^(?<host>[^ ]*) (?<size>\\d+)$/
        types size:integer
        time_format %d/%b/%Y
        path /var/log/x.log
        pos_file /tmp/x.pos
        tag x
      </source>
      <source>
        type tcp
        format json
        tag t
      </source>
      <match x>
        type file
        path /tmp/out/x
        time_slice_format %Y%m%d%H
        time_slice_wait 10m
        format json
        include_tag_key true
        buffer_type file
        buffer_path /tmp/out/buffer
        flush_at_shutdown true
      </match>
      <match **>
        type forward
        flush_interval 5s
        num_threads 2
        retry_limit 3
        buffer_chunk_limit 2m
        <server>
          host 127.0.0.1
        </server>
      </match>
      """
    #expect(try CatalogueTests.topology(text, "old.conf").map(\.description) == [])
  }
}
