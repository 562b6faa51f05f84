import AggCore
import Testing

@Suite struct ConfigIncludeTests {
  /// A file system of texts; a pattern is a path with at most one `*`.
  private func load(_ files: [String: String], _ path: String = "conf/agg.conf") throws -> (root: ConfigElement, warnings: [String]) {
    let environment = ConfigEnvironment(
      readFile: { path throws(ConfigValueError) in
        guard let text = files[path] else { throw ConfigValueError("No such file or directory") }
        return Array(text.utf8)
      },
      glob: { pattern in
        let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
        return files.keys.filter { parts.count == 2 ? $0.hasPrefix(parts[0]) && $0.hasSuffix(parts[1]) : $0 == pattern }
      })
    let parser = ConfigParser(environment: environment)
    return (try parser.load(path: path), parser.warnings.all.map(\.description))
  }

  private func mistakes(_ files: [String: String]) -> String {
    do { return "\(try load(files))" } catch { return "\(error)" }
  }

  @Test func `files come in the order of their paths, at the place of the include`() throws {
    let (root, warnings) = try load([
      "conf/agg.conf": "<match a>\n</match>\n@include d/*.conf\n<match z>\n</match>\n",
      "conf/d/20-b.conf": "<match c>\n</match>\n", "conf/d/10-a.conf": "<match b>\n  x 1\n</match>\n@include ../e.conf # why\n",
      "conf/e.conf": "<match b2>\n</match>", "conf/d/Z.conf": "<match Z>\n</match>",
    ])
    #expect(root.children.map(\.argument) == ["a", "b", "b2", "c", "Z", "z"])
    #expect(root.children[1].entry("x")?.at.description == "conf/d/10-a.conf:2")
    #expect(warnings == [])
  }

  @Test func `an include inside a section adds to that section`() throws {
    let (root, _) = try load([
      "conf/agg.conf": "<match a>\n  @type file\n  @include 'buf.conf'\n  last 1\n</match>\n",
      "conf/buf.conf": "path x\n<buffer time>\n  include normal\n</buffer>\n",
    ])
    let match = try #require(root.child("match"))
    #expect(match.entries.map(\.name) == ["@type", "path", "last"])
    #expect(match.child("buffer")?["include"] == "normal")
  }

  @Test func `what matches nothing, and what looks like a backup, is warned of`() throws {
    let (_, warnings) = try load(["conf/agg.conf": "@include nope.conf\n@include d/*.conf\n", "conf/d/a.bak.conf": ""])
    #expect(
      warnings == [
        "conf/agg.conf:1: no file matches 'conf/nope.conf'; nothing is included",
        "conf/agg.conf:2: includes 'conf/d/a.bak.conf', which looks like a backup (bak); rename it if it is not meant to be read",
      ])
  }

  @Test func `a cycle is named, and mistakes of all files come together`() {
    #expect(
      mistakes(["conf/agg.conf": "@include a.conf\nx 'y\n", "conf/a.conf": "\n@include agg.conf\n</match>\n"]) == """
        conf/a.conf:2: includes 'conf/agg.conf', which is being read already (conf/agg.conf -> conf/a.conf -> conf/agg.conf); remove this include
        conf/a.conf:3: </match> closes nothing: no section is open here; remove it or add <match> before it
        conf/agg.conf:2: a single-quoted text is not closed on its line; add ' (inside it write \\' and \\\\), or use double quotes for several lines
        """)
  }

  @Test func `files that include each other many times come to an end`() {
    var files = ["conf/agg.conf": String(repeating: "@include f0.conf\n", count: 10)]
    for i in 0..<20 { files["conf/f\(i).conf"] = String(repeating: "@include f\(i + 1).conf\n", count: 10) }
    #expect(mistakes(files).contains("includes too many files (32 levels and 4096 files are the limit)"))
  }

  @Test func `nothing is fetched over the network`() {
    #expect(
      mistakes(["conf/agg.conf": "@include https://h/x.conf\n"])
        == "conf/agg.conf:1: 'https://h/x.conf' is not included: agg fetches no configuration over the network; download it and include the file")
  }

  @Test func `text that is not UTF-8 is refused at its line`() {
    let environment = ConfigEnvironment(readFile: { _ throws(ConfigValueError) in Array("a 1\nb ".utf8) + [0xff, 0x0a] })
    do { _ = try ConfigParser(environment: environment).load(path: "x.conf") } catch {
      #expect("\(error)" == "x.conf:2: is not UTF-8 text; save the file as UTF-8")
    }
  }
}
