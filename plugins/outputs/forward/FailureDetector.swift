import Glibc

/// Judges by the intervals of a server's heartbeats whether it is gone: the phi accrual detector as Fluentd has it.
///
/// Times are seconds of a monotonic clock. Source: out_forward/failure_detector.rb.
package struct FailureDetector: Sendable {
  private static let samples = 1000

  private let interval: Double
  private let hardTimeout: Double
  private var last: Double
  /// Intervals in whole microseconds, the oldest first.
  private var window: [Int]

  package init(interval: Double, hardTimeout: Double, now: Double) {
    self.interval = interval
    self.hardTimeout = hardTimeout
    last = now
    window = [Self.microseconds(interval)]
  }

  package var sampleCount: Int { window.count }

  package func isOverdue(_ now: Double) -> Bool { now - last > hardTimeout }

  package mutating func beat(_ now: Double) {
    window.append(Self.microseconds(window.isEmpty ? interval : now - last))
    if window.count > Self.samples { window.removeFirst() }
    last = now
  }

  /// How unlikely it is that the server still lives: 1 for one in ten, 2 for one in a hundred.
  package func phi(_ now: Double) -> Double {
    guard !window.isEmpty else { return 0 }
    var sum = 0
    var weights = 0
    for (index, gap) in window.enumerated() {
      sum &+= gap &* (index + 1)
      weights += index + 1
    }
    // Both are moved so that the expected interval is one second.
    let mean = Double(sum / weights) / 1e6 - interval + 1
    return (now - last - interval + 1) / mean / log(10)
  }

  package mutating func clear() {
    window.removeAll()
    last = -.infinity
  }

  private static func microseconds(_ seconds: Double) -> Int { Int(exactly: (seconds * 1e6).rounded(.towardZero)) ?? 0 }
}
