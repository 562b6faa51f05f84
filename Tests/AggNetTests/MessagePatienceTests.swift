package import AggNet
import Testing

@Suite struct MessagePatienceTests {
  private let second: Int64 = 1_000_000_000

  @Test func `without a limit there is none`() {
    #expect(MessagePatience(.zero) == nil)
    #expect(MessagePatience(.seconds(-1)) == nil)
    #expect(MessagePatience(.seconds(Int64.max))?.left == .max)
  }

  @Test func `what is waited for one message adds up, and its bytes give more time`() throws {
    var patience = try #require(MessagePatience(.seconds(2)))
    patience.begin(held: 0, isInside: false)
    #expect(!patience.isPartial)
    patience.got(10, held: 10)
    for n in 1...15 {
      patience.begin(held: 9 + n, isInside: false)
      #expect(patience.isPartial)
      patience.wait(second / 10)
      patience.got(1, held: 10 + n)
    }
    let bytes: Int64 = 25
    #expect(patience.left == second / 2 + bytes * (second / MessagePatience.bytesPerSecond))
    // A message that goes on at a fair rate is never over.
    for n in 1...100 {
      patience.begin(held: 25 + (n - 1) * 8192, isInside: false)
      patience.wait(second)
      patience.got(8192, held: 25 + n * 8192)
      #expect(patience.left > 0)
    }
  }

  @Test func `a message that ended takes its time with it`() throws {
    var patience = try #require(MessagePatience(.seconds(2)))
    patience.begin(held: 0, isInside: false)
    patience.got(100, held: 100)
    patience.begin(held: 100, isInside: false)
    patience.wait(second)
    patience.got(50, held: 150)
    // The reader took 140 of the 150: another message has begun.
    patience.begin(held: 10, isInside: false)
    #expect(patience.isPartial && patience.left == 2 * second)
    patience.got(5, held: 15)
    patience.begin(held: 0, isInside: false)
    #expect(!patience.isPartial)
  }

  @Test func `the rest of a message whose beginning was dropped counts too`() throws {
    var patience = try #require(MessagePatience(.seconds(2)))
    patience.begin(held: 0, isInside: false)
    patience.got(10, held: 10)
    for _ in 0..<4 {
      patience.begin(held: 0, isInside: true)
      #expect(patience.isPartial)
      patience.wait(second / 2)
      patience.got(1, held: 1)
    }
    patience.begin(held: 0, isInside: true)
    #expect(patience.left <= second / 100)
    patience.begin(held: 0, isInside: false)
    #expect(!patience.isPartial && patience.left == 2 * second)
  }
}
