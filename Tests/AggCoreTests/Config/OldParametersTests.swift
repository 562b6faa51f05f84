import AggCore
import Testing

/// Expectations follow Fluentd's plugin helper compat_parameters.
@Suite struct OldParametersTests {
  private func moved(_ text: String, _ old: OldParameters, declared: [String] = []) throws -> String {
    let element = ConfigElement(
      name: "match", entries: try parse(text).entries, children: try parse(text).children,
      at: SourceLocation(file: "a.conf", line: 1))
    let docs = declared.map { ParameterDoc(named: $0, type: "string", text: "", kind: .optional) }
    return try old.moved(element, declared: docs).description
  }
  private func section(_ inner: String) -> String { "<match>\n\(inner)</match>\n" }

  @Test func `parser parameters make a parse section`() throws {
    #expect(
      try moved("format json\ntime_key t\npath /x", OldParameters(.parse))
        == section("  path /x\n  <parse>\n    time_key t\n    @type json\n  </parse>\n"))
    #expect(
      try moved("format /^(?<a>.*)$/\ntypes a:integer,b:time:%Y\nutc true", OldParameters(.parse))
        == section(
          "  <parse>\n    @type regexp\n    expression ^(?<a>.*)$\n    types {\"a\":\"integer\",\"b\":\"time:%Y\"}\n    localtime false\n  </parse>\n"
        ))
    #expect(
      try moved("format multiline\nformat_firstline /^x/\nformat1 /a/\nformat2 /b/", OldParameters(.parse))
        == section("  <parse>\n    format_firstline /^x/\n    @type multiline\n    format1 /a/\n    format2 /b/\n  </parse>\n"))
  }

  @Test func `buffer parameters make a buffer section`() throws {
    #expect(
      try moved(
        "flush_interval 5s\nnum_threads 4\nbuffer_type file\nbuffer_path /b\nbuffer_queue_full_action exception",
        OldParameters(.buffer, chunkKey: "tag"))
        == section(
          "  <buffer tag>\n    @type file\n    path /b\n    flush_thread_count 4\n    flush_interval 5s\n    overflow_action throw_exception\n  </buffer>\n"
        ))
    #expect(
      try moved(
        "path /p\ntime_slice_format %Y%m%d%H\ntime_slice_wait 10m\nutc", OldParameters(.buffer, chunkKey: "time"),
        declared: ["time_slice_format"])
        == section(
          "  path /p\n  time_slice_format %Y%m%d%H\n  <buffer time>\n    timekey_wait 10m\n    timekey 3600\n    timekey_use_utc true\n  </buffer>\n"
        ))
    #expect(try moved("buffer_chunk_limit 1m", OldParameters(.buffer, chunkKey: "time")).contains("timekey 86400"))
    #expect(throws: ConfigErrors.self) { try moved("time_slice_format %Y", OldParameters(.buffer)) }
  }

  @Test func `inject and format parameters make theirs`() throws {
    #expect(
      try moved("format ltsv\ninclude_tag_key true\ninclude_time_key yes\ntime_format %Y", OldParameters(.format, .inject))
        == section(
          "  <format>\n    @type ltsv\n  </format>\n  <inject>\n    time_format %Y\n    time_key time\n    time_type string\n    tag_key tag\n  </inject>\n"
        ))
    #expect(throws: ConfigErrors.self) { try moved("include_tag_key true\nutc true\nlocaltime true", OldParameters(.inject)) }
  }

  @Test func `a section that is there, and a plugin without old parameters, take nothing`() throws {
    let text = "flush_interval 5s\n<buffer>\n  path /x\n</buffer>\n"
    #expect(
      try moved(text, OldParameters(.buffer, chunkKey: "tag"))
        == section("  flush_interval 5s\n  <buffer>\n    path /x\n  </buffer>\n"))
    #expect(try moved("format json", .none) == section("  format json\n"))
    #expect(try moved("path x", OldParameters(.parse, .buffer, .format, .inject, .extract)) == section("  path x\n"))
  }
}
