import AggCore

/// CPU time and memory of control groups, version 2 and 1.
struct HostGroups: Sendable {
  struct Group: Sendable {
    /// Below the hierarchy's root, as a metric's name: `system_slice_ssh_service`.
    var name: String
    var microseconds: UInt64?
    var memory: UInt64?
  }
  /// More are left out: a machine has as many groups as it has services and containers.
  static let limit = 1000

  let root: String
  let depth: Int
  let wanted: @Sendable (String) -> Bool

  func read() -> [Group] {
    let base = root + "/sys/fs/cgroup"
    let isUnified = File.status(base + "/cgroup.controllers") != nil
    let cpu =
      isUnified
      ? base : [base + "/cpuacct", base + "/cpu,cpuacct", base + "/cpu"].first { File.status($0 + "/cpuacct.usage") != nil }
    guard let tree = cpu ?? (File.status(base + "/memory") == nil ? nil : base + "/memory") else { return [] }
    var paths: [String] = []
    collect(tree, "", depth, &paths)
    return paths.map { path in
      var group = Group(name: HostText.sanitized(String(path.dropFirst())))
      if isUnified {
        group.microseconds = text(base + path + "/cpu.stat")?.split(separator: "\n").first { $0.hasPrefix("usage_usec ") }.flatMap
        { UInt64($0.dropFirst(11)) }
        group.memory = number(base + path + "/memory.current")
      } else {
        group.microseconds = cpu.flatMap { number($0 + path + "/cpuacct.usage") }.map { $0 / 1000 }
        group.memory = number(base + "/memory" + path + "/memory.usage_in_bytes")
      }
      return group
    }
  }

  private func collect(_ tree: String, _ path: String, _ left: Int, _ paths: inout [String]) {
    guard left > 0, let names = try? File.list(tree + path) else { return }
    for name in names where paths.count < Self.limit {
      let below = path + "/" + name
      guard File.status(tree + below, followingLinks: false)?.isDirectory == true else { continue }
      if wanted(String(below.dropFirst())) { paths.append(below) }
      collect(tree, below, left - 1, &paths)
    }
  }

  private func text(_ path: String) -> String? { try? File.contents(path, limit: 1 << 16).string }
  private func number(_ path: String) -> UInt64? { text(path)?.split(separator: "\n").first.flatMap { UInt64($0) } }
}
