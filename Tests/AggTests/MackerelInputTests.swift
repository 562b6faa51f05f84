import AggCore
import AggEngine
import AggExpression
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Glibc
import Testing

@Suite struct MackerelInputTests {
  func input(_ parameters: String, _ body: (RunningEngine) async throws -> Void) async throws {
    try await RunningEngine.with("<source>\n@id in\n\(parameters)\n</source>\n<match **>\n@type collect\n</match>", body)
  }
  static func isAlive(_ text: String) -> Bool {
    pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)).map { kill($0, 0) == 0 } ?? false
  }
  static func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

  // MARK: Metric plugins

  @Test func `lines of a metric plugin are metric events of the run's second, chosen by patterns`() async throws {
    let command =
      #"printf 'a.b\t1.5\t1397031808\nc 2 7 more\nshort 1\nd/e 1 1\nf nan 1\ng x 1\nskip.me 1 1\nz 9007199254740993 1\n'"#
    try await input(
      "@type mackerel_plugin\ncommand \(command)\ninterval 1s\nexclude_pattern ^skip\\.\ncustom_identifier db1\ngraph_defs false"
    ) { agg in
      try await soon("three metrics") { agg.collected.lines.count >= 3 }
      #expect(
        agg.collected.lines.prefix(3) == [
          #"mackerel.metric {"name":"custom.a.b","value":1.5,"kind":"gauge","labels":{},"host":"db1"}"#,
          #"mackerel.metric {"name":"custom.c","value":2,"kind":"gauge","labels":{},"host":"db1"}"#,
          #"mackerel.metric {"name":"custom.z","value":9007199254740993,"kind":"gauge","labels":{},"host":"db1"}"#,
        ])
      let first = try #require(agg.collected.times.first)
      #expect(first.nanoseconds == 0 && abs(first.seconds - EventTime.now().seconds) < 60)
      #expect(try agg.counters("in")[.rejected] >= 3)
      #expect(agg.log.lines.contains { $0.contains("'d/e' cannot be a metric's name") })
    }
  }

  @Test func `a plugin's own time counts when asked for and near`() async throws {
    let command = #"now=$(date +%s); echo "near 1 $((now - 60))"; echo "far 1 $((now - 3600))""#
    try await input("@type mackerel_plugin\ncommand \(command)\ninterval 1s\nuse_plugin_timestamp true\ngraph_defs false") {
      agg in
      try await soon("one metric") { agg.collected.lines.count >= 1 }
      #expect(agg.collected.lines.allSatisfy { $0.contains("custom.near") })
      let age = EventTime.now().seconds - (agg.collected.times.first?.seconds ?? 0)
      #expect((55...120).contains(age))
      #expect(agg.log.lines.contains { $0.contains("more than 15 minutes away") })
    }
  }

  @Test func `graph definitions are asked for with the protocol's variable, and each graph is an event`() async throws {
    let command = #"""
      if [ "$MACKEREL_AGENT_PLUGIN_META" = 1 ]; then printf '# mackerel-agent-plugin\n{"graphs":{"dice":{"label":"My Dice","unit":"integer","metrics":[{"name":"d6","label":"Die","stacked":true}]},"bad name":{"metrics":[]},"wild.#":{"metrics":[{"name":"*"}]}}}'; else echo "dice.d6 3 0"; fi
      """#
    try await input("@type mackerel_plugin\ncommand \(command)\ninterval 1s") { agg in
      try await soon("definitions and a metric") { agg.collected.lines.count >= 3 }
      #expect(
        agg.collected.lines.prefix(2) == [
          #"mackerel.graph {"graph_def":"custom.dice","display_name":"My Dice","unit":"integer","metrics":[{"name":"custom.dice.d6","display_name":"Die","is_stacked":true}]}"#,
          #"mackerel.graph {"graph_def":"custom.wild.#","unit":"float","metrics":[{"name":"custom.wild.#.*","is_stacked":false}]}"#,
        ])
      #expect(agg.collected.lines[2].contains(#""custom.dice.d6","value":3"#))
      #expect(agg.log.lines.contains { $0.contains("graph 'bad name' has a name that a graph cannot have") })
    }
  }

  @Test func `a hung plugin is ended with its children and keeps nobody waiting`() async throws {
    try await withFolder { folder in
      let hung =
        "@type mackerel_plugin\ncommand sh -c 'echo $$ > \(folder)/child; exec sleep 1000' & sleep 1000\ninterval 1s\ntimeout 1s\ngraph_defs false"
      let text =
        "<source>\n@id hung\n\(hung)\n</source>\n<source>\n@id in\n@type mackerel_plugin\ncommand echo fine 1 0\ninterval 1s\ngraph_defs false\n</source>\n<match **>\n@type collect\n</match>"
      try await RunningEngine.with(text) { agg in
        try await soon("the child runs") { !Self.text("\(folder)/child").isEmpty }
        let child = Self.text("\(folder)/child")
        #expect(Self.isAlive(child))
        try await soon("ended") { agg.log.lines.contains { $0.contains("took longer than timeout") } }
        try await soon("the child too") { !Self.isAlive(child) }
        try await soon("the other ran on") { agg.collected.lines.count >= 2 }
        #expect(agg.collected.lines.allSatisfy { $0.contains("custom.fine") })
      }
    }
  }

  @Test func `a noisy plugin is ended and its output bounded`() async throws {
    try await input("@type mackerel_plugin\ncommand yes 'spam 1 0'\ninterval 1s\ntimeout 30s\ngraph_defs false") { agg in
      try await soon("ended") { agg.log.lines.contains { $0.contains("printed more than 16 MiB and was ended") } }
      #expect(agg.collected.lines.isEmpty)
    }
  }

  @Test func `arguments, environment and user reach the command`() async throws {
    let command = #"["sh", "-c", "echo \"$1.$(id -un).$HOME_IS 1 0\"", "x", "it''s.$HOME"]"#
    try await withFolder { folder in
      try await input(
        "@type mackerel_check\nname c\ncommand \(command)\nenv {\"HOME_IS\":\"a b\"}\n\(getuid() == 0 ? "user nobody" : "")"
      ) { agg in
        try await soon("a report") { agg.collected.lines.count == 1 }
        let user = getuid() == 0 ? "nobody" : NSUserName()
        #expect(agg.collected.lines[0].contains(#""message":"it''s.$HOME.\#(user).a b 1 0\n""#))
      }
    }
  }

  // MARK: Checks

  @Test(arguments: [(0, "OK"), (1, "WARNING"), (2, "CRITICAL"), (3, "UNKNOWN"), (77, "UNKNOWN")])
  func `a check's exit status is its status`(code: Int, status: String) async throws {
    try await input(
      "@type check\nname c-1\ncommand echo text; exit \(code)\nmax_check_attempts 3\nnotification_interval 30m\nmemo why"
    ) { agg in
      try await soon("a report") { agg.collected.lines.count == 1 }
      #expect(
        agg.collected.lines == [
          #"mackerel.check {"check":"c-1","status":"\#(status)","message":"text\n","notification_interval":30,"max_check_attempts":3,"memo":"why"}"#
        ])
    }
  }

  @Test func `OK is reported when it changes, trouble each time, and the action sees each check`() async throws {
    try await withFolder { folder in
      let parameters = """
        @type mackerel_check
        name c
        command echo $(cat \(folder)/n); exit $(cat \(folder)/n)
        check_interval 1s
        <action>
          command echo "$MACKEREL_PREVIOUS_STATUS-$MACKEREL_STATUS-$MACKEREL_CHECK_MESSAGE" >> \(folder)/actions
        </action>
        """
      try "0".write(toFile: "\(folder)/n", atomically: true, encoding: .utf8)
      try await input(parameters) { agg in
        try await soon("three checks") { Self.text("\(folder)/actions").split(separator: "\n").count >= 3 }
        #expect(agg.collected.lines.count == 1)
        try "2".write(toFile: "\(folder)/n", atomically: true, encoding: .utf8)
        try await soon("trouble twice") { agg.collected.lines.filter { $0.contains("CRITICAL") }.count >= 2 }
        try "0".write(toFile: "\(folder)/n", atomically: true, encoding: .utf8)
        try await soon("fine again") { agg.collected.lines.last?.contains(#""status":"OK""#) ?? false }
        #expect(agg.collected.lines.last?.contains(#""previous_status":"CRITICAL""#) ?? false)
        try await soon("told to the action") { Self.text("\(folder)/actions").contains("CRITICAL-OK-0") }
        #expect(Self.text("\(folder)/actions").hasPrefix("-OK-0\n\nOK-OK-0\n"))
      }
    }
  }

  @Test func `with prevent_alert_auto_close no OK is reported`() async throws {
    try await withFolder { folder in
      let command = "echo x >> \(folder)/runs; exit $(( $(wc -l < \(folder)/runs) == 2 ))"
      try await input("@type check\nname c\ncommand \(command)\ncheck_interval 1s\nprevent_alert_auto_close true") { agg in
        try await soon("four runs") { Self.text("\(folder)/runs").count >= 8 }
        #expect(agg.collected.lines.count == 1)
        #expect(agg.collected.lines[0].contains("WARNING"))
      }
    }
  }

  @Test func `what a check cannot say is UNKNOWN, and a message ends at 1024 characters`() async throws {
    let text = """
      <source>
        @type check
        name late
        command sleep 1000
        timeout 1s
      </source>
      <source>
        @type check
        name killed
        command kill -9 $$
      </source>
      <source>
        @type check
        name nobody
        command true
        user no-such-user
      </source>
      <source>
        @type check
        name long
        command for i in $(seq 1500); do printf é; done
      </source>
      <match **>
        @type collect
      </match>
      """
    try await RunningEngine.with(text) { agg in
      try await soon("four reports") { agg.collected.lines.count == 4 }
      let lines = agg.collected.lines.sorted()
      #expect(lines.filter { $0.contains("UNKNOWN") }.count == 3)
      #expect(lines.contains { $0.contains("late") && $0.contains("command timed out") })
      #expect(lines.contains { $0.contains("killed") && $0.contains("signal 9") })
      #expect(lines.contains { $0.contains("there is no user 'no-such-user'") })
      let long = try #require(lines.first { $0.contains(#""check":"long""#) })
      #expect(long.filter { $0 == "é" }.count == 1024)
    }
  }

  // MARK: Metadata

  @Test func `metadata is an event when it changes`() async throws {
    try await withFolder { folder in
      try #"{"a":1}"#.write(toFile: "\(folder)/v", atomically: true, encoding: .utf8)
      let command = "echo x >> \(folder)/runs; cat \(folder)/v"
      try await input("@type mackerel_metadata\nnamespace n-1\ncommand \(command)\nexecution_interval 1s") { agg in
        try await soon("three runs") { Self.text("\(folder)/runs").count >= 6 }
        #expect(agg.collected.lines == [#"mackerel.metadata {"metadata":"n-1","value":{"a":1}}"#])
        try "nonsense".write(toFile: "\(folder)/v", atomically: true, encoding: .utf8)
        try await soon("told") { agg.log.lines.contains { $0.contains("printed no JSON: 'nonsense'") } }
        try "[true]".write(toFile: "\(folder)/v", atomically: true, encoding: .utf8)
        try await soon("the change") { agg.collected.lines.count == 2 }
        #expect(agg.collected.lines.last == #"mackerel.metadata {"metadata":"n-1","value":[true]}"#)
      }
    }
  }

  @Test func `mistakes are told at their line with what would be right`() throws {
    func problem(_ text: String) -> String {
      do {
        _ = try CatalogueTests.topology("<source>\n\(text)\n</source>\n<match **>\n@type null\n</match>", "m.conf")
        return ""
      } catch { return "\(error)" }
    }
    #expect(
      problem("@type check\nname a b\ncommand true").contains("'name' must be made of letters, digits, '_' and '-'; got 'a b'"))
    #expect(problem("@type check\nname a\ncommand true\nnotification_interval 60").contains("mackerel-agent's 60 is 60m here"))
    #expect(problem("@type check\nname a\ncommand true\nmax_check_attempts 11").contains("from 1 to 10"))
    #expect(problem("@type mackerel_plugin\ncommand true\ninclude_pattern (").contains("'include_pattern'"))
    #expect(problem("@type mackerel_plugin\ncommand [\"a\", 1]").contains("array of its arguments"))
    #expect(
      problem("@type mackerel_plugin\ncommand true\nenv {\"A-B\":\"1\"}").contains("'A-B' cannot be the name of a variable"))
    #expect(problem("@type mackerel_metadata\nnamespace a.b\ncommand true").contains("'namespace'"))
  }

  @Test(arguments: [("", "file"), ("mackerel", "mackerel"), ("prometheus", "prometheus_exporter")])
  func `conf agg conf sends the host's metrics to files, or where one line says`(_ line: String, _ type: String) throws {
    let path = CatalogueTests.root.appending(path: "conf/agg.conf")
    var text = try String(contentsOf: path, encoding: .utf8)
    if !line.isEmpty {
      let commented = "# @include examples/metrics_to_\(line).conf\n"
      #expect(text.contains(commented))
      text = text.replacing(commented, with: commented.dropFirst(2))
    }
    let warnings = ConfigWarnings()
    let root = try ConfigParser(environment: .current().evaluatingExpressions, warnings: warnings).parse(text, file: path.path)
    let host = EngineHost(log: Log(level: .fatal, writer: SilentLog()))
    host.register(Network())
    let topology = try TopologyBuilder(
      plugins: builtins, host: host, system: SystemConfig(), info: SystemInfo(hostname: "test", rootDirectory: "/nowhere"),
      context: ConfigContext(warnings: warnings)
    ).build(root)
    let rule = topology.rules.first { $0.kind == "match" && $0.label == "@ROOT" && $0.pattern.matches(Tag("metrics.host")) }
    #expect(rule?.type == type)
    #expect(warnings.all.map(\.description) == [])
  }

  @Test func `conf examples mackerel conf is valid`() throws {
    let text = try String(contentsOf: CatalogueTests.root.appending(path: "conf/examples/mackerel.conf"), encoding: .utf8)
    let warnings = ConfigWarnings()
    let root = try ConfigParser(environment: .current().evaluatingExpressions, warnings: warnings).parse(text, file: "conf/examples/mackerel.conf")
    let host = EngineHost(log: Log(level: .fatal, writer: SilentLog()))
    host.register(Network())
    _ = try TopologyBuilder(
      plugins: builtins, host: host, system: SystemConfig(), info: SystemInfo(hostname: "test", rootDirectory: "/nowhere"),
      context: ConfigContext(warnings: warnings)
    ).build(root)
    #expect(warnings.all.map(\.description) == [])
  }
}
