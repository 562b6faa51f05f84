import AggCore
import AggPlugins
import Testing

@Suite struct TailLagTests {
  private func at(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }

  @Test func `the lag is as old as the oldest byte that is not stored`() {
    var clock = LagClock()
    #expect(clock.bytes == 0 && clock.seconds(at(5)) == 0)
    clock.look(size: 100, now: at(10))
    clock.look(size: 100, now: at(11))
    clock.look(size: 300, now: at(12))
    #expect(clock.bytes == 300 && clock.seconds(at(15)) == 5)
    clock.moved(to: 99)
    #expect(clock.bytes == 201 && clock.seconds(at(15)) == 5)
    // Bytes beyond 100 came at 12.
    clock.moved(to: 100)
    #expect(clock.bytes == 200 && clock.seconds(at(15)) == 3)
    clock.moved(to: 300)
    #expect(clock.bytes == 0 && clock.seconds(at(15)) == 0)
    clock.look(size: 301, now: at(20))
    #expect(clock.bytes == 1 && clock.seconds(at(21)) == 1)
  }

  @Test func `a file that grows faster than it is read is behind by the time that its bytes wait`() {
    var clock = LagClock()
    for second in 1...1000 {
      clock.look(size: second * 100, now: at(UInt64(second)))
      clock.moved(to: second * 50)
    }
    // Byte 50,001 was seen at second 501: the time that is told is that or earlier, and not much.
    let seconds = clock.seconds(at(1000))
    #expect(clock.bytes == 50_000 && seconds >= 499 && seconds < 999)
  }

  @Test func `a file that is emptied or cut begins anew`() {
    var clock = LagClock()
    clock.look(size: 100, now: at(1))
    clock.look(size: 200, now: at(2))
    clock.moved(to: 50)
    clock.look(size: 150, now: at(3))
    #expect(clock.bytes == 100 && clock.seconds(at(3)) == 2)
    clock.look(size: 10, now: at(4))
    #expect(clock.bytes == 0 && clock.seconds(at(4)) == 0)
    clock.moved(to: 0)
    clock.look(size: 20, now: at(5))
    #expect(clock.bytes == 20 && clock.seconds(at(6)) >= 1)
    clock.moved(to: 20)
    #expect(clock.seconds(at(9)) == 0)
  }
}
