import AggCore
import AggPlugins
import AggTesting
import Foundation

/// What plugins stored before a kill, and what anybody may have made of it since.
enum StateTargets {
  static let all = [tailMark, positionFile, heldEvent, outputNotes]

  static let tailMark = FuzzTarget(
    "tail-mark", short: 5000,
    bytes: [
      [1] + [UInt8](repeating: 0, count: 30),
      [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 5, 1, 2, 3, 4, 0, 5, 1, 2, 3, 4],
    ]
  ) { bytes in
    guard let mark = TailMark(state: bytes) else { return }
    try Failure.unless(mark.state == bytes, "another state after a round")
    let file = try File("/proc/self/exe", [.read])
    _ = try mark.isOf(file)
  }

  static let positionFile = FuzzTarget(
    "pos-file", words: ["\t", "\n", "ffffffffffffffff", "0000000000000010", "7fffffffffffffff"], short: 1500,
    texts: [
      "/var/log/a\t0000000000000010\t00000000000000ff\n/var/log/b\tffffffffffffffff\t0000000000000001\n", "/a\t10\t1\n", "\t\t\n",
    ]
  ) { bytes in
    try BufferTargets.inDirectory { path in
      for byInode in [false, true] {
        try BufferTargets.write(bytes, "\(path)/pos")
        let first = try PositionFile("\(path)/pos", permission: 0o644, directoryPermission: 0o755, byInode: byInode)
        for (_, entry) in first.entries { try Failure.unless(entry.position >= 0, "a position of \(entry.position)") }
        first.set("/new", .init(position: 5, inode: 77))
        first.set("/new", .init(position: 6, inode: 77))
        let second = try PositionFile("\(path)/pos", permission: 0o644, directoryPermission: 0o755, byInode: byInode)
        try Failure.unless(second.entry("/new", inode: 77)?.position == 6, "what was set is not read again")
        second.remove("/new", inode: 77)
      }
    }
  }

  private static var held: [[UInt8]] {
    let record = CodecTargets.bytes(["log": "first", "n": 1])
    return record.withUnsafeBytes { raw -> [[UInt8]] in
      guard let base = raw.baseAddress else { return [] }
      let view = RecordView(unchecked: ValueView(unchecked: base))
      return [nil, 3].map { (ordinal: Int64?) in
        var event = HeldEvent(
          tag: Tag("a"), time: EventTime(seconds: 5), record: view, text: raw, ordinal: ordinal,
          since: MonotonicTime(nanoseconds: 1))
        event.add(raw, separator: [0x0a], ordinal: ordinal.map { $0 - 1 })
        return event.encoded(Array("key".utf8))
      }
    }
  }
  static let heldEvent = FuzzTarget("held-event", short: 5000, bytes: held) { bytes in
    guard var (key, event) = HeldEvent.decode(bytes, since: MonotonicTime(nanoseconds: 1)) else { return }
    bytes.withUnsafeBytes { event.add($0, separator: [0x0a], ordinal: .max) }
    var out = ByteWriter()
    event.writeJoined(key: Array("log".utf8), separator: [0x0a], into: &out)
    try Failure.unless(MessagePackScanner.validate(out.bytes, maxDepth: 256), "not MessagePack")
    try Failure.unless(
      HeldEvent.decode(event.encoded(key), since: MonotonicTime(nanoseconds: 1)) != nil, "what it writes is not read")
    key = []
  }

  private static let id = "0123456789abcdef0123456789abcdef"
  static let outputNotes = FuzzTarget(
    "output-notes", words: ["A ", "L ", "D ", "X ", "\n", id, " ", "-1"], short: 1500,
    texts: [
      "A \(id) 1 2 3 /a b\nL ffffffffffffffffffffffffffffffff 1 2 /c\nD \(id)\nX \(id)\n", "A \(id) 1 2 9223372036854775807 /a\n",
      "A \(id) 1 2 -9223372036854775808 /a\n",
    ]
  ) { bytes in
    let driver = PluginDriver()
    let context = driver.context(try driver.element(""))
    try BufferTargets.inDirectory { path in
      try BufferTargets.write(bytes, "\(path)/notes-3")
      try BufferTargets.write(bytes, "\(path)/notes-\(bytes.count & 1 == 0 ? "4294967295" : "9223372036854775807")")
      let notes = OutputNotes(prefix: "\(path)/", context)
      guard let id = ChunkID(id) else { throw Failure("no id") }
      if let size = notes.find(id)?.size { try Failure.unless(size >= 0, "a size of \(size)") }
      _ = notes.unfinished(1, 2, besides: ChunkID.random())
      notes.begin(id, .init(device: 1, inode: 2, size: 3, path: "/a"))
      notes.done(id)
      notes.close()
    }
  }
}
