import AggCore
import AggEngine
import Glibc

/// What `agg bench` found out, as a table or as JSON.
struct BenchReport {
  var events: Int
  /// Of the lines that were sent.
  var bytes: Int
  /// Seconds; and from the last line to the last delivery.
  var sending: Double
  var draining: Double
  /// Seconds of CPU of the process, parsing and all deliveries in them.
  var cpu: Double
  var plugins: [PluginSnapshot]
  var rejected: Int
  var reason: String?

  private var rate: Double { Double(events) / max(sending, 1e-9) }
  private var microseconds: Double { cpu * 1e6 / Double(max(1, events)) }
  private var peak: Double {
    var usage = rusage()
    return getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 ? Double(usage.ru_maxrss) / 1024 : 0
  }

  func print(asJSON: Bool) {
    var out = Printer()
    if asJSON {
      out.line(
        json: .object([
          .init("events", .int(events)), .init("bytes", .int(bytes)), .init("rejected", .int(rejected)),
          .init("seconds", .double(sending)),
          .init("drain_seconds", .double(draining)), .init("events_per_second", .double(rate)),
          .init("cpu_us_per_event", .double(microseconds)),
          .init("cpu_seconds", .double(cpu)), .init("peak_mb", .double(peak)),
          .init(
            "plugins",
            .array(
              plugins.map { plugin in
                .object([
                  .init("id", .string(plugin.id)), .init("type", .string(plugin.type)), .init("kind", .string(plugin.kind)),
                  .init("label", .string(plugin.label)),
                  .init("counters", .object(counters(plugin).map { .init($0.name, .int($0.value)) })),
                ])
              })),
        ]))
    } else {
      out.line("\(events) events, \(bytes) bytes in \(Self.fixed(sending, 1)) s; delivered \(Self.fixed(draining, 1)) s later")
      out.line(
        "\(Self.fixed(rate, 0)) events/s, \(Self.fixed(Double(bytes) / max(sending, 1e-9) / 1e6, 1)) MB/s; \(Self.fixed(microseconds, 2)) us of CPU an event, "
          + "\(Self.fixed(cpu / max(sending + draining, 1e-9), 2)) cores; peak \(Self.fixed(peak, 0)) MB")
      if rejected > 0 { out.line("not taken: \(rejected), the first because: \(SafeText.line(reason ?? "?"))") }
      for plugin in plugins {
        let text = counters(plugin).map { "\($0.name)=\($0.value)" }.joined(separator: " ")
        out.line(
          "\(plugin.kind) \(SafeText.line(plugin.id)) (\(plugin.type), \(SafeText.line(plugin.label))): \(text.isEmpty ? "nothing" : text)"
        )
      }
    }
    out.flush()
  }

  /// What is not 0, in the ledger's order; reasons of drops behind.
  private func counters(_ plugin: PluginSnapshot) -> [(name: String, value: Int)] {
    Counters.Column.allCases.compactMap { column in
      let value = plugin.counters[column]
      return value == 0 ? nil : (column.name, value)
    } + plugin.counters.dropped.sorted { $0.key < $1.key }.map { ("dropped_\($0.key)", $0.value) }
  }

  static func fixed(_ number: Double, _ digits: Int) -> String {
    guard number.isFinite, abs(number) < 1e15 else { return "?" }
    var scale = 1
    for _ in 0..<digits { scale *= 10 }
    let whole = Int((number * Double(scale)).rounded())
    if digits == 0 { return "\(whole)" }
    let text = "\(abs(whole) % scale)"
    return "\(whole < 0 ? "-" : "")\(abs(whole) / scale)." + String(repeating: "0", count: digits - text.count) + text
  }
}
