/// Where each line of a block is and of which priority; sorts the lines by counting.
struct SyslogPlaces {
  private var lines: [(range: Range<Int>, group: Int)] = []
  /// By group, in the order of their first lines.
  private var priorities: [Int] = []
  private var sizes: [Int] = []
  /// Priority to group, -1 without one.
  private var known = [Int16](repeating: -1, count: SyslogPriority.count + 8)

  init(lines count: Int) { lines.reserveCapacity(count) }

  @inline(__always) mutating func add(_ line: Range<Int>, _ priority: Int) {
    let priority = SyslogPriority.place(max(priority, 0))
    var group = Int(known[priority])
    if group < 0 {
      group = priorities.count
      known[priority] = Int16(truncatingIfNeeded: group)
      priorities.append(priority)
      sizes.append(0)
    }
    lines.append((line, group))
    sizes[group] &+= 1
  }

  /// Groups in the order of their first lines, lines in theirs.
  @inline(__always) func forEachGroup(_ body: (_ priority: Int, _ lines: ArraySlice<Range<Int>>) -> Void) {
    var ends: [Int] = []
    var total = 0
    for size in sizes {
      ends.append(total)
      total += size
    }
    var sorted = [Range<Int>](repeating: 0..<0, count: total)
    for (range, group) in lines {
      sorted[ends[group]] = range
      ends[group] &+= 1
    }
    var start = 0
    for (priority, end) in zip(priorities, ends) {
      body(priority, sorted[start..<end])
      start = end
    }
  }
}
