import AggCore
import AggExpression
import Testing

@Suite struct TemplateTests {
  private let scene = Scene(#"{"a":"x","n":7,"nested":{"k":"v"},"list":[1,2]}"#, tag: "foo.bar")

  @Test func `a part that stands alone gives its value`() throws {
    #expect(try scene.template(#"${record["n"]}"#) == 7)
    #expect(try scene.template(#"${record["nested"]}"#) == ["k": "v"])
    #expect(try scene.template(#"${record["none"]}"#) == .null)
    #expect(try scene.template(#"${record["n"]}"#, isTyped: false) == "7")
  }

  @Test func `mixed text joins what to_s gives`() throws {
    #expect(try scene.template(#"a-${record["n"]}-${tag}"#) == "a-7-foo.bar")
    #expect(try scene.template(#"${record["n"]} ${record["a"]}"#) == "7 x")
    #expect(try scene.template(#" ${record["n"]}"#) == " 7")
    #expect(try scene.template(#"${record["none"]}|"#) == "|")
    #expect(try scene.template(#"${record["list"]} ${record["nested"]}"#) == #"[1, 2] {"k"=>"v"}"#)
  }

  @Test func `braces and quotes nest`() throws {
    #expect(try scene.template(#"${record["list"].map { |x| {x => "}"} }}"#) == [[1: "}"], [2: "}"]])
    #expect(try scene.template(#"<${{"a" => "{"}["a"]}>"#) == "<{>")
    #expect(try scene.template(##"${"#{"}" + "#{record["a"]}"}"}"##) == "}x")
  }

  @Test func `text between counts as in double quotes`() throws {
    #expect(try scene.template(#"a\tb\"c ${tag}"#) == "a\tb\"c foo.bar")
    #expect(try scene.template("plain [text]") == "plain [text]")
    #expect(try scene.template("#{1 + 1}${tag}") == "2foo.bar")
    #expect(try Template("plain").constant == Array("plain".utf8))
    #expect(try scene.template("$ {x} $") == "$ {x} $")
    #expect(try scene.template("") == "")
  }

  @Test func `what a template changes in the record the next one sees`() throws {
    let first = try Template(#"${record["a"] = "new"; record["nested"]["z"] = 1; nil}"#)
    let second = try Template(#"${record["a"]}${record["nested"]["z"]}"#)
    try scene.with { bindings in
      #expect(!bindings.isRecordChanged)
      let one = try first.evaluate(bindings).decoded
      #expect(one == .null)
      let two = try second.evaluate(bindings).decoded
      #expect(two == "new1")
      #expect(bindings.isRecordChanged)
      #expect(RubyValue.hash(bindings.record).decoded == ["a": "new", "n": 7, "nested": ["k": "v", "z": 1], "list": [1, 2]])
    }
    #expect(try scene.template(#"${record["a"]}"#) == "x")
  }

  @Test func `an open part is an error`() {
    for text in ["${", "a ${", "a ${tag", "${tag} ${", #"${record["a"}"#, "a ${} ${]}"] {
      #expect(throws: ExpressionError.self, "\(text)") { try Template(text) }
    }
  }
}

@Suite struct ExpressionErrorTests {
  private func message(_ code: String, _ names: ExpressionNames = .filter) -> String? {
    do throws(ExpressionError) {
      _ = try Expression(code, allowing: names)
      return nil
    } catch {
      return error.description
    }
  }

  @Test func `what is not supported is found at start, with its place`() {
    #expect(message(#"record["a"].foo"#) == #"'record["a"].foo', at 12: the method 'foo' is not supported"#)
    #expect(message("`ls`")?.hasSuffix("shell commands are not supported") == true)
    for code in [
      "system('ls')", "eval('1')", "record.send(:upcase)", "File.read('/etc/passwd')", "File.open('x')", "IO.popen('ls')", "Kernel.exit", "exit",
      "exec 'ls'",
      "require 'open-uri'", "Net::HTTP.get('x')", "TCPSocket.new('a', 1)", "Process.kill(9, 1)", "ObjectSpace", "binding", "self", "@x", "@@x", "$stdout",
      "def x; end",
      "while true; end", "loop { }", "->(x) { x }", "record.instance_eval { }", "Time.foo", "ENV['A'] = 'b'", "ENV.delete('A')", "tag = 1",
      "record = {}", "unknown",
      "1 +", "foo(", "[1", "{1", "\"a", "'a", "/a", "/(/", "1 2", "a b c", "record[", "record[]", "&.x", "if 1", "case 1", "begin", "x.y = 1",
      "puts 1", "1.nope?", "gsub('a')",
      "Digest::MD5.hexdigest('x')", "ENV.clear", "Time.now = 1", "next", "break 1", "1 = 2", "worker_id",
    ] {
      #expect(message(code) != nil, "\(code)")
    }
  }

  @Test func `names are those that were allowed`() throws {
    #expect(message("record", .value) != nil)
    #expect(message("worker_id", .value) == nil)
    #expect(message("use_nil", .filter) != nil)
    let scene = Scene("{}")
    #expect(try scene.value("ENV['HOME_X'] || use_default", allowing: .value) == "/home/x")
    let expression = try Expression("ENV['NONE'] || use_nil", allowing: .value)
    scene.with { bindings in
      do throws(EvaluationError) {
        _ = try expression.evaluate(bindings)
        Issue.record("use_nil gave a value")
      } catch {
        #expect(error.kind == .useNil)
      }
    }
  }

  @Test func `errors of an event are Ruby's`() throws {
    let expression = try Expression(#"record["missing"].upcase"#, allowing: .filter)
    Scene("{}").with { bindings in
      do throws(EvaluationError) { _ = try expression.evaluate(bindings) } catch {
        #expect(error.className == "NoMethodError")
        #expect(error.message == "undefined method `upcase' for nil:NilClass")
      }
    }
  }
}
