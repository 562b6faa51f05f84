import AggCore
import Glibc

/// What the API shows of a machine (`meta`), from /proc, /sys and uname. Blocks.
enum HostFacts {
  /// Most CPUs and devices that are listed.
  private static let mostEntries = 1024

  static func meta(agent: String, version: String) -> FieldMap {
    var meta = FieldMap()
    meta["agent-name"] = Value(agent)
    meta["agent-version"] = Value(version)
    meta["kernel"] = .map(kernel())
    meta["memory"] = .map(memory(text("/proc/meminfo")))
    meta["cpu"] = .array(cpus(text("/proc/cpuinfo")))
    meta["block_device"] = .map(blockDevices())
    meta["filesystem"] = .map(filesystems(text("/proc/mounts")))
    return meta
  }

  static func kernel() -> FieldMap {
    var fields = FieldMap()
    var system = utsname()
    if uname(&system) == 0 {
      fields["name"] = Value(string(system.sysname))
      fields["release"] = Value(string(system.release))
      fields["version"] = Value(string(system.version))
      fields["machine"] = Value(string(system.machine))
      fields["os"] = "GNU/Linux"
    }
    for line in text("/etc/os-release").split(separator: "\n") {
      let pair = line.split(separator: "=", maxSplits: 1)
      guard pair.count == 2 else { continue }
      let value = String(pair[1].filter { $0 != "\"" && $0 != "'" })
      if pair[0] == "NAME" { fields["platform_name"] = Value(value) }
      if pair[0] == "VERSION_ID" { fields["platform_version"] = Value(value) }
    }
    return fields
  }

  private static let memoryNames = [
    "MemTotal": "total", "MemFree": "free", "MemAvailable": "available", "Buffers": "buffers", "Cached": "cached",
    "Active": "active",
    "Inactive": "inactive", "Dirty": "dirty", "Writeback": "writeback", "AnonPages": "anon_pages", "Mapped": "mapped",
    "Slab": "slab",
    "SReclaimable": "slab_reclaimable", "SUnreclaim": "slab_unreclaim", "PageTables": "page_tables",
    "NFS_Unstable": "nfs_unstable",
    "Bounce": "bounce", "CommitLimit": "commit_limit", "Committed_AS": "committed_as", "VmallocTotal": "vmalloc_total",
    "VmallocUsed": "vmalloc_used", "VmallocChunk": "vmalloc_chunk", "SwapCached": "swap_cached", "SwapTotal": "swap_total",
    "SwapFree": "swap_free",
  ]
  static func memory(_ text: String) -> FieldMap {
    var fields = FieldMap()
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count > 1, words[0].hasSuffix(":"), let name = memoryNames[String(words[0].dropLast())] else { continue }
      fields[name] = Value(words.dropFirst().joined())
    }
    return fields
  }

  private static let cpuNames = [
    "vendor_id": "vendor_id", "model": "model", "stepping": "stepping", "physical id": "physical_id", "core id": "core_id",
    "cpu cores": "cores", "cache size": "cache_size", "model name": "model_name", "cpu family": "family", "cpu MHz": "mhz",
  ]
  static func cpus(_ text: String) -> [Value] {
    var cpus: [FieldMap] = []
    for line in text.split(separator: "\n") {
      let pair = line.split(separator: ":", maxSplits: 1)
      guard let first = pair.first else { continue }
      let name = String(first.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
      if name == "processor" { cpus.append(FieldMap()) }
      guard !cpus.isEmpty, pair.count == 2, let known = cpuNames[name] else { continue }
      cpus[cpus.count - 1][known] = Value(String(pair[1].drop { $0 == " " }))
    }
    return cpus.prefix(mostEntries).map { .map($0) }
  }

  private static func blockDevices() -> FieldMap {
    var devices = FieldMap()
    for name in ((try? File.list("/sys/block")) ?? []).prefix(mostEntries) {
      var fields = FieldMap()
      for (file, field) in [
        ("size", "size"), ("removable", "removable"), ("device/model", "model"), ("device/rev", "rev"), ("device/state", "state"),
        ("device/timeout", "timeout"), ("device/vendor", "vendor"),
      ] {
        let value = line("/sys/block/\(name)/\(file)")
        if !value.isEmpty { fields[field] = Value(value) }
      }
      devices[name] = .map(fields)
    }
    return devices
  }

  static func filesystems(_ mounts: String) -> FieldMap {
    var found = FieldMap()
    for line in mounts.split(separator: "\n").prefix(mostEntries) {
      let words = line.split(separator: " ")
      guard words.count > 2, words[0].hasPrefix("/dev/"), found[String(words[0])] == nil else { continue }
      var space = Glibc.statvfs()
      let path = unescaped(words[1])
      guard statvfs(path, &space) == 0, space.f_blocks > 0 else { continue }
      // In units of 1,024 bytes; `available` is what users may fill.
      func kilobytes(_ blocks: UInt) -> Int64 {
        Int64(clamping: blocks.multipliedReportingOverflow(by: UInt(space.f_frsize)).partialValue / 1024)
      }
      let used = kilobytes(UInt(space.f_blocks) &- UInt(space.f_bfree))
      let available = kilobytes(UInt(space.f_bavail))
      var fields = FieldMap()
      fields["kb_size"] = .int(kilobytes(UInt(space.f_blocks)))
      fields["kb_used"] = .int(used)
      fields["kb_available"] = .int(available)
      fields["percent_used"] = Value(
        "\(used &+ available == 0 ? 0 : Int((Double(used) * 100 / Double(used &+ available)).rounded(.up)))%")
      fields["mount"] = Value(path)
      found[String(words[0])] = .map(fields)
    }
    return found
  }

  /// The kernel writes blanks in paths as \040.
  private static func unescaped(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      if byte == 0x5c, rest.count >= 3, let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Files of /proc and /sys say that their size is 0; missing ones are empty.
  static func text(_ path: String) -> String { (try? File.contents(path, limit: 4 << 20))?.string ?? "" }
  static func line(_ path: String) -> String {
    let text = text(path)
    return String(text.prefix { $0 != "\n" }.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
  private static func string<T>(_ characters: T) -> String {
    withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
