import AggCore
import Glibc

/// Where each event of a block ends and of which priority it is; sorts the events by counting.
struct SyslogPlaces {
  private var ends: [(end: Int, group: Int)] = []
  /// By group, in the order of their first events.
  private var priorities: [Int] = []
  private var sizes: [(bytes: Int, events: Int)] = []
  /// Priority to group, -1 without one; the expression takes three digits.
  private var known = [Int16](repeating: -1, count: 1000)
  private var last = 0

  init(lines: Int) { ends.reserveCapacity(lines) }

  /// `priority` is below 1000.
  @inline(__always) mutating func add(end: Int, priority: Int) {
    // Rejected lines leave nothing behind, and neither does a record that a parser's rules skip.
    if end == last { return }
    let priority = min(max(priority, 0), known.count - 1)
    var group = Int(known[priority])
    if group < 0 {
      group = priorities.count
      known[priority] = Int16(truncatingIfNeeded: group)
      priorities.append(priority)
      sizes.append((0, 0))
    }
    ends.append((end, group))
    sizes[group].bytes &+= end &- last
    sizes[group].events &+= 1
    last = end
  }

  /// One batch a priority, all in one block.
  func batches(of builder: consuming BatchBuilder, _ tag: (Int) -> Tag) -> [EventBatch] {
    if priorities.isEmpty { return [] }
    if priorities.count == 1 { return [builder.finish(tag: tag(priorities[0]))] }
    var starts: [Int] = []
    var total = 0
    for size in sizes {
      starts.append(total)
      total += size.bytes
    }
    var out = ByteWriter(capacity: total)
    out.count = total
    guard let from = builder.writer.bytes.baseAddress, let to = out.mutableBytes.baseAddress else { return [] }
    var at = starts
    var begin = 0
    for (end, group) in ends {
      memcpy(to + at[group], from + begin, end &- begin)
      at[group] &+= end &- begin
      begin = end
    }
    let times = builder.times
    let block = Block(out)
    return priorities.indices.map { group in
      EventBatch(unchecked: block, range: starts[group]..<starts[group] + sizes[group].bytes, count: sizes[group].events, tag: tag(priorities[group]),
        times: times)
    }
  }
}
