import AggCore
import Glibc

/// Files whose names are gone or belong to others: renamed, removed, found again.
extension TailSet {
  /// A renamed file ends when nothing was written to it for rotate_wait and all of it is read, never sooner. Its writer may still have
  /// it open, and end a line: only after the silence is the last one whole.
  func endQuiet() async throws {
    let now = MonotonicTime.now()
    for file in rotated where now.since(file.lastGrowth) >= Int64(config.rotateWait.nanoseconds) {
      do {
        if file.isOpen || file.hasChanged() {
          while try await reader.read(file, isLast: true) {}
          if Task.isCancelled { return }
          guard try file.opened().status().size <= file.position else { continue }
        }
      } catch let error as FileError {
        note(file.path, error)
        // Too many open files end; a file that is gone or cannot be read does not.
        if error.code == EMFILE || error.code == ENFILE || error.code == EACCES { continue }
        countLost(file)
      }
      rotated.removeAll { $0 === file }
      try await forget(file)
    }
  }

  /// Nothing more can be read of a file that had more.
  private func countLost(_ file: TailedFile) {
    let bytes = file.lastSize - file.position
    if bytes <= 0 { return }
    log.warn("\(file.path): its last \(bytes) bytes cannot be read any more and are lost")
    input.givenUp(1, "tail_rotation_lost", bytes: bytes)
  }

  /// The name is gone or another file's: this one is followed on by its descriptor.
  func retire(_ key: String, _ file: TailedFile) async throws {
    files[key] = nil
    watch.unwatch(file.path)
    file.lastGrowth = .now()
    file.isRotated = true
    count(\.rotated)
    lastRetired = .now()
    if config.openOnEveryUpdate {
      countLost(file)
      try await forget(file)
      log.info("\(file.path): rotated or removed; with open_on_every_update it is not followed any more")
    } else if !file.isOpen, !relocate(file) {
      // It was quiet, so it was closed; all that is known of it is read.
      countLost(file)
      try await forget(file)
    } else {
      rotated.append(file)
      await remember(file)
      log.info("\(file.path): rotated or removed; following it until it is quiet")
    }
  }

  /// A rotated file's line in pos_file is the next file's: the commit log has to know it, though nothing of it was read yet.
  private func remember(_ file: TailedFile) async {
    guard positions != nil else { return }
    if file.mark.headLength == 0, let mark = try? file.mark.identified(by: file.opened()) { file.mark = mark }
    // When the commit log cannot be written, the file's next batch says it.
    try? await emitter.emit([], covering: [SourceSpan(key: key(file), state: file.mark.state)])
  }

  /// Nothing will be read of it any more.
  func forget(_ file: TailedFile) async throws {
    file.group?.files -= 1
    count(\.closed)
    if ended.count > 4096 { ended = [:] }
    ended[file.inode] = file.mark
    if config.followInodes {
      positions?.remove(file.path, inode: file.inode)
    }
    if positions != nil { try? await emitter.emit([], covering: [SourceSpan(key: key(file), state: [])]) }
  }

  /// What was being read under a path that is another file's now: renamed while agg was down, or read on when it was killed.
  func resumeRotated() async throws {
    guard positions != nil else { return }
    let current = Set((Array(files.values) + rotated).map(\.inode))
    for (inode, known) in earlier.sorted(by: { $0.key < $1.key }) where !current.contains(inode) {
      let directories = known.path == "*" ? input.patterns.map(\.directory) : [File.directory(of: known.path)]
      // Only a committed mark has checksums; without them the name must be that of a rotated file.
      let prefix = known.mark.headLength > 0 ? "" : File.name(of: known.path)
      if let (name, file) = directories.lazy.compactMap({ self.find(known.mark, in: $0, prefix) }).first {
        let path = known.path == "*" ? name : known.path
        let tailed = TailedFile(path: path, file: file, inode: inode, tag: input.tag(for: path), openFiles)
        tailed.mark = known.mark
        if name == known.path || known.path == "*" && input.patterns.contains(where: { $0.covers(name) }) {
          // Not renamed: only not listed, by skip_refresh_on_startup or limit_recently_modified.
          files[config.followInodes ? String(inode) : path] = tailed
          watch.watch(path, isDirectory: false)
          continue
        }
        tailed.isRotated = true
        tailed.location = name
        rotated.append(tailed)
        log.info("\(path): was renamed to \(name) while agg was down; its rest is read")
      } else if known.mark.headLength > 0 {
        log.warn("\(known.path): the file that was read to byte \(known.mark.position) is gone (rotated and removed or compressed while agg was down); what was not read of it is lost")
        input.givenUp(1, "tail_rotation_lost")
        // Another file may get its inode, and its line would be taken for that one's.
        if config.followInodes { positions?.remove(known.path, inode: inode) }
        try? await emitter.emit([], covering: [SourceSpan(key: TailedFile.key(known.path, inode), state: [])])
      }
    }
    earlier = [:]
    listings = [:]
  }

  private func find(_ mark: TailMark, in directory: String, _ prefix: String) -> (name: String, file: File)? {
    for path in listing(directory)[mark.inode] ?? [] where File.name(of: path).hasPrefix(prefix) {
      if let file = try? File(path, .read), (try? mark.isOf(file)) == true { return (path, file) }
    }
    return nil
  }

  /// Names by inode.
  private func listing(_ directory: String) -> [UInt64: [String]] {
    if let known = listings[directory] { return known }
    var listing: [UInt64: [String]] = [:]
    for name in (try? File.list(directory)) ?? [] {
      let path = directory + "/" + name
      if let status = File.status(path, followingLinks: false), status.isRegular { listing[status.inode, default: []].append(path) }
    }
    listings[directory] = listing
    return listing
  }

  /// Finds the new name of a closed file.
  private func relocate(_ file: TailedFile) -> Bool {
    guard let (name, found) = find(file.mark, in: File.directory(of: file.path), "") else { return false }
    file.location = name
    if let status = try? found.status() { file.lastSize = max(file.lastSize, status.size) }
    return true
  }

  /// inotify tells the renames of a file that came and went between two looks, and where a rotated one has got to.
  func followRenames() async throws {
    let renames = watch.takeRenames()
    if renames.isEmpty { return }
    var origins: [String: String] = [:]
    var order: [String] = []
    for rename in renames {
      origins[rename.to] = origins.removeValue(forKey: rename.from) ?? rename.from
      order.append(rename.to)
    }
    let excluded = input.excluded.isEmpty ? [] : Set(input.excluded.flatMap { $0.files().paths })
    var known: [UInt64: TailedFile] = [:]
    for file in files.values { known[file.inode] = file }
    for file in rotated { known[file.inode] = file }
    for now in order {
      guard let origin = origins.removeValue(forKey: now), let status = File.status(now, followingLinks: false), status.isRegular else { continue }
      if let file = known[status.inode] {
        file.location = file.isRotated || now != file.path ? now : nil
        continue
      }
      guard !config.openOnEveryUpdate, !excluded.contains(origin), input.patterns.contains(where: { $0.covers(origin) }),
        !input.patterns.contains(where: { $0.covers(now) })
      else { continue }
      try await openRotated(now, origin, status)
    }
  }

  /// A file that had a followed path and was renamed before it was seen there.
  private func openRotated(_ location: String, _ path: String, _ status: File.Status) async throws {
    do {
      let file = try File(location, .read)
      guard try file.status().inode == status.inode else { return }
      let tailed = TailedFile(path: path, file: file, size: status.size, inode: status.inode, tag: input.tag(for: path), openFiles)
      tailed.location = location
      tailed.isRotated = true
      if let ended = ended[status.inode], try ended.isOf(file) {
        // Its end was seen before its rename was.
        if ended.position == status.size { return }
        tailed.mark = ended
      }
      tailed.group = groups?.group(of: path).group
      tailed.group?.files += 1
      // One that was followed before, and is renamed once more after its end.
      if input.context.committed(key(tailed)) != nil { return }
      count(\.opened)
      rotated.append(tailed)
      await remember(tailed)
      log.info("\(path): was rotated to \(location) before it was seen; it is read from there")
    } catch let error as FileError { note(location, error) }
  }
}
