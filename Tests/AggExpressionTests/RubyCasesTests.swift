import AggCore
import AggExpression
import Foundation
import Testing

/// Expressions as configurations have them, each with what Ruby itself made of it (Ruby/record.rb).
@Suite struct RubyCasesTests {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Ruby")

  @Test func `every recorded expression gives what Ruby gave`() throws {
    let scene = Scene(try String(contentsOf: Self.folder.appendingPathComponent("record.json"), encoding: .utf8))
    let lines = try String(contentsOf: Self.folder.appendingPathComponent("cases.txt"), encoding: .utf8).split(
      separator: "\n", omittingEmptySubsequences: false)
    var count = 0
    for (code, result) in zip(lines, lines.dropFirst()) where result.hasPrefix("=> ") && !code.hasPrefix("=> ") {
      let found: String
      do { found = try scene.inspected(String(code)) } catch { found = "not supported: \(error)" }
      #expect(found == String(result.dropFirst(3)), "\(code)")
      count += 1
    }
    #expect(count > 600)
  }
}
