public import AggCore

/// Load, CPU, memory, disks, interfaces and file systems of this machine as metric events, under mackerel-agent's names.
public struct HostMetricsInput: Input {
  public struct Config: Configurable {
    var tag = ""
    var interval = TimeSpan(seconds: 60)
    var root = "/"
    var host: String?
    var load = true
    var cpu = true
    var memory = true
    var disk = true
    var interface = true
    var filesystem = true
    var pressure = true
    var descriptors = true
    var processes = true
    var cgroup = false
    var cgroupDepth = 2
    var usesMountPoints = false
    var includeDisks: Regexp?
    var excludeDisks: Regexp?
    var includeInterfaces: Regexp?
    var excludeInterfaces: Regexp?
    var includeFilesystems: Regexp?
    var excludeFilesystems: Regexp?
    var includeGroups: Regexp?
    var excludeGroups: Regexp?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("tag", \.tag, "Tag of the metric events"),
      .optional("interval", \.interval, "How often, at whole multiples of it: 60s is at each full minute"),
      .optional("root", \.root, "Where proc, sys and the mount points are found; /host in a container that has the host's there"),
      .optional("host", \.host, "`host` of the events; without it they have none"),
      .optional("load", \.load, "loadavg1, loadavg5, loadavg15"),
      .optional("cpu", \.cpu, "cpu.….percentage"),
      .optional("memory", \.memory, "memory.…, swap included"),
      .optional("disk", \.disk, "disk.….reads.delta, writes.delta"),
      .optional("interface", \.interface, "interface.….rxBytes.delta, txBytes.delta"),
      .optional("filesystem", \.filesystem, "filesystem.….size, used"),
      .optional("pressure", \.pressure, "custom.pressure.…: time stalled for CPU, memory, I/O"),
      .optional("descriptors", \.descriptors, "custom.descriptors.…: open files of the machine"),
      .optional("processes", \.processes, "custom.processes.…: processes, running, blocked, forks"),
      .optional("cgroup", \.cgroup, "custom.cgroup.…: CPU and memory of control groups"),
      .optional("cgroup_depth", \.cgroupDepth, "How deep control groups are looked at"),
      .optional("use_mountpoint", \.usesMountPoints, "Name file systems by their mount points"),
      .optional("include_disks", \.includeDisks, "Only devices that match /…/"),
      .optional("exclude_disks", \.excludeDisks, "No devices that match /…/"),
      .optional("include_interfaces", \.includeInterfaces, "Only interfaces that match /…/"),
      .optional("exclude_interfaces", \.excludeInterfaces, "No interfaces that match /…/"),
      .optional("include_filesystems", \.includeFilesystems, "Only file systems whose device (/dev/…) matches /…/"),
      .optional("exclude_filesystems", \.excludeFilesystems, "No file systems whose device (/dev/…) matches /…/"),
      .optional("include_cgroups", \.includeGroups, "Only control groups whose path matches /…/"),
      .optional("exclude_cgroups", \.excludeGroups, "No control groups whose path matches /…/"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
      if interval.nanoseconds < 10_000_000 { throw ConfigValueError("'interval' must be at least 0.01") }
      if !root.hasPrefix("/") { throw ConfigValueError("'root' must be an absolute path; got '\(root)'") }
      if !(1...16).contains(cgroupDepth) { throw ConfigValueError("'cgroup_depth' must be 1 to 16") }
      while root.count > 1, root.hasSuffix("/") { root.removeLast() }
    }
  }
  public static let name = "host_metrics"
  public static let summary = "Load, CPU, memory, disks, network and file systems of this machine as metric events."
  public static let sharesWorkers = false

  private let config: Config
  private let context: PluginContext

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
  }

  public func run(_ emitter: Emitter) async throws {
    guard let timers = context.shared(TimerQueue.self), let pool = context.shared(BlockingPool.self) else {
      throw ConfigValueError("there are no timers")
    }
    var reader = HostReader(config, filesystems: HostFilesystems(pool, timers, root: config.root), context.log)
    let waker = Waker(timers)
    // The first figures are what the first rates begin from.
    _ = await reader.read(at: .now())
    emitter.ready()
    while !Task.isCancelled {
      let (time, wait) = WholeInterval.next(after: .now(), every: Int64(config.interval.nanoseconds))
      await waker.wait(until: MonotonicTime.now().adding(nanoseconds: wait))
      if Task.isCancelled { return }
      let batch = await reader.read(at: time)
      if batch.isEmpty { continue }
      do throws(EmitError) { try await emitter.emit(batch) } catch {
        context.counters.add(.received, .lost, batch.count)
        context.log.error("\(batch.count) metrics were not taken: \(error)")
      }
    }
  }
}
