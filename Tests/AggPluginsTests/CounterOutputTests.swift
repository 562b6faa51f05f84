import AggCore
import AggPlugins
import AggTesting
import Foundation
import Synchronization
import Testing

/// Outputs that count and report; here the report is the last one, which comes when the daemon stops.
@Suite struct CounterOutputTests {
  /// `tag record` of the reports about batches of (tag, records); numbers that depend on the time that passed are `R`.
  static func report<O: TimedOutput>(_ type: O.Type, _ config: String, _ batches: [(String, [String])]) async throws -> [String] {
    let driver = PluginDriver()
    let output = try driver.make(type, config)
    for (tag, records) in batches { try output.process(.json(records, tag: tag)) }
    let task = Task { await output.run() }
    task.cancel()
    await task.value
    return try driver.sink.batches.flatMap { batch in
      try batch.jsonRecords.map { "\(batch.tag) " + (try rateless($0)) }
    }
  }
  static func rateless(_ record: String) throws -> String {
    let rate = try Regex(#"_rate":[0-9.e+]+"#)
    return record.replacing(rate, with: #"_rate":R"#)
  }
  static func status(_ codes: Int...) -> [String] { codes.map { #"{"status":\#($0)}"# } }

  @Test func `datacounter counts by the first pattern that matches`() async throws {
    let patterns = "count_key status\npattern1 ok ^2\\d\\d$\npattern2 bad ^[45]\npattern3 all .\n"
    let batches = [("a.x", Self.status(200, 404, 200, 301)), ("a.y", Self.status(500) + ["{}", #"{"status":null}"#])]
    #expect(
      try await Self.report(DataCounterOutput.self, patterns + "aggregate all", batches) == [
        #"datacount {"unmatched_count":0,"unmatched_rate":R,"unmatched_percentage":0.0,"ok_count":2,"ok_rate":R,"ok_percentage":40.0,"#
          + #""bad_count":2,"bad_rate":R,"bad_percentage":40.0,"all_count":1,"all_rate":R,"all_percentage":20.0}"#
      ])
    let short = "count_key status\npattern1 ok ^2\n"
    #expect(
      try await Self.report(DataCounterOutput.self, short + "input_tag_remove_prefix a\ntag c\noutput_messages true", batches)
        == [
          #"c {"x_unmatched_count":2,"x_unmatched_rate":R,"x_unmatched_percentage":50.0,"x_messages":4,"x_ok_count":2,"x_ok_rate":R,"x_ok_percentage":50.0,"#
            + #""y_unmatched_count":1,"y_unmatched_rate":R,"y_unmatched_percentage":100.0,"y_messages":1,"y_ok_count":0,"y_ok_rate":R,"y_ok_percentage":0.0}"#
        ])
    #expect(
      try await Self.report(DataCounterOutput.self, short + "output_per_tag true\ntag_prefix n\noutcast_unmatched true", batches)
        == [
          #"n.a.x {"unmatched_count":2,"unmatched_rate":R,"ok_count":2,"ok_rate":R,"ok_percentage":100.0}"#,
          #"n.a.y {"unmatched_count":1,"unmatched_rate":R,"ok_count":0,"ok_rate":R}"#,
        ])
    #expect(try await Self.report(DataCounterOutput.self, short + "aggregate all", []) == [])
  }

  @Test func `flowcounter counts events and bytes`() async throws {
    let batches = [("a.x", [#"{"m":"12345","n":12}"#, #"{"m":"é"}"#]), ("a.y", ["{}"])]
    #expect(
      try await Self.report(FlowCounterOutput.self, "aggregate all\ncount_keys m,n", batches) == [
        #"flowcount {"count":3,"bytes":9,"count_rate":R,"bytes_rate":R}"#
      ])
    #expect(
      try await Self.report(FlowCounterOutput.self, "input_tag_remove_prefix a\ndelimiter :", batches).map {
        $0.replacingOccurrences(of: #"_rate":R"#, with: "")
      } == [
        #"flowcount {"x:count":2,"y:count":1,"x:count,"y:count}"#
      ])
    let whole = try EventBatch.json([#"{"m":"é"}"#])
    var size = 0
    whole.forEachEvent { _, record in size = record.bytes.count }
    #expect(
      try await Self.report(FlowCounterOutput.self, "output_style tagged\ncount_keys *\ntag f", [("a.y", [#"{"m":"é"}"#])]) == [
        #"f {"count":1,"bytes":\#(size),"count_rate":R,"bytes_rate":R,"tag":"a.y"}"#
      ])
  }

  @Test func `numeric_counter counts by ranges`() async throws {
    let values = ["-1", "0", "9.5", "10", "\"12\"", "2048", "null"].map { #"{"v":\#($0)}"# }
    #expect(
      try await Self.report(NumericCounterOutput.self, "count_key v\naggregate all\noutcast_unmatched true\npattern1 small 0 10\npattern2 large 10 2k\npattern3 huge 2k", [("a", values)])
        == [
          #"numcount {"unmatched_count":1,"unmatched_rate":R,"small_count":2,"small_rate":R,"small_percentage":40.0,"#
            + #""large_count":2,"large_rate":R,"large_percentage":40.0,"huge_count":1,"huge_rate":R,"huge_percentage":20.0}"#
        ])
    #expect(
      try await Self.report(NumericCounterOutput.self, "count_key v\noutput_per_tag true\ntag_prefix n\ninput_tag_remove_prefix a\npattern1 all -10 10k", [("a.b", values)])
        .map { $0.prefix(40) } == [#"n.b {"unmatched_count":0,"unmatched_rate"#])
  }

  @Test func `numeric_monitor looks at numbers`() async throws {
    let values = (1...100).map { #"{"v":\#($0)}"# } + [#"{"v":"100.5"}"#, "{}"]
    #expect(
      try await Self.report(
        NumericMonitorOutput.self, "monitor_key v\naggregate all\npercentiles 50,99\noutput_key_prefix p", [("a", values)]) == [
          #"monitor {"p_num":101,"p_min":1.0,"p_max":100.5,"p_avg":50.995049504950494,"p_sum":5150.5,"p_percentile_50":50.0,"p_percentile_99":99.0}"#
        ])
    #expect(
      try await Self.report(
        NumericMonitorOutput.self, "monitor_key v\ninput_tag_remove_prefix a", [("a.b", [#"{"v":-1}"#]), ("c", ["{}"])]) == [
          #"monitor {"b_num":1,"b_min":-1.0,"b_max":-1.0,"b_avg":-1.0,"b_sum":-1.0,"c_num":0,"c_sum":0}"#
        ])
  }

  @Test func `grepcounter reports counts that pass a bound`() async throws {
    let batches = [("a.b", [#"{"m":"error 1"}"#, #"{"m":"ok"}"#, #"{"m":"error 2"}"#]), ("a.c", [#"{"m":"error 3"}"#])]
    let grep = "input_key m\nregexp error\nexclude 9\n"
    #expect(
      try await Self.report(GrepCounterOutput.self, grep, batches) == [
        #"count.a.b {"count":2,"message":["error 1","error 2"],"input_tag":"a.b","input_tag_last":"b"}"#,
        #"count.a.c {"count":1,"message":["error 3"],"input_tag":"a.c","input_tag_last":"c"}"#,
      ])
    #expect(
      try await Self.report(GrepCounterOutput.self, grep + "aggregate all\ntag t\ndelimiter |\nthreshold 3", batches) == [
        #"t {"count":3,"message":"error 1|error 2|error 3"}"#
      ])
    #expect(try await Self.report(GrepCounterOutput.self, grep + "less_than 2", batches).count == 1)
    #expect(try await Self.report(GrepCounterOutput.self, grep + "greater_than 2", batches) == [])
    let news = [("a.b.c", [#"{"m":"x","n":1}"#, #"{"m":"x","n":2}"#, #"{"m":"y","n":1}"#])]
    #expect(
      try await Self.report(
        GrepCounterOutput.self,
        "regexp1 m x\nexclude1 n 2\naggregate out_tag\nadd_tag_prefix p.\nremove_tag_slice 0..-2\nadd_tag_suffix s", news) == [
          #"p.a.b.s {"count":1}"#
        ])
  }

  @Test(
    arguments: [
      (DataCounterOutput.self, "count_key a"), (DataCounterOutput.self, "count_key a\npattern1 a b\npattern3 c d"),
      (DataCounterOutput.self, "count_key a\npattern1 a b\npattern2 a c"),
      (DataCounterOutput.self, "count_key a\npattern1 a b\noutput_per_tag true"),
      (FlowCounterOutput.self, "aggregate all\noutput_style tagged"),
      (FlowCounterOutput.self, "timestamp_counting true\nunit second"),
      (FlowCounterOutput.self, "timestamp_counting true\nunit day"),
      (NumericMonitorOutput.self, "monitor_key a\npercentiles 100"),
      (NumericMonitorOutput.self, "monitor_key a\noutput_per_tag true"), (NumericCounterOutput.self, "count_key a\npattern1 a 1\npattern2 b 2 3"),
    (NumericCounterOutput.self, "count_key a\npattern1 a"), (NumericCounterOutput.self, "count_key a\npattern1 a x y"), (GrepCounterOutput.self, "aggregate all"),
      (GrepCounterOutput.self, "input_key a\nregexp1 a b"), (GrepCounterOutput.self, "regexp1 a b\nregexp2 a c"),
      (GrepCounterOutput.self, "remove_tag_slice 1"),
      (PingMessageCheckerOutput.self, "check_interval 5"),
    ] as [(any TimedOutput.Type, String)])
  func `what cannot be counted is an error`(type: any TimedOutput.Type, config: String) {
    func make<O: TimedOutput>(_ type: O.Type) throws { _ = try PluginDriver().make(type, config) }
    #expect(throws: ConfigErrors.self) { try make(type) }
  }

  @Test func `the simple counter logs what came, once a unit`() async throws {
    final class Lines: LogWriter {
      let lines = Mutex<[String]>([])
      func write(_ level: LogLevel, _ source: String, _ message: String) { lines.withLock { $0.append(message) } }
    }
    let lines = Lines()
    let driver = PluginDriver()
    let element = try driver.element("unit second\ncomment c")
    let base = driver.context(element)
    let context = PluginContext(
      id: "test", element: element, log: Log(level: .trace, writer: lines), counters: base.counters, system: base.system,
      config: base.config,
      services: NoServices())
    let output = try FlowCounterSimpleOutput(.load(element, context.config), context)
    try output.process(.json(["{}", "{}"]))
    try output.process(.json(["{}"]))
    for _ in 0..<3000 where lines.lines.withLock({ $0.isEmpty }) { try await Task.sleep(for: .milliseconds(10)) }
    #expect(lines.lines.withLock { $0 } == ["plugin:out_flowcounter_simple\tcount:3\tindicator:num\tunit:second\tcomment:c"])
  }
  private struct NoServices: PluginServices {
    func parser(_ section: ConfigElement, default: String?, _ context: PluginContext) throws -> any Parser {
      throw ConfigValueError("none")
    }
    func formatter(_ section: ConfigElement, default: String?, _ context: PluginContext) throws -> any AggCore.Formatter {
      throw ConfigValueError("none")
    }
    func output(_ section: ConfigElement, _ context: PluginContext) throws -> any Sink { throw ConfigValueError("none") }
    func label(_ name: String, at: AggCore.SourceLocation) -> any Sink { CollectingSink(id: name) }
    func shared<S: Sendable>(_ type: S.Type) -> S? { nil }
    func committed(_ plugin: String, _ key: String) -> [UInt8]? { nil }
    func committedKeys(_ plugin: String) -> [String] { [] }
    func emitter(_ context: PluginContext) -> Emitter { Emitter(CollectingSink(id: "none")) }
  }

  @Test func `a ping comes again and again`() async throws {
    let driver = PluginDriver()
    let input = try driver.make(
      PingMessageInput.self, "interval 1\ndata from ${hostname}!\nhostname h\n<inject>\n  tag_key t\n</inject>")
    let task = Task { try await input.run(Emitter(driver.sink)) }
    for _ in 0..<3000 where driver.sink.batches.count < 2 { try await Task.sleep(for: .milliseconds(10)) }
    task.cancel()
    try await task.value
    #expect(
      driver.sink.batches.prefix(2).flatMap { batch in batch.jsonRecords.map { "\(batch.tag) \($0)" } }
        == Array(repeating: #"ping {"data":"from h!","t":"ping"}"#, count: 2))
  }

  @Test func `a ping that stays away is told`() async throws {
    let driver = PluginDriver()
    let output = try driver.make(
      PingMessageCheckerOutput.self, "tag missing\ncheck_interval 1\nnotification_times 2\nexclude_pattern ^x")
    try output.process(.json([#"{"data":"a"}"#, #"{"data":"xa"}"#, "{}"]))
    let task = Task { await output.run() }
    for _ in 0..<3000 where driver.sink.batches.count < 2 { try await Task.sleep(for: .milliseconds(10)) }
    task.cancel()
    await task.value
    #expect(
      driver.sink.batches.flatMap { batch in batch.jsonRecords.map { "\(batch.tag) \($0)" } }
        == Array(repeating: #"missing {"data":"a"}"#, count: 2))
  }
}
