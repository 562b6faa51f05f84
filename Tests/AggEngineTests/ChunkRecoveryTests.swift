import AggCore
import AggEngine
import AggTesting
import Foundation
import Testing

/// What a start finds in a buffer's directory, and how much of it it reads.
@Suite struct ChunkRecoveryTests {
  private let directory = FileManager.default.temporaryDirectory.appending(path: "agg-recovery-\(UUID().uuidString)").path
  private func store(_ log: Log = Log(level: .fatal, writer: SilentLog()), files: Int? = nil) -> FileChunkStore {
    var options = FileChunkStore.Options(directory: directory, prefix: "buffer.")
    if let files { options.files = ChunkFiles(limit: files) }
    return FileChunkStore(options, log: log)
  }
  private func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: directory).filter { !$0.hasPrefix(".") }.sorted() }
  private func remove() { try? FileManager.default.removeItem(atPath: directory) }
  private func large(_ n: Int) throws -> EventBatch { try .json((0..<n).map { "{\"n\":\($0),\"pad\":\"\(String(repeating: "x", count: 1000))\"}" }) }

  @Test func `a start reads the first and the last bytes of sealed chunks, whatever their size`() throws {
    let first = store()
    _ = try first.open(committed: { _ in true })
    let batch = try large(500)
    for n in 1...40 {
      let id = ChunkID.random()
      try first.append(batch, to: id, ChunkMetadata(tag: Tag("t\(n)")), id: BatchID(epoch: 1, sequence: UInt64(n)))
      try first.seal(id, records: 500)
    }
    first.close()
    let second = store()
    let found = try second.open(committed: { _ in false })
    #expect(found.chunks.count == 40)
    #expect(found.records == 40 * 500)
    #expect(found.scanned == 0)
    #expect(found.bytesRead == 40 * (4096 + 40))
    // What is kept of a chunk that waits: the rest of 200 bytes is for its entry in the queue.
    #expect(MemoryLayout<FileChunkStore.Recovered>.stride <= 48)
    // In the order they were made.
    #expect(try found.chunks.map { try second.read($0.id).metadata?.tag?.description } == (1...40).map { "t\($0)" })
    second.close()
    remove()
  }

  @Test func `a chunk that an earlier agg sealed has no seal: its frames are counted by their headers`() throws {
    let id = ChunkID.random()
    let first = store()
    _ = try first.open(committed: { _ in true })
    for n in 1...3 { try first.append(try large(300), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: UInt64(n))) }
    try first.seal(id, records: 900)
    first.close()
    let path = "\(directory)/buffer.q\(id).agg"
    let whole = try Data(contentsOf: URL(filePath: path))
    // Two frames' headers and no more than a page behind each.
    try whole.dropLast(40).write(to: URL(filePath: path))
    let second = store()
    let found = try second.open(committed: { _ in false })
    #expect(found.chunks.map(\.records) == [900])
    #expect(found.scanned == 1)
    #expect(found.bytesRead < 5 * 4096)
    second.close()
    remove()
  }

  @Test func `damage in a sealed chunk is found when it is read, kept with its byte range, and loses nothing else`() throws {
    let id = ChunkID.random()
    let first = store()
    _ = try first.open(committed: { _ in true })
    var ends: [Int] = []
    let path = "\(directory)/buffer.q\(id).agg"
    for n in 1...3 {
      try first.append(try .json(["{\"n\":\(n)}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: UInt64(n)))
      ends.append(try FileManager.default.attributesOfItem(atPath: "\(directory)/buffer.b\(id).agg")[.size] as? Int ?? 0)
    }
    try first.seal(id, records: 3)
    first.close()
    var bytes = try Data(contentsOf: URL(filePath: path))
    bytes[ends[0] + 20] ^= 0xff
    try bytes.write(to: URL(filePath: path))
    let second = store()
    #expect(try second.open(committed: { _ in true }).chunks.map(\.records) == [3])
    for _ in 0..<2 { #expect(try second.read(id).batches.flatMap(\.jsonRecords) == ["{\"n\":1}", "{\"n\":3}"]) }
    let aside = "\(path).\(ends[0])-\(ends[1]).broken"
    #expect(try Data(contentsOf: URL(filePath: aside)) == bytes[ends[0]..<ends[1]])
    #expect(try names().count == 2)
    second.remove(id)
    // A start takes it for no chunk.
    second.close()
    #expect(try store().open(committed: { _ in true }).chunks.isEmpty)
    remove()
  }

  @Test func `an append that a kill cut off is no damage`() throws {
    for cut in [1, 10, 45, 60] {
      let id = ChunkID.random()
      let first = store()
      _ = try first.open(committed: { _ in true })
      for n in 1...2 { try first.append(try .json(["{\"n\":\(n),\"text\":\"some more bytes\"}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: UInt64(n))) }
      first.close()
      let path = "\(directory)/buffer.b\(id).agg"
      try Data(contentsOf: URL(filePath: path)).dropLast(cut).write(to: URL(filePath: path))
      let second = store()
      let found = try second.open(committed: { $0.sequence == 1 })
      #expect(found.chunks.map(\.records) == [1])
      #expect(found.lost == 0)
      #expect(try second.read(id).batches.flatMap(\.jsonRecords).count == 1)
      #expect(try names() == ["buffer.q\(id).agg"])
      second.close()
      remove()
    }
  }

  @Test func `a batch that was committed and is cut off is counted as lost`() throws {
    let id = ChunkID.random()
    let first = store()
    _ = try first.open(committed: { _ in true })
    for n in 1...2 { try first.append(try .json(["{\"n\":\(n)}", "{\"n\":\(n)}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: UInt64(n))) }
    first.close()
    let path = "\(directory)/buffer.b\(id).agg"
    try Data(contentsOf: URL(filePath: path)).dropLast(3).write(to: URL(filePath: path))
    let second = store()
    let found = try second.open(committed: { _ in true })
    #expect(found.records == 2)
    #expect(found.lost == 2)
    second.close()
    remove()
  }

  @Test func `a refused batch is voided where it stands, without another byte`() throws {
    let id = ChunkID.random()
    let first = store()
    _ = try first.open(committed: { _ in true })
    for n in 1...3 { try first.append(try .json(["{\"n\":\(n)}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: UInt64(n))) }
    let size = try Data(contentsOf: URL(filePath: "\(directory)/buffer.b\(id).agg")).count
    try first.void(BatchID(epoch: 1, sequence: 2), in: id)
    #expect(try Data(contentsOf: URL(filePath: "\(directory)/buffer.b\(id).agg")).count == size)
    #expect(try first.read(id).batches.flatMap(\.jsonRecords) == ["{\"n\":1}", "{\"n\":3}"])
    first.close()
    let second = store()
    #expect(try second.open(committed: { _ in true }).records == 2)
    second.close()
    remove()
  }

  @Test func `a chunk of a later version stays where it is`() throws {
    let id = ChunkID.random()
    let first = store()
    _ = try first.open(committed: { _ in true })
    try first.append(try .json(["{\"n\":1}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: 1))
    first.close()
    let path = "\(directory)/buffer.b\(id).agg"
    var bytes = try Data(contentsOf: URL(filePath: path))
    bytes[5] = 2
    try bytes.write(to: URL(filePath: path))
    #expect(try store().open(committed: { _ in true }).chunks.isEmpty)
    #expect(try Data(contentsOf: URL(filePath: path)) == bytes)
    remove()
  }

  @Test func `any bytes as a sealed or a staged chunk open, and what is read of them is bounded`() throws {
    var random = SystemRandomNumberGenerator()
    let first = store()
    _ = try first.open(committed: { _ in true })
    let id = ChunkID.random()
    for n in 1...4 { try first.append(try .json(["{\"n\":\(n)}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: UInt64(n))) }
    first.close()
    let good = try Data(contentsOf: URL(filePath: "\(directory)/buffer.b\(id).agg"))
    for round in 0..<300 {
      for name in try names() { try FileManager.default.removeItem(atPath: "\(directory)/\(name)") }
      var bytes = good
      for _ in 0..<Int.random(in: 1...6) { bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random) }
      if Bool.random() { bytes = bytes.dropLast(Int.random(in: 0..<bytes.count, using: &random)) }
      try bytes.write(to: URL(filePath: "\(directory)/buffer.\(round % 2 == 0 ? "q" : "b")\(id).agg"))
      let second = store()
      let found = try second.open(committed: { $0.sequence != 3 })
      for chunk in found.chunks { _ = try second.read(chunk.id) }
      #expect(found.records <= 4)
      second.close()
    }
    remove()
  }

  @Test func `many staged chunks keep few files open`() throws {
    let store = store(files: 8)
    _ = try store.open(committed: { _ in true })
    let ids = (0..<300).map { _ in ChunkID.random() }
    func open() throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count { fd in
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(fd)"))?.hasPrefix(directory + "/buffer.b") ?? false
      }
    }
    for n in 1...3 {
      for id in ids { try store.append(try .json(["{\"n\":\(n)}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: UInt64(n))) }
      #expect(try open() <= 8)
    }
    for id in ids {
      try store.seal(id, records: 3)
      #expect(try store.read(id).batches.flatMap(\.jsonRecords) == ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"])
    }
    #expect(try open() == 0)
    store.close()
    remove()
  }
}
