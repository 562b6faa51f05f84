import AggCore
import Testing

@Suite struct EmbeddedExpressionTests {
  private func value(_ code: String) throws -> EmbeddedResult {
    try evaluateEmbedded(code, ConfigEnvironment(variables: ["A": " Xy ", "N": "41x", "QUOTE": "a'b"], hostname: "host1", workerID: 3))
  }

  @Test(arguments: [
    ("ENV['A']", " Xy "), (#"ENV["A"].strip.downcase"#, "xy"), ("ENV['NO']", ""), ("ENV['NO'] || 'd'", "d"), ("ENV.fetch('A','d')", " Xy "),
    ("ENV.fetch('NO', 'd')", "d"), ("ENV.fetch('NO') { 'e' }", "e"), ("hostname", "host1"), ("Socket.gethostname.upcase", "HOST1"),
    ("worker_id", "3"), ("worker_id.to_i + 1", "4"), ("ENV['N'].to_i + 1", "42"), ("'a' + \"b\\t\" + 1.to_s", "ab\t1"), ("", ""), ("nil", ""),
    ("\"}\"", "}"), ("(ENV['NO'] || hostname) + '-x'", "host1-x"), ("\"in #{hostname}\"", "in host1"), ("ENV['A'] || use_nil", " Xy "),
    ("ENV['NO'].to_i", "0"), ("ENV['QUOTE']", "a'b"), ("-1", "-1"),
  ])
  func `the part of Ruby that configurations use`(code: String, expected: String) throws {
    #expect(try value(code) == .text(expected))
  }

  @Test func `use_nil and use_default only count where they are reached`() throws {
    #expect(try value("use_nil") == .useNil)
    #expect(try value("ENV['NO'] || use_default") == .useDefault)
    #expect(try value("ENV['A'] || use_default") == .text(" Xy "))
  }

  @Test(arguments: ["1 +", "system('ls')", "ENV", "'open", "a.b", "ENV['A'].gsub(/x/, '')", "1 2", "`ls`", "use_nil_", ")", String(repeating: "(", count: 5000)])
  func `anything else is refused`(code: String) {
    #expect(throws: ConfigValueError.self) { try value(code) }
  }

  @Test func `refusals name what is wrong`() {
    func message(_ code: String) -> String {
      do { return "\(try value(code))" } catch { return (error as? ConfigValueError)?.message ?? "" }
    }
    #expect(message("ENV.fetch('NO')") == "needs the environment variable NO, which is not set; set it, or write ENV.fetch('NO', 'default')")
    #expect(message("ENV['NO'].upcase") == "calls .upcase on nil, which has none; give a default with || before it")
    #expect(message("'a' + 1") == "adds a string and an integer; '+' takes two strings or two integers (use .to_s or .to_i)")
    #expect(message("9223372036854775807 + 1") == "adds up to more than 64 bits")
  }

  @Test func `in an array the value is pasted as it is`() throws {
    #expect(try parse("a [\"x\", \"#{hostname}\", \"#{ENV['NO'] || 'd'}\"]")["a"] == #"["x","host1","d"]"#)
    #expect(mistakes("a [\"#{use_nil}\"]") == [
      "agg.conf:1: use_nil and use_default cannot stand inside an array; use them for the whole value of 'a'"
    ])
  }
}
