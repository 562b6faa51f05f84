import AggCore
import AggEngine
import AggPlugins
import AggTesting
import Foundation
import Testing

/// Plugins that hold events or count them, in a running engine.
@Suite struct HoldingPluginsTests {
  static let source = """
    <source>
      @type feed
      @id in
    </source>

    """
  static func sums(_ agg: RunningEngine, _ id: String) throws -> Int {
    let c = try agg.counters(id)
    return c[.in] + c[.recovered] + c[.created] - c[.out] - c.droppedTotal - c[.merged] - c[.held]
  }

  @Test func `what concat joins goes on, what waits too long goes to its label`() async throws {
    let text =
      Self.source + """
        <filter a>
          @type concat
          @id join
          key m
          multiline_start_regexp /^s/
          flush_interval 1s
          timeout_label @LATE
        </filter>
        <filter a>
          @type record_modifier
          <record>
            after yes
          </record>
        </filter>
        <match a>
          @type collect
        </match>
        <label @LATE>
          <match **>
            @type rewrite_tag_filter
            <rule>
              key m
              pattern /./
              tag late.${tag}
              label @COLLECT
            </rule>
          </match>
        </label>
        <label @COLLECT>
          <match **>
            @type collect
          </match>
        </label>
        """
    try await RunningEngine.with(text) { agg in
      try await agg.feed.send([#"{"m":"s1"}"#, #"{"m":"x"}"#], tag: "a")
      try await agg.feed.send([#"{"m":"y"}"#, #"{"m":"s2"}"#], tag: "a")
      #expect(agg.collected.lines == [#"a {"m":"s1\nx\ny","after":"yes"}"#])
      try await soon("the event that waits is let go") { agg.collected.lines.count == 2 }
      #expect(agg.collected.lines[1] == #"late.a {"m":"s2"}"#)
      try await soon("the ledger has it") { try agg.counters("join")[.held] == 0 }
      #expect(try Self.sums(agg, "join") == 0)
      #expect(try agg.counters("join")[.merged] == 2)
    }
  }

  @Test func `what is held at the end is emitted, through the filters behind`() async throws {
    let text =
      Self.source + """
        <filter a>
          @type detect_exceptions
          @id traces
          languages python
        </filter>
        <filter a>
          @type concat
          key n
          n_lines 2
          timeout_label @END
        </filter>
        <match a>
          @type collect
        </match>
        <match raw.**>
          @type detect_exceptions
          @id out
          remove_tag_prefix raw
          languages go
        </match>
        <match b>
          @type collect
        </match>
        <label @END>
          <match **>
            @type collect
          </match>
        </label>
        """
    let collected = try await RunningEngine.with(text) { agg in
      try await agg.feed.send(
        [#"{"message":"Traceback (most recent call last):","n":1}"#, #"{"message":"  File x","n":2}"#], tag: "a")
      try await agg.feed.send([#"{"message":"panic: no"}"#, #"{"message":"no trace"}"#, #"{"message":"panic: "}"#], tag: "raw.b")
      #expect(agg.collected.lines == [#"b {"message":"panic: no"}"#, #"b {"message":"no trace"}"#])
      #expect(try agg.counters("traces")[.held] == 1)
      let out = try agg.counters("out")
      #expect(out[.held] == 1 && out[.offered] == 3 && out[.delivered] == 3)
      return agg.collected
    }
    #expect(
      collected.lines.dropFirst(2) == [
        #"a {"message":"Traceback (most recent call last):  File x","n":"1"}"#, #"b {"message":"panic: "}"#,
      ])
  }

  @Test func `counts are reported each interval, and what is left at the end`() async throws {
    let text =
      Self.source + """
        <match a.**>
          @type datacounter
          count_key s
          count_interval 1s
          aggregate all
          tag counts
          pattern1 ok ^2
        </match>
        <match b.**>
          @type flowcounter
          unit day
          tag flow
        </match>
        <match **>
          @type collect
        </match>
        """
    let collected = try await RunningEngine.with(text) { agg in
      try await agg.feed.send([#"{"s":200}"#, #"{"s":500}"#], tag: "a.x")
      try await agg.feed.send(["{}"], tag: "b.x")
      try await soon("a report with the events") { agg.collected.lines.contains { $0.contains(#""ok_count":1"#) } }
      return agg.collected
    }
    #expect(collected.lines.filter { $0.hasPrefix("counts ") && $0.contains(#""ok_count":1"#) }.count == 1)
    #expect(collected.lines.filter { $0.hasPrefix(#"flow {"b.x_count":1,"#) }.count == 1)
  }
}
