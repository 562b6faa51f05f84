import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct TailInputTests {
  @Test func `a tail without a path or a parse section says so at its line`() throws {
    #expect {
      _ = try PluginDriver().make(TailInput.self, "tag x")
    } throws: { error in
      let text = "\(error)"
      return text.contains("test.conf:1: 'path' parameter is required") && text.contains("test.conf:1: <parse> section is required")
    }
  }
}
