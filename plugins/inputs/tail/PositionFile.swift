package import AggCore

/// Fluentd's pos_file: a line a file, `path TAB position TAB inode NEWLINE`, numbers as 16 hexadecimal digits.
///
/// Written after the commit log, so after a kill it is never ahead. New files come at its end, known ones are written in place, which
/// needs no room on a full disk. Used by one task.
package final class PositionFile {
  package struct Entry {
    package var position: Int
    package var inode: UInt64
    package init(position: Int, inode: UInt64) { (self.position, self.inode) = (position, inode) }
  }
  /// Fluentd's mark of a file that is no longer followed.
  private static let unwatched = UInt64.max

  private let file: File
  private let byInode: Bool
  private let trouble: Trouble?
  /// With `durability fsync`: that an entry is missing means that somebody removed it, so none may be lost with the power.
  private let isSynced: Bool
  private var isUnsynced = false
  package private(set) var entries: [String: Entry] = [:]
  private var paths: [String: String] = [:]
  /// Where each entry's position stands in the file.
  private var offsets: [String: Int] = [:]
  /// Entries that have no line yet, in the order they came.
  private var missing: [String] = []
  /// Where the next line goes; nil while what is there is not ours.
  private var end: Int?
  /// Lines of files that are no longer followed.
  private var dead = 0

  /// Not all positions are in the file. `start` is how an earlier run left it, as the commit log says.
  var isBehind: Bool { end == nil || !missing.isEmpty }
  /// Whether the commit log knows of that.
  var isToldBehind = false
  private(set) var wasBehind = false
  func start(behind: Bool) { (wasBehind, isToldBehind) = (behind, behind) }

  package init(_ path: String, permission: Int, directoryPermission: Int, byInode: Bool, isSynced: Bool = false, log: Log? = nil) throws(FileError) {
    self.byInode = byInode
    self.isSynced = isSynced
    trouble = log.map { Trouble($0) }
    try File.makeDirectories(File.directory(of: path), permission: directoryPermission, sync: isSynced)
    file = try File(path, [.readWrite, .create], permission: permission)
    var text = ByteWriter()
    while try file.read(at: text.count, 64 << 10, into: &text) > 0 {}
    forEachLine(text.bytes) { line, _ in
      let fields = line.split(separator: 0x09).map { String(decoding: UnsafeRawBufferPointer(rebasing: $0), as: UTF8.self) }
      guard fields.count == 3, let position = UInt64(fields[1], radix: 16), let inode = UInt64(fields[2], radix: 16) else { return }
      if position != Self.unwatched, let position = Int(exactly: position) {
        entries[key(fields[0], inode)] = Entry(position: position, inode: inode)
        if byInode { paths[key(fields[0], inode)] = fields[0] }
      }
    }
    attempt { () throws(FileError) in
      try rewrite()
      if isSynced { try File.syncDirectory(File.directory(of: path)) }
    }
    sync()
  }

  /// What was added is there for good; before events of it are stored.
  func sync() {
    guard isSynced, isUnsynced else { return }
    attempt { () throws(FileError) in
      try file.sync()
      isUnsynced = false
    }
  }

  private func key(_ path: String, _ inode: UInt64) -> String { byInode ? String(inode, radix: 16) : path }

  /// By path; none where inodes are the keys.
  var pathEntries: [(path: String, entry: Entry)] { byInode ? [] : entries.map { ($0.key, $0.value) } }

  package func entry(_ path: String, inode: UInt64) -> Entry? { entries[key(path, inode)] }

  package func set(_ path: String, _ entry: Entry) {
    let name = key(path, entry.inode)
    if entries.updateValue(entry, forKey: name) == nil { missing.append(name) }
    if byInode { paths[name] = path }
    attempt { () throws(FileError) in
      if end == nil { return try rewrite() }
      if let offset = offsets[name] {
        var text = ByteWriter(capacity: 64)
        text.append(hex(UInt64(entry.position)) + "\t" + hex(entry.inode) + "\n")
        try file.write(at: offset, text.bytes)
      }
      if !missing.isEmpty { try append() }
    }
  }

  package func remove(_ path: String, inode: UInt64) {
    let name = key(path, inode)
    guard entries.removeValue(forKey: name) != nil else { return }
    paths[name] = nil
    if let at = missing.firstIndex(of: name) { missing.remove(at: at) }
    guard let offset = offsets.removeValue(forKey: name) else { return }
    dead += 1
    attempt { () throws(FileError) in
      if end == nil || dead > 64 + entries.count { return try rewrite() }
      var text = ByteWriter(capacity: 16)
      text.append(hex(Self.unwatched))
      try file.write(at: offset, text.bytes)
    }
  }

  private func attempt(_ body: () throws(FileError) -> Void) {
    do throws(FileError) {
      try body()
      trouble?.worked("pos_file is written again")
    } catch { trouble?.failed("pos_file cannot be written; until it can, only the commit log of a file buffer has the positions: \(error)") }
  }

  /// The lines that are missing, behind the others.
  private func append() throws(FileError) {
    guard let start = end else { return }
    var text = ByteWriter(capacity: missing.count * 128)
    var places: [String: Int] = [:]
    for name in missing { add(name, start, &text, &places) }
    do { try file.write(at: start, text.bytes) } catch {
      // Half a line is overwritten by the next attempt, should it stay.
      try? file.truncate(to: start)
      throw error
    }
    offsets.merge(places) { $1 }
    missing = []
    isUnsynced = true
    end = start + text.count
  }

  /// All of it, without the lines of files that are no longer followed.
  private func rewrite() throws(FileError) {
    var text = ByteWriter()
    var places: [String: Int] = [:]
    // While it fails, nobody writes into lines that are not there.
    offsets = [:]
    end = nil
    for name in entries.keys.sorted() { add(name, 0, &text, &places) }
    try file.write(at: 0, text.bytes)
    try file.truncate(to: text.count)
    offsets = places
    missing = []
    dead = 0
    isUnsynced = true
    end = text.count
  }

  private func add(_ name: String, _ start: Int, _ text: inout ByteWriter, _ places: inout [String: Int]) {
    guard let entry = entries[name] else { return }
    text.append((byInode ? paths[name] ?? name : name) + "\t")
    places[name] = start + text.count
    text.append(hex(UInt64(entry.position)) + "\t" + hex(entry.inode) + "\n")
  }

  private func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }
}
