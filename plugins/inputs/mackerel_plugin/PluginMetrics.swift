package import AggCore

/// Reads what a metric plugin prints: lines of name, value and time, with blanks between them.
///
/// Lines of fewer than three fields mean nothing, as to mackerel-agent; more fields than three are passed over.
package struct PluginMetrics: Sendable {
  /// A plugin that prints more points than this at once is not believed.
  static let mostPoints = 20_000
  /// How far a plugin's own time may be from the run's, in seconds.
  static let timeWindow: Int64 = 15 * 60

  var include: Regexp?
  var exclude: Regexp?
  var prefix = "custom."
  /// Take the line's time instead of the run's.
  package var usesLineTime = false

  package init(include: Regexp? = nil, exclude: Regexp? = nil, prefix: String = "custom.", usesLineTime: Bool = false) {
    (self.include, self.exclude) = (include, exclude)
    (self.prefix, self.usesLineTime) = (prefix, usesLineTime)
  }

  package struct Problems {
    package var count = 0
    /// Of the first one.
    var reason = ""
    package init() {}
    mutating func add(_ why: @autoclosure () -> String) {
      if count == 0 { reason = why() }
      count += 1
    }
  }

  package func read(_ output: [UInt8], at time: EventTime, into writer: inout MetricWriter, _ problems: inout Problems) {
    let point = EventTime(seconds: time.seconds)
    for line in output.split(separator: 0x0a) {
      let fields = line.split(maxSplits: 3) { $0 == 0x20 || $0 == 0x09 || $0 == 0x0d || $0 == 0x0b || $0 == 0x0c }
      guard fields.count >= 3 else { continue }
      if let include, !fields[0].withUnsafeBytes({ include.matches($0) }) { continue }
      if let exclude, fields[0].withUnsafeBytes({ exclude.matches($0) }) { continue }
      let name = String(decoding: fields[0], as: UTF8.self)
      if writer.count == Self.mostPoints {
        problems.add("more than \(Self.mostPoints) points")
        continue
      }
      guard MackerelName.isMetric(fields[0]) else {
        problems.add("'\(name.prefix(100))' cannot be a metric's name; letters, digits, '.', '_' and '-' can")
        continue
      }
      let text = String(decoding: fields[1], as: UTF8.self)
      guard let value = Double(text) else {
        problems.add("the value of \(name) is no number: '\(text.prefix(100))'")
        continue
      }
      guard value.isFinite else {
        problems.add("the value of \(name) is \(text.prefix(20))")
        continue
      }
      var at = point
      if usesLineTime {
        let digits = String(decoding: fields[2], as: UTF8.self)
        guard let seconds = Int64(digits) else {
          problems.add("the time of \(name) is no number of seconds: '\(digits.prefix(100))'")
          continue
        }
        let (distance, overflow) = seconds.subtractingReportingOverflow(time.seconds)
        if overflow || distance.magnitude >= UInt64(Self.timeWindow) {
          problems.add("the time of \(name) is more than 15 minutes away: \(seconds)")
          continue
        }
        at = EventTime(seconds: seconds)
      }
      if let whole = Int64(text) {
        writer.add(prefix + name, whole, .gauge, at: at)
      } else {
        writer.add(prefix + name, value, .gauge, at: at)
      }
    }
  }
}
