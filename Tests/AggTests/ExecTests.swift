import AggCore
import AggEngine
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct ExecTests {
  static func isAlive(_ pid: String) -> Bool {
    guard let pid = pid_t(pid.trimmingCharacters(in: .whitespacesAndNewlines)) else { return false }
    // A zombie of ours would still be there.
    return kill(pid, 0) == 0
  }
  static func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

  func input(_ parameters: String, _ body: (RunningEngine) async throws -> Void) async throws {
    try await RunningEngine.with("<source>\n@type exec\n@id in\n\(parameters)\n</source>\n<match **>\n@type collect\n</match>", body)
  }

  // MARK: in_exec

  @Test func `JSON values over several lines become events with their own tag and time`() async throws {
    let parameters = """
      command printf '{"a":1,\\n"ts":1700000000}{"a":2,"tg":"x.y"} [{"a":3},{"a":4}]\\nnonsense\\n{"a":5}'
      tag t
      <parse>
        @type json
      </parse>
      <extract>
        tag_key tg
        time_key ts
        time_type unixtime
      </extract>
      """
    try await input(parameters) { agg in
      try await soon("five events") { agg.collected.lines.count == 5 }
      #expect(agg.collected.lines.sorted() == [#"t {"a":1}"#, #"t {"a":3}"#, #"t {"a":4}"#, #"t {"a":5}"#, #"x.y {"a":2}"#])
      #expect(agg.collected.times.contains(EventTime(seconds: 1_700_000_000)))
      try await soon("counted") { try agg.counters("in")[.committed] == 5 }
      #expect(try agg.counters("in")[.rejected] == 1)
    }
  }

  @Test func `a command runs again and again, and lines with carriage returns lose them`() async throws {
    try await withFolder { folder in
      try await input("command echo x >> \(folder)/runs; printf 'a\\r\\n\\nb'\ntag t\nrun_interval 0.1\n<parse>\n@type none\n</parse>") { agg in
        try await soon("three runs") { Self.text("\(folder)/runs").count >= 6 }
        try await soon("events") { agg.collected.lines.count >= 4 }
        #expect(Set(agg.collected.lines).isSubset(of: [#"t {"message":"a"}"#, #"t {"message":""}"#, #"t {"message":"b"}"#]))
        #expect(Set(agg.collected.lines).isSuperset(of: [#"t {"message":"a"}"#, #"t {"message":"b"}"#]))
      }
    }
  }

  @Test func `a command that takes too long is killed with its children`() async throws {
    try await withFolder { folder in
      try await input("command sh -c 'echo $$ > \(folder)/child; sleep 1000'; true\ntag t\ncommand_timeout 1\n<parse>\n@type none\n</parse>") { agg in
        try await soon("killed") { agg.log.lines.contains { $0.contains("longer than command_timeout") } }
        let pid = Self.text("\(folder)/child")
        #expect(!pid.isEmpty)
        try await soon("the child is gone") { !Self.isAlive(pid) }
      }
    }
  }

  @Test func `a stop ends the whole group, even what ignores TERM`() async throws {
    try await withFolder { folder in
      let script = "trap '' TERM; (trap '' TERM; echo $$ > \(folder)/leader; sh -c 'echo $$ > \(folder)/child; trap \"\" TERM; while :; do sleep 1; done')"
      try "\(script)\n".write(toFile: "\(folder)/x.sh", atomically: true, encoding: .utf8)
      try await input("command sh \(folder)/x.sh\ntag t\n<parse>\n@type none\n</parse>") { _ in
        try await soon("running") { !Self.text("\(folder)/child").isEmpty }
      }
      let leader = Self.text("\(folder)/leader")
      try await soon("the leader is gone") { !Self.isAlive(leader) }
      let child = Self.text("\(folder)/child")
      try await soon("the child is gone") { !Self.isAlive(child) }
    }
  }

  @Test func `a command inherits no descriptor, default signals, and leaves no zombie`() async throws {
    try await input("command echo $$; ls /proc/self/fd | tr '\\n' ' '; echo; grep SigIgn /proc/self/status\ntag t\n<parse>\n@type none\n</parse>") { agg in
      try await soon("printed") { agg.collected.lines.count == 3 }
      let lines = agg.collected.batches.flatMap(\.jsonRecords)
      // 3 is the folder that ls reads.
      #expect(lines[1].contains("\"0 1 2 3 \""))
      #expect(lines[2].hasSuffix("80000000\"}") || lines[2].hasSuffix("00000000\"}"))
      let pid = try #require(lines[0].split(separator: "\"").first { Int($0) != nil })
      try await soon("reaped") { !Self.isAlive(String(pid)) }
    }
  }

  @Test func `standard error is logged, or read where it is asked for`() async throws {
    try await input("command echo oops >&2; echo fine; exit 3\ntag t\n<parse>\n@type none\n</parse>") { agg in
      try await soon("logged") { agg.log.lines.contains("warn in: stderr: oops") }
      try await soon("status") { agg.log.lines.contains("warn in: the command exited with status 3") }
      #expect(agg.collected.lines == [#"t {"message":"fine"}"#])
    }
    try await input("command echo oops >&2\nconnect_mode read_with_stderr\ntag t\n<parse>\n@type none\n</parse>") { agg in
      try await soon("read") { agg.collected.lines == [#"t {"message":"oops"}"#] }
    }
  }

  @Test func `output in another encoding becomes UTF-8`() async throws {
    try await input("command printf '\\202\\240\\n'\nencoding Shift_JIS\ntag t\n<parse>\n@type none\n</parse>") { agg in
      try await soon("read") { agg.collected.lines == [#"t {"message":"あ"}"#] }
    }
  }

  @Test func `neither tag nor tag_key is a mistake`() async throws {
    await #expect(throws: ConfigErrors.self) { try await input("command true\n<parse>\n@type none\n</parse>") { _ in } }
  }

  // MARK: out_exec

  func output(_ parameters: String, _ body: (RunningEngine) async throws -> Void) async throws {
    try await RunningEngine.with(
      "<source>\n@type feed\n</source>\n<match in.**>\n@id out\n\(parameters)\n</match>\n<match **>\n@type collect\n</match>", body)
  }
  static let now = "<buffer tag>\nflush_mode immediate\nretry_wait 0.05\nretry_type periodic\n</buffer>"
  static let json = "<format>\n@type json\n</format>"

  @Test func `a chunk is a file for the command, and comes again when it fails`() async throws {
    try await withFolder { folder in
      let script = "test -e \(folder)/flag || { touch \(folder)/flag; echo $1 > \(folder)/first; exit 1; }\ncat $1 >> \(folder)/out; echo $1 > \(folder)/second"
      try script.write(toFile: "\(folder)/x.sh", atomically: true, encoding: .utf8)
      let inject = "<inject>\ntag_key tag\ntime_key time\ntime_format %Y\nhostname_key host\n</inject>"
      try await output("@type exec\ncommand sh \(folder)/x.sh\n\(Self.json)\n\(inject)\n\(Self.now)") { agg in
        try await agg.feed.send([#"{"a":1}"#, #"{"tag":"old"}"#], tag: "in.x")
        try await soon("delivered") { try agg.counters("out")[.delivered] == 2 }
        let host = #""host":"test-host""#
        #expect(Self.text("\(folder)/out") == "{\"a\":1,\(host),\"tag\":\"in.x\",\"time\":\"2023\"}\n{\"tag\":\"in.x\",\(host),\"time\":\"2023\"}\n")
        #expect(try agg.counters("out")[.retries] == 1)
        for name in ["first", "second"] {
          let path = Self.text("\(folder)/\(name)").trimmingCharacters(in: .newlines)
          #expect(!path.isEmpty && !FileManager.default.fileExists(atPath: path))
        }
      }
    }
  }

  @Test func `a command that hangs is killed and the chunk retried`() async throws {
    try await withFolder { folder in
      let script = "test -e \(folder)/flag || { touch \(folder)/flag; sleep 1000; }"
      try script.write(toFile: "\(folder)/x.sh", atomically: true, encoding: .utf8)
      try await output("@type exec\ncommand sh \(folder)/x.sh\ncommand_timeout 1\n\(Self.json)\n\(Self.now)") { agg in
        try await agg.feed.send([#"{"a":1}"#], tag: "in.x")
        try await soon("delivered") { try agg.counters("out")[.delivered] == 1 }
        #expect(agg.log.lines.contains { $0.contains("longer than command_timeout") })
      }
    }
  }

  // MARK: out_exec_filter

  static let both = json + "\n<parse>\n@type json\n</parse>"

  @Test func `events go through a command and back, the last ones too when the daemon stops`() async throws {
    var collected: Collected?
    try await output("@type exec_filter\ncommand sed -u s/red/RED/\ntag done\n\(Self.both)") { agg in
      collected = agg.collected
      try await agg.feed.send([#"{"c":"red"}"#, #"{"c":"blue"}"#], tag: "in.a")
      try await soon("both") { agg.collected.lines == [#"done {"c":"RED"}"#, #"done {"c":"blue"}"#] }
      try await agg.feed.send([#"{"c":"red"}"#], tag: "in.a")
    }
    #expect(collected?.lines.last == #"done {"c":"RED"}"# && collected?.lines.count == 3)
  }

  @Test func `prefixes, injected and extracted tags, several commands`() async throws {
    let parameters = """
      @type exec_filter
      command cat
      num_children 3
      remove_prefix in
      add_prefix out
      <inject>
        tag_key t
        time_key s
      </inject>
      <extract>
        tag_key t
        time_key s
        time_type unixtime
      </extract>
      \(Self.both)
      \(Self.now)
      """
    try await output(parameters) { agg in
      for i in 0..<20 { try await agg.feed.send([#"{"i":\#(i)}"#], tag: "in.a\(i)") }
      try await soon("all") { agg.collected.lines.count == 20 }
      #expect(Set(agg.collected.lines) == Set((0..<20).map { #"out.a\#($0) {"i":\#($0)}"# }))
      #expect(Set(agg.collected.times) == [EventTime(seconds: 1_700_000_000)])
      #expect(try agg.counters("out")[.committed] == 20)
    }
  }

  @Test func `a command that ends is started again`() async throws {
    try await output("@type exec_filter\ncommand head -n 1\nchild_respawn inf\ntag done\n\(Self.both)\n\(Self.now)") { agg in
      for i in 0..<3 {
        try await agg.feed.send([#"{"i":\#(i)}"#], tag: "in.a")
        try await soon("number \(i)") { agg.collected.lines.contains(#"done {"i":\#(i)}"#) }
        // What is written to a command that has read its last line and not ended yet is gone with it.
        try await soon("ended") { agg.log.lines.filter { $0.contains("child process num=0 exited with status 0") }.count > i }
      }
    }
  }

  @Test func `without a command that lives chunks are retried`() async throws {
    try await output("@type exec_filter\ncommand true\ntag done\n\(Self.both)\n\(Self.now)") { agg in
      try await soon("ended") { agg.log.lines.contains { $0.contains("child process num=0 exited with status 0") } }
      try await agg.feed.send([#"{"i":1}"#], tag: "in.a")
      try await soon("retried") { try agg.counters("out")[.retries] > 0 }
      #expect(agg.log.lines.contains { $0.contains("no healthy child processes exist") })
    }
  }

  // MARK: out_buffer

  @Test func `a buffer routes its events to a label`() async throws {
    try await withFolder { folder in
      let text = """
        <source>
          @type feed
        </source>
        <match **>
          @type buffer
          @id out
          @label @NEXT
          <buffer tag>
            path \(folder)/buffer
            flush_mode immediate
          </buffer>
        </match>
        <label @NEXT>
          <match **>
            @type collect
          </match>
        </label>
        """
      try await RunningEngine.with(text) { agg in
        try await agg.feed.send([#"{"a":1}"#, #"{"a":2}"#], tag: "x.y")
        try await soon("both") { agg.collected.lines == [#"x.y {"a":1}"#, #"x.y {"a":2}"#] }
        #expect(agg.collected.times.first == EventTime(seconds: 1_700_000_000))
        try await soon("delivered") { try agg.counters("out")[.delivered] == 2 }
      }
    }
  }
}
