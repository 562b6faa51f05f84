import AggCore
import AggPlugins
import AggTesting
import Foundation
import Synchronization
import Testing

@Suite struct HostMetricsInputTests {
  static let first = [
    "proc/stat":
      "cpu  100 10 50 1000 40 5 5 10 20 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\nprocesses 1000\nprocs_running 3\nprocs_blocked 1\n",
    "proc/loadavg": "0.50 1.25 2.00 3/456 7890\n",
    "proc/meminfo":
      "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\nBuffers: 50 kB\nCached: 200 kB\nSwapCached: 1 kB\nSwapTotal: 20 kB\nSwapFree: 15 kB\n",
    "proc/diskstats":
      "   8       0 sda 10 0 0 0 20 0 0 0 0 0 0 1 2 3\n   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n 253 0 dm-0 5 5 5 5 5 5 5 5 5 5 5\n   8      16 sdb.x 7 0 0 0 7 0 0 0 0 0 0\n",
    "proc/1/net/dev":
      "Inter-|   Receive  |  Transmit\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n  eth0: 1000 0 0 0 0 0 0 0 5000 0 0 0 0 0 0 0\nveth1: 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n  eth1:7000 0 0 0 0 0 0 0 7000 0 0 0 0 0 0 0\n",
    "proc/1/mountinfo":
      "27 1 254:0 / / rw - ext4 /dev/root.1 rw\n28 27 254:0 /part /etc/hosts rw - ext4 /dev/root.1 rw\n29 1 0:5 / /proc rw - proc proc rw\n30 1 9:9 / /not\\040there rw - ext4 /dev/gone rw\n",
    "proc/pressure/cpu": "some avg10=1.00 avg60=2.00 avg300=3.00 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "proc/sys/fs/file-nr": "1234\t0\t99999\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n", "sys/fs/cgroup/system.slice/cpu.stat": "usage_usec 5000\nuser_usec 1\n",
    "sys/fs/cgroup/system.slice/memory.current": "4096\n", "sys/fs/cgroup/system.slice/ssh.service/memory.current": "1024\n",
  ]

  static func write(_ files: [String: String], _ folder: String) throws {
    for (path, text) in files {
      let url = URL(filePath: folder + "/" + path)
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try text.write(to: url, atomically: true, encoding: .utf8)
    }
  }

  /// Starts with `first`, then has `second` in its place; the newest value of each metric once `until` is among them.
  static func values(_ extra: String = "", second: [String: String], until: String) async throws -> [String: Double] {
    try await withFolder { folder in
      try write(first, folder)
      let text = """
        <source>
          @type host_metrics
          tag host
          interval 0.05
          root \(folder)
          \(extra)
        </source>
        <source>
          @type feed
        </source>
        <match host>
          @type collect
        </match>
        """
      return try await RunningEngine.with(text) { agg in
        try write(second, folder)
        var values: [String: Double] = [:]
        try await soon(until) {
          values = [:]
          var seen: [Double] = []
          for batch in agg.collected.batches {
            _ = batch.forEachMetric { _, metric in
              // The first rate that is not 0 is the one between the two states.
              if metric.number != 0 || values[metric.nameText] == nil { values[metric.nameText] = metric.number }
              if metric.nameText == until { seen.append(metric.number) }
            }
          }
          // The files change one after the other: a round may find `until` in its new state and others in their old one.
          return seen.firstIndex { $0 != 0 }.map { seen.count >= $0 + 3 } ?? false
        }
        return values
      }
    }
  }

  @Test func `figures are mackerel-agent's, by name and value`() async throws {
    let second = [
      "proc/stat":
        "cpu  130 10 60 1030 39 5 5 10 30 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nprocesses 1100\nprocs_running 3\nprocs_blocked 1\n",
      "proc/diskstats": "   8       0 sda 40 0 0 0 80 0 0 0 0 0 0 1 2 3\n   8      16 sdb.x 3 0 0 0 9 0 0 0 0 0 0\n",
      "proc/1/net/dev": "  eth0: 4000 0 0 0 0 0 0 0 11000 0 0 0 0 0 0 0\n  eth1: 10 0 0 0 0 0 0 0 8000 0 0 0 0 0 0 0\n",
      "proc/pressure/cpu":
        "some avg10=1.00 avg60=2.00 avg300=3.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    ]
    let values = try await Self.values("filesystem false", second: second, until: "custom.pressure.cpu.some.percentage")
    #expect(values["loadavg1"] == 0.5 && values["loadavg5"] == 1.25 && values["loadavg15"] == 2)
    #expect(values["memory.total"] == 1_024_000 && values["memory.used"] == 409_600 && values["memory.mem_available"] == 614_400)
    #expect(values["memory.swap_total"] == 20_480 && values["memory.swap_cached"] == 1024 && values["memory.swap_free"] == 15_360)
    #expect(values["memory.free"] == nil)
    // 70 ticks: user 30 (10 of them a guest's), system 10, idle 30; iowait went backwards.
    let cpu = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest"].map {
      values["cpu.\($0).percentage"] ?? .nan
    }
    #expect(cpu.map { ($0 * 1000).rounded() } == [57143, 0, 28571, 85714, 0, 0, 0, 0, 28571])
    #expect(abs(cpu.reduce(0, +) - 200) < 1e-9)
    let reads = try #require(values["disk.sda.reads.delta"])
    #expect(reads > 0)
    // One time for all rates: 30 reads, 60 writes, 3000 and 6000 bytes, 100 forks.
    #expect(values["disk.sda.writes.delta"].map { abs($0 / reads - 2) < 1e-9 } ?? false)
    #expect(values["disk.sdb_x.reads.delta"] ?? 0 == 0 && values["disk.sdb_x.writes.delta"] ?? 0 > 0)
    #expect(values["disk.loop0.reads.delta"] == nil && values["disk.dm-0.reads.delta"] == nil)
    #expect(values["interface.eth0.rxBytes.delta"] ?? 0 > 0 && values["interface.eth0.txBytes.delta"] ?? 0 > 0)
    #expect(
      values["interface.eth1.rxBytes.delta"] ?? 0 == 0 && values["interface.lo.rxBytes.delta"] == nil
        && values["interface.veth1.rxBytes.delta"] == nil)
    #expect(values["custom.descriptors.allocated"] == 1234 && values["custom.descriptors.max"] == 99999)
    #expect(
      values["custom.processes.total"] == 456 && values["custom.processes.running"] == 3
        && values["custom.processes.blocked"] == 1)
    #expect(values["custom.cgroup.system_slice.memory"] == nil)
  }

  @Test func `families and names can be left out`() async throws {
    let values = try await Self.values(
      "load false\nmemory false\ncpu false\nprocesses false\npressure false\ndescriptors false\nexclude_disks /^sda/\ninclude_interfaces /1$/\ncgroup true\nexclude_cgroups /ssh/\nfilesystem false",
      second: [
        "proc/1/net/dev": "  eth0: 4000 0 0 0 0 0 0 0 11000 0 0 0 0 0 0 0\n  eth1:7500 0 0 0 0 0 0 0 8000 0 0 0 0 0 0 0\n"
      ],
      until: "interface.eth1.rxBytes.delta")
    #expect(
      Set(values.keys) == [
        "disk.sdb_x.reads.delta", "disk.sdb_x.writes.delta", "interface.eth1.rxBytes.delta", "interface.eth1.txBytes.delta",
        "custom.cgroup.system_slice.cpu", "custom.cgroup.system_slice.memory",
      ])
    #expect(values["custom.cgroup.system_slice.memory"] == 4096)
  }

  @Test func `a file system is told once, by its device or its mount point`() async throws {
    for (extra, name) in [("", "root_1"), ("use_mountpoint true", "_")] {
      let values = try await Self.values(extra, second: [:], until: "filesystem.\(name).size")
      let used = try #require(values["filesystem.\(name).used"])
      #expect(used > 0 && used < values["filesystem.\(name).size"] ?? 0)
      #expect(values.keys.filter { $0.hasPrefix("filesystem") }.count == 2)
    }
  }

  @Test func `a file system that does not answer is left out, asked once, and delays nobody`() async throws {
    let text = "1 1 1:1 / / rw - ext4 /dev/a rw\n2 1 1:2 / /dead rw - ext4 /dev/b rw\n3 1 1:3 / /c rw - ext4 /dev/c rw\n"
    let mounts = HostFilesystems.mounts(text)
    #expect(mounts.map(\.path) == ["/", "/dead", "/c"])
    let release = DispatchSemaphore(value: 0)
    let isDead = Mutex(true)
    let asked = Mutex<[String]>([])
    let filesystems = HostFilesystems(BlockingPool(), TimerQueue(), patience: 3_000_000_000) { mount in
      asked.withLock { $0.append(mount.path) }
      if mount.path == "/dead", isDead.withLock({ $0 }) { release.wait() }
      return HostFilesystems.Size(mount, used: 1, available: 2)
    }
    for _ in 0..<3 {
      let (sizes, silent) = await filesystems.sizes(mounts)
      #expect(sizes.map(\.mount.path) == ["/", "/c"] && silent == ["/dead"])
    }
    #expect(asked.withLock { $0.filter { $0 == "/dead" }.count } == 1)
    isDead.withLock { $0 = false }
    release.signal()
    try await soon("it answers again") { await filesystems.sizes(mounts).sizes.count == 3 }
  }
}
