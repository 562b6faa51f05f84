import AggCore
import Foundation
import Testing

/// What in_tail's parameters do, in a running engine on real files.
@Suite struct TailParametersTests {
  private func append(_ text: String, to path: String) throws {
    let file = try File(path, [.write, .create, .append])
    var bytes = ByteWriter()
    bytes.append(text)
    try file.write(bytes.bytes)
  }
  private func source(_ lines: String, parse: String = "@type none") -> String {
    "<source>\n@type tail\ntag t\n\(lines)\n<parse>\n\(parse)\n</parse>\n</source>\n<match **>\n@type collect\n</match>\n"
  }
  private func messages(_ running: RunningEngine) -> [String] {
    running.collected.lines.compactMap { line in
      line.firstRange(of: "\"message\":\"").map { String(line[$0.upperBound...].dropLast(2)) }
    }
  }

  @Test func `a group's files share its limit, other files have none`() async throws {
    try await withFolder { folder in
      for (name, count) in [("a_web.log", 9), ("b_web.log", 9), ("c_db.log", 40)] {
        try append((1...count).map { "\(name) \($0)\n" }.joined(), to: "\(folder)/\(name)")
      }
      let text = source(
        """
        path \(folder)/*.log
        read_from_head true
        <group>
          pattern /\\/(?<host>[^_\\/]+)_(?<kind>[^.]+)\\.log$/
          rate_period 1h
          <rule>
            match {"kind":"/w.b/"}
            limit 6
          </rule>
          <rule>
            match {"kind":"db"}
          </rule>
        </group>
        """)
      try await RunningEngine.with(text) { running in
        try await soon("all of the group without a limit") { messages(running).filter { $0.hasPrefix("c_") }.count == 40 }
        // Another line of a file without limit: every file was looked at again by then.
        for n in 41...44 {
          try append("c_db.log \(n)\n", to: "\(folder)/c_db.log")
          try await soon("line \(n)") { messages(running).contains("c_db.log \(n)") }
        }
        for name in ["a_web.log", "b_web.log"] {
          #expect(messages(running).filter { $0.hasPrefix(name) } == (1...3).map { "\(name) \($0)" })
        }
      }
    }
  }

  @Test func `a limit of 0 takes nothing, and a rule with more conditions counts before one with fewer`() async throws {
    try await withFolder { folder in
      for name in ["a_web.log", "b_web.log", "c_db.log"] {
        try append("\(name) 1\n\(name) 2\n\(name) 3\n", to: "\(folder)/\(name)")
      }
      let text = source(
        """
        path \(folder)/*.log
        read_from_head true
        <group>
          pattern /\\/(?<host>[^_\\/]+)_(?<kind>[^.]+)\\.log$/
          rate_period 1h
          <rule>
            match {"kind":"web"}
            limit 0
          </rule>
          <rule>
            match {"host":"a","kind":"web"}
            limit 2
          </rule>
        </group>
        """)
      try await RunningEngine.with(text) { running in
        try await soon("the two groups") { messages(running).count == 5 }
        try append("c_db.log 4\n", to: "\(folder)/c_db.log")
        try await soon("another look at every file") { messages(running).contains("c_db.log 4") }
        #expect(
          messages(running).sorted() == ["a_web.log 1", "a_web.log 2", "c_db.log 1", "c_db.log 2", "c_db.log 3", "c_db.log 4"])
      }
    }
  }

  @Test func `a limit does not cut events of several lines`() async throws {
    try await withFolder { folder in
      try append(">1\na\nb\nc\n>2\nd\n>3\ne\n>4\n", to: "\(folder)/x_web.log")
      let group = "<group>\npattern /(?<kind>web)/\nrate_period 1h\n<rule>\nmatch {\"kind\":\"web\"}\nlimit 6\n</rule>\n</group>"
      let parse = "@type multiline\nformat_firstline /^>/\nformat1 /^(?<message>.*)$/"
      try await RunningEngine.with(source("path \(folder)/*.log\nread_from_head true\n\(group)", parse: parse)) { running in
        try await soon("the events that six lines hold") { messages(running).count >= 2 }
        #expect(messages(running) == [">1\\na\\nb\\nc", ">2\\nd"])
      }
    }
  }

  @Test func `limit_recently_modified leaves old files of a glob out, not a path that names one`() async throws {
    try await withFolder { folder in
      for name in ["old.log", "new.log", "named.txt"] { try append("\(name)\n", to: "\(folder)/\(name)") }
      for name in ["old.log", "named.txt"] {
        try FileManager.default.setAttributes(
          [.modificationDate: Date(timeIntervalSinceNow: -7200)], ofItemAtPath: "\(folder)/\(name)")
      }
      let text = source("path \(folder)/*.log,\(folder)/named.txt\nread_from_head true\nlimit_recently_modified 1h")
      try await RunningEngine.with(text) { running in
        try await soon("two files") { messages(running).count >= 2 }
        #expect(messages(running).sorted() == ["named.txt", "new.log"])
        // Written to again, it is found at the next listing; a new name brings that about.
        try append("again\n", to: "\(folder)/old.log")
        try append("later.log\n", to: "\(folder)/later.log")
        try await soon("the file that became new") { Set(messages(running)).isSuperset(of: ["old.log", "again", "later.log"]) }
      }
    }
  }

  @Test func `glob_policy says which paths are globs`() async throws {
    try await withFolder { folder in
      for name in ["a[1].log", "a1.log", "b1.log", "c1.log"] { try append("\(name)\n", to: "\(folder)/\(name)") }
      try await RunningEngine.with(source("path \(folder)/a[1].log\nread_from_head true")) { running in
        try await soon("the file of that name") { messages(running) == ["a[1].log"] }
      }
      try await RunningEngine.with(source("path \(folder)/a[1].log,\(folder)/?1.log\nglob_policy extended\nread_from_head true"))
      { running in
        try await soon("three files") { messages(running).sorted() == ["a1.log", "b1.log", "c1.log"] }
      }
      try await RunningEngine.with(source("path \(folder)/{b,c}1.log\nglob_policy always\npath_delimiter |\nread_from_head true"))
      { running in
        try await soon("two files") { messages(running).sorted() == ["b1.log", "c1.log"] }
      }
      await #expect(throws: ConfigErrors.self) { try await RunningEngine.with(source("path /x\nglob_policy always")) { _ in } }
    }
  }

  @Test func `with open_on_every_update no file stays open`() async throws {
    try await withFolder { folder in
      let path = "\(folder)/in.log"
      try append("one\n", to: path)
      try await RunningEngine.with(source("path \(path)\nread_from_head true\nopen_on_every_update true")) { running in
        try await soon("the first line") { messages(running) == ["one"] }
        try await soon("it is closed") {
          let links = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
          }
          return !links.contains(path)
        }
        try append("two\n", to: path)
        try await soon("the second line") { messages(running) == ["one", "two"] }
      }
    }
  }

  @Test func `a rotated file's last line is whole when its writer ends it, and the successor is followed`() async throws {
    try await withFolder { folder in
      let path = "\(folder)/in.log"
      let writer = try File(path, [.write, .create, .append])
      func write(_ text: String) throws {
        var bytes = ByteWriter()
        bytes.append(text)
        try writer.write(bytes.bytes)
      }
      try write("one\nha")
      try await RunningEngine.with(source("path \(path)\nread_from_head true\nrotate_wait 600s")) { running in
        try await soon("the first line") { messages(running) == ["one"] }
        try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
        try append("new\n", to: path)
        try await soon("the successor") { messages(running).contains("new") }
        try write("lf\n")
        try await soon("the line that was ended later") { messages(running).contains("half") }
        #expect(messages(running).sorted() == ["half", "new", "one"])
      }
    }
  }

  @Test func `a rotated file is read to its end whatever its writer and rotate_wait do`() async throws {
    try await withFolder { folder in
      let path = "\(folder)/in.log"
      let line = String(repeating: "x", count: 99) + "\n"
      try append(String(repeating: line, count: 20_000) + "unfinished", to: path)
      try await RunningEngine.with(source("path \(path)\nread_from_head true\nrotate_wait 0")) { running in
        try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
        try append("new\n", to: path)
        try await soon("all of it") { messages(running).contains("unfinished") }
        #expect(messages(running).filter { $0.hasPrefix("xx") }.count == 20_000)
      }
    }
  }

  /// More than are all looked at each time: those that inotify names are, and the others soon after.
  @Test func `of many files each line comes once, over renames, and where inotify does not see the write`() async throws {
    try await withFolder { folder in
      let count = 300
      for n in 0..<count { try append("file \(n) first\n", to: "\(folder)/\(n).log") }
      // Another name of a followed file's inode: the one watch that inotify has tells of one of the two names.
      #expect(link("\(folder)/7.log", "\(folder)/twin.log") == 0)
      let text = source("path \(folder)/*.log\npos_file \(folder)/pos\nread_from_head true\nrefresh_interval 1s\nrotate_wait 1s")
      try await RunningEngine.with(text) { running in
        var expected = (0..<count).map { "file \($0) first" } + ["file 7 first"]
        try await soon("the first lines") { messages(running).count == expected.count }
        for round in 0..<3 {
          for n in stride(from: round, to: count, by: 7) {
            try append("file \(n) in \(round)\n", to: "\(folder)/\(n).log")
            expected += [String](repeating: "file \(n) in \(round)", count: n == 7 ? 2 : 1)
          }
          try await soon("round \(round)") { messages(running).count == expected.count }
        }
        for n in stride(from: 0, to: count, by: 50) {
          try append("file \(n) last\n", to: "\(folder)/\(n).log")
          try File.rename("\(folder)/\(n).log", to: "\(folder)/\(n).log.1")
          try append("file \(n) anew\n", to: "\(folder)/\(n).log")
          expected += ["file \(n) last", "file \(n) anew"]
        }
        try await soon("what was renamed and what is new") { messages(running).count >= expected.count }
        #expect(messages(running).sorted() == expected.sorted())
      }
    }
  }

  @Test func `of many files that are renamed at once to names which the pattern takes too, the new ones are found at once`() async throws {
    try await withFolder { folder in
      let count = 100
      for n in 0..<count { try append("file \(n) first\n", to: "\(folder)/\(n).log") }
      // refresh_interval is a minute: only the hints can find them in time.
      let text = source("path \(folder)/*\nexclude_path [\"\(folder)/pos\"]\npos_file \(folder)/pos\nread_from_head true")
      try await RunningEngine.with(text) { running in
        var expected = (0..<count).map { "file \($0) first" }
        try await soon("the first lines") { messages(running).count == expected.count }
        for round in 0..<3 {
          for n in 0..<count {
            try File.rename("\(folder)/\(n).log", to: "\(folder)/\(n).log-\(round)")
            try append("file \(n) in \(round)\n", to: "\(folder)/\(n).log")
            expected.append("file \(n) in \(round)")
            if n % 10 == 0 { try await Task.sleep(for: .milliseconds(7)) }
          }
          try await soon("round \(round)") { messages(running).count == expected.count }
        }
        #expect(messages(running).sorted() == expected.sorted())
      }
    }
  }

  @Test func `skip_refresh_on_startup lists nothing before the input is ready`() async throws {
    try await withFolder { folder in
      try append("one\n", to: "\(folder)/a.log")
      let text = source("path \(folder)/*.log\nread_from_head true\nskip_refresh_on_startup true\nrefresh_interval 1h")
      try await RunningEngine.with(text) { running in
        #expect(!running.log.lines.contains { $0.contains("following tail of") })
        // A new name is a reason to list, whatever the interval.
        try append("two\n", to: "\(folder)/b.log")
        try await soon("both") { messages(running).sorted() == ["one", "two"] }
      }
    }
  }

  @Test func `two inputs cannot share a pos_file`() async throws {
    let one = "<source>\n@type tail\ntag t\npath /x\npos_file /tmp/agg-none/p\n<parse>\n@type none\n</parse>\n</source>\n"
    let error = await #expect(throws: ConfigErrors.self) {
      try await RunningEngine.with(one + one + "<match **>\n@type collect\n</match>\n") { _ in }
    }
    #expect(
      error?.description == "test.conf:14: pos_file /tmp/agg-none/p is used twice; the other is of input_tail.0 at test.conf:5")
  }
}
