import AggCore
import Synchronization
import Testing

@Suite struct TroubleTests {
  private final class Lines: LogWriter {
    let all = Mutex<[String]>([])
    func write(_ level: LogLevel, _ source: String, _ message: String) { all.withLock { $0.append("\(level.name) \(message)") } }
  }
  private func at(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64(seconds * 1e9)) }

  @Test func `what fails is told once, and once when it has ended`() {
    let lines = Lines()
    let trouble = Trouble(Log(writer: lines))
    trouble.worked(now: at(0), "works")
    for n in 0..<100 { trouble.failed(now: at(1 + Double(n) / 10), "fails \(n)") }
    #expect(lines.all.withLock { $0 } == ["error fails 0"])
    // Something worked, and the next fails: it goes on.
    trouble.worked(now: at(12), "works")
    trouble.failed(now: at(12.5), "fails")
    trouble.worked(now: at(14), "works")
    #expect(lines.all.withLock { $0.count } == 1)
    trouble.worked(now: at(15), "works")
    trouble.worked(now: at(16), "works")
    #expect(lines.all.withLock { $0 }.dropFirst() == ["info works after 101 failed attempts in 11 s"])
    trouble.failed(now: at(20), "fails again")
    #expect(lines.all.withLock { $0.last } == "error fails again")
  }
}
