import AggCore
import CAgg
import Glibc

/// What the daemon and `agg dlq` both do with a directory of dead letters.
extension DeadLetterStore {
  package static func path(_ directory: String, _ number: UInt64) -> String {
    let digits = String(number)
    return "\(directory)/letters.\(String(repeating: "0", count: max(0, 8 - digits.utf8.count)))\(digits).agg"
  }

  /// By number.
  package static func segments(in directory: String) -> [(number: UInt64, path: String)] {
    guard let names = try? File.list(directory) else { return [] }
    return names.compactMap { name -> (number: UInt64, path: String)? in
      guard name.hasPrefix("letters."), name.hasSuffix(".agg"), let number = UInt64(name.dropFirst(8).dropLast(4)) else {
        return nil
      }
      return (number, directory + "/" + name)
    }.sorted { $0.number < $1.number }
  }

  /// Ids of the chunks in a buffer's directory, Fluentd's too.
  static func chunks(in directory: String) -> Set<ChunkID> {
    var found: Set<ChunkID> = []
    for name in (try? File.list(directory)) ?? [] where !name.hasSuffix(".broken") {
      for part in name.split(separator: ".") {
        let digits = part.utf8.count == 33 && (part.hasPrefix("b") || part.hasPrefix("q")) ? part.dropFirst() : part
        if let id = ChunkID(String(digits)) { found.insert(id) }
      }
    }
    return found
  }

  /// Writes a segment anew without some letters, or removes it when nothing is left; one that is not known is left alone.
  ///
  /// Ends of chunks that are still there stay, since they keep those from being delivered again. Owner and permission stay.
  static func rewrite(
    _ path: String, keeping present: Set<ChunkID>, sync: Bool, without selected: (DeadLetterSegment, DeadLetter) -> Bool
  ) throws -> Int {
    let segment = try DeadLetterSegment(path: path)
    guard segment.nonce != nil else { return 0 }
    var random = SystemRandomNumberGenerator()
    let nonce: UInt64 = random.next()
    var out = ByteWriter(capacity: 64 << 10)
    let now = EventTime.now()
    DeadLetterFormat.writeFile(nonce: nonce, created: now.seconds &* 1_000_000_000 &+ Int64(now.nanoseconds), into: &out)
    var (gone, changed, left) = (0, false, false)
    for group in segment.groups {
      let kept = group.letters.filter { !selected(segment, $0.letter) }
      gone += group.letters.reduce(0) { $0 + $1.letter.count } - kept.reduce(0) { $0 + $1.letter.count }
      if kept.count != group.letters.count { changed = true }
      if kept.isEmpty, !present.contains(group.chunk) {
        changed = true
        continue
      }
      left = true
      DeadLetterFormat.write(.group, body: segment.bytes(group.body), nonce: nonce, into: &out)
      for one in kept { DeadLetterFormat.write(.letter, body: segment.bytes(one.body), nonce: nonce, into: &out) }
      DeadLetterFormat.write(.end, body: segment.bytes(group.end), nonce: nonce, into: &out)
    }
    if !changed { return 0 }
    // Bytes that nobody could read are for a person to look at.
    if segment.damaged.contains(where: { $0.upperBound <= segment.wholeEnd }) { try? File.link(path, to: path + ".broken") }
    if left { try replace(path, out.bytes, sync: sync) } else { try File.remove(path) }
    if sync { try File.syncDirectory(File.directory(of: path)) }
    return gone
  }

  /// As `File.replace`, with the owner and the permission of the file before: root may work on what a user's daemon reads.
  private static func replace(_ path: String, _ bytes: UnsafeRawBufferPointer, sync: Bool) throws {
    var old = Glibc.stat()
    let isThere = fstatat(AT_FDCWD, path, &old, 0) == 0
    let temporary = path + ".tmp"
    let file = try File(temporary, [.write, .create, .truncate], permission: isThere ? Int(old.st_mode & 0o777) : 0o600)
    if isThere, old.st_uid != geteuid() || old.st_gid != getegid() { _ = fchown(file.descriptor, old.st_uid, old.st_gid) }
    try file.write(bytes)
    if sync { try file.sync() }
    try File.rename(temporary, to: path)
  }
}
