import AggCore
import AggExpression
import Testing

@Suite struct EmbeddedCodeTests {
  private func value(_ code: String) throws -> EmbeddedResult {
    let environment = ConfigEnvironment(
      variables: ["A": " Xy ", "N": "41x", "QUOTE": "a'b", "LIST": "a,b"], hostname: "host1.example.com", workerID: 3
    ).evaluatingExpressions
    return try environment.evaluate(code, environment)
  }

  @Test(arguments: [
    ("ENV['A']", " Xy "), (#"ENV["A"].strip.downcase"#, "xy"), ("ENV['NO']", ""), ("ENV['NO'] || 'd'", "d"),
    ("ENV.fetch('A','d')", " Xy "),
    ("ENV.fetch('NO', 'd')", "d"), ("ENV.fetch('NO') { 'e' }", "e"), ("hostname", "host1.example.com"),
    ("Socket.gethostname.upcase", "HOST1.EXAMPLE.COM"),
    ("worker_id", "3"), ("worker_id.to_i + 1", "4"), ("worker_id + 'x'", "3x"), ("ENV['N'].to_i + 1", "42"),
    ("'a' + \"b\\t\" + 1.to_s", "ab\t1"),
    ("", ""), ("nil", ""), ("\"}\"", "}"), ("(ENV['NO'] || hostname) + '-x'", "host1.example.com-x"),
    ("\"in #{hostname}\"", "in host1.example.com"),
    ("ENV['A'] || use_nil", " Xy "), ("ENV['NO'].to_i", "0"), ("ENV['QUOTE']", "a'b"), ("-1", "-1"),
    ("hostname.split('.').first", "host1"),
    ("ENV['LIST'].split(',').to_json", #"["a","b"]"#), ("ENV['A'].gsub(/[X ]/, '')", "y"), ("ENV['N'] ? 'set' : 'unset'", "set"),
    ("File.basename('/a/b.conf', '.conf')", "b"), ("worker_id == '3' ? 'three' : 'other'", "three"),
    ("require 'socket'; Socket.gethostname", "host1.example.com"),
  ])
  func `the part of Ruby that configurations use`(code: String, expected: String) throws {
    #expect(try value(code) == .text(expected))
  }

  @Test func `use_nil and use_default only count where they are reached`() throws {
    #expect(try value("use_nil") == .useNil)
    #expect(try value("ENV['NO'] || use_default") == .useDefault)
    #expect(try value("ENV['A'] || use_default") == .text(" Xy "))
  }

  @Test(arguments: [
    "1 +", "system('ls')", "'open", "a.b", "1 2", "`ls`", "use_nil_", ")", String(repeating: "(", count: 5000),
    "File.read('/etc/hostname')", "record",
    "tag", "open('/etc/hostname').read", "IO.popen('ls')", "%x{ls}", "exec 'ls'", "@x = 1", "$stdout",
  ])
  func `anything else is refused`(code: String) {
    #expect(throws: ConfigValueError.self) { try value(code) }
  }

  @Test func `refusals name what is wrong`() {
    func message(_ code: String) -> String {
      do { return "\(try value(code))" } catch { return (error as? ConfigValueError)?.message ?? "" }
    }
    #expect(
      message("ENV.fetch('NO')")
        == "raises KeyError: key not found: \"NO\"; set the variable, or give a default: ENV.fetch('X', 'default')")
    #expect(
      message("ENV['NO'].upcase")
        == "raises NoMethodError: undefined method `upcase' for nil:NilClass; give a default with || before it")
    #expect(message("'a' + 1") == "raises TypeError: no implicit conversion of Integer into String")
    #expect(
      message("ENV['A'].foo") == "cannot be evaluated: the method 'foo' is not supported; docs/EXPRESSIONS.md lists what can")
    #expect(message("'a' * 100_000_000").hasPrefix("needs more than"))
  }

  @Test func `code ends where Ruby ends it`() throws {
    #expect(try parse(##"a "<#{hostname.gsub(/["}]/, '')}>""##)["a"] == "<host1>")
    #expect(try parse(##"a "<#{'}'}#{{"x" => "}"}["x"]}>""##)["a"] == "<}}>")
    #expect(try parse(##"a "#{%q(a"b)}""##)["a"] == #"a"b"#)
  }

  @Test func `a mistake over several lines is told in one, at the first`() {
    #expect(
      mistakes("x 1\na \"#{ENV['A'] ||\n  foo}\"\n") == [
        "agg.conf:2: \"#{ENV['A'] ||   foo}\" cannot be evaluated: the name 'foo' is not known; docs/EXPRESSIONS.md lists what can"
      ])
  }

  @Test func `in an array the value is pasted as it is`() throws {
    #expect(try parse("a [\"x\", \"#{hostname}\", \"#{ENV['NO'] || 'd'}\"]")["a"] == #"["x","host1","d"]"#)
    #expect(
      mistakes("a [\"#{use_nil}\"]") == [
        "agg.conf:1: use_nil and use_default cannot stand inside an array; use them for the whole value of 'a'"
      ])
  }

  @Test func `without an evaluator code is refused`() {
    #expect(throws: ConfigErrors.self) {
      try ConfigParser(environment: ConfigEnvironment()).parse("a \"#{hostname}\"", file: "a.conf")
    }
  }
}
