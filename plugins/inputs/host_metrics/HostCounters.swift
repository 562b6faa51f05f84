import AggCore

/// What the kernel counts since it started, at one moment: rates are made of two of these.
struct HostCounters: Sendable {
  /// user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice, in ticks; as many as the kernel has.
  var cpu: [UInt64] = []
  /// Lines `cpuN`.
  var cores = 0
  var forks: UInt64?
  /// By device: reads and writes completed.
  var disks: [(name: String, values: [UInt64])] = []
  /// By interface: bytes received and sent.
  var interfaces: [(name: String, values: [UInt64])] = []
  /// By "cpu.some", "io.full": microseconds stalled.
  var pressure: [(name: String, values: [UInt64])] = []
  /// By control group: CPU time in microseconds.
  var groups: [(name: String, values: [UInt64])] = []

  /// The difference where both have it and it did not begin anew.
  static func difference(_ new: [(name: String, values: [UInt64])], _ old: [(name: String, values: [UInt64])]) -> [(
    name: String, values: [UInt64?]
  )] {
    let known = Dictionary(old.map { ($0.name, $0.values) }, uniquingKeysWith: { first, _ in first })
    return new.compactMap { item in
      guard let before = known[item.name], before.count == item.values.count else { return nil }
      return (item.name, zip(item.values, before).map { $0 >= $1 ? $0 - $1 : nil })
    }
  }
}

/// A kernel's text files, taken apart. Whatever is not as expected is left out: files differ between kernels and containers.
enum HostText {
  static func numbers(_ fields: some Sequence<Substring>) -> [UInt64] { fields.compactMap { UInt64($0) } }

  /// /proc/stat: CPU times and forks.
  static func stat(_ text: String, into counters: inout HostCounters) -> (running: UInt64?, blocked: UInt64?) {
    var running: UInt64?
    var blocked: UInt64?
    for line in text.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard let name = fields.first else { continue }
      switch name {
      case "cpu": counters.cpu = Array(numbers(fields.dropFirst()).prefix(10))
      case "processes": counters.forks = fields.count > 1 ? UInt64(fields[1]) : nil
      case "procs_running": running = fields.count > 1 ? UInt64(fields[1]) : nil
      case "procs_blocked": blocked = fields.count > 1 ? UInt64(fields[1]) : nil
      default: if name.hasPrefix("cpu"), UInt64(name.dropFirst(3)) != nil { counters.cores += 1 }
      }
    }
    return (running, blocked)
  }

  /// /proc/meminfo in bytes.
  static func memory(_ text: String) -> [String: UInt64] {
    var values: [String: UInt64] = [:]
    for line in text.split(separator: "\n").prefix(200) {
      let sides = line.split(separator: ":", maxSplits: 1)
      guard sides.count == 2, let number = sides[1].split(separator: " ").first.flatMap({ UInt64($0) }) else { continue }
      values[String(sides[0])] = number.multipliedReportingOverflow(by: 1024).partialValue
    }
    return values
  }

  /// /proc/diskstats: completed reads and writes; without device mapper, and without devices that never did anything.
  static func disks(_ text: String) -> [(name: String, values: [UInt64])] {
    text.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard fields.count >= 14, !fields[2].hasPrefix("dm-") else { return nil }
      let values = numbers(fields[3..<14])
      guard values.count == 11, values.contains(where: { $0 != 0 }) else { return nil }
      return (String(fields[2]), [values[0], values[4]])
    }
  }

  /// /proc/net/dev: received and sent bytes; without lo and veth….
  static func interfaces(_ text: String) -> [(name: String, values: [UInt64])] {
    text.split(separator: "\n").compactMap { line in
      guard let colon = line.lastIndex(of: ":") else { return nil }
      let name = line[..<colon].drop { $0 == " " }
      let values = numbers(line[line.index(after: colon)...].split(separator: " "))
      guard values.count >= 9, name != "lo", !name.hasPrefix("veth") else { return nil }
      return (String(name), [values[0], values[8]])
    }
  }

  /// /proc/pressure/NAME: "some" and "full", stalled microseconds.
  static func pressure(_ resource: String, _ text: String) -> [(name: String, values: [UInt64])] {
    text.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard let kind = fields.first, let total = fields.last, total.hasPrefix("total="), let value = UInt64(total.dropFirst(6))
      else { return nil }
      return ("\(resource).\(kind)", [value])
    }
  }

  /// A name as mackerel-agent makes it: everything but letters, digits, _ and - becomes _.
  static func sanitized(_ name: String) -> String {
    String(
      decoding: name.unicodeScalars.map { scalar -> UInt8 in
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_", "-": UInt8(scalar.value)
        default: 0x5f
        }
      }, as: UTF8.self)
  }
}
