import AggCore
import AggExpression
import AggTesting

/// The configuration's two languages, the values in them, and the expressions of `${…}` and `#{…}`.
enum ConfigTargets {
  static let all = [classic, yaml, values, expression]

  static let classicText = #"""
    <system>
      log_level info
      workers 2
    </system>
    <source>
      @type tail
      path "/var/log/#{hostname}/*.log"   # comment
      tag app.${x}
      list ["a", {"b": 1}]
      map {"a":"b",
        "c":[1,2]}
      <parse>
        @type regexp
        expression /^(?<a>[^ ]*) (?<b>.*)$/
      </parse>
    </source>
    <match app.{a,b}.** x>
      @type copy
      <store>
        @type file
        path '/tmp/o''ut'
        <buffer tag, time, $.a.b>
          timekey 1d
          chunk_limit_size 8MB
        </buffer>
      </store>
    </match>
    <label @X>
      <filter **>
        @type grep
      </filter>
    </label>
    """#
  static let yamlText = """
    system:
      log_level: info
    config:
      - source:
          $type: tail
          path: !join ["/var", "log"]
          tag: [a, b]
          parse: {$type: json, keep_time_key: true}
      - match:
          $tag: app.**
          $type: "file"
          path: !fluent/s "#{ENV['X']}/y"
          buffer: {$arg: [tag, time], timekey: 1d}
    """

  static let classic = FuzzTarget(
    "config", words: ["<", "</", ">", "\n", "\"", "'", "#{", "}", "[", "{", "\\", "@include ", "@type ", "#", "\r\n", "\t"],
    short: 2000, texts: [classicText]
  ) { try read($0, "fuzz.conf") }
  static let yaml = FuzzTarget(
    "config-yaml", words: ["- ", ": ", "\n", "&a ", "*a", "!join ", "{", "}", "[", "]", "|", ">", "\"", "<<: ", "$"], short: 1000,
    texts: [yamlText]
  ) { try read($0, "fuzz.yaml") }

  private static func read(_ bytes: [UInt8], _ name: String) throws {
    // Nothing outside the input: an @include finds no file.
    let environment = ConfigEnvironment(
      variables: ["X": "x"], readFile: { (path: String) throws(ConfigValueError) in throw ConfigValueError("no such file") },
      glob: { _ in [] })
    do {
      _ = try ConfigParser(environment: environment.evaluatingExpressions).parse(
        String(decoding: bytes, as: UTF8.self), file: name)
    } catch {
      try Failure.unless(!"\(error)".isEmpty, "an error that says nothing")
    }
  }

  static let values = FuzzTarget(
    "config-values", words: ["k", "g", "s", "d", "0x", "0o", "1e", ".", "-", "_", "true", "{", "[", "\"", ",", "/"],
    short: 10_000,
    texts: [
      "8MB", "10s", "0.5", "0755", "{\"a\":[1,2.5e3,null],\"b\":\"\\u00e9\"}", "a,b, c", "a:integer,b:time:%Y", "/^a$/mi",
      "9223372036854775807t", "0b1_0", "24224",
    ]
  ) { bytes in
    let text = String(decoding: bytes, as: UTF8.self)
    for strict in [true, false] {
      // A value that is read can be written, and is then read as the same.
      func check<T: ConfigReadable & Equatable>(_ type: T.Type) throws {
        guard let value = try? T(configText: text, strict: strict) else { return }
        let again = try? T(configText: value.configText, strict: false)
        try Failure.unless(again == value, "\(T.self) of '\(text)' is '\(value.configText)', and that is something else")
      }
      try check(Int.self)
      try check(Bool.self)
      try check(ByteSize.self)
      try check(TimeSpan.self)
      try check(FilePermission.self)
      try check(Port.self)
      _ = try? Double(configText: text, strict: strict)
      _ = try? Regexp(configText: text, strict: strict)
      _ = try? StringMap(configText: text, strict: strict)
      _ = try? [String](configText: text, strict: strict)
      _ = try? RecordPath(configText: text, strict: strict)
    }
    _ = ByteSize.configCaution(text)
    _ = TimeSpan.configCaution(text)
    _ = Int.configCaution(text)
    _ = Double.configCaution(text)
    // 1e999 is Ruby's Infinity, which is no JSON.
    if let json = try? ConfigJSON(parsing: text), !json.json.contains("Infinity") {
      try Failure.unless((try? ConfigJSON(parsing: json.json))?.json == json.json, "not read again: \(json.json)")
    }
    _ = try? ConfigJSON(yaml: bytes, file: "fuzz.yaml")
  }

  /// Any text is an expression or an error, and ends within its limits. Tests/AggExpressionTests has an oracle of more depth.
  static let expression = FuzzTarget(
    "expression",
    words: [
      "record", "[\"a\"]", ".to_s", ".map { |x| x }", "* 100000", "<< 70", "** 99", "(1..)", "-9223372036854775808", ".round(-3)",
      ".ljust(1000)", ".first(-1)", "#{", "}",
      "? ", ": ", ".gsub(//, \"x\")", ".strftime(\"%1000d\")", ".to_i(36)", "%", "/", ".each_slice(0)", ".sum", ".unpack(\"N*\")",
      "Time.at(", ".rjust(-1)",
    ], short: 3000,
    texts: [
      "record[\"a\"].to_s + \"b\"", "tag_parts[-1] ? record.dig(\"o\",\"k\") : nil", "[3,1,2].sort.map { |x| x * 2 }.join(\",\")",
      "\"%05.2f|%x\" % [1.5, 255]",
      "record[\"n\"] ** 63 - 1", "Time.at(1700000000).strftime(\"%Y-%m-%dT%H:%M:%S%z\")",
      "\"abc\"[1..-1].upcase.gsub(/b/i) { |m| m * 3 }", "a = [1]; a << a.sum; a",
      "JSON.parse('{\"a\":1e400}')", "9223372036854775807 + 1", "-9223372036854775808 / -1", "1 << 62 << 5",
      "record.each { |k, v| }.select { |k, v| v }", "\"x\".ljust(2**40)",
      "5.fdiv(0).round(2).to_i",
    ]
  ) { bytes in
    let code = String(decoding: bytes, as: UTF8.self)
    let record = CodecTargets.bytes(["a": "text", "n": 2, "o": ["k": [1, 2.5, nil]], "big": .uint(.max)])
    let bindings = Bindings(Bindings.Host(hostname: "h", variables: ["X": "x"]))
    bindings.limits.steps = 5000
    bindings.limits.bytes = 1 << 20
    bindings.setTag("a.b.c")
    try record.withUnsafeBytes { raw in
      guard let base = raw.baseAddress else { return }
      func evaluate(_ body: (Bindings, inout ByteWriter) throws -> Void) throws {
        bindings.begin(EventTime(seconds: 1_700_000_000, nanoseconds: 123), RecordView(unchecked: ValueView(unchecked: base)))
        defer { bindings.end() }
        var out = ByteWriter()
        if (try? body(bindings, &out)) != nil {
          try Failure.unless(MessagePackScanner.validate(out.bytes, maxDepth: 256), "not MessagePack")
        }
      }
      if let expression = try? Expression(code, allowing: [.filter, .configuration]) {
        try evaluate { try expression.evaluate($0).write(into: &$1) }
      }
      if let template = try? Template(code) { try evaluate { try template.write($0, into: &$1) } }
    }
  }
}
