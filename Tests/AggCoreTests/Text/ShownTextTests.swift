import AggCore
import Testing

@Suite struct ShownTextTests {
  @Test(arguments: [
    ("", "", ""), ("plain é 日本", "plain é 日本", "plain é 日本"), ("a\tb\nc", "a\tb\nc", "a\tb\\x0ac"),
    ("\u{1b}[31mred\u{7}", "\\x1b[31mred\\x07", "\\x1b[31mred\\x07"), ("over\rwritten", "over\\x0dwritten", "over\\x0dwritten"),
    ("\u{7f}\u{80}\u{9b}31m\u{a0}", "\\x7f\\x80\\x9b31m\u{a0}", "\\x7f\\x80\\x9b31m\u{a0}"),
    ("a\r\nb", "a\\x0d\nb", "a\\x0d\\x0ab"),
  ])
  func `control characters are written out`(_ text: String, _ shown: String, _ inLine: String) {
    #expect(text.shown == shown)
    #expect(text.shownInLine == inLine)
  }
}
