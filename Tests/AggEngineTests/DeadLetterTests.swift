import AggCore
import AggTesting
import Foundation
import Testing

import AggEngine

@Suite struct DeadLetterTests {
  private let directory = FileManager.default.temporaryDirectory.appending(path: "agg-letters-\(UUID().uuidString)").path
  private let pool = BlockingPool()
  private func store(limit: Int = 1 << 30, segment: Int = 8 << 20) -> DeadLetterStore {
    var options = DeadLetterStore.Options(directory: directory)
    options.limit = limit
    options.segmentBytes = segment
    return DeadLetterStore(options, pool: pool, log: Log(level: .fatal, writer: SilentLog()))
  }
  private func view(_ count: Int, tags: [String] = ["a.b"]) throws -> ChunkView {
    ChunkView(
      id: .random(), metadata: ChunkMetadata(),
      batches: try tags.map { tag in try .json((0..<count).map { "{\"tag\":\"\(tag)\",\"n\":\($0)}" }, tag: tag) })
  }
  private func letters() -> [(letter: DeadLetter, text: String)] {
    var all: [(DeadLetter, String)] = []
    DeadLetterDirectory(path: directory, chunkDirectory: nil).forEach(problem: { Issue.record("\($0)") }) { letter, event, _ in
      all.append((letter, event?.jsonRecords.first ?? ""))
    }
    return all
  }
  private func segments() -> [String] { DeadLetterStore.segments(in: directory).map(\.path) }
  private func remove() { try? FileManager.default.removeItem(atPath: directory) }

  @Test func `refused records are found again with all that is known of them`() async throws {
    let store = store()
    #expect(try store.open().isEmpty)
    #expect(!FileManager.default.fileExists(atPath: directory), "nothing is made before there is a letter")
    let view = try view(3, tags: ["a.b", "c"])
    let refused = [
      Rejection(index: 4, reason: "too old", status: 422), Rejection(index: 1, reason: "http_400: no"),
      Rejection(index: 1, reason: "again"),
      Rejection(index: 6, reason: "no such event"), Rejection(index: -1, reason: "nor this"),
    ]
    let group = DeadLetterGroup(view, refused, reason: "refused", status: nil, message: "what it said", attempts: 3)
    #expect(group.count == 2)
    try await store.add(group) {}
    let all = letters()
    #expect(all.map(\.text) == ["{\"tag\":\"a.b\",\"n\":1}", "{\"tag\":\"c\",\"n\":1}"])
    #expect(all.map(\.letter.index) == [1, 4])
    #expect(all.map(\.letter.tag) == ["a.b", "c"])
    #expect(all.map(\.letter.status) == [400, 422])
    #expect(all.map(\.letter.reason) == ["http_400: no", "too old"])
    #expect(all.allSatisfy { $0.letter.chunk == view.id && $0.letter.attempts == 3 && $0.letter.message == "what it said" })
    #expect(all.allSatisfy { abs($0.letter.givenUp / 1_000_000_000 - EventTime.now().seconds) < 3600 })
    store.close()
    let second = self.store()
    #expect(try second.open() == [view.id: 2])
    #expect(second.bytes == segments().reduce(0) { $0 + (File.status($1)?.size ?? 0) })
    second.close()
    remove()
  }

  @Test func `a group that a kill cut off does not count, at whatever byte`() async throws {
    let store = store()
    _ = try store.open()
    let first = try view(2)
    try await store.add(DeadLetterGroup(first, nil, reason: "one", status: nil, message: "", attempts: 1)) {}
    let size = try #require(File.status(segments()[0])?.size)
    let second = try view(5)
    try await store.add(DeadLetterGroup(second, nil, reason: "two", status: nil, message: "", attempts: 1)) {}
    store.close()
    let whole = try Data(contentsOf: URL(filePath: segments()[0]))
    for length in size..<whole.count {
      try whole.prefix(length).write(to: URL(filePath: segments()[0]))
      let next = self.store()
      #expect(try next.open() == [first.id: 2])
      next.close()
      #expect(File.status(segments()[0])?.size == size)
    }
    // What comes after such a cut is whole.
    let third = self.store()
    _ = try third.open()
    try await third.add(DeadLetterGroup(second, nil, reason: "two", status: nil, message: "", attempts: 1)) {}
    #expect(letters().count == 7)
    // The same chunk again is nothing.
    try await third.add(DeadLetterGroup(second, nil, reason: "two", status: nil, message: "", attempts: 1)) {}
    #expect(letters().count == 7)
    third.close()
    remove()
  }

  @Test func `any bytes open, and a damaged letter loses itself and no neighbour`() async throws {
    let store = store()
    _ = try store.open()
    let view = try view(20)
    try await store.add(DeadLetterGroup(view, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    store.close()
    let path = segments()[0]
    let whole = try Data(contentsOf: URL(filePath: path))
    var random = SeededRandom(seed: 7)
    for _ in 0..<300 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        bytes[Int.random(in: 28..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      try bytes.write(to: URL(filePath: path))
      let segment = try DeadLetterSegment(path: path)
      for group in segment.groups { for (letter, _) in group.letters { #expect(segment.event(letter)?.count == 1) } }
    }
    var bytes = whole
    bytes[bytes.count / 2] ^= 0xff
    try bytes.write(to: URL(filePath: path))
    let damaged = try DeadLetterSegment(path: path)
    #expect(damaged.letterCount == 19)
    #expect(damaged.damaged.count == 1)
    for _ in 0..<100 {
      let noise = Data((0..<Int.random(in: 0..<400, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
      try noise.write(to: URL(filePath: path))
      _ = try DeadLetterSegment(path: path)
      let next = self.store()
      _ = try next.open()
      next.close()
    }
    remove()
  }

  /// A disk writes pages in any order: the end may be there, and what is before it not.
  @Test(arguments: [true, false]) func `a group with a hole finishes no chunk that is still there`(isThere: Bool) async throws {
    let chunks = directory + "/chunks"
    var options = DeadLetterStore.Options(directory: directory + "/letters")
    options.durability = .fsync
    options.chunkDirectory = chunks
    try FileManager.default.createDirectory(atPath: chunks, withIntermediateDirectories: true)
    func open() throws -> (DeadLetterStore, [ChunkID: Int]) {
      let store = DeadLetterStore(options, pool: pool, log: Log(level: .fatal, writer: SilentLog()))
      return (store, try store.open())
    }
    let (store, _) = try open()
    let (first, second) = (try view(3), try view(200))
    try await store.add(DeadLetterGroup(first, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    let path = DeadLetterStore.segments(in: options.directory)[0].path
    let size = try #require(File.status(path)?.size)
    try await store.add(DeadLetterGroup(second, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    store.close()
    if isThere { try Data().write(to: URL(filePath: "\(chunks)/buffer.q\(second.id).agg")) }
    var bytes = try Data(contentsOf: URL(filePath: path))
    let hole = (size + 4095) / 4096 * 4096
    bytes.replaceSubrange(hole..<hole + 4096, with: Data(count: 4096))
    try bytes.write(to: URL(filePath: path))
    let (next, finished) = try open()
    #expect(finished == (isThere ? [first.id: 3] : [first.id: 3, second.id: 200]))
    #expect((File.status(path)?.size == size) == isThere)
    try await next.add(DeadLetterGroup(second, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    next.close()
    let count = try DeadLetterSegment(path: path).letterCount
    #expect(isThere ? count == 203 : count > 100 && count < 203)
    remove()
  }

  @Test func `a segment of another version is left alone`() async throws {
    let store = store()
    _ = try store.open()
    let view = try view(1)
    try await store.add(DeadLetterGroup(view, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    store.close()
    let path = segments()[0]
    var bytes = try Data(contentsOf: URL(filePath: path))
    bytes[5] = 9
    try bytes.write(to: URL(filePath: path))
    let next = self.store()
    #expect(try next.open().isEmpty)
    try await next.add(DeadLetterGroup(view, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    #expect(segments().count == 2)
    for closed in try await next.closedSegments() { _ = try await next.rewrite(closed) { _, _ in true } }
    #expect(segments() == [path])
    #expect(try Data(contentsOf: URL(filePath: path)) == bytes)
    next.close()
    remove()
  }

  @Test func `a group of many megabytes is one`() async throws {
    let store = store()
    _ = try store.open()
    let pad = String(repeating: "x", count: 1000)
    let view = ChunkView(
      id: .random(), metadata: ChunkMetadata(), batches: [try .json((0..<5000).map { "{\"n\":\($0),\"pad\":\"\(pad)\"}" }, tag: "t")])
    try await store.add(DeadLetterGroup(view, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    #expect(letters().map(\.letter.index) == Array(0..<5000))
    store.close()
    remove()
  }

  @Test func `a full store keeps nothing of the group, and takes it when there is room`() async throws {
    let store = store(limit: 4000)
    _ = try store.open()
    let first = try view(20)
    try await store.add(DeadLetterGroup(first, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    let before = store.bytes
    let second = try view(60)
    await #expect(throws: DeadLetterStore.Full.self) {
      try await store.add(DeadLetterGroup(second, nil, reason: "r", status: nil, message: "", attempts: 1)) {
        Issue.record("removed")
      }
    }
    #expect(store.bytes == before)
    #expect(letters().count == 20)
    for path in try await store.closedSegments() { #expect(try await store.rewrite(path) { _, _ in true } == 20) }
    #expect(store.bytes == 0)
    try await store.add(DeadLetterGroup(first, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    #expect(letters().count == 20)
    store.close()
    remove()
  }

  @Test func `letters are chosen by key, reason, status, tag and age, and the rest stays`() async throws {
    let store = store(segment: 600)
    _ = try store.open()
    let views = try (0..<6).map { _ in try view(4, tags: ["app.web", "db"]) }
    for view in views {
      let refused = (0..<8).map { Rejection(index: $0, reason: $0 % 2 == 0 ? "http_400" : "http_404: gone") }
      try await store.add(DeadLetterGroup(view, refused, reason: "refused", status: nil, message: "", attempts: 1)) {}
    }
    #expect(segments().count > 2)
    var request = DeadLetterRequest(.drop, before: Int64.max)
    func chosen() -> Int { letters().filter { request.selects($0.letter) }.count }
    request.reason = "http_404"
    #expect(chosen() == 24)
    request.reason = nil
    request.status = 400
    request.tag = try TagPattern("app.*")
    #expect(chosen() == 12)
    request.keys = [.init(chunk: views[1].id, index: 0), .init(chunk: views[2].id, index: nil)]
    #expect(chosen() == 3)
    #expect(DeadLetterRequest(text: request.text) == request)
    let fixed = request
    var gone = 0
    for path in try await store.closedSegments() { gone += try await store.rewrite(path) { fixed.selects($1) } }
    #expect(gone == 3)
    #expect(letters().count == 45)
    #expect(chosen() == 0)
    request.before = 0
    request.keys = []
    #expect(chosen() == 0)
    store.close()
    remove()
  }

  @Test(arguments: [
    "", "{}", "{\"version\":2,\"action\":\"drop\",\"before\":1}", "{\"version\":1,\"action\":\"burn\",\"before\":1}",
    "{\"version\":1,\"action\":\"drop\",\"before\":1,\"keys\":[]}",
    "{\"version\":1,\"action\":\"drop\",\"before\":1,\"keys\":[\"x\"]}",
    "{\"version\":1,\"action\":\"drop\",\"before\":1,\"status\":\"400\"}", "{\"version\":1,\"action\":\"drop\"}",
  ])
  func `a request that is not understood whole is none`(text: String) { #expect(DeadLetterRequest(text: text) == nil) }

  @Test func `an end stays as long as its chunk is there`() async throws {
    var options = DeadLetterStore.Options(directory: directory + "/dead_letters")
    options.chunkDirectory = directory
    let store = DeadLetterStore(options, pool: pool, log: Log(level: .fatal, writer: SilentLog()))
    _ = try store.open()
    let view = try view(3)
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let chunk = "\(directory)/buffer.q\(view.id).agg"
    try Data().write(to: URL(filePath: chunk))
    try await store.add(DeadLetterGroup(view, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    for path in try await store.closedSegments() { #expect(try await store.rewrite(path) { _, _ in true } == 3) }
    store.close()
    let next = DeadLetterStore(options, pool: pool, log: Log(level: .fatal, writer: SilentLog()))
    #expect(try next.open() == [view.id: 3])
    try FileManager.default.removeItem(atPath: chunk)
    for path in try await next.closedSegments() { _ = try await next.rewrite(path) { _, _ in true } }
    #expect(DeadLetterStore.segments(in: options.directory).isEmpty)
    next.close()
    remove()
  }

  @Test func `formatted chunks are one letter with their count`() async throws {
    let store = store()
    _ = try store.open()
    var view = ChunkView(id: .random(), metadata: ChunkMetadata(tag: Tag("t")), batches: [])
    view.formatted = FormattedChunk(Array("one\ntwo\n".utf8).withUnsafeBytes { Block(copying: $0) }, count: 2)
    try await store.add(DeadLetterGroup(view, nil, reason: "r", status: nil, message: "", attempts: 1)) {}
    let all = letters()
    #expect(all.map(\.letter.count) == [2])
    #expect(all.first?.letter.isFormatted == true)
    store.close()
    let next = self.store()
    #expect(try next.open() == [view.id: 2])
    next.close()
    remove()
  }
}
