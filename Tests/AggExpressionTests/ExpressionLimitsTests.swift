import AggCore
import AggExpression
import Foundation
import Testing

@Suite struct ExpressionLimitsTests {
  private func failure(_ code: String) throws -> EvaluationError? {
    let scene = Scene(#"{"a":"x","list":[1,2,3]}"#)
    let expression = try Expression(code, allowing: .filter)
    return scene.with { bindings in
      do throws(EvaluationError) {
        _ = try expression.evaluate(bindings)
        return nil
      } catch {
        return error
      }
    }
  }

  @Test(arguments: [
    #"(1..1000000000).to_a"#, #"(1..1000000000).each { |x| x }"#, #"1000000000.times { |x| x }"#, #""x" * 1000000000"#, #""x".ljust(1000000000)"#,
    #"[1] * 1000000000"#, #"format("%1000000000d", 1)"#, #"a = "x" * 1000; 30.times { a = a + a }; a"#, #"a = [1]; 40.times { a += a }; a"#,
    #"Hash.new { |h, k| h[k] }["x"]"#, #"a = []; 100000.times { |i| a << i.to_s }"#, #"a = [1]; a[1000000000] = 1"#, #"Array.new(1000000000)"#,
    #"1.step(1000000000, 1) { |x| x }"#, #"("a".."zzzzzzzz").to_a"#, #"SecureRandom.hex(1000000000)"#, #"100000.times { |i| Regexp.new(i.to_s) }"#,
    #"a = [1]; a[4611686018427387904] = 1"#, #""x".rjust(9223372036854775807)"#, #"(0..9223372036854775807).to_a"#,
    #"[1].insert(4611686018427387904, 1)"#,
    #"begin; 1000000000.times { |x| x }; rescue Exception; 1; end"#,
  ])
  func `what would take too much ends with a limit`(_ code: String) throws {
    #expect(try failure(code)?.kind == .limit)
  }

  @Test func `cycles and deep nesting neither crash nor leave the evaluation`() throws {
    let scene = Scene(#"{"a":"x"}"#)
    for (code, isValue) in [
      ("a = []; a << a; a", false), ("h = {}; h[1] = h; h.to_s.size", true), ("a = []; 5000.times { a = [a] }; a", false),
      ("a = []; 5000.times { a = [a] }; a.to_s.size", true), ("a = []; a << a; a.flatten", false), ("a = []; a << a; a == a", true),
      ("a = []; b = []; a << b; b << a; a == b", true), ("a = []; 9000.times { a = [a] }; a.hash", true),
      ("a = []; 5000.times { a = [a] }; a.join", false),
      ("r = {}; h = r; 5000.times { |i| n = {}; h[\"a\"] = n; h = n }; r", false), ("a = []; 5000.times { a = [a] }; a.to_json", false),
      ("record[\"self\"] = record; record", false), ("a = [1]; 40.times { a = [a, a] }; a", false),
      ("a = [1]; 40.times { a = [a, a] }; a.to_s.size > 1000", true),
      ("a = [1]; 40.times { a = [a, a] }; a.hash", true), ("a = [1]; b = [1]; 40.times { a = [a, a]; b = [b, b] }; a == b", true),
      ("a = [1]; b = [1]; 40.times { a = [a, a]; b = [b, b] }; a <=> b", true), ("a = [1]; 40.times { a = {1 => a, 2 => a} }; a.to_json", false),
      ("a = [1]; 40.times { a = [a, a] }; a.flatten", false), ("a = [1]; 40.times { a = [a, a] }; {a => 1}[a]", true),
    ] {
      let expression = try Expression(code, allowing: .filter)
      scene.with { bindings in
        var out = ByteWriter()
        do throws(EvaluationError) {
          try expression.write(bindings, into: &out)
          #expect(isValue && !out.isEmpty, "\(code)")
        } catch {
          #expect(!isValue && out.isEmpty, "\(code): \(error)")
        }
      }
    }
  }

  @Test func `a text that nests or goes on too far is an error at start`() {
    for code in [
      String(repeating: "(", count: 10_000), String(repeating: "[", count: 10_000), String(repeating: "!", count: 10_000) + "1",
      String(repeating: "1+", count: 20_000) + "1", "record" + String(repeating: "[\"a\"]", count: 5000), String(repeating: "\"#{", count: 3000),
      String(repeating: "if 1 then ", count: 3000), String(repeating: "{a: ", count: 3000), String(repeating: "-", count: 5000) + "x",
      "1" + String(repeating: ".to_s", count: 5000), String(repeating: "a = ", count: 5000) + "1", String(repeating: "1 ? ", count: 3000),
      "x".padding(70_000),
    ] {
      #expect(throws: ExpressionError.self) { try Expression(code, allowing: .filter) }
    }
  }

  /// 512 KiB is the smallest stack that a thread of ours has.
  @Test func `the deepest expressions that are accepted need little stack`() throws {
    let shapes: [(Int) -> String] = [
      { n in (0..<n).map { "[1].map { |x\($0)| " }.joined() + "1" + String(repeating: " }", count: n) },
      { n in String(repeating: "(1 + ", count: n) + "1" + String(repeating: ")", count: n) },
      { n in String(repeating: "[", count: n) + String(repeating: "]", count: n) },
      { n in "1" + String(repeating: ".to_s", count: n) },
      { n in "x = 1; " + String(repeating: "x + ", count: n) + "1" },
      { n in String(repeating: "\"#{", count: n) + "1" + String(repeating: "}\"", count: n) },
      { n in String(repeating: "format(\"%s\", ", count: n) + "1" + String(repeating: ")", count: n) },
    ]
    var texts = shapes.compactMap { shape in (1...300).last { (try? Expression(shape($0), allowing: .filter)) != nil }.map(shape) }
    let nested = "a = []; b = []; 300.times { a = [a]; b = [b] }; "
    texts += ["a.to_s", "a == b", "a <=> b", "a.hash", "a.flatten", "a.join", "a.to_json", "a", "{a => 1}"].map { nested + $0 }
    for text in texts {
      let done = DispatchSemaphore(value: 0)
      let thread = Thread {
        let scene = Scene("{}")
        if let expression = try? Expression(text, allowing: .filter) { scene.with { _ = try? expression.evaluate($0).decoded } }
        done.signal()
      }
      thread.stackSize = 512 << 10
      thread.start()
      done.wait()
    }
  }

  @Test func `texts within texts are read once`() throws {
    let n = 20
    let code = String(repeating: "format(\"#{", count: n) + "1" + String(repeating: "}\")", count: n)
    #expect(try Scene("{}").value(code) == "1")
  }

  @Test(arguments: [
    "[1, 2].each_cons(9223372036854775807).to_a", "Time.at(9223372036854775807).to_s", "Time.at(-9223372036854775808).year rescue 1",
    "1e-320.round(400)",
    "\"abc\"[-9223372036854775808, 9223372036854775807]", "[1, 2, 3][1..-9223372036854775808]", "[1][9223372036854775807]",
    "-9223372036854775808.abs rescue 1",
    "-9223372036854775808 / -1 rescue 1", "-9223372036854775808 % -1 rescue 1", "[1, 2].rotate(-9223372036854775808)",
    "1 << 9223372036854775807 rescue 1",
    "1 >> -9223372036854775807 rescue 1", "\"a\".insert(-9223372036854775808, \"b\") rescue 1", "Time.at(0) + 1e300 rescue 1",
    "format(\"%*d\", -9223372036854775808, 1)",
    "(-9223372036854775808..9223372036854775807).include?(0)", "5.round(-9223372036854775808)", "Time.at(0, in: -9223372036854775808)",
    "rand(-9223372036854775808)", "-9223372036854775808.round(-2)", "-9223372036854775808.digits rescue 1", "9223372036854775807.succ rescue 1",
    "-9223372036854775808.gcd(-9223372036854775808)", "-9223372036854775808.divmod(-1) rescue 1", "-9223372036854775808.remainder(-1)",
    "-9223372036854775808.fdiv(2)", "-9223372036854775808.pred rescue 1", "-9223372036854775808.bit_length", "-9223372036854775808.to_s(2)",
    "Time.at(9007199254740993, 9223372036854775807) rescue 1", "Time.at(-9223372036854775808) - Time.at(9223372036854775807) rescue 1",
    "\"abc\".index(\"c\", -9223372036854775808)", "\"abc\".rindex(\"c\", -9223372036854775808)", "[1, 2].first(9223372036854775807)",
    "[1, 2].pop(9223372036854775807)", "[1].fetch(-9223372036854775808) rescue 1", "[1].delete_at(-9223372036854775808)",
    "[1].flatten(-9223372036854775808)", "[1].each_with_index.with_index(9223372036854775807).to_a",
    "[1, 2].map.with_index(9223372036854775807) { |x, i| i }", "\"%.9223372036854775807d\" % 1", "\"a\".center(-9223372036854775808)",
    "SecureRandom.alphanumeric(-9223372036854775808)", "5[-9223372036854775808]", "1.step(9223372036854775807, 9223372036854775807).to_a",
    "\"x\".split(\"\", -9223372036854775808)", "\"1\".to_i(-9223372036854775808) rescue 1", "Time.utc(-9223372036854775808) rescue 1",
    "2 ** 9223372036854775807 rescue 1", "1 ** 9223372036854775807", "Array.new(-9223372036854775808) rescue 1", "1.5.round(9223372036854775807)",
    "\"abc\".gsub(/(?<=a)\\Kb/, \"x\") rescue 1",
  ])
  func `values at the edge of 64 bits do not trap`(_ code: String) throws {
    let scene = Scene("{}")
    if let expression = try? Expression(code, allowing: .filter) { scene.with { _ = try? expression.evaluate($0).decoded } }
  }

  @Test func `limits are for one evaluation, not for all`() throws {
    let scene = Scene(#"{"a":"x"}"#)
    let expression = try Expression("(1..2000).sum", allowing: .filter)
    try scene.with { bindings in
      for _ in 0..<100 {
        let value = try expression.evaluate(bindings).decoded
        #expect(value == 2_001_000)
      }
    }
  }
}

extension String {
  fileprivate func padding(_ n: Int) -> String { self + String(repeating: "x", count: n) }
}
