import AggCore
import AggExpression
import Testing

@Suite struct ConfigParserTests {
  @Test func `quotes, comments and bare values read as in Fluentd`() throws {
    let root = try parse(
      #"""
      <filter t.**>
        @type record_transformer   # why
        # a comment line on its own
        <record>
          plain  several words here   # trailing comment goes
          dq "hash # kept and\ttab\nnewline"
          sq 'single \n and \t stay'
          esc "quote \" and back\\slash"
          glued x#y
          inner say "hello" now
          sqq 'it\'s'
          lead #not_comment
          flag
          back \\[
        </record>
      </filter>
      """#)
    let record = try #require(root.child("filter")?.child("record"))
    #expect(root.child("filter")?.argument == "t.**")
    #expect(root.child("filter")?.type == "record_transformer")
    #expect(record["plain"] == "several words here")
    #expect(record["dq"] == "hash # kept and\ttab\nnewline")
    #expect(record["sq"] == #"single \n and \t stay"#)
    #expect(record["esc"] == #"quote " and back\slash"#)
    #expect(record["glued"] == "x#y")
    #expect(record["inner"] == #"say "hello" now"#)
    #expect(record["sqq"] == "it's")
    #expect(record["lead"] == "#not_comment")
    #expect(record["flag"] == "")
    #expect(record["back"] == #"\\["#)
    #expect(record.entry("sq")?.at.description == "agg.conf:7")
  }

  @Test func `arrays and hashes span lines and come out as compact JSON`() throws {
    let root = try parse(
      """
      sample [
        {"k": "first", # this is the first
         "n": 1},
        {"k": "second", "n": [1,
           2, 3]}
      ]
      remove_keys ["gone", // this too
        # a line of its own
        "absent"]   # done
      h {"a": #{1 + 1}, "b": "x#{hostname}", "c#d": 1.50}
      empty []
      """)
    #expect(root["sample"] == #"[{"k":"first","n":1},{"k":"second","n":[1,2,3]}]"#)
    #expect(root["remove_keys"] == #"["gone","absent"]"#)
    #expect(root["h"] == ##"{"a":2,"b":"xhost1","c#d":1.5}"##)
    #expect(root["empty"] == "[]")
  }

  @Test func `double quotes span lines, and a backslash joins them`() throws {
    let root = try parse("a \"one\n  two\\\n  three\"\nb 1\n")
    #expect(root["a"] == "one\n  two  three")
    #expect(root.entry("b")?.at.line == 4)
  }

  @Test func `section arguments keep inner blanks and may be quoted`() throws {
    let root = try parse("<match    a.** b.** >\n</match>\n<buffer []>\n</buffer>\n<label \"@#{hostname}\">\n</label>\n<test >\n</test>\n")
    #expect(root.children.map(\.argument) == ["a.** b.**", "[]", "@host1", ""])
  }

  @Test func `carriage returns and a byte order mark are no part of the text`() throws {
    let root = try parse("\u{feff}a 1\r\n<b>\r\n  c \"x\"  # y\r\n  d e f \r\n</b>\r\n")
    #expect(root["a"] == "1")
    #expect(root.child("b")?["c"] == "x")
    #expect(root.child("b")?["d"] == "e f")
  }

  @Test func `a repeated parameter keeps the last value and is warned of`() throws {
    let parser = ConfigParser(environment: ConfigEnvironment())
    let root = try parser.parse("a 1\nb 2\na 3\n", file: "agg.conf")
    #expect(root.entries.map(\.name) == ["a", "b"])
    #expect(root["a"] == "3")
    #expect(parser.warnings.all.map(\.description) == ["agg.conf:3: 'a' was given at line 1 already; this one counts"])
  }

  @Test func `use_nil and use_default stand for the whole value`() throws {
    let root = try parse("a \"x#{use_nil}\"\nb \"#{ENV['NO'] || use_default}\"\nc \"#{ENV['HOME']}/#{worker_id}\"\n")
    #expect(root.entry("a")?.value == .useNil)
    #expect(root.entry("b")?.value == .useDefault)
    #expect(root["c"] == "/home/x/2")
  }
}

func parse(_ text: String, file: String = "agg.conf") throws -> ConfigElement {
  let environment = ConfigEnvironment(variables: ["HOME": "/home/x", "N": "41"], hostname: "host1", workerID: 2).evaluatingExpressions
  return try ConfigParser(environment: environment).parse(text, file: file)
}

func mistakes(_ text: String, file: String = "agg.conf") -> [String] {
  do {
    _ = try parse(text, file: file)
    return []
  } catch {
    return (error as? ConfigErrors)?.errors.map(\.description) ?? ["\(error)"]
  }
}
