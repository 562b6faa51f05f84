public import AggCore
import Glibc
import Synchronization

/// Sizes of mounted file systems, asked in parallel: one that does not answer (a dead disk or server) delays nothing but itself.
public final class HostFilesystems: Sendable {
  public struct Mount: Sendable, Hashable {
    /// `/dev/sda1`.
    public var source: String
    public var path: String
    var device: String
    var root: String
  }
  public struct Size: Sendable {
    public var mount: Mount
    /// Bytes, counted in whole KiB as `df -P` does.
    public var used: UInt64
    public var available: UInt64
    public init(_ mount: Mount, used: UInt64, available: UInt64) {
      self.mount = mount
      self.used = used
      self.available = available
    }
  }
  /// Asks one file system, however long that takes; nil where it has no size.
  public typealias Probe = @Sendable (Mount) -> Size?
  private let pool: BlockingPool
  private let timers: TimerQueue
  private let probe: Probe
  /// Asked and not answered yet: not asked again meanwhile.
  private let stuck = Mutex<Set<String>>([])
  /// For all answers together, in nanoseconds.
  private let patience: Int64

  /// `probe`: nil asks the system, with `root` before each mount's path.
  public init(
    _ pool: BlockingPool, _ timers: TimerQueue, root: String = "/", patience: Int64 = 5_000_000_000, probe: Probe? = nil
  ) {
    self.pool = pool
    self.timers = timers
    self.patience = patience
    self.probe = probe ?? { Self.size($0, root: root) }
  }

  /// From /proc/self/mountinfo: sources under /dev, one mount of each device, the one that `df` shows.
  public static func mounts(_ text: String) -> [Mount] {
    var found: [Mount] = []
    for line in text.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 2 else { continue }
      let mount = Mount(
        source: unescaped(fields[dash + 2]), path: unescaped(fields[4]), device: String(fields[2]), root: unescaped(fields[3]))
      guard mount.source.hasPrefix("/dev/"), !mount.source.hasPrefix("/dev/mapper/docker-") else { continue }
      guard let known = found.firstIndex(where: { $0.device == mount.device }) else {
        found.append(mount)
        continue
      }
      // The whole of it rather than a part that is mounted elsewhere too, then the shorter path.
      let old = found[known]
      if (mount.root.utf8.count, mount.path.utf8.count) < (old.root.utf8.count, old.path.utf8.count) { found[known] = mount }
    }
    return found
  }

  /// `\040` is a space.
  private static func unescaped(_ text: Substring) -> String {
    guard text.utf8.contains(0x5c) else { return String(text) }
    var out: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == 0x5c, rest.count >= 3, let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
        out.append(value)
        rest = rest.dropFirst(3)
      } else {
        out.append(byte)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  private final class Answers: Sendable {
    let sizes = Mutex<[Size]>([])
    let left: Mutex<Int>
    init(_ n: Int) { left = Mutex(n) }
  }

  /// The sizes that came in time, in the mounts' order; the paths of those that did not.
  public func sizes(_ mounts: [Mount]) async -> (sizes: [Size], silent: [String]) {
    let asked = mounts.filter { mount in stuck.withLock { $0.insert(mount.path).inserted } }
    let answers = Answers(asked.count)
    let waker = Waker(timers)
    for mount in asked {
      pool.run { [self] in
        let size = probe(mount)
        stuck.withLock { _ = $0.remove(mount.path) }
        if let size { answers.sizes.withLock { $0.append(size) } }
        let left = answers.left.withLock { left in
          left -= 1
          return left
        }
        if left == 0 { waker.wakeAll() }
      }
    }
    let deadline = MonotonicTime.now().adding(nanoseconds: patience)
    while answers.left.withLock({ $0 }) > 0, MonotonicTime.now() < deadline, !Task.isCancelled {
      await waker.wait(until: deadline)
    }
    let sizes = answers.sizes.withLock { $0 }
    return (
      mounts.compactMap { mount in sizes.first { $0.mount == mount } },
      mounts.map(\.path).filter { path in stuck.withLock { $0.contains(path) } }
    )
  }

  private static func size(_ mount: Mount, root: String) -> Size? {
    var s = statvfs()
    guard statvfs(root == "/" ? mount.path : root + mount.path, &s) == 0, s.f_blocks > 0 else { return nil }
    let unit = UInt64(s.f_frsize)
    func kilobytes(_ blocks: UInt64) -> UInt64 {
      let (bytes, overflow) = blocks.multipliedReportingOverflow(by: unit)
      return overflow ? 0 : (bytes / 1024 + (bytes % 1024 == 0 ? 0 : 1)) * 1024
    }
    let (blocks, free) = (UInt64(s.f_blocks), UInt64(s.f_bfree))
    return Size(mount, used: kilobytes(blocks >= free ? blocks - free : 0), available: kilobytes(UInt64(s.f_bavail)))
  }
}
