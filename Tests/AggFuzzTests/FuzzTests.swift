import AggFuzzTargets
import AggTesting
import Foundation
import Testing

/// One after the other: `Fuzzer` watches the process's time and memory. `make fuzz` names one target in AGG_FUZZ_TARGET.
@Suite(.serialized) struct FuzzTests {
  private static let chosen = ProcessInfo.processInfo.environment["AGG_FUZZ_TARGET"].flatMap { $0.isEmpty ? nil : $0 }

  @Test(arguments: FuzzTargets.all.filter { chosen == nil || $0.name == chosen }) func target(_ target: FuzzTarget) throws {
    try target.fuzz()
  }

  #if AGG_NET
    @Test(.enabled(if: chosen == nil || chosen == "http")) func http() async throws { try await HTTPFuzz.run() }
  #endif

  @Test func `names are unique and say which folder an input belongs into`() {
    let names = FuzzTargets.all.map(\.name)
    #expect(Set(names).count == names.count)
    #expect(
      Self.chosen == nil || Self.chosen == "http" || names.contains(Self.chosen ?? ""),
      "no such target; there are \(names.joined(separator: ", ")), http")
  }

  /// The driver itself: an input that fails is found, and saved for another run.
  @Test(.enabled(if: chosen == nil)) func `a failing input is saved`() throws {
    let target = FuzzTarget("self-test", texts: ["seed"]) { bytes in
      try FuzzFailure.unless(bytes.count < 8, "too long")
    }
    let error = try #require(throws: FuzzFailure.self) { try target.fuzz() }
    #expect(error.description.contains("INPUT=.build/fuzz/self-test-"))
    let saved = try Data(contentsOf: URL(filePath: ".build/fuzz/self-test-\(getpid())"))
    #expect(saved.count >= 8)
    try FileManager.default.removeItem(atPath: ".build/fuzz/self-test-\(getpid())")
  }
}
