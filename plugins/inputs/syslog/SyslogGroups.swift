/// Items by priority, groups in the order of their first item, items in theirs.
struct SyslogGroups<Item> {
  private var items: [(item: Item, group: Int)] = []
  private var priorities: [Int] = []
  private var counts: [Int] = []
  private var known: [Int: Int] = [:]
  private var last = (priority: -1, group: -1)

  init(capacity: Int) { items.reserveCapacity(capacity) }

  mutating func add(_ item: Item, _ priority: Int) {
    let priority = SyslogPriority.place(priority)
    if priority != last.priority || last.group < 0 {
      if let group = known[priority] { last = (priority, group) } else {
        last = (priority, priorities.count)
        known[priority] = priorities.count
        priorities.append(priority)
        counts.append(0)
      }
    }
    items.append((item, last.group))
    counts[last.group] += 1
  }

  func forEachGroup(_ body: (_ priority: Int, _ items: [Item]) -> Void) {
    if priorities.count == 1 { return body(priorities[0], items.map(\.item)) }
    var groups: [[Item]] = counts.map { count in
      var group: [Item] = []
      group.reserveCapacity(count)
      return group
    }
    for (item, group) in items { groups[group].append(item) }
    for (index, priority) in priorities.enumerated() { body(priority, groups[index]) }
  }
}
