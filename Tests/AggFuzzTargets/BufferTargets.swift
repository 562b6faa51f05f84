import AggCore
import AggEngine
import AggTesting
import CAgg
import Foundation

/// What stands in a buffer's directory at start: agg's own files and Fluentd's.
enum BufferTargets {
  static let all = [chunk, commitLog, fluentdChunk, fluentdMeta]

  static let log = Log(level: .fatal, writer: SilentLog())
  private static let id = "0123456789abcdef0123456789abcdef"

  /// A directory in memory where there is one.
  static func inDirectory(_ body: (String) throws -> Void) throws {
    let root = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    let path = "\(root)/agg-fuzz-\(getpid())-\(UInt64.random(in: 0...(.max)))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
  }
  static func write(_ bytes: [UInt8], _ path: String) throws {
    guard FileManager.default.createFile(atPath: path, contents: Data(bytes)) else { throw Failure("cannot write \(path)") }
  }
  private static func crc(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    let sum = bytes.withUnsafeBytes { raw in raw.baseAddress.map { agg_crc32c(0, $0, raw.count) } ?? 0 }
    return withUnsafeBytes(of: sum.bigEndian) { Array($0) }
  }
  private static func integer(_ bytes: [UInt8], _ at: Int) -> Int { bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) } }

  private static func chunks(_ compress: BufferConfig.Compress, isSealed: Bool = false) -> [UInt8] {
    var result: [UInt8] = []
    try? inDirectory { path in
      var options = FileChunkStore.Options(directory: path, prefix: "buffer.")
      options.compress = compress
      let store = FileChunkStore(options, log: log)
      _ = try store.open(committed: { _ in true })
      let id = ChunkID.random()
      var metadata = ChunkMetadata(tag: Tag("a.b"))
      metadata.timekey = 1_700_000_000
      metadata.variables = [.init(name: "k", value: "v"), .init(name: "none", value: nil)]
      let count = compress == .text ? 2 : 600
      for n in 1...4 {
        let records = (0..<count).map { "{\"batch\":\(n),\"n\":\($0),\"text\":\"some words that repeat\"}" }
        try store.append(try .json(records), to: id, metadata, id: BatchID(epoch: 1, sequence: UInt64(n)))
      }
      try store.void(BatchID(epoch: 1, sequence: 2), in: id)
      if isSealed { try store.seal(id, records: 3 * count) }
      store.close()
      let file = try FileManager.default.contentsOfDirectory(atPath: path).first { $0.hasSuffix(".agg") } ?? ""
      result = Array(try Data(contentsOf: URL(filePath: "\(path)/\(file)")))
    }
    return result
  }

  /// Whatever the file holds, the start goes on, and what is recovered can be read.
  static let chunk = FuzzTarget(
    "chunk-file", short: 3000, bytes: [chunks(.text), chunks(.gzip), chunks(.zstd), chunks(.text, isSealed: true)]
  ) { bytes in
    var bytes = bytes
    // Every other header is one that a checksum vouches for, and the id is the name's.
    if bytes.count >= 48, bytes.count & 1 == 0 {
      for k in 0..<16 {
        bytes[16 + k] = UInt8(id.utf8.dropFirst(2 * k).prefix(2).reduce(0) { $0 * 16 + Int($1 > 0x39 ? $1 - 0x57 : $1 - 0x30) })
      }
      let end = 48 + integer(bytes, 40)
      if end <= bytes.count { bytes.replaceSubrange(44..<48, with: crc(bytes[..<44] + bytes[48..<end])) }
    }
    for state in ["b", "q"] {
      try inDirectory { path in
        try write(bytes, "\(path)/buffer.\(state)\(id).agg")
        let store = FileChunkStore(FileChunkStore.Options(directory: path, prefix: "buffer."), log: log)
        defer { store.close() }
        for found in try store.open(committed: { $0.sequence != 3 }).chunks {
          guard let stored = try? store.read(found.id) else { continue }
          var count = 0
          var revived = 0
          for batch in stored.batches {
            batch.forEachEvent { _, record in
              count += Value(record).map == nil ? 0 : 1
              if record.find("batch")?.int64 == 3 { revived += 1 }
            }
          }
          try Failure.unless(state == "q" || revived == 0, "\(revived) events that were not committed")
          // A frame whose bytes are cut out of the middle may cover what follows it, so figures can differ; events are sound all the same.
          try Failure.unless(count == stored.batches.reduce(0) { $0 + $1.count }, "\(count) events")
          store.remove(found.id)
        }
      }
    }
  }

  private static func record(_ body: [UInt8]) -> [UInt8] {
    withUnsafeBytes(of: UInt32(body.count).bigEndian) { Array($0) } + crc(body[...]) + body
  }
  private static var committed: [UInt8] {
    func text(_ text: String) -> [UInt8] { [0, 0, 0, UInt8(text.utf8.count)] + text.utf8 }
    let head: [UInt8] = [0x41, 0x47, 0x47, 0x4c, 0, 0, 0, 1]
    let batch: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5]
    let span = text("in") + text("key") + text("state")
    return head + record(batch + [0, 1] + span) + record([0, 0, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255])
      + record(batch + [0, 2] + span + span)
  }
  static let commitLog = FuzzTarget("commit-log", short: 3000, bytes: [committed, []]) { bytes in
    var bytes = bytes
    if bytes.count & 1 == 0 {
      // Every other file has records that a checksum vouches for.
      var at = 8
      while at + 8 <= bytes.count {
        let end = at + 8 + integer(bytes, at)
        guard end <= bytes.count else { break }
        bytes.replaceSubrange(at + 4..<at + 8, with: crc(bytes[at + 8..<end]))
        at = end
      }
    }
    try inDirectory { path in
      try write(bytes, "\(path)/commit.log")
      let pool = BlockingPool()
      for _ in 0..<2 {
        let commits = CommitLog(path: "\(path)/commit.log", durability: .os, pool: pool, log: log)
        try commits.open()
        for sequence in [0, 5, UInt64.max] { _ = commits.isCommitted(BatchID(epoch: 1, sequence: sequence)) }
        for key in commits.keys("in") { _ = commits.state("in", key) }
        commits.abort(commits.begin())
      }
    }
  }

  private static func fluentd(_ content: [UInt8], _ meta: [UInt8]?, isText: Bool) throws {
    try inDirectory { path in
      let id = "5a0f3b2c1d4e5f60718293a4b5c6d7e8"
      try write(content, "\(path)/buffer.q\(id).log")
      if let meta {
        try write(meta, "\(path)/buffer.q\(id).log.meta")
      } else {
        try write(content, "\(path)/fsb.a%2eb.q\(id).buf")
      }
      var keys = ChunkKeys()
      keys.tag = true
      keys.fields = ["k"]
      for isSingle in meta == nil ? [false, true] : [false] {
        let buffer = FluentdBuffer(
          .init(path: path, suffix: ".log", isSingle: isSingle, workerID: nil, keys: keys, takesFormatted: true, isText: isText),
          log: log)
        for chunk in buffer.open().chunks {
          guard let view = try? buffer.view(chunk.id, timekeySeconds: 3600) else { continue }
          for batch in view.batches { batch.forEachEvent { _, record in _ = Value(record) } }
          _ = buffer.remove(chunk.id)
        }
      }
    }
  }
  private static let event = CodecTargets.bytes([.ext(type: 0, [0x65, 0, 0, 0, 0, 0, 0, 1]), ["a": 1, "k": "v"]])
  static let fluentdChunk = FuzzTarget(
    "fluentd-chunk", short: 1500,
    bytes: [
      event + event, CodecTargets.gzipped(event) + CodecTargets.gzipped(event), CodecTargets.zstandard(event),
      Array("a line\nanother\n".utf8), CodecTargets.bytes([1, ["x": "y"]]),
    ]
  ) { bytes in try fluentd(bytes, nil, isText: bytes.count & 1 == 1) }

  private static var meta: [UInt8] {
    let map = CodecTargets.bytes([
      "id": .string([UInt8](0..<16)), "s": 2, "c": 1_700_000_000, "m": .double(1_700_000_001.5), "tag": "a.b",
      "timekey": 1_699_999_200, "variables": ["k": "v", "x": nil],
    ])
    return [0xc1, 0x00] + withUnsafeBytes(of: UInt32(map.count).bigEndian) { Array($0) } + map
  }
  static let fluentdMeta = FuzzTarget("fluentd-meta", short: 1500, bytes: [meta, Array(meta.dropFirst(6))]) { bytes in
    try fluentd(event, bytes, isText: false)
  }
}
