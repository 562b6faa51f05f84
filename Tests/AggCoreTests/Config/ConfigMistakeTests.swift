import AggCore
import Testing

@Suite struct ConfigMistakeTests {
  @Test func `an unclosed section is named where it was opened`() {
    #expect(
      mistakes("<source>\n  @type sample\n  tag x\n\n<match **>\n  @type null\n</match>\n")
        == ["agg.conf:1: <source> is never closed; add </source> before <match> at line 5"])
    #expect(
      mistakes("<match a>\n  <buffer>\n    x 1\n</match>\n")
        == ["agg.conf:2: <buffer> is never closed; add </buffer> before </match> at line 4"])
  }

  @Test func `wrong closing tags are told from missing ones`() {
    #expect(mistakes("<match a>\n</mach>\n") == ["agg.conf:2: </mach> does not close <match> of line 1; write </match>"])
    #expect(mistakes("</source>\n") == ["agg.conf:1: </source> closes nothing: no section is open here; remove it or add <source> before it"])
    #expect(mistakes("<a>\n</a\nb 1\n") == ["agg.conf:2: </a has no closing '>'; write </a>"])
    #expect(mistakes("<match x\n  @type null\n</match>\n") == ["agg.conf:1: <match has no closing '>'; write <match x>"])
    #expect(mistakes("<test></test>\nb 1") == ["agg.conf:1: '</test>' follows <test> on its line; put it on a line of its own"])
  }

  @Test func `one run reports all mistakes, in order`() {
    let text = """
      a "x" y
      b "bad \\z escape" # c
      c 'open
      d [1, 2,]
      e {"a": b}
      f "#{open(5)}"
      @foo 1
      g [1 2
      """
    #expect(
      mistakes(text) == [
        "agg.conf:1: 'y' follows the quoted text of 'a'; put quotes around the whole value, or '#' before a comment",
        "agg.conf:2: '\\z' is no escape in double quotes; write \\\\z for a backslash, or use single quotes",
        "agg.conf:3: a single-quoted text is not closed on its line; add ' (inside it write \\' and \\\\), or use double quotes for several lines",
        "agg.conf:4: the array of 'd' is not valid JSON: a value is missing before ']'; remove the comma before it; if 'd' is meant as text, put quotes around it",
        "agg.conf:5: the hash of 'e' is not valid JSON: 'b' is no value; strings stand in double quotes; if 'e' is meant as text, put quotes around it",
        "agg.conf:6: \"#{open(5)}\" cannot be evaluated: the name 'open' is not known; docs/EXPRESSIONS.md lists what can",
        "agg.conf:7: '@foo' cannot be used: '@' is kept for @id, @label, @log_level, @type and @include; remove the '@'",
        "agg.conf:8: the array of 'g' is not closed; add ']'; if 'g' is meant as text, put quotes around it",
      ])
  }

  @Test func `a mistake inside a long array has its own line`() {
    #expect(mistakes("a [\n  1,\n  x\n]\nb 'ok'\n") == [
      "agg.conf:3: the array of 'a' is not valid JSON: 'x' is no value; strings stand in double quotes; if 'a' is meant as text, put quotes around it"
    ])
  }

  @Test func `an unclosed double quote does not hide the rest`() {
    #expect(mistakes("a \"open\nb 'x' y\n") == [
      "agg.conf:1: a double-quoted text is not closed; add \" at its end (inside it write \\\")",
      "agg.conf:2: 'y' follows the quoted text of 'b'; put quotes around the whole value, or '#' before a comment",
    ])
  }

  @Test func `sections nested without end are refused`() {
    let found = mistakes(String(repeating: "<a>\n", count: 100_000))
    #expect(found == ["agg.conf:65: <a> is nested more than 64 sections deep; close the sections before it"])
  }

  @Test func `after a hundred mistakes reading stops`() {
    for piece in ["k [\n", "k \"#{\n", "</a>\n", "k {\"a\": \n"] {
      #expect(mistakes(String(repeating: piece, count: 3000)).count == 100)
    }
  }

  @Test func `a file that is not there says why`() {
    let parser = ConfigParser(environment: .current())
    #expect(throws: ConfigErrors.self) { try parser.load(path: "/no/such/agg.conf") }
    do { _ = try parser.load(path: "/no/such/agg.conf") } catch {
      #expect("\(error)" == "/no/such/agg.conf:1: cannot be read: No such file or directory; check the path and its permissions")
    }
  }

  @Test(arguments: [
    ("tga", "tag"), ("atg", "tag"), ("psth", "path"), ("oprt", "port"), ("flush_inetrval", "flush_interval"), ("tags", "tag"), ("t", nil), ("xyz", nil),
  ])
  func `the near name is meant, two letters in each other's place too`(written: String, meant: String?) {
    #expect(nearest(written, ["tag", "path", "port", "flush_interval", "flush_mode"]) == meant)
  }

  @Test func `of several near names the nearest is meant`() {
    #expect(nearest("tga", ["tags", "tag", "taxi"]) == "tag")
    #expect(nearest("flush_mdoe", ["flush_node", "flush_mode"]) == "flush_mode")
  }
}
