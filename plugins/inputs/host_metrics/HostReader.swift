import AggCore

/// Reads the kernel's figures and makes metric events of them; used by its one task.
struct HostReader {
  private let config: HostMetricsInput.Config
  private let filesystems: HostFilesystems
  private let log: Log
  private let proc: String
  private var before: (counters: HostCounters, at: MonotonicTime)?
  /// Files that cannot be read are told once.
  private var told: Set<String> = []

  init(_ config: HostMetricsInput.Config, filesystems: HostFilesystems, _ log: Log) {
    self.config = config
    self.filesystems = filesystems
    self.log = log
    proc = (config.root == "/" ? "" : config.root) + "/proc"
  }

  /// All figures of now; rates only from the second call on.
  mutating func read(at time: EventTime) async -> EventBatch {
    var writer = MetricWriter(host: config.host)
    var counters = HostCounters()
    let at = MonotonicTime.now()
    var tasks: (running: UInt64?, blocked: UInt64?) = (nil, nil)
    if config.cpu || config.processes, let text = text("stat") { tasks = HostText.stat(text, into: &counters) }
    if config.disk, let text = text("diskstats") {
      counters.disks = HostText.disks(text).filter { wants($0.name, config.includeDisks, config.excludeDisks) }
    }
    if config.interface, let text = text(config.root == "/" ? "net/dev" : "1/net/dev") {
      counters.interfaces = HostText.interfaces(text).filter {
        wants($0.name, config.includeInterfaces, config.excludeInterfaces)
      }
    }
    if config.pressure {
      for resource in ["cpu", "memory", "io"] {
        // Kernels without it are common: not worth a line.
        if let text = try? File.contents("\(proc)/pressure/\(resource)", limit: 1 << 16).string {
          counters.pressure += HostText.pressure(resource, text)
        }
      }
    }
    if config.load || config.processes { load(tasks, &writer, time) }
    if config.memory { memory(&writer, time) }
    if config.descriptors { descriptors(&writer, time) }
    if config.cgroup { groups(&counters, &writer, time) }
    if let before, at.since(before.at) > 0 { rates(counters, before.counters, Double(at.since(before.at)) / 1e9, &writer, time) }
    before = (counters, at)
    if config.filesystem { await filesystems(&writer, time) }
    return writer.finish(tag: Tag(config.tag))
  }

  private mutating func text(_ name: String) -> String? {
    do throws(FileError) { return try File.contents("\(proc)/\(name)", limit: 16 << 20).string } catch {
      if told.insert(name).inserted { log.warn("\(error); its metrics are left out") }
      return nil
    }
  }

  private func wants(_ name: String, _ include: Regexp?, _ exclude: Regexp?) -> Bool {
    var name = name
    return name.withUTF8 { bytes in
      let bytes = UnsafeRawBufferPointer(bytes)
      return include?.matches(bytes) ?? true && !(exclude?.matches(bytes) ?? false)
    }
  }

  // MARK: Figures of the moment

  private mutating func load(_ tasks: (running: UInt64?, blocked: UInt64?), _ writer: inout MetricWriter, _ time: EventTime) {
    let fields = text("loadavg")?.split(whereSeparator: { $0 == " " || $0 == "\n" }) ?? []
    if config.load, fields.count >= 3 {
      for (name, field) in zip(["loadavg1", "loadavg5", "loadavg15"], fields) {
        if let value = Double(field) { writer.add(name, value, .gauge, at: time) }
      }
    }
    if config.processes {
      if fields.count >= 4, let total = fields[3].split(separator: "/").last.flatMap({ UInt64($0) }) {
        writer.add("custom.processes.total", total, .gauge, at: time)
      }
      if let running = tasks.running { writer.add("custom.processes.running", running, .gauge, at: time) }
      if let blocked = tasks.blocked { writer.add("custom.processes.blocked", blocked, .gauge, at: time) }
    }
  }

  private mutating func memory(_ writer: inout MetricWriter, _ time: EventTime) {
    guard let values = text("meminfo").map(HostText.memory), let total = values["MemTotal"] else { return }
    func add(_ name: String, _ value: UInt64) { writer.add("memory." + name, value, .gauge, at: time) }
    func value(_ name: String) -> UInt64 { values[name] ?? 0 }
    add("total", total)
    if let available = values["MemAvailable"] {
      add("used", total >= available ? total - available : 0)
      add("mem_available", available)
    } else {
      let rest = value("MemFree") &+ value("Buffers") &+ value("Cached")
      add("used", total >= rest ? total - rest : 0)
      add("buffers", value("Buffers"))
      add("cached", value("Cached"))
      add("free", value("MemFree"))
    }
    add("swap_total", value("SwapTotal"))
    add("swap_cached", value("SwapCached"))
    add("swap_free", value("SwapFree"))
  }

  private mutating func descriptors(_ writer: inout MetricWriter, _ time: EventTime) {
    let fields = HostText.numbers(text("sys/fs/file-nr")?.split(whereSeparator: { " \t\n".contains($0) }) ?? [])
    guard fields.count >= 3 else { return }
    writer.add("custom.descriptors.allocated", fields[0], .gauge, at: time)
    writer.add("custom.descriptors.max", fields[2], .gauge, at: time)
  }

  private func groups(_ counters: inout HostCounters, _ writer: inout MetricWriter, _ time: EventTime) {
    let (include, exclude) = (config.includeGroups, config.excludeGroups)
    let reader = HostGroups(root: config.root == "/" ? "" : config.root, depth: config.cgroupDepth) { [self] in
      wants($0, include, exclude)
    }
    for group in reader.read() {
      if let memory = group.memory { writer.add("custom.cgroup.\(group.name).memory", memory, .gauge, at: time) }
      if let used = group.microseconds { counters.groups.append((group.name, [used])) }
    }
  }

  private mutating func filesystems(_ writer: inout MetricWriter, _ time: EventTime) async {
    guard let text = text(config.root == "/" ? "self/mountinfo" : "1/mountinfo") else { return }
    let mounts = HostFilesystems.mounts(text).filter { wants($0.source, config.includeFilesystems, config.excludeFilesystems) }
    let (sizes, silent) = await filesystems.sizes(mounts)
    for size in sizes {
      let name = HostText.sanitized(config.usesMountPoints ? size.mount.path : String(size.mount.source.dropFirst(5)))
      writer.add("filesystem.\(name).size", size.used &+ size.available, .gauge, at: time)
      writer.add("filesystem.\(name).used", size.used, .gauge, at: time)
    }
    for path in silent where told.insert(path).inserted {
      log.warn("\(path): the file system does not answer; its metrics are left out")
    }
  }

  // MARK: Rates

  private func rates(_ new: HostCounters, _ old: HostCounters, _ seconds: Double, _ writer: inout MetricWriter, _ time: EventTime)
  {
    if config.cpu { cpu(new, old, &writer, time) }
    for disk in HostCounters.difference(new.disks, old.disks) {
      let name = HostText.sanitized(disk.name)
      for (kind, value) in zip(["reads", "writes"], disk.values) {
        if let value { writer.add("disk.\(name).\(kind).delta", Double(value) / seconds, .gauge, at: time) }
      }
    }
    for interface in HostCounters.difference(new.interfaces, old.interfaces) {
      let name = HostText.sanitized(interface.name)
      for (kind, value) in zip(["rxBytes", "txBytes"], interface.values) {
        if let value { writer.add("interface.\(name).\(kind).delta", Double(value) / seconds, .gauge, at: time) }
      }
    }
    for stall in HostCounters.difference(new.pressure, old.pressure) {
      if let value = stall.values.first ?? nil {
        writer.add("custom.pressure.\(stall.name).percentage", Double(value) / seconds / 1e4, .gauge, at: time)
      }
    }
    for group in HostCounters.difference(new.groups, old.groups) {
      if let value = group.values.first ?? nil {
        writer.add("custom.cgroup.\(group.name).cpu", Double(value) / seconds / 1e4, .gauge, at: time)
      }
    }
    if config.processes, let forks = new.forks, let before = old.forks, forks >= before {
      writer.add("custom.processes.forks", Double(forks - before) / seconds, .gauge, at: time)
    }
  }

  /// Percent of one core; together 100 x cores. A guest's time is in user's too, so user is told without it, as mackerel-agent does.
  private func cpu(_ new: HostCounters, _ old: HostCounters, _ writer: inout MetricWriter, _ time: EventTime) {
    guard new.cpu.count >= 4, new.cpu.count == old.cpu.count, new.cores > 0 else { return }
    // iowait is known to go backwards, and a container's figures may do so all together.
    var ticks = zip(new.cpu, old.cpu).map { $0 >= $1 ? $0 - $1 : 0 }
    let total = ticks.prefix(8).reduce(0, &+)
    if ticks.count > 8 { ticks[0] = ticks[0] >= ticks[8] ? ticks[0] - ticks[8] : 0 }
    guard total > 0 else { return }
    for (name, value) in zip(["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest"], ticks) {
      writer.add("cpu.\(name).percentage", Double(value) * Double(new.cores) * 100 / Double(total), .gauge, at: time)
    }
  }
}
