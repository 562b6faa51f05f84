import AggCore
import CAgg
import Glibc

/// The files that one in_tail follows. Used by its one task.
final class TailSet {
  let input: TailInput
  let config: TailInput.Config
  let log: Log
  let positions: PositionFile?
  let watch: TailWatch
  let reader: TailReader
  /// By path, or by inode with follow_inodes.
  var files: [String: TailedFile] = [:]
  /// Renamed away, still followed until they are quiet.
  var rotated: [TailedFile] = []
  private var lastRefresh = MonotonicTime(nanoseconds: 0)
  /// A directory changed and was not listed yet.
  private var isHinted = false
  /// When all files were last looked at, and whether inotify has told of a change to names since.
  private var lastLook = MonotonicTime(nanoseconds: 0)
  private var namesChanged = true
  /// When a file last had something.
  private var lastMove = MonotonicTime(nanoseconds: 0)
  /// Those that had something in the last pass: there may be more.
  private var busy: [TailedFile] = []
  /// Those that wait for a time: for the end of an event, or for their share. Each pass has all of them.
  private var waiting: [TailedFile] = []
  /// Those that could not be opened or read in the last pass.
  private var failing: [TailedFile] = []
  /// Since then a name that went away is looked for more often.
  var lastRetired: MonotonicTime?
  private var isFirst = true
  private var failures: Set<String> = []
  /// Marks of files that are not followed any more, by inode.
  var ended: [UInt64: TailMark] = [:]
  private let opening: Trouble
  private var toldRefusals: Set<Int32> = []
  let openFiles = TailOpenFiles()
  /// Of the directories that were looked through for files whose names changed, what is in them; for one round.
  var listings: [String: [UInt64: [String]]] = [:]
  var earlier: [UInt64: (path: String, mark: TailMark)] = [:]
  let groups: TailGroups?

  init(_ input: TailInput, positions: PositionFile?, watch: TailWatch, emitter: Emitter) {
    self.input = input
    config = input.config
    log = input.context.log
    opening = Trouble(log)
    self.positions = positions
    self.watch = watch
    reader = TailReader(input, positions: positions, emitter: emitter)
    self.emitter = emitter
    // The input has made one already: it is valid.
    groups = (try? TailGroups(input.config.group)) ?? nil
    tails = input.context.shared(MetricRegistry.self)?.tails
  }
  let emitter: Emitter
  private let tails: TailFigures?
  private var figures = TailFigures.Input()
  private var published = MonotonicTime(nanoseconds: 0)
  private var isUnpublished = true
  /// Files came, went or have other names.
  private var isListChanged = true

  func run() async throws {
    defer { tails?.withdraw(input.context.id) }
    loadEarlier()
    if config.skipRefreshOnStartup {
      for pattern in input.patterns { watch.watch(pattern.directory, isDirectory: true) }
      lastRefresh = .now()
    } else { try await refresh() }
    try await resumeRotated()
    emitter.ready()
    // The first pass may have to wait for room.
    publish(true)
    while !Task.isCancelled {
      let moved = try await pass()
      if Task.isCancelled { break }
      publish(moved)
      // However busy one file is, others are found.
      if watch.wait(milliseconds: moved ? 0 : waitTime) { (isHinted, namesChanged) = (true, true) }
      try await followRenames()
      if needsRefresh { try await refresh() }
      listings = [:]
    }
  }

  /// Figures for the pages that show them, when they change: ten times a second at most while something is read. How far a file is read
  /// its `lag` tells meanwhile.
  private func publish(_ moved: Bool) {
    guard let tails, isUnpublished else { return }
    let now = MonotonicTime.now()
    if moved, now.since(published) < 100_000_000 { return }
    published = now
    isUnpublished = false
    if isListChanged {
      isListChanged = false
      figures.files = (files.values + rotated).sorted { ($0.path, $0.isRotated ? 1 : 0) < ($1.path, $1.isRotated ? 1 : 0) }.map {
        TailFigures.File(path: $0.path, inode: $0.inode, lag: $0.lag)
      }
    }
    tails.publish(input.context.id, figures)
  }
  /// A file was opened, rotated or closed.
  func count(_ figure: WritableKeyPath<TailFigures.Input, Int>) {
    figures[keyPath: figure] += 1
    listChanged()
  }
  private func listChanged() { (isListChanged, isUnpublished) = (true, true) }
  private func countThrottled() {
    figures.throttled += 1
    isUnpublished = true
  }

  private var waitTime: Int32 {
    if isHinted || namesChanged { return 100 }
    // What inotify does not report goes on where it went on just now.
    if files.count <= Self.some, MonotonicTime.now().since(lastMove) < 2_000_000_000 { return 100 }
    if !rotated.isEmpty || !waiting.isEmpty { return 200 }
    // Of very many files the next look at all may be sooner than a second after the last wait.
    let next = pause > 1_000_000_000 ? max(10_000_000, pause - MonotonicTime.now().since(lastLook)) / 1_000_000 : 1000
    return Int32(clamping: min(max(50, Int64(config.refreshInterval.nanoseconds) / 1_000_000), 1000, next))
  }
  /// After a hint at once, but at most ten times a second; else every refresh_interval; every second for a while after a file went
  /// away, whose successor may come in a directory that is not watched.
  private var needsRefresh: Bool {
    let now = MonotonicTime.now()
    let passed = now.since(lastRefresh)
    if isHinted, passed >= 100_000_000 { return true }
    if let lastRetired, now.since(lastRetired) < 60_000_000_000, passed >= 1_000_000_000 { return true }
    return passed >= Int64(config.refreshInterval.nanoseconds)
  }

  /// Of so many files a look at each costs less than to find out which of them to look at: two system calls a file in every pass.
  private static let few = 2
  /// Of so many a look at all ten times a second costs a third of a percent of a core.
  private static let some = 64
  /// Nanoseconds between two looks at all files, for each of them: a look takes some four microseconds a file, so this is a sixtieth of a core.
  private static let rest: Int64 = 250_000

  private var pause: Int64 { min(max(100_000_000, Int64(files.count) * Self.rest), 5_000_000_000) }

  /// What to read now. All files at a change of names, and now and then for what inotify does not see; in between, of many files, those
  /// that it names, that had something just now, or that wait for a time.
  private func due() -> (files: [TailedFile], isAll: Bool) {
    let now = MonotonicTime.now()
    let changed = watch.takeChanged()
    let passed = now.since(lastLook)
    if files.count <= Self.few || config.followInodes || passed >= pause || namesChanged && passed >= 100_000_000 {
      (lastLook, namesChanged) = (now, false)
      return (rotated + Array(files.values), true)
    }
    var due = rotated
    var known: Set<ObjectIdentifier> = []
    func add(_ file: TailedFile) { if !file.isRotated, known.insert(ObjectIdentifier(file)).inserted { due.append(file) } }
    if busy.isEmpty, changed.isEmpty { failing.forEach(add) }
    busy.forEach(add)
    for path in changed { if let file = files[path] { add(file) } }
    waiting.forEach(add)
    return (due, false)
  }

  /// Reads what is due once; true when any file had something.
  private func pass() async throws -> Bool {
    let (due, isAll) = due()
    busy.removeAll(keepingCapacity: true)
    failing.removeAll()
    for file in due {
      if Task.isCancelled { return false }
      if !file.isOpen, !file.hasChanged() { continue }
      do {
        if try await reader.read(file, isLast: false) { busy.append(file) }
        if file.isThrottled { countThrottled() }
      } catch let error as FileError {
        note(file.path, error)
        failing.append(file)
      }
      if config.openOnEveryUpdate, !file.isRotated { file.close() }
    }
    waiting = due.filter { $0.isHeld || $0.isThrottled }
    var isRetired = false
    for file in isAll ? Array(files.values) : due where !file.isRotated {
      if file.isGone() {
        try await retire(config.followInodes ? String(file.inode) : file.path, file)
        isRetired = true
      } else if isAll, watch.watch(file.path, isDirectory: false) {
        // The kernel had taken it away, or had no room for it; what was written before it was made told nobody.
        busy.append(file)
      }
    }
    let moved = !busy.isEmpty
    if moved { lastMove = .now() }
    // Once for all of them: ten thousand may be rotated together.
    if isRetired { try await refresh() }
    try await endQuiet()
    return moved
  }

  /// Told once a file, until it can be opened again; what is no matter of the file, once.
  func note(_ path: String, _ error: FileError) {
    if error.code == EMFILE || error.code == ENFILE { return opening.failed("\(error); the other files go on") }
    if failures.count < 1000, failures.insert(path).inserted { log.warn("\(error)") }
  }

  func key(_ file: TailedFile) -> String { TailedFile.key(config.followInodes ? "*" : file.path, file.inode) }

  /// By inode, what the commits of an earlier run say of files under the configured paths.
  private func loadEarlier() {
    guard let positions else { return }
    positions.start(behind: input.context.committed(TailReader.behindKey) != nil)
    for key in input.context.committedKeys() {
      guard let path = TailedFile.path(ofKey: key), let mark = input.context.committed(key).flatMap({ TailMark(state: $0) }),
        path == "*" ? config.followInodes : input.patterns.contains(where: { $0.covers(path) })
      else { continue }
      earlier[mark.inode] = (path, mark)
    }
    // A file that was opened, or read by Fluentd, and never committed.
    for (path, entry) in positions.pathEntries where earlier[entry.inode] == nil && input.patterns.contains(where: { $0.covers(path) }) {
      var mark = TailMark(inode: entry.inode)
      mark.position = entry.position
      earlier[entry.inode] = (path, mark)
    }
  }

  /// Lists the paths; converges to what is there whatever inotify said.
  private func refresh() async throws {
    lastRefresh = .now()
    isHinted = false
    watch.renewDirectories()
    for pattern in input.patterns { watch.watch(pattern.directory, isDirectory: true) }
    var found: Set<String> = []
    // Made when a new name is found: by inode, what is followed under another name.
    var names: [UInt64: String]?
    let now = EventTime.now().seconds
    let excluded = Set(input.excluded.flatMap { $0.files().paths })
    for pattern in input.patterns {
      let (paths, isGlob) = pattern.files()
      for path in paths where !excluded.contains(path) && !found.contains(path) {
        guard let status = File.status(path), status.isRegular else { continue }
        if isGlob, let limit = config.limitRecentlyModified, Double(now - status.modified.seconds) > limit.seconds { continue }
        found.insert(path)
        let key = config.followInodes ? String(status.inode) : path
        if let known = files[key] {
          if known.inode != status.inode {
            // The pass will retire it.
            namesChanged = true
            continue
          }
          if config.followInodes, known.path != path {
            watch.unwatch(known.path)
            known.path = path
            watch.watch(path, isDirectory: false)
            listChanged()
          }
          // Its directory may have lost its watch.
          watch.watch(File.directory(of: path), isDirectory: true)
          continue
        }
        if let index = rotated.firstIndex(where: { $0.inode == status.inode }) {
          // Renamed to a name that the pattern takes too: it goes on as what it is, and is not read twice.
          await rename(rotated.remove(at: index), path, key)
          continue
        }
        let known = names ?? Dictionary(files.map { ($0.value.inode, $0.key) }, uniquingKeysWith: { first, _ in first })
        names = known
        if !config.followInodes, let old = known[status.inode], let moved = files[old], File.status(old)?.inode != status.inode {
          // Listed before the pass saw that its old name is gone.
          files[old] = nil
          watch.unwatch(old)
          await rename(moved, path, key)
          // Its old name may be another file's already, and was listed before this one.
          isHinted = true
          continue
        }
        await open(path, key)
      }
    }
    positions?.sync()
    isFirst = false
    tellRefusals()
  }

  /// Each reason once: without a watch all goes on, later.
  private func tellRefusals() {
    for (code, refusal) in watch.takeRefusals() where toldRefusals.insert(code).inserted {
      let limit = [ENOSPC: " (fs.inotify.max_user_watches)", EMFILE: " (fs.inotify.max_user_instances, or the limit of open files)"][code] ?? ""
      let effect =
        !limit.isEmpty ? "without a watch, lines are seen up to a few seconds later, new files with refresh_interval"
        : refusal.isDirectory ? "new files in it are seen with refresh_interval" : "its lines are seen up to a few seconds later"
      log.warn("\(refusal.path): cannot be watched: \(String(cString: strerror(code)))\(limit); \(effect)")
    }
  }

  private func rename(_ file: TailedFile, _ path: String, _ place: String) async {
    let before = key(file)
    file.path = path
    file.location = nil
    file.isRotated = false
    files[place] = file
    listChanged()
    busy.append(file)
    watch.watch(path, isDirectory: false)
    await keep(file, insteadOf: before)
  }

  /// The file has a new name in the commit log and in pos_file.
  private func keep(_ file: TailedFile, insteadOf before: String) async {
    guard let positions else { return }
    do {
      try await emitter.emit([], covering: [SourceSpan(key: before, state: []), SourceSpan(key: key(file), state: file.mark.state)])
    } catch {
      // The commit log cannot be written; the next batch of the file says it all.
      return
    }
    positions.set(file.path, .init(position: file.position, inode: file.inode))
    positions.sync()
  }

  private func open(_ path: String, _ key: String) async {
    do {
      let file = try File(path, .read)
      let opened = try file.status()
      let tailed = TailedFile(path: path, file: file, size: opened.size, inode: opened.inode, tag: input.tag(for: path), openFiles)
      let known = earlier[opened.inode]
      if let (group, isKnown) = groups?.group(of: path) {
        if !isKnown { log.warn("\(path): <group> pattern does not know such paths; it has no limit but that of a rule without match") }
        tailed.group = group
        group.files += 1
      }
      files[key] = tailed
      busy.append(tailed)
      count(\.opened)
      failures.remove(path)
      opening.worked("files are opened again")
      watch.watch(path, isDirectory: false)
      watch.watch(File.directory(of: path), isDirectory: true)
      if let known, known.path != path, known.path != "*", (try? known.mark.isOf(file)) == true, File.status(known.path)?.inode != opened.inode {
        tailed.mark = known.mark
        await keep(tailed, insteadOf: TailedFile.key(known.path, opened.inode))
      } else {
        tailed.mark = start(path, file, opened)
        positions?.set(path, .init(position: tailed.position, inode: opened.inode))
      }
      log.info("following tail of \(path)")
    } catch let error as FileError { note(path, error) } catch { log.warn("\(path): \(error)") }
  }

  /// Where reading begins: the commit log, then pos_file, then the head for files that appear later, or the end.
  private func start(_ path: String, _ file: File, _ status: File.Status) -> TailMark {
    var mark = TailMark(inode: status.inode)
    let entry = positions?.entry(path, inode: status.inode)
    if positions != nil, let state = input.context.committed(TailedFile.key(config.followInodes ? "*" : path, status.inode)), let known = TailMark(state: state) {
      if (try? known.isOf(file)) != true {
        log.warn("\(path): is not the file that was read to byte \(known.position) any more; reading it from the head")
        input.givenUp(1, "possible_loss")
        return mark
      }
      // pos_file is written after the commit: one that is missing or ahead was changed by somebody, and wins.
      if let entry, entry.inode == status.inode, entry.position <= known.position { return known }
      if let entry, entry.inode != status.inode { return known }
      if entry == nil, positions?.wasBehind ?? false { return known }
    }
    if let entry {
      // Rotated while agg was away: the new file is read whole.
      if entry.inode == status.inode, entry.position <= status.size { mark.position = entry.position }
      return mark
    }
    if !config.readFromHead, isFirst { mark.position = status.size }
    return mark
  }
}
