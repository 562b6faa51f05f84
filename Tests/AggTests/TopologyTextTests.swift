import AggCore
import AggEngine
import AggNet
import AggPlugins
import AggTesting
import Testing

/// What `agg check` prints of a configuration that is valid.
@Suite struct TopologyTextTests {
  private func explain(_ text: String) throws -> TopologyText {
    let warnings = ConfigWarnings()
    let root = try ConfigParser(environment: .current(), warnings: warnings).parse(text, file: "a.conf")
    let host = EngineHost(log: Log(level: .fatal, writer: SilentLog()))
    host.register(Network())
    let topology = try TopologyBuilder(
      plugins: builtins, host: host, system: SystemConfig(), info: SystemInfo(hostname: "test"),
      context: ConfigContext(warnings: warnings)
    ).build(root)
    #expect(warnings.all.map(\.description) == [])
    return TopologyText(topology)
  }
  private func warnings(_ text: String) throws -> [String] { try explain(text).warnings.map(\.description) }

  @Test func `sources, filters, matches, labels and buffers are told in order`() throws {
    let text = """
      <source>
        @type sample
        @id made
        tag app.web
      </source>
      <filter app.*>
        @type grep
        @id keep
        <regexp>
          key message
          pattern /./
        </regexp>
      </filter>
      <match app.**>
        @type copy
        @id both
        <store>
          @type relabel
          @id over
          @label @KEEP
        </store>
        <store>
          @type stdout
          @id shown
        </store>
      </match>
      <label @KEEP>
        <match **>
          @type file
          @id kept
          path /tmp/agg-none/kept
          <buffer>
            path /tmp/agg-none/buffer
            durability fsync
          </buffer>
          <secondary>
            @type secondary_file
            directory /tmp/agg-none/second
          </secondary>
        </match>
      </label>
      """
    #expect(
      try explain(text).text == """
        sources
          sample made (a.conf:1): tags app.web
            weakest hop: shown (a.conf:22) has no buffer: what it cannot write at once is dropped and counted
        top level
          filter grep keep (a.conf:6): app.*
          match copy both (a.conf:14): app.**
            after: keep (for app.*)
            from: made
            relabel over (a.conf:17)
            stdout shown (a.conf:22): no buffer
            to: label @KEEP
        label @KEEP (a.conf:27)
          match file kept (a.conf:28): **
            from: made
            file buffer /tmp/agg-none/buffer, durability fsync, secondary secondary_file
            given up: dead letters in /tmp/agg-none/buffer/buffer.dead_letters

        """)
    #expect(try warnings(text) == [])
  }

  @Test(arguments: [
    ("@type null\n<buffer>\n@type memory\n</buffer>", "memory buffer of out (a.conf:5): a kill loses what it holds"),
    ("@type file\npath /tmp/agg-none/x", "file buffer of out (a.conf:5), durability os: survives a kill, not a power failure"),
    (
      "@type file\npath /tmp/agg-none/x\n<buffer>\ndurability fsync\n</buffer>",
      "file buffer of out (a.conf:5), durability fsync: survives a power failure"
    ),
  ])
  func `the weakest hop of a source is told`(output: String, hop: String) throws {
    let text = "<source>\n@type sample\ntag a\n</source>\n<match a>\n@id out\n\(output)\n</match>\n"
    #expect(try explain(text).text.contains("    weakest hop: \(hop)\n"))
  }

  @Test func `of a copy's stores the weakest counts`() throws {
    let text = """
      <source>
        @type sample
        tag a
      </source>
      <match a>
        @type copy
        <store>
          @type file
          path /tmp/agg-none/x
        </store>
        <store>
          @type http
          @id web
          endpoint http://127.0.0.1:1/
        </store>
      </match>
      """
    #expect(try explain(text).text.contains("weakest hop: memory buffer of web (a.conf:11)"))
  }

  private static let sample = "<source>\n@type sample\ntag a.b\n</source>\n"

  @Test(arguments: [
    (
      "<match **>\n@type null\n</match>\n<match a.b>\n@type null\n</match>\n",
      ["a.conf:8: <match a.b> is never reached: <match **> at a.conf:5 takes all its tags; put the narrower match first"]
    ),
    (
      "<match a.*>\n@type null\n</match>\n<match a.*>\n@type null\n</match>\n",
      ["a.conf:8: <match a.*> is never reached: <match a.*> at a.conf:5 takes the same tags; use copy to send events to both"]
    ),
    (
      "<match a.**>\n@type null\n</match>\n<match b.**>\n@type null\n</match>\n<match {a,b}.c>\n@type null\n</match>\n",
      [
        "a.conf:8: <match b.**> gets nothing: the sources that send to the top level make other tags (input_sample.0: a.b)",
        "a.conf:11: <match {a,b}.c> is never reached: the matches before it (5, 8) take all its tags together",
      ]
    ),
    (
      "<match a.**>\n@type null\n</match>\n<filter a.b>\n@type stdout\n</filter>\n",
      ["a.conf:8: <filter a.b> is never applied: <match a.**> at a.conf:5 takes all its tags; put the filter before it"]
    ),
    (
      "<match a.*>\n@type null\n</match>\n<filter **>\n@type stdout\n</filter>\n<match **>\n@type null\n</match>\n",
      [
        "a.conf:8: <filter **> is not applied to the tags that <match a.*> at a.conf:5 takes, such as a.x: filters act on matches after them"
      ]
    ),
    (
      "<match a.**>\n@type null\n</match>\n<label @NOBODY>\n<match **>\n@type null\n</match>\n</label>\n",
      ["a.conf:8: <label @NOBODY> is never used: no source, relabel or other plugin names it"]
    ),
    (
      "<match b.**>\n@type null\n</match>\n",
      [
        "a.conf:1: events of input_sample.0 with tags such as a.b are dropped: no <match> of the top level takes them",
        "a.conf:5: <match b.**> gets nothing: the sources that send to the top level make other tags (input_sample.0: a.b)",
      ]
    ),
    (
      "<match a.b>\n@type null\n</match>\n<match fluent.**>\n@type null\n</match>\n<label @ERROR>\n<match **>\n@type null\n</match>\n</label>\n",
      []
    ),
    ("<match /a.*/>\n@type null\n</match>\n<match a.b>\n@type null\n</match>\n", []),
  ])
  func `what gets nothing, and what nobody takes, is told at its line`(rest: String, expected: [String]) throws {
    #expect(try warnings(Self.sample + rest) == expected)
  }

  @Test func `tags are followed through relabel, and not beyond plugins that change them`() throws {
    let label = "<label @L>\n<match a.b>\n@type null\n</match>\n<match z.**>\n@type null\n</match>\n</label>\n"
    #expect(
      try warnings(Self.sample + "<match a.**>\n@type relabel\n@label @L\n</match>\n" + label) == [
        "a.conf:13: <match z.**> gets nothing: the sources that send to <label @L> make other tags (input_sample.0: a.b)"
      ])
    let rewrite =
      "<match a.**>\n@type rewrite_tag_filter\n@label @L\n<rule>\nkey message\npattern /./\ntag z.y\n</rule>\n</match>\n"
    #expect(try warnings(Self.sample + rewrite + label) == [])
  }

  @Test func `labels that relabel in a circle are told`() throws {
    let text =
      Self.sample
      + "<match **>\n@type relabel\n@label @A\n</match>\n<label @A>\n<match a.*>\n@type relabel\n@label @B\n</match>\n</label>\n<label @B>\n<match **>\n@type relabel\n@label @A\n</match>\n</label>\n"
    #expect(
      try warnings(text) == [
        "a.conf:16: <match **> sends events back to a label they came through, such as tag a.b: a circle, which refuses them"
      ])
  }

  @Test(arguments: [
    ("@type tail\npath /x/*\ntag app.*\n<parse>\n@type none\n</parse>", "app.**"), ("@type syslog\ntag sys", "sys.*.*"),
    ("@type forward\nadd_tag_prefix p", "p.**"),
    ("@type forward\ntag one", "one"), ("@type http", "any"),
    ("@type exec\ncommand true\ntag t\n<parse>\n@type json\n</parse>", "t"), ("@type unix", "any"),
    ("@type tcp\ntag t\n<parse>\n@type json\n</parse>\n<extract>\ntag_key k\n</extract>", "any"),
    ("@type udp\ntag u\n<parse>\n@type json\n</parse>", "u"),
    ("@type monitor_agent", "none"), ("@type sample\ntag a.{b}", "a.{b}"),
  ])
  func `a source's tags are known as far as its configuration says them`(source: String, tags: String) throws {
    let text = try explain("<source>\n\(source)\n</source>\n<match **>\n@type null\n</match>\n").text
    #expect(text.contains(": tags \(tags)\n"))
  }

  @Test(arguments: [
    ("elasticsearch", "a.conf:2: the output plugin 'elasticsearch' (fluent-plugin-elasticsearch) is planned and not here yet"),
    ("datadog", "a.conf:2: the output plugin 'datadog' (fluent-plugin-datadog) is not here: use http"),
    ("tdlog", "a.conf:2: the output plugin 'tdlog' (fluent-plugin-td) is not planned:"),
    ("fiel", "a.conf:2: unknown output plugin 'fiel'; did you mean 'file'?"),
    (
      "no_such_thing",
      "a.conf:2: unknown output plugin 'no_such_thing': neither agg nor its list of Fluentd's plugins has it; see docs/COMPATIBILITY.md"
    ),
  ])
  func `an unknown type is explained`(type: String, message: String) throws {
    let error = #expect(throws: ConfigErrors.self) { _ = try explain("<match **>\n@type \(type)\n</match>\n") }
    // What agg gets one day is no error any more; then this row moves on.
    #expect(error?.errors.first?.description.hasPrefix(message) ?? false, "\(error.map { "\($0)" } ?? "")")
    if !type.hasPrefix("f") { #expect(error?.description.contains("docs/COMPATIBILITY.md") ?? false) }
  }
}
