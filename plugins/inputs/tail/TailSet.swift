import AggCore
import CAgg
import Glibc

/// The files that one in_tail follows. Used by its one task.
final class TailSet {
  private let input: TailInput
  private let config: TailInput.Config
  private let log: Log
  private let positions: PositionFile?
  private let watch: TailWatch
  private let reader: TailReader
  /// By path, or by inode with follow_inodes.
  private var files: [String: TailedFile] = [:]
  /// Renamed away, still followed until they are quiet.
  private var rotated: [TailedFile] = []
  private var lastRefresh: MonotonicTime?
  private var isFirst = true
  private var failures: Set<String> = []

  init(_ input: TailInput, positions: PositionFile?, watch: TailWatch, emitter: Emitter) {
    self.input = input
    config = input.config
    log = input.context.log
    self.positions = positions
    self.watch = watch
    reader = TailReader(input, positions: positions, emitter: emitter)
    self.emitter = emitter
  }
  private let emitter: Emitter

  func run() async throws {
    for pattern in input.patterns { watch.watch(pattern.directory, isDirectory: true) }
    if !config.skipRefreshOnStartup { try refresh() }
    emitter.ready()
    while !Task.isCancelled {
      let moved = try await pass()
      if Task.isCancelled { break }
      if moved { continue }
      watch.wait(milliseconds: waitTime)
      // A hint came, or time passed: list again at most ten times a second, and at least every refresh_interval.
      if needsRefresh { try refresh() }
    }
  }

  private var waitTime: Int32 {
    if !rotated.isEmpty || files.values.contains(where: \.isHeld) { return 200 }
    return Int32(clamping: min(max(50, Int64(config.refreshInterval.nanoseconds) / 1_000_000), 1000))
  }
  private var needsRefresh: Bool {
    guard let last = lastRefresh else { return true }
    return MonotonicTime.now().since(last) >= 100_000_000
  }

  /// Reads every file once; true when any had something.
  private func pass() async throws -> Bool {
    var moved = false
    for file in Array(files.values) + rotated {
      if Task.isCancelled { return false }
      do {
        if try await reader.read(file, isLast: rotated.contains { $0 === file }) { moved = true }
      } catch let error as FileError {
        noteFailure(file.path, "\(error)")
      }
    }
    for (key, file) in files where file.isGone(config.followInodes) { try retire(key, file) }
    let now = MonotonicTime.now()
    var kept: [TailedFile] = []
    for file in rotated {
      if now.since(file.lastGrowth) < Int64(config.rotateWait.nanoseconds) { kept.append(file) } else {
        _ = try? await reader.read(file, isLast: true)
        if config.followInodes { try positions?.remove(file.path, inode: file.inode) }
      }
    }
    rotated = kept
    return moved
  }

  private func noteFailure(_ path: String, _ message: String) {
    if failures.count < 1000, failures.insert(path).inserted { log.warn(message) }
  }

  /// The name is gone or another file's: this one is followed on by its descriptor.
  private func retire(_ key: String, _ file: TailedFile) throws {
    files[key] = nil
    watch.unwatch(file.path)
    file.lastGrowth = .now()
    rotated.append(file)
    log.info("\(file.path): rotated or removed; following it until it is quiet")
    try refresh()
  }

  /// Lists the paths; converges to what is there whatever inotify said.
  private func refresh() throws {
    lastRefresh = .now()
    var found: Set<String> = []
    let now = EventTime.now().seconds
    let excluded = Set(config.excludePath.flatMap { PathPattern($0, zone: .local()).files() })
    for pattern in input.patterns {
      for path in pattern.files() where !excluded.contains(path) && !found.contains(path) {
        guard let status = File.status(path), status.isRegular else { continue }
        if let limit = config.limitRecentlyModified, Double(now - status.modified.seconds) > limit.seconds { continue }
        found.insert(path)
        let key = config.followInodes ? String(status.inode) : path
        if let known = files[key] {
          if known.inode != status.inode { continue }  // the pass will retire it
          if config.followInodes { known.path = path }
          continue
        }
        if config.followInodes, rotated.contains(where: { $0.inode == status.inode }) { continue }
        open(path, key, status)
      }
    }
    isFirst = false
  }

  private func open(_ path: String, _ key: String, _ status: File.Status) {
    do {
      let file = try File(path, .read)
      let opened = try file.status()
      let tailed = TailedFile(path: path, file: file, inode: opened.inode, tag: input.tag(for: path))
      tailed.position = start(path, opened)
      files[key] = tailed
      failures.remove(path)
      watch.watch(path, isDirectory: false)
      try positions?.set(path, .init(position: tailed.position, inode: opened.inode))
      log.info("following tail of \(path)")
    } catch { noteFailure(path, "\(error)") }
  }

  /// Where reading begins: the commit log, then pos_file, then the head for files that appear later, or the end.
  private func start(_ path: String, _ status: File.Status) -> Int {
    if positions != nil, let state = input.context.committed(path), let known = TailedFile.decode(state), known.inode == status.inode,
      known.position <= status.size, let entry = positions?.entry(path, inode: status.inode), entry.position <= known.position
    {
      return known.position
    }
    if let entry = positions?.entry(path, inode: status.inode) {
      if entry.inode == status.inode, entry.position <= status.size { return entry.position }
      return 0  // rotated while agg was away: the new file is read whole
    }
    return config.readFromHead || !isFirst ? 0 : status.size
  }
}

/// One open file and how far it is read.
final class TailedFile {
  var path: String
  let file: File
  let inode: UInt64
  let tag: Tag
  /// Everything before this is stored.
  var position = 0
  var lastGrowth = MonotonicTime.now()
  /// Size at the last read, to see silence.
  var lastSize = -1
  /// A multi-line event waits for its end.
  var isHeld = false
  /// For read_bytes_limit_per_second: what was read since then.
  var window = (since: MonotonicTime.now(), bytes: 0)
  /// Skipping the rest of a line that is too long.
  var isSkipping = false

  init(path: String, file: File, inode: UInt64, tag: Tag) {
    self.path = path
    self.file = file
    self.inode = inode
    self.tag = tag
  }

  func isGone(_ followsInode: Bool) -> Bool {
    guard let now = File.status(path) else { return true }
    return now.inode != inode
  }

  /// The committed state: inode and position.
  func state(_ position: Int) -> [UInt8] {
    withUnsafeBytes(of: inode.bigEndian) { Array($0) } + withUnsafeBytes(of: UInt64(position).bigEndian) { Array($0) }
  }
  static func decode(_ state: [UInt8]) -> (inode: UInt64, position: Int)? {
    guard state.count == 16 else { return nil }
    var numbers: [UInt64] = [0, 0]
    for (i, byte) in state.enumerated() { numbers[i / 8] = numbers[i / 8] << 8 | UInt64(byte) }
    return Int(exactly: numbers[1]).map { (numbers[0], $0) }
  }
}
