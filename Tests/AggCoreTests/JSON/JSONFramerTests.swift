import AggCore
import Testing

@Suite struct JSONFramerTests {
  /// Feeds `text` in pieces of `step` bytes and drops every value from the front when it is complete.
  private func frames(_ text: String, step: Int) -> (values: [String], rest: JSONFramer.Frame?) {
    var framer = JSONFramer()
    var buffer: [UInt8] = []
    var values: [String] = []
    var rest: JSONFramer.Frame?
    let bytes = Array(text.utf8)
    for from in stride(from: 0, to: bytes.count, by: step) {
      buffer += bytes[from..<min(from + step, bytes.count)]
      while true {
        let frame = buffer.withUnsafeBytes { framer.next($0) }
        guard case .value(let range) = frame else { rest = frame; break }
        values.append(String(decoding: buffer[range], as: UTF8.self))
        buffer.removeFirst(range.upperBound)
        framer.discard(range.upperBound)
      }
      if case .invalid? = rest { break }
    }
    if let last = buffer.withUnsafeBytes({ framer.finish($0) }) { values.append(String(decoding: buffer[last], as: UTF8.self)) }
    return (values, rest)
  }

  @Test func `values are framed however the stream is cut`() {
    let text = #"["tag",1,{"a":"}\"]"}] {"b":[{}]}{"c":"\\"}"# + "\n12 true\"x\\\"y\"-1.5e+3 [] null"
    let expected = [
      #"["tag",1,{"a":"}\"]"}]"#, #"{"b":[{}]}"#, #"{"c":"\\"}"#, "12", "true", #""x\"y""#, "-1.5e+3", "[]", "null",
    ]
    for step in 1...text.utf8.count { #expect(frames(text, step: step).values == expected) }
  }

  @Test func `what is missing and what is no value are told apart`() {
    #expect(frames("{} ", step: 1).rest == .needMore(pending: 0))
    #expect(frames("{} {\"a", step: 9).rest == .needMore(pending: 3))
    #expect(frames("{} }", step: 9).rest == .invalid(at: 1))
    #expect(frames("{\"a\":[", step: 2).values.isEmpty)
    #expect(frames("\"half", step: 2).values.isEmpty)
  }
}
