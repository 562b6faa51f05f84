import AggCore
import Testing

@Suite struct YAMLConfigTests {
  @Test func `sections, arguments and reserved parameters read as in Fluentd`() throws {
    let root = try parse(
      """
      system:
        log_level: info
      config:
        - source:
            tag: y.aml
            $type: tail
            read_from_head: true
            parse:
              $type: json
              time_type: unixtime
        - filter:
            $tag: [y.**, z]
            $type: record_transformer
            record:
              added: from-yaml
              tagcopy: ${tag}
              plain: 12
              obj: !fluent/json {"k": [1, 2]}
              txt: !fluent/s "at #{hostname}"
              list: [a, 1, 1.50]
        - label:
            $name: "@L"
            config:
              - match:
                  $tag: "**"
                  $type: copy
                  $id: m
                  store:
                    - $type: "null"
                    - $type: stdout
                      buffer:
                        $arg: [tag, time]
        - worker:
            $arg: 0
            config:
              - match: {$tag: a, $type: "null"}
      """, file: "agg.yaml")
    #expect(root.children.map { "\($0.name) \($0.argument)" } == ["system ", "source ", "filter y.**,z", "label @L", "worker 0"])
    let source = try #require(root.child("source"))
    #expect(source.entries.map(\.name) == ["@type", "tag", "read_from_head"])
    #expect(source["read_from_head"] == "true")
    #expect(source.entry("tag")?.at.description == "agg.yaml:5")
    #expect(source.child("parse")?.type == "json")
    let record = try #require(root.child("filter")?.child("record"))
    #expect(record["plain"] == "12")
    #expect(record.entry("plain")?.typed == .int(12))
    #expect(record.entry("added")?.typed == nil)
    #expect(record["tagcopy"] == "${tag}")
    #expect(record["obj"] == #"{"k":[1,2]}"#)
    #expect(record["txt"] == "at host1")
    #expect(record["list"] == #"["a",1,1.5]"#)
    let stores = try #require(root.child("label")?.child("match")).children("store")
    #expect(stores.map(\.type) == ["null", "stdout"])
    #expect(stores.last?.child("buffer")?.argument == "tag,time")
    #expect(root.child("worker")?.child("match")?.argument == "a")
  }

  @Test(arguments: [
    ("12", "12"), ("1_000", "1000"), ("0x1f", "31"), ("yes", "true"), ("Off", "false"), ("'yes'", "yes"), ("1.50", "1.5"), ("1e3", "1e3"),
    (":sym", "sym"), ("10s", "10s"), ("0644", "0644"), ("12:30", "45000"), ("!!str 12", "12"), ("2001-01-01", "2001-01-01"), ("-", "-"), (".", "."),
    ("1.2.3", "1.2.3"), ("127.0.0.1", "127.0.0.1"), ("\"a\\tb\"", "a\tb"), ("|\n    two\n    lines\n", "two\nlines\n"),
  ])
  func `scalars mean what Ruby's YAML makes of them`(text: String, expected: String) throws {
    let root = try parse("system:\n  k: \(text == "-" ? "'-'" : text)\n", file: "a.yml")
    #expect(root.child("system")?["k"] == expected)
  }

  @Test func `a key without a value has none`() throws {
    let root = try parse("system:\n  a:\n  b: ~\n  c: !fluent/s \"#{use_nil}\"\n  d: !fluent/s \"#{use_default}\"\n", file: "a.yml")
    #expect(root.child("system")?.entries.map(\.value) == [.useNil, .useNil, .useNil, .useDefault])
  }

  @Test func `anchors and merges are resolved`() throws {
    let root = try parse(
      "system: &base\n  a: 1\n  b: 2\nconfig:\n  - source:\n      <<: *base\n      b: 3\n      c: 4\n", file: "a.yml")
    #expect(root.child("source")?.entries.map { "\($0.name)=\(root.child("source")?[$0.name] ?? "")" } == ["a=1", "b=3", "c=4"])
  }

  @Test func `included lists stand where the include stands`() throws {
    let files = [
      "c/agg.yaml": "config:\n  - source: {$type: a}\n  - !include inc/one.yaml\n  - match: {$tag: x, $type: b, buffer: !include inc/buf.yaml}\n",
      "c/inc/one.yaml": "- filter: {$tag: f}\n- !include two.yaml\n", "c/inc/two.yaml": "- filter: {$tag: g}\n",
      "c/inc/buf.yaml": "- flush_mode: lazy\n", "c/loop.yaml": "config: !include list.yaml\n", "c/list.yaml": "- !include list.yaml\n",
    ]
    let environment = ConfigEnvironment(
      readFile: { path throws(ConfigValueError) in Array((files[path] ?? "").utf8) }, glob: { files[$0] == nil ? [] : [$0] })
    let root = try ConfigParser(environment: environment).load(path: "c/agg.yaml")
    #expect(root.children.map { $0.name + $0.argument } == ["source", "filterf", "filterg", "matchx"])
    #expect(root.child("match")?.child("buffer")?["flush_mode"] == "lazy")
    #expect(throws: ConfigErrors.self) { try ConfigParser(environment: environment).load(path: "c/loop.yaml") }
  }

  @Test func `a section takes in the parameters of a file`() throws {
    let files = [
      "a.yaml": "config:\n  - match:\n      $tag: x\n      $type: b\n      buffer:\n        path: /p\n        flush_interval: 1s\n        <<: !include buf.yaml\n        retry_forever: true\n",
      "buf.yaml": "flush_interval: 5s\nretry_forever: false\n<<: !include more.yaml\n", "more.yaml": "chunk_limit_size: 1m\n",
      "loop.yaml": "config:\n  - match:\n      <<: !include self.yaml\n", "self.yaml": "<<: !include self.yaml\n",
      "list.yaml": "config:\n  - match:\n      <<: !include l.yaml\n", "l.yaml": "- a\n",
    ]
    let environment = ConfigEnvironment(
      readFile: { path throws(ConfigValueError) in Array((files[path] ?? "").utf8) }, glob: { files[$0] == nil ? [] : [$0] })
    let buffer = try ConfigParser(environment: environment).load(path: "a.yaml").child("match")?.child("buffer")
    #expect(buffer?.entries.map { "\($0.name)=\(buffer?[$0.name] ?? "")@\($0.at.file)" } == [
      "path=/p@a.yaml", "flush_interval=5s@buf.yaml", "retry_forever=true@a.yaml", "chunk_limit_size=1m@more.yaml",
    ])
    for file in ["loop.yaml", "list.yaml"] { #expect(throws: ConfigErrors.self) { try ConfigParser(environment: environment).load(path: file) } }
  }

  @Test func `mistakes have their line and come together`() {
    #expect(
      mistakes("config:\n  - sorce:\n      a: 1\n  - match:\n      $tag: x\n      a: !ruby/object:X {}\n      b: !fluent/s \"#{foo}\"\n  - filter: 5\n", file: "a.yaml")
        .map { String($0.prefix(80)) } == [
          "a.yaml:2: 'sorce' is no section of 'config'; did you mean 'source'?",
          "a.yaml:6: the tag !ruby/object:X is not known; known: !include, !fluent/json, !f",
          "a.yaml:7: \"#{foo}\" cannot be evaluated: the name 'foo' is not known; docs/EXPRES",
          "a.yaml:8: <filter> takes a map of parameters, and this is a single value",
        ])
    #expect(mistakes("config:\n  - a: [1\n  b: 2\n", file: "a.yaml").first?.hasPrefix("a.yaml:3: is not valid YAML: ") == true)
    #expect(mistakes("- a\n", file: "a.yaml") == ["a.yaml:1: a YAML configuration is a map with 'system' and 'config', and this is a list"])
  }

  @Test func `aliases that blow up and deep nesting are refused`() {
    var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for i in 1...9 { text += "a\(i): &a\(i) [\(Array(repeating: "*a\(i - 1)", count: 10).joined(separator: ", "))]\n" }
    #expect(mistakes(text, file: "a.yaml").first?.hasSuffix("stands for more than 200000 values; are aliases nested in aliases?") == true)
    #expect(mistakes("a: " + String(repeating: "[", count: 500), file: "a.yaml") == ["a.yaml:1: is nested more than 64 levels deep"])
    var chain = "a0: &a0 [x]\n"
    for i in 1...100 { chain += "a\(i): &a\(i) [*a\(i - 1)]\n" }
    #expect(mistakes(chain, file: "a.yaml").first?.hasSuffix("is nested more than 64 levels deep") == true)
  }
}
