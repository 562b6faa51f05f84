import AggCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct WakerTests {
  @Test func `all that took a mark before all were woken go on, though they wait only later`() async {
    let waker = Waker(TimerQueue())
    let marks = (0..<5).map { _ in waker.mark }
    waker.wakeAll()
    // A remembered wake alone would be the first one's.
    for mark in marks { await waker.wait(after: mark) }
    #expect(waker.mark != marks[0])
  }

  @Test func `a wake without a waiter is one waiter's`() async {
    let waker = Waker(TimerQueue())
    waker.wakeOne()
    await waker.wait()
    let start = MonotonicTime.now()
    await waker.wait(until: start.adding(nanoseconds: 20_000_000))
    #expect(MonotonicTime.now() >= start.adding(nanoseconds: 20_000_000))
  }
}
