import AggCore
import AggEngine
import AggTesting
import Foundation
import Testing

@Suite struct FileChunkStoreTests {
  private let directory = FileManager.default.temporaryDirectory.appending(path: "agg-store-\(UUID().uuidString)").path
  private let log = Log(level: .fatal, writer: SilentLog())
  private func store(_ compress: BufferConfig.Compress = .text) -> FileChunkStore {
    var options = FileChunkStore.Options(directory: directory, prefix: "buffer.")
    options.compress = compress
    return FileChunkStore(options, log: log)
  }

  @Test(arguments: [BufferConfig.Compress.text, .gzip, .zstd])
  func `what was appended and committed is read back after a restart`(compress: BufferConfig.Compress) throws {
    let id = ChunkID.random()
    let records = (0..<2000).map { "{\"n\":\($0),\"text\":\"some words that repeat\"}" }
    let first = store(compress)
    #expect(try first.open(committed: { _ in true }).chunks.isEmpty)
    try first.append(try .json(records), to: id, ChunkMetadata(tag: Tag("a.b")), id: BatchID(epoch: 1, sequence: 1))
    try first.append(try .json(["{\"last\":true}"]), to: id, ChunkMetadata(tag: Tag("a.b")), id: BatchID(epoch: 1, sequence: 2))
    first.close()
    let second = store(compress)
    let found = try second.open(committed: { _ in true })
    #expect(found.chunks.map(\.records) == [2001])
    #expect(try second.read(id).metadata == ChunkMetadata(tag: Tag("a.b")))
    #expect(try second.read(id).batches.flatMap(\.jsonRecords) == records + ["{\"last\":true}"])
    second.close()
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test func `frames of a batch that was not committed do not come back`() throws {
    let id = ChunkID.random()
    let first = store()
    _ = try first.open(committed: { _ in true })
    try first.append(try .json(["{\"n\":1}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: 1))
    try first.append(try .json(["{\"n\":2}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: 2))
    try first.append(try .json(["{\"n\":3}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: 3))
    try first.void(BatchID(epoch: 1, sequence: 3), in: id)
    first.close()
    let second = store()
    #expect(try second.open(committed: { $0.sequence != 2 }).chunks.map(\.records) == [1])
    second.close()
    // Voided for good: a later start that takes every batch for committed still leaves it out.
    let third = store()
    _ = try third.open(committed: { _ in true })
    #expect(try third.read(id).batches.flatMap(\.jsonRecords) == ["{\"n\":1}"])
    third.close()
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test func `a damaged frame loses itself and no neighbour`() throws {
    let id = ChunkID.random()
    let first = store()
    _ = try first.open(committed: { _ in true })
    for n in 1...3 { try first.append(try .json(["{\"n\":\(n)}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: UInt64(n))) }
    first.close()
    let path = "\(directory)/buffer.b\(id).agg"
    var bytes = try Data(contentsOf: URL(filePath: path))
    let middle = bytes.count - (bytes.count - 51) / 2
    bytes[middle] ^= 0xff
    try bytes.write(to: URL(filePath: path))
    let second = store()
    _ = try second.open(committed: { _ in true })
    let left = try second.read(id).batches.flatMap(\.jsonRecords)
    #expect(left == ["{\"n\":1}", "{\"n\":3}"])
    second.close()
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test func `any bytes open`() throws {
    var random = SystemRandomNumberGenerator()
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    for _ in 0..<50 {
      let bytes = Data((0..<Int.random(in: 0..<300, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
      try bytes.write(to: URL(filePath: "\(directory)/buffer.b\(ChunkID.random()).agg"))
    }
    let store = store()
    #expect(try store.open(committed: { _ in true }).chunks.isEmpty)
    store.close()
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test func `file_single: the key is in the name, and found again`() throws {
    func single() -> FileChunkStore {
      var options = FileChunkStore.Options(directory: directory, prefix: "fsb.")
      options.namesKeys = true
      return FileChunkStore(options, log: log)
    }
    let tags = ["app.web", "a/../b c", "žluť", String(repeating: "x", count: 500), ""]
    let first = single()
    _ = try first.open(committed: { _ in true })
    let ids = tags.map { _ in ChunkID.random() }
    for (n, tag) in tags.enumerated() {
      try first.append(try .json(["{\"n\":\(n)}"]), to: ids[n], ChunkMetadata(tag: Tag(tag)), id: BatchID(epoch: 1, sequence: UInt64(n + 1)))
      if n % 2 == 0 { try first.seal(ids[n], records: 1) }
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: directory)
    #expect(names.contains("fsb.app.web.q\(ids[0]).agg"))
    #expect(names.contains("fsb.a%2F..%2Fb%20c.b\(ids[1]).agg"))
    #expect(names.contains("fsb..q\(ids[4]).agg"))
    first.close()
    let second = single()
    let found = try second.open(committed: { _ in true })
    #expect(Set(try found.chunks.compactMap { try second.read($0.id).metadata?.tag?.description }) == Set(tags))
    for (n, id) in ids.enumerated() {
      #expect(try second.read(id).batches.flatMap(\.jsonRecords) == ["{\"n\":\(n)}"])
      second.remove(id)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory).filter { $0.hasSuffix(".agg") } == [])
    second.close()
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test func `a second owner is refused`() throws {
    let first = store()
    _ = try first.open(committed: { _ in true })
    #expect(throws: StoreError.self) { _ = try self.store().open(committed: { _ in true }) }
    first.close()
    try? FileManager.default.removeItem(atPath: directory)
  }
}

@Suite struct CommitLogTests {
  private let path = FileManager.default.temporaryDirectory.appending(path: "agg-log-\(UUID().uuidString)/commit.agg").path
  private func open() throws -> CommitLog {
    let log = CommitLog(path: path, durability: .os, pool: BlockingPool(), log: Log(level: .fatal, writer: SilentLog()))
    try log.open()
    return log
  }

  @Test func `committed batches and positions are known to the next start, others are not`() async throws {
    let first = try open()
    let a = first.begin()
    let b = first.begin()
    let c = first.begin()
    try await first.commit(c, [("tail", SourceSpan(key: "/a.log", state: [1, 2]))])
    try await first.commit(a, [("tail", SourceSpan(key: "/a.log", state: [3, 4]))])
    first.close()
    let second = try open()
    #expect(second.isCommitted(a))
    #expect(!second.isCommitted(b))
    #expect(second.isCommitted(c))
    #expect(second.state("tail", "/a.log") == [3, 4])
    #expect(second.epoch > first.epoch)
    second.close()
  }

  @Test func `a commit that could not be written is not stored by the next compaction`() async throws {
    let first = try open()
    let (a, b) = (first.begin(), first.begin())
    try await first.commit(a, [("tail", SourceSpan(key: "/a.log", state: [1]))])
    first.close()
    await #expect(throws: StoreError.self) { try await first.commit(b, [("tail", SourceSpan(key: "/b.log", state: [2]))]) }
    #expect(first.state("tail", "/b.log") == nil)
    // Opening writes the log anew, with all that it holds in memory.
    try first.open()
    first.close()
    let second = try open()
    #expect(second.state("tail", "/a.log") == [1])
    #expect(second.state("tail", "/b.log") == nil)
    #expect(!second.isCommitted(b))
    second.close()
  }

  @Test func `a record that is cut short is left out`() async throws {
    let first = try open()
    let a = first.begin()
    let b = first.begin()
    try await first.commit(a, [])
    try await first.commit(b, [("x", SourceSpan(key: "k", state: [9]))])
    first.close()
    let bytes = try Data(contentsOf: URL(filePath: path))
    try bytes.dropLast(3).write(to: URL(filePath: path))
    let second = try open()
    #expect(second.isCommitted(a))
    #expect(!second.isCommitted(b))
    #expect(second.state("x", "k") == nil)
    second.close()
  }
}
