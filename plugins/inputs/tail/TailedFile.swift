import AggCore
import Glibc

/// One followed file and how far it is read. Its descriptor may be closed meanwhile.
final class TailedFile {
  var path: String
  /// The name it has now, where that is another than the one it is followed under.
  var location: String?
  private var file: File?
  private let openFiles: TailOpenFiles
  let tag: Tag
  /// Everything before its position is stored.
  var mark: TailMark { didSet { lag.moved(to: mark.position) } }
  /// For those who show how far it is behind.
  let lag = TailLag()
  /// The path is another file's now: this one has no line in pos_file (but by inode) and ends when it is quiet.
  var isRotated = false
  var lastGrowth = MonotonicTime.now()
  /// Size at the last look, to see silence.
  var lastSize = -1
  /// At the last look: a file that was emptied and filled to the same size has another.
  var lastModified = EventTime(seconds: 0)
  /// A multi-line event waits for its end.
  var isHeld = false
  /// For read_bytes_limit_per_second: what was read since then.
  var window = (since: MonotonicTime.now(), bytes: 0)
  /// Its <group>, and what it took of its share.
  var group: TailGroup?
  var share = TailShare()
  /// It has more, and must wait for it.
  var isThrottled = false
  /// Skipping the rest of a line that is too long.
  var isSkipping = false

  var inode: UInt64 { mark.inode }
  var position: Int { mark.position }

  init(path: String, file: File, size: Int = -1, inode: UInt64, tag: Tag, _ openFiles: TailOpenFiles) {
    self.path = path
    lastSize = size
    self.file = file
    self.tag = tag
    self.openFiles = openFiles
    mark = TailMark(inode: inode)
    openFiles.opened(self)
  }
  deinit { close() }

  /// The file, opened again where it was closed; throws when another one has its name.
  func opened() throws(FileError) -> File {
    if let file { return file }
    let name = location ?? path
    let next = try File(name, .read)
    if try next.status().inode != inode { throw FileError(name, "open again", ESTALE) }
    file = next
    openFiles.opened(self)
    return next
  }
  var isOpen: Bool { file != nil }
  /// All of it is read, as far as is known.
  var isRead: Bool { lastSize == position }
  var canBeFound: Bool { !isRotated || location != nil }
  func close() {
    if file == nil { return }
    file = nil
    openFiles.closed()
  }

  /// For one that is closed: whether it has changed since it was read.
  func hasChanged() -> Bool {
    guard let now = File.status(location ?? path), now.inode == inode else { return false }
    return now.size != position || lastSize != position || now.modified != lastModified
  }

  func isGone() -> Bool {
    guard let now = File.status(path) else { return true }
    return now.inode != inode
  }

  /// Names the file in the commit log: a renamed file and its successor of the same path are two. `*` with follow_inodes.
  static func key(_ path: String, _ inode: UInt64) -> String { "\(inode) \(path)" }
  static func path(ofKey key: String) -> String? { key.firstIndex(of: " ").map { String(key[key.index(after: $0)...]) } }

  /// Read from the head on: it is another file, or was emptied.
  func restart() {
    mark = TailMark(inode: inode)
    isSkipping = false
  }
}
