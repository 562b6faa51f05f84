package import AggCore
import Synchronization

/// What was about to be written where, so that a chunk that comes again after a kill is not written twice.
///
/// Lines in `<buffer>notes-N`, one write each: `A id device inode size path` before an append at `size`, `L id device inode path`
/// before a whole file gets its name, `D id` when the content is there, `X id` when it was taken back. A run, and a file that has grown,
/// are followed by the next file; the two newest are kept. What an older one says of a chunk that is still buffered is written anew before
/// that file goes: several runs may end before the chunk's turn comes.
package final class OutputNotes: Sendable {
  package struct Note: Sendable, Equatable {
    package var device: UInt64
    package var inode: UInt64
    /// Of the file before the append; nil for a file of its own.
    package var size: Int?
    package var path: String
    var isDone = false
    /// The newest file that has it.
    var number = 0
    /// Which of the notes that were made since the start it is.
    var place = 0
    package init(device: UInt64, inode: UInt64, size: Int?, path: String) {
      (self.device, self.inode, self.size, self.path) = (device, inode, size, path)
    }
  }
  static let fileSize = 256 << 10
  /// A file is as large as the buffer has names, times this, where that is more: each new one costs a look at all of them.
  static let sizePerName = 16
  /// Of lines that are owed; with more, they are given up: a kill may then duplicate, and loses nothing.
  static let owedLimit = 1 << 20

  private struct State {
    private(set) var notes: [ChunkID: Note] = [:]
    /// Those whose content may not be there.
    private(set) var begun: Set<ChunkID> = []
    /// In the order they came, so that the oldest can be forgotten: a chunk that is tried again has its newest place.
    var order: [(id: ChunkID, place: Int)] = []
    var places = 0
    var file: File?
    var number = 0
    /// The files there are, ascending.
    var files: [Int] = []
    var written = 0
    /// In the buffer's directory, when it was last looked through.
    var names = 0
    var isLoaded = false
    /// Lines that could not be written: they go before the next one.
    var owed = ""
    /// Chunks that were there at the start, with a note: their turn may come behind any number of others.
    private(set) var inherited: Set<ChunkID> = []
    /// What was put aside of chunks that were cut off: numbers of its files, in the order they were made.
    var aside: [ChunkID: [Int]] = [:]

    mutating func set(_ id: ChunkID, _ note: Note?) {
      notes[id] = note
      if note == nil { inherited.remove(id) }
      if let note, !note.isDone { begun.insert(id) } else { begun.remove(id) }
    }
    mutating func renumber(_ id: ChunkID, _ number: Int) { notes[id]?.number = number }
    mutating func done(_ id: ChunkID) {
      notes[id]?.isDone = true
      begun.remove(id)
      inherited.remove(id)
    }
    mutating func inherit(_ ids: Set<ChunkID>) { inherited = ids }
    /// Forgets the oldest that are done when there are many: their chunks are gone.
    mutating func remember(_ id: ChunkID, _ note: Note) {
      places += 1
      var note = note
      note.place = places
      set(id, note)
      order.append((id, places))
      guard order.count > 4096 + 2 * (inherited.count + begun.count) else { return }
      let half = order.count / 2
      var kept: [(id: ChunkID, place: Int)] = []
      for old in order.prefix(half) where notes[old.id]?.place == old.place {
        if inherited.contains(old.id) || begun.contains(old.id) { kept.append(old) } else { set(old.id, nil) }
      }
      order.replaceSubrange(..<half, with: kept)
    }
  }
  private let prefix: String
  /// `durability fsync`: a note is there before what it is about, and stays until its chunk is gone for good.
  private let isSynced: Bool
  private let system: SystemInfo
  private let log: Log
  private let hasWarned = Atomic(false)
  private let state = Mutex(State())

  package init(prefix: String, isSynced: Bool = false, _ context: PluginContext) {
    self.prefix = prefix + "notes-"
    self.isSynced = isSynced
    system = context.system
    log = context.log
  }

  /// A buffer's disk that is full must not keep chunks from leaving it: without a note a kill may only duplicate.
  private func attempt(_ body: () throws(FileError) -> Void) {
    do throws(FileError) { try body() } catch {
      if !hasWarned.exchange(true, ordering: .relaxed) { log.warn("a chunk may be written twice after a kill, since its note cannot be kept: \(error); told once") }
    }
  }

  /// What is known of a chunk from this run or an earlier one.
  package func find(_ id: ChunkID) -> Note? {
    attempt(load)
    if Faults.lacks(.notes) { return nil }
    return state.withLock { $0.notes[id] }
  }
  package func begin(_ id: ChunkID, _ note: Note) {
    var note = note
    state.withLock { s in
      note.number = s.number
      s.remember(id, note)
    }
    attempt { () throws(FileError) in try append(Self.line(id, note), syncs: isSynced) }
  }
  package func done(_ id: ChunkID) {
    state.withLock { $0.done(id) }
    attempt { () throws(FileError) in try append("D \(id)\n") }
  }

  /// Another chunk's append to this file that a kill cut off.
  package func unfinished(_ device: UInt64, _ inode: UInt64, besides id: ChunkID) -> (id: ChunkID, size: Int)? {
    if Faults.lacks(.notes) { return nil }
    return state.withLock { s in
      for other in s.begun where other != id {
        if let note = s.notes[other], note.inode == inode, note.device == device, let size = note.size { return (other, size) }
      }
      return nil
    }
  }

  /// Puts aside what a cut-off append left in a file, for when its chunk comes: see `FileJob.cutOthers`. What is there of an earlier one
  /// stays, unless this is the same, and perhaps more: it was put aside, and could not be cut off or was not before a kill.
  func putAside(_ id: ChunkID, _ bytes: UnsafeRawBufferPointer, isSynced: Bool) throws(FileError) {
    let last = state.withLock { $0.aside[id]?.last }
    var number = (last ?? -1) + 1
    if let last {
      let known = try File.contents(asidePath(id, last))
      if known.count <= bytes.count, known.bytes.elementsEqual(bytes.prefix(known.count)) { number = last }
    }
    try File.replace(asidePath(id, number), with: bytes, permission: system.filePermission ?? 0o644, sync: isSynced)
    if number != last { state.withLock { [number] in $0.aside[id, default: []].append(number) } }
  }
  func asides(_ id: ChunkID) throws(FileError) -> [Block] {
    attempt(load)
    var parts: [Block] = []
    for number in state.withLock({ $0.aside[id] ?? [] }) { parts.append(Block(try File.contents(asidePath(id, number)))) }
    return parts
  }
  func removeAsides(_ id: ChunkID) {
    guard let numbers = state.withLock({ $0.aside.removeValue(forKey: id) }) else { return }
    // The first last: what is left after a kill is a beginning of what there was.
    attempt { () throws(FileError) in for number in numbers.reversed() { try File.remove(asidePath(id, number)) } }
  }
  private var asidePrefix: String { String(prefix.dropLast("notes-".utf8.count)) + "aside-" }
  private func asidePath(_ id: ChunkID, _ number: Int) -> String { "\(asidePrefix)\(id)" + (number > 0 ? ".\(number)" : "") }
  /// The chunk and the number in what follows the prefix.
  private static func aside(_ text: Substring) -> (ChunkID, Int)? {
    let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let id = ChunkID(String(first)) else { return nil }
    return parts.count == 1 ? (id, 0) : number(parts[1]).map { (id, $0) }
  }

  /// The attempt failed and what it wrote is gone again.
  func forget(_ id: ChunkID) {
    state.withLock { $0.set(id, nil) }
    attempt { () throws(FileError) in try append("X \(id)\n") }
  }

  /// Nothing is being written any more, and what was written is off the buffer: an orderly end leaves no notes. A write that hung stays noted.
  package func close() {
    let noted = state.withLock { s -> Set<ChunkID>? in s.isLoaded && !s.files.isEmpty && s.notes.values.allSatisfy(\.isDone) ? Set(s.notes.keys) : nil }
    guard let noted else { return }
    attempt { () throws(FileError) in
      // Written before a kill, and not removed: its turn comes in the next run.
      guard try noted.isDisjoint(with: buffered()) else { return }
      if isSynced { try File.syncDirectory(File.directory(of: prefix)) }
      let files = state.withLock { s in
        defer { (s.file, s.files) = (nil, []) }
        return s.files
      }
      for n in files { try File.remove(prefix + String(n)) }
    }
  }

  private func append(_ line: String, syncs: Bool = false) throws(FileError) {
    // A line that was cut off by a full disk is ended before what is owed.
    var text = state.withLock { s in
      defer { s.owed = "" }
      return s.owed + line
    }
    do throws(FileError) { try write(&text, syncs: syncs) } catch {
      state.withLock { s in
        if s.owed.isEmpty { s.owed = "\n" }
        s.owed += text
        if s.owed.utf8.count > Self.owedLimit { s.owed = "\n" }
      }
      throw error
    }
  }

  private func write(_ text: inout String, syncs: Bool) throws(FileError) {
    let count = text.utf8.count
    let (file, isFull, number) = state.withLock { s in
      s.written += count
      return (s.file, s.file == nil || s.written > max(Self.fileSize, s.names * Self.sizePerName), s.number)
    }
    var target = file
    if isFull {
      if isSynced { try file?.sync() }
      let next = try File(prefix + String(number + 1), [.write, .create, .append], permission: system.filePermission ?? 0o644)
      let carried = try carried(upTo: number - 1)
      var lines = carried.map { Self.line($0, $1) + ($1.isDone ? "D \($0)\n" : "") }.joined()
      if !lines.isEmpty {
        // Behind what a full disk may have cut off before.
        lines = "\n" + lines
        try Self.write(&lines, to: next)
        if isSynced { try next.sync() }
      }
      // The new name, before another thread may rely on it; and before an old one goes, that the chunks which it is about are gone.
      if isSynced { try File.syncDirectory(File.directory(of: prefix)) }
      var changed = ""
      let old = state.withLock { s -> [Int] in
        guard s.number == number else { return [] }
        for (id, note) in carried {
          if let now = s.notes[id] { if now.isDone, !note.isDone { changed += "D \(id)\n" } } else { changed += "X \(id)\n" }
        }
        s.number = number + 1
        s.file = next
        s.written = count
        for (id, _) in carried { s.renumber(id, number + 1) }
        s.files.append(number + 1)
        defer { s.files.removeFirst(max(0, s.files.count - 2)) }
        return Array(s.files.dropLast(2))
      }
      // What has happened to them meanwhile is in the older file, before what was carried over.
      if !changed.isEmpty { try Self.write(&changed, to: next) }
      for number in old { try File.remove(prefix + String(number)) }
      target = next
    }
    guard let target else { return }
    try Self.write(&text, to: target)
    guard syncs else { return }
    do throws(FileError) { try target.sync() } catch {
      // Not tried again on this descriptor: what is owed goes into a new file.
      state.withLock { if $0.file === target { $0.file = nil } }
      throw error
    }
  }

  private static func write(_ text: inout String, to file: File) throws(FileError) {
    do { try text.withUTF8 { try file.write(UnsafeRawBufferPointer($0)) } } catch { throw error as? FileError ?? FileError(file.path, "write") }
  }
  private static func line(_ id: ChunkID, _ note: Note) -> String {
    let place = "\(id) \(note.device) \(note.inode)"
    return note.size.map { "A \(place) \($0) \(note.path)\n" } ?? "L \(place) \(note.path)\n"
  }

  /// The notes of chunks that may come again and that no file after `last` has.
  private func carried(upTo last: Int) throws(FileError) -> [(ChunkID, Note)] {
    let old = state.withLock { $0.notes.filter { $0.value.number <= last } }
    if old.isEmpty { return [] }
    let buffered = try buffered()
    return old.filter { buffered.contains($0.key) }.map { ($0.key, $0.value) }
  }

  /// The chunks that have a file beside the notes: their names have the id as its 32 hexadecimal digits, last of any that precede it.
  private func buffered() throws(FileError) -> Set<ChunkID> {
    var ids: Set<ChunkID> = []
    var names = 0
    try File.forEachName(in: File.directory(of: prefix)) { name in
      names += 1
      if name.hasPrefix(".") || name.utf8.count < 32 { return }
      if name.hasSuffix(".agg"), let id = ChunkID(String(name.dropLast(4).suffix(32))) { return _ = ids.insert(id) }
      for part in name.split(whereSeparator: { !$0.isHexDigit }) where part.utf8.count >= 32 {
        if let id = ChunkID(String(part.suffix(32))) { ids.insert(id) }
      }
    }
    state.withLock { [names] in $0.names = names }
    return ids
  }

  /// Whether a chunk may still come: its file is beside the notes, under whichever name its buffer gives it.
  func isBuffered(_ id: ChunkID) -> Bool {
    let id = id.description
    guard let names = try? File.list(File.directory(of: prefix), where: { !$0.hasPrefix(".") && $0.contains(id) }) else { return true }
    return !names.isEmpty
  }

  /// Reads what an earlier run left; the new run writes to a file of its own.
  private func load() throws(FileError) {
    if state.withLock({ $0.isLoaded }) { return }
    let directory = File.directory(of: prefix)
    let name = File.name(of: prefix)
    var numbers: [Int] = []
    if File.status(directory) == nil { try File.makeDirectories(directory, permission: system.directoryPermission ?? 0o755) } else {
      // Only what this wrote: a name from elsewhere must not make a sum overflow.
      numbers = try File.list(directory) { $0.hasPrefix(name) }.compactMap { Self.number($0.dropFirst(name.utf8.count)) }.sorted()
    }
    var found: [(ChunkID, Note)] = []
    let asideName = File.name(of: asidePrefix)
    var aside: [ChunkID: [Int]] = [:]
    for name in (try? File.list(directory) { $0.hasPrefix(asideName) }) ?? [] {
      if let (id, number) = Self.aside(name.dropFirst(asideName.utf8.count)) { aside[id, default: []].append(number) }
    }
    for id in aside.keys { aside[id]?.sort() }
    for number in numbers {
      let text = try File.contents(prefix + String(number), limit: 256 << 20).string
      let before = found.count
      for line in text.split(separator: "\n") { Self.read(line, &found) }
      for n in min(before, found.count)..<found.count { found[n].1.number = number }
    }
    let ids = Set(found.map(\.0))
    let there = ids.isEmpty ? [] : try buffered().intersection(ids)
    // All at once: another thread asks for its chunk's note as soon as they count as read.
    state.withLock { s in
      if s.isLoaded { return }
      s.isLoaded = true
      s.aside = aside
      s.number = max(s.number, numbers.last ?? 0)
      s.files = numbers
      s.inherit(there)
      for (id, note) in found { s.remember(id, note) }
    }
  }

  /// Nil for what this never wrote, such as `+7`.
  private static func number(_ text: Substring) -> Int? { Int(text).flatMap { (0..<4_000_000_000).contains($0) && String($0) == text ? $0 : nil } }

  /// A line that was cut by the kill is no note.
  private static func read(_ line: Substring, _ found: inout [(ChunkID, Note)]) {
    let parts = line.split(separator: " ", maxSplits: line.hasPrefix("A") ? 5 : 4, omittingEmptySubsequences: false)
    guard parts.count >= 2, let id = ChunkID(String(parts[1])) else { return }
    if parts[0] == "X" { found.removeAll { $0.0 == id } } else if parts[0] == "D", let at = found.lastIndex(where: { $0.0 == id }) {
      found[at].1.isDone = true
    } else if parts.count >= 5, let device = UInt64(parts[2]), let inode = UInt64(parts[3]) {
      if parts[0] == "L" { found.append((id, Note(device: device, inode: inode, size: nil, path: String(parts[4])))) }
      if parts[0] == "A", parts.count == 6, let size = Int(parts[4]), size >= 0 {
        found.append((id, Note(device: device, inode: inode, size: size, path: String(parts[5]))))
      }
    }
  }
}
