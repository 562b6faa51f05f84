import AggCore
import CAllocations
import Glibc

/// `agg-micro [--check] [NAME…]`: what each step of an event's life costs alone; `agg-micro floor ROW IN OUT`: see `Floor`.
///
/// CPU time of the thread, the median of five rounds of at least 0.2 s. With `--check` it ends with 1 where a step allocates more
/// an event than its threshold, or costs more than three times its usual time.
@main struct Micro {
  static func main() async throws {
    var names = Array(CommandLine.arguments.dropFirst())
    if names.first == "floor" { return try Floor.main(Array(names.dropFirst())) }
    let checks = names.first == "--check"
    if checks { names.removeFirst() }
    try countsAllocations()
    print(row("step", "ns/event", "MB/s", "allocations/event", "usual ns"))
    var failed: [String] = []
    for step in try Steps.all() where names.isEmpty || names.contains(where: { step.name.contains($0) }) {
      let result = measure(step)
      print(
        row(
          step.name, fixed(result.nanoseconds, 1), step.bytes > 0 ? fixed(Double(step.bytes) / Double(step.events) / result.nanoseconds * 1000, 0) : "-",
          fixed(result.allocations, 4), fixed(step.usual, 1)))
      if result.allocations > step.allocations { failed.append("\(step.name): \(fixed(result.allocations, 4)) allocations an event, not \(step.allocations)") }
      if result.nanoseconds > step.usual * 3 { failed.append("\(step.name): \(fixed(result.nanoseconds, 1)) ns an event, usually \(step.usual)") }
    }
    for line in failed { print(line) }
    if checks, !failed.isEmpty { exit(1) }
  }

  /// The count is worth nothing unless one allocation counts as one.
  private static func countsAllocations() throws {
    let before = bench_allocations()
    bench_allocate_once()
    let after = bench_allocations()
    guard after - before == 1 else { throw ConfigValueError("one allocation was counted as \(after - before)") }
  }

  private static func measure(_ step: Step) -> (nanoseconds: Double, allocations: Double) {
    step.run()
    var rounds: [Double] = []
    var allocations = Double.infinity
    for _ in 0..<5 {
      let start = threadTime()
      let allocated = bench_allocations()
      var runs = 0
      repeat {
        step.run()
        runs += 1
      } while threadTime() - start < 200_000_000
      let events = Double(runs * step.events)
      rounds.append(Double(threadTime() - start) / events)
      allocations = min(allocations, Double(bench_allocations() - allocated) / events)
    }
    return (rounds.sorted()[2], allocations)
  }

  private static func threadTime() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  static func fixed(_ number: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let whole = Int((number * scale).rounded())
    if digits == 0 { return "\(whole)" }
    let text = "\(whole % Int(scale))"
    return "\(whole / Int(scale))." + String(repeating: "0", count: digits - text.count) + text
  }
  private static func row(_ columns: String...) -> String {
    zip(columns, [26, 10, 8, 18, 9]).map { text, width in
      let pad = String(repeating: " ", count: max(0, width - text.count))
      return width == 26 ? text + pad : pad + text
    }.joined(separator: " ")
  }
}

/// One step, run on a block of events again and again.
struct Step {
  let name: String
  /// Of one run.
  let events: Int
  let bytes: Int
  /// Most allocations an event: what a run allocates is for the block.
  let allocations: Double
  /// Measured on the machine of docs/PERFORMANCE.md; nanoseconds an event.
  let usual: Double
  let run: () -> Void
}
