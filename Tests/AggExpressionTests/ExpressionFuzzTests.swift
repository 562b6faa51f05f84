import AggCore
import AggExpression
import AggTesting
import Foundation
import Testing

/// Any text either is an expression or an error, and any expression ends within its limits: nothing traps.
@Suite struct ExpressionFuzzTests {
  private static let rounds = Int(ProcessInfo.processInfo.environment["AGG_FUZZ_ROUNDS"] ?? "") ?? 6000

  @Test func `mutated expressions neither trap nor run away`() throws {
    let folder = RubyCasesTests.folder
    let scene = Scene(try String(contentsOf: folder.appendingPathComponent("record.json"), encoding: .utf8))
    scene.bindings.limits.steps = 5000
    scene.bindings.limits.bytes = 1 << 20
    let other = Scene("{}")
    other.bindings.limits = scene.bindings.limits
    let seeds = try String(contentsOf: folder.appendingPathComponent("expressions.txt"), encoding: .utf8).split(separator: "\n")
      .map {
        Array($0.utf8)
      }
    let pieces = [
      "0", "-1", "9223372036854775807", "-9223372036854775808", "1e308", "nil", "record", "[]", "{}", "\"\"", "(1..)", "[[]]",
      "* 100000", "<< 70",
      "** 99",
      ".to_s", ".inspect", ".map { |x| x }", ".first(-1)", "[-5, 9]", "[1..-9]", ".ljust(1000)", ".split(\"\", 3)",
      ".gsub(//, \"x\")", ".flatten",
      ".sum",
      ".each_slice(0)", ".round(-3)", ".round(400)", ".to_i(36)", ".strftime(\"%1000d\")", "a = [a]; ", "x << x; ", ";", "(", ")",
      "{", "}", "#{",
      "|", "?", ":",
    ].map { Array($0.utf8) }
    var random = SeededRandom(seed: 20260102)
    var parsed = 0
    for _ in 0..<Self.rounds {
      var bytes = seeds[Int.random(in: 0..<seeds.count, using: &random)]
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 0...bytes.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: if at < bytes.count { bytes.remove(at: at) }
        case 1: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
        case 2: if at < bytes.count { bytes[at] = UInt8.random(in: 32..<127, using: &random) }
        case 3: bytes.insert(contentsOf: pieces[Int.random(in: 0..<pieces.count, using: &random)], at: at)
        case 4:
          let other = seeds[Int.random(in: 0..<seeds.count, using: &random)]
          let from = Int.random(in: 0...other.count, using: &random)
          bytes.insert(contentsOf: other[from...].prefix(Int.random(in: 0...20, using: &random)), at: at)
        default:
          let from = Int.random(in: 0...bytes.count, using: &random)
          bytes.removeSubrange(min(at, from)..<max(at, from))
        }
      }
      let code = String(decoding: bytes, as: UTF8.self)
      guard let expression = try? Expression(code, allowing: [.filter, .configuration]) else {
        _ = try? Template("a ${" + code + "} b")
        continue
      }
      parsed += 1
      scene.with { bindings in
        guard let value = try? expression.evaluate(bindings) else { return }
        _ = value.displayBytes.count
        var out = ByteWriter()
        let isWritten = (try? value.write(into: &out)) != nil
        if isWritten { #expect(MessagePackScanner.validate(out.bytes, maxDepth: 256), "\(code)") }
        var record = ByteWriter()
        if (try? RubyValue.hash(bindings.record).write(into: &record)) != nil {
          #expect(MessagePackScanner.validate(record.bytes, maxDepth: 256), "\(code)")
          // What its text tells of it is true.
          if !expression.traits.changesRecord { #expect(record.array == scene.bytes, "\(code)") }
        }
        guard isWritten, !["rand", "shuffle", "sample", "uuid", "Random", "now", ".hash"].contains(where: { code.contains($0) })
        else { return }
        scene.with { bindings in
          var direct = ByteWriter()
          if (try? expression.write(bindings, into: &direct)) != nil { #expect(direct.array == out.array, "\(code)") }
        }
        guard expression.traits.isConstant else { return }
        other.with { bindings in
          var constant = ByteWriter()
          if (try? expression.write(bindings, into: &constant)) != nil { #expect(constant.array == out.array, "\(code)") }
        }
      }
    }
    #expect(parsed > Self.rounds / 10)
  }

  @Test func `random bytes are an error at most`() {
    var random = SeededRandom(seed: 7)
    let alphabet = Array("ab1\"'#{}[]()|&.:;?!=<>+-*/%$@\\ \n,recordtagx".utf8)
    for _ in 0..<Self.rounds {
      let code = String(
        decoding: (0..<Int.random(in: 0..<40, using: &random)).map { _ in
          alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
        },
        as: UTF8.self)
      _ = try? Expression(code, allowing: .filter)
      _ = try? Template(code)
    }
  }
}
