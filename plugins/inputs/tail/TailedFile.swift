import AggCore
import Glibc

/// One open file and how far it is read.
final class TailedFile {
  var path: String
  private var file: File?
  let tag: Tag
  /// Everything before its position is stored.
  var mark: TailMark
  /// The path is another file's now: this one has no line in pos_file (but by inode) and ends when it is quiet.
  var isRotated = false
  var lastGrowth = MonotonicTime.now()
  /// Size at the last read, to see silence.
  var lastSize = -1
  /// A multi-line event waits for its end.
  var isHeld = false
  /// For read_bytes_limit_per_second: what was read since then.
  var window = (since: MonotonicTime.now(), bytes: 0)
  /// Its <group>, and what it took of its share.
  var group: TailGroup?
  var share = TailShare()
  /// It has more, and must wait for it.
  var isThrottled = false
  /// It cannot be read any more.
  var hasFailed = false
  /// Skipping the rest of a line that is too long.
  var isSkipping = false

  var inode: UInt64 { mark.inode }
  var position: Int { mark.position }

  init(path: String, file: File, inode: UInt64, tag: Tag) {
    self.path = path
    self.file = file
    self.tag = tag
    mark = TailMark(inode: inode)
  }

  /// The file, opened again where it was closed; throws when another one has its name.
  func opened() throws(FileError) -> File {
    if let file { return file }
    let next = try File(path, .read)
    if try next.status().inode != inode { throw FileError(path, "open again", ESTALE) }
    file = next
    return next
  }
  func close() { file = nil }

  func isGone(_ followsInode: Bool) -> Bool {
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
