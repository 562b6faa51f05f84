package import AggPlugins
import Testing

@Suite struct RenamePairsTests {
  @Test func `a look between the two halves of a rename loses nothing`() {
    var pairs = RenamePairs()
    pairs.from("a", cookie: 1)
    #expect(pairs.take() == [])
    pairs.to("b", cookie: 1)
    #expect(pairs.take() == [.init(from: "a", to: "b")])
    #expect(pairs.take() == [])
  }
  @Test func `halves belong together by their cookies, in the order of the second ones`() {
    var pairs = RenamePairs()
    pairs.from("a", cookie: 1)
    pairs.from("c", cookie: 2)
    pairs.to("d", cookie: 2)
    pairs.to("b", cookie: 1)
    // From a directory that nobody watches.
    pairs.to("x", cookie: 3)
    #expect(pairs.take() == [.init(from: "c", to: "d"), .init(from: "a", to: "b")])
  }
  @Test func `of many that left, the newest are remembered`() {
    var pairs = RenamePairs()
    for n in 0..<100_000 { pairs.from("\(n)", cookie: UInt32(n)) }
    pairs.to("old", cookie: 5)
    pairs.to("new", cookie: 99_500)
    #expect(pairs.take() == [.init(from: "99500", to: "new")])
  }
}
