import AggCore

/// Fluentd's pos_file: a line a file, `path TAB position TAB inode NEWLINE`, numbers as 16 hexadecimal digits.
///
/// Written after the commit log, so after a kill it is never ahead. Used by one task.
final class PositionFile {
  struct Entry {
    var position: Int
    var inode: UInt64
  }
  /// Fluentd's mark of a file that is no longer followed.
  private static let unwatched = UInt64.max

  private let file: File
  private(set) var entries: [String: Entry] = [:]
  /// Where each entry's position stands in the file.
  private var offsets: [String: Int] = [:]
  private let byInode: Bool

  init(_ path: String, permission: Int, directoryPermission: Int, byInode: Bool) throws(FileError) {
    self.byInode = byInode
    try File.makeDirectories(File.directory(of: path), permission: directoryPermission)
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
    try rewrite()
  }
  private var paths: [String: String] = [:]

  private func key(_ path: String, _ inode: UInt64) -> String { byInode ? String(inode, radix: 16) : path }

  /// By path; none where inodes are the keys.
  var pathEntries: [(path: String, entry: Entry)] { byInode ? [] : entries.map { ($0.key, $0.value) } }

  func entry(_ path: String, inode: UInt64) -> Entry? { entries[key(path, inode)] }

  func set(_ path: String, _ entry: Entry) throws(FileError) {
    let name = key(path, entry.inode)
    let known = entries[name]
    entries[name] = entry
    if byInode { paths[name] = path }
    guard known != nil, let offset = offsets[name] else { return try rewrite() }
    var text = ByteWriter(capacity: 64)
    text.append(hex(UInt64(entry.position)) + "\t" + hex(entry.inode) + "\n")
    try file.write(at: offset, text.bytes)
  }

  func remove(_ path: String, inode: UInt64) throws(FileError) {
    if entries.removeValue(forKey: key(path, inode)) != nil { try rewrite() }
  }

  private func rewrite() throws(FileError) {
    var text = ByteWriter()
    var places: [String: Int] = [:]
    // While it fails, nobody writes into lines that are not there.
    offsets = [:]
    for (name, entry) in entries.sorted(by: { $0.key < $1.key }) {
      text.append((byInode ? paths[name] ?? name : name) + "\t")
      places[name] = text.count
      text.append(hex(UInt64(entry.position)) + "\t" + hex(entry.inode) + "\n")
    }
    try file.write(at: 0, text.bytes)
    try file.truncate(to: text.count)
    offsets = places
  }

  private func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }
}
