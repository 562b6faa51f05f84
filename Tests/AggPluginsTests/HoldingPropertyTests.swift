import AggCore
import AggPlugins
import AggTesting
import Testing

/// Random streams, batches, refusals and restarts against what was sent.
@Suite struct HoldingPropertyTests {
  @Test(arguments: 1...6 as ClosedRange<UInt64>) func `every line comes out once, in its stream's order, whatever is refused or restarted`(seed: UInt64) async throws {
    var random = SeededRandom(seed: seed)
    let config = "key m\nmultiline_start_regexp /^[0-9]*0$/\nstream_identity_key s\nseparator \",\""
    var bench = try HoldingBench(ConcatFilter.self, config)
    var sent = [Int](repeating: 0, count: 300)
    var got = [[String]](repeating: [], count: 300)
    func note(_ line: String) throws {
      let record = try #require(JSONTranscoder.decode(String(line.drop { $0 != "{" })))
      guard case .int(let stream)? = record["s"], let text = record["m"]?.text else { return #expect(Bool(false), "\(line)") }
      got[Int(stream)] += text.split(separator: ",").map(String.init)
    }
    for _ in 0..<120 {
      var next = sent
      var events: [(Int64, String)] = []
      for _ in 0..<Int.random(in: 1...60, using: &random) {
        let stream = Int.random(in: 0..<sent.count, using: &random)
        // A line that ends in 0 begins an event.
        events.append((1, #"{"s":\#(stream),"m":"\#(next[stream])"}"#))
        next[stream] += 1
      }
      while Int.random(in: 0..<4, using: &random) == 0 { _ = try bench.add(events, refusing: true) }
      for line in try bench.add(events) { try note(line) }
      sent = next
      if Int.random(in: 0..<10, using: &random) == 0 {
        let restarted = try HoldingBench(ConcatFilter.self, config)
        restarted.resume(bench.stored)
        bench = restarted
      }
    }
    for line in await bench.end() { try note(line) }
    for stream in sent.indices { #expect(got[stream] == (0..<sent[stream]).map(String.init), "stream \(stream)") }
    #expect(bench.stored.isEmpty)
  }

  @Test func `stored state that was damaged is left out or taken, never more`() throws {
    var random = SeededRandom(seed: 3)
    let partial = #"{"m":"Traceback (most recent call last):\n","partial_message":"true","partial_id":"i","partial_ordinal":"1","partial_last":"false"}"#
    let first = try HoldingBench(ConcatFilter.self, "key m\nuse_partial_metadata true")
    _ = try first.add([partial])
    let trace = try HoldingBench(DetectExceptionsFilter.self, "message m")
    _ = try trace.add([partial])
    for good in [first.stored[0], trace.stored[0]] {
      for _ in 0..<300 {
        var bytes = good.state
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          switch Int.random(in: 0..<3, using: &random) {
          case 0: bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
          case 1: bytes.removeLast(Int.random(in: 0..<min(bytes.count, 8), using: &random))
          default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: Int.random(in: 0...bytes.count, using: &random))
          }
          if bytes.isEmpty { break }
        }
        for filter: any HoldingFilter in [
          try PluginDriver().make(ConcatFilter.self, "key m\nuse_partial_metadata true"), try PluginDriver().make(ConcatFilter.self, "key m\npartial_key partial_message\npartial_value true"),
          try PluginDriver().make(DetectExceptionsFilter.self, "message m"),
        ] {
          filter.restore([(key: "held 1", state: bytes)])
          var sink = FilterSink()
          let result = try filter.filter(.json([partial, partial.replacing("false", with: "true")]), &sink)
          #expect(result.count <= 3)
        }
      }
    }
  }
}
