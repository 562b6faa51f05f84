import AggCore
import AggEngine
import AggTesting
import Foundation
import Testing

/// Buffer directories that a real Fluentd left (Tests/fixtures/fluentd/make.py).
@Suite struct FluentdBufferTests {
  private let directory = FileManager.default.temporaryDirectory.appending(path: "agg-fluentd-\(UUID().uuidString)").path
  private let log = Log(level: .fatal, writer: SilentLog())
  private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "fixtures/fluentd").path

  private func buffer(
    _ fixture: String? = nil, keys: ChunkKeys = ChunkKeys(), isSingle: Bool = false, takesFormatted: Bool = true, path: String = "", suffix: String = ".log"
  ) throws -> FluentdBuffer {
    if let fixture, !FileManager.default.fileExists(atPath: directory) {
      try FileManager.default.copyItem(atPath: "\(Self.fixtures)/\(fixture)/buffer", toPath: directory)
    }
    return FluentdBuffer(
      .init(path: directory + path, suffix: suffix, isSingle: isSingle, workerID: nil, keys: keys, takesFormatted: takesFormatted), log: log)
  }
  private func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: directory).sorted() }
  private func remove() { try? FileManager.default.removeItem(atPath: directory) }
  private func numbers(_ view: ChunkView) -> [Int64] {
    var numbers: [Int64] = []
    for batch in view.batches { batch.forEachEvent { _, record in numbers.append(record.find("i")?.int64 ?? -1) } }
    return numbers
  }
  private func text(_ view: ChunkView) -> String { view.formatted.map { $0.withBytes { String(decoding: $0, as: UTF8.self) } } ?? "" }

  @Test(arguments: [("forward-tag", false), ("forward-gzip", false), ("forward-zstd", false), ("single-forward", true), ("single-gzip", true)])
  func `events come with their tag, time and record, in order`(fixture: String, isSingle: Bool) throws {
    var keys = ChunkKeys()
    keys.tag = true
    let buffer = try buffer(fixture, keys: keys, isSingle: isSingle)
    let (chunks, lost) = buffer.open()
    #expect(lost == 0)
    #expect(chunks.reduce(0) { $0 + $1.records } == 65)
    var found: [String: [Int64]] = [:]
    for chunk in chunks {
      let view = try #require(try buffer.view(chunk.id, timekeySeconds: nil))
      let tag = try #require(view.metadata.tag?.description)
      #expect(view.count == chunk.records)
      #expect(view.batches.allSatisfy { $0.tag.description == tag })
      found[tag, default: []] += numbers(view)
      for batch in view.batches {
        batch.forEachEvent { time, record in
          let i = record.find("i")?.int64 ?? -1
          #expect(time == EventTime(seconds: 1_700_000_000 + 400 * (i / 4), nanoseconds: UInt32(i * 1_000_003)))
          #expect(record.find("tag")?.string == tag)
        }
      }
    }
    #expect(found == ["app.a": Array(0..<40), "app.b": Array(0..<25)])
    for chunk in chunks { #expect(buffer.remove(chunk.id)) }
    #expect(try names() == [])
    remove()
  }

  @Test func `time slice and fields come from the metadata, in the order of the chunk keys`() throws {
    var keys = ChunkKeys()
    (keys.tag, keys.time, keys.fields) = (true, true, ["$.n.k", "user"])
    let buffer = try buffer("forward-keys", keys: keys)
    let (chunks, _) = buffer.open()
    #expect(chunks.count == 24)
    for chunk in chunks {
      let view = try #require(try buffer.view(chunk.id, timekeySeconds: 3600))
      #expect(view.metadata.variables.map(\.name) == ["$.n.k", "user"])
      #expect(view.metadata.timekey == chunk.timekey)
      for batch in view.batches {
        batch.forEachEvent { time, record in
          #expect(time.seconds - (view.metadata.timekey ?? 0) < 3600)
          #expect(record.find("user")?.string == view.metadata.variables.last?.value)
        }
      }
    }
    remove()
  }

  @Test(arguments: [("file-tag", ".log"), ("file-time", ".log"), ("http-array", ".log"), ("http-msgpack", ".log")])
  func `what an output had formatted stays bytes, counted by its writer`(fixture: String, suffix: String) throws {
    let buffer = try buffer(fixture, suffix: suffix)
    let (chunks, _) = buffer.open()
    #expect(chunks.reduce(0) { $0 + $1.records } == 65)
    for chunk in chunks {
      let view = try #require(try buffer.view(chunk.id, timekeySeconds: nil))
      #expect(view.batches.isEmpty)
      #expect(view.count == chunk.records)
      #expect(view.formatted?.withBytes { $0.count } ?? 0 > 0)
    }
    remove()
  }

  @Test func `the key of a single file is decoded`() throws {
    var keys = ChunkKeys()
    keys.fields = ["user"]
    let buffer = try buffer("single-field", keys: keys, isSingle: true)
    let (chunks, _) = buffer.open()
    #expect(Set(try chunks.compactMap { try buffer.view($0.id, timekeySeconds: nil)?.metadata.variables.first?.value }) == ["ann", "bob", "žofie", "a b%c"])
    #expect(chunks.reduce(0) { $0 + $1.records } == 65)
    remove()
  }

  @Test func `an output that needs events leaves formatted chunks where they are`() throws {
    let before = try { _ = try buffer("file-tag"); return try names() }()
    let (chunks, lost) = try buffer("file-tag", takesFormatted: false).open()
    #expect(chunks.isEmpty && lost == 0)
    #expect(try names() == before)
    remove()
  }

  @Test func `damaged formatted chunks: metadata that cannot be read moves the chunk aside, a cut member leaves the whole ones`() throws {
    var keys = ChunkKeys()
    (keys.time, keys.timekey) = (true, 3600)
    let buffer = try buffer("broken-file", keys: keys)
    let (chunks, _) = buffer.open()
    let broken = try names().filter { $0.hasSuffix(".broken") }
    #expect(broken.count == 4, "two chunks and their metadata")
    #expect(chunks.count == 2)
    let whole = try chunks.map { text(try #require(try buffer.view($0.id, timekeySeconds: nil))) }.joined()
    #expect(whole.hasSuffix("\n"))
    #expect(whole.split(separator: "\n").allSatisfy { $0.hasSuffix("}") })
    for chunk in chunks { _ = buffer.remove(chunk.id) }
    // The cut one is kept too.
    #expect(try names().filter { !$0.hasSuffix(".broken") } == [])
    #expect(try names().count == 6)
    remove()
  }

  @Test func `damaged events: those before the damage are delivered, and the file is kept`() throws {
    var keys = ChunkKeys()
    keys.tag = true
    let buffer = try buffer("broken-forward", keys: keys, takesFormatted: false)
    let (chunks, lost) = buffer.open()
    #expect(lost > 0)
    var delivered = 0
    for chunk in chunks {
      delivered += try #require(try buffer.view(chunk.id, timekeySeconds: nil)).count
      _ = buffer.remove(chunk.id)
    }
    #expect(chunks.reduce(0) { $0 + $1.records } + lost == 65)
    #expect(delivered + lost < 65 && delivered > 0)
    let left = try names()
    #expect(left.allSatisfy { $0.hasSuffix(".broken") })
    #expect(left.count == 6, "a cut chunk, one of other bytes and an empty one, with their metadata")
    remove()
  }

  @Test func `chunks that another process has open are left to it`() throws {
    let buffer = try buffer("forward-tag")
    let before = try names()
    let chunk = try #require(before.first { $0.hasSuffix(".log") })
    let holder = Process()
    holder.executableURL = URL(filePath: "/bin/sleep")
    holder.arguments = ["60"]
    holder.standardInput = try FileHandle(forReadingFrom: URL(filePath: "\(directory)/\(chunk)"))
    try holder.run()
    #expect(buffer.open().chunks.isEmpty)
    #expect(try names() == before)
    kill(holder.processIdentifier, SIGKILL)
    holder.waitUntilExit()
    #expect(buffer.open().chunks.reduce(0) { $0 + $1.records } == 65)
    remove()
  }

  @Test func `any bytes and any names open`() throws {
    var random = SystemRandomNumberGenerator()
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let id = "6611f4ead2dd58556576b09f03a2bfc9"
    for n in 0..<200 {
      var bytes = Data((0..<Int.random(in: 0..<120, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
      if n % 3 == 0 { bytes = Data([0x92, 0xce, 1, 2, 3, 4, 0x80]) + bytes }
      if n % 5 == 0 { bytes = Data([0xc1, 0x00, 0, 0, 0, UInt8(min(bytes.count, 200))]) + bytes }
      let name = ["buffer.b\(id)\(n).log", "buffer.q\(id).\(n).log.meta", "fsb.%zz%.q\(id).buf", "buffer.b.log", "fsb.b\(id).buf", "buffer.é.b\(id).log", "fsb..b\(id).buf"][n % 7]
      try bytes.write(to: URL(filePath: "\(directory)/\(name)"))
      let buffer = try buffer()
      let (chunks, _) = buffer.open()
      for chunk in chunks { _ = try? buffer.view(chunk.id, timekeySeconds: nil) }
    }
    remove()
  }

  @Test func `metadata is found under the other state's name, and removed when its chunk is gone`() throws {
    var keys = ChunkKeys()
    keys.tag = true
    _ = try buffer("forward-tag")
    let staged = try #require(try names().first { $0.contains(".b") && $0.hasSuffix(".log") })
    let queued = staged.replacingOccurrences(of: ".b", with: ".q")
    try FileManager.default.moveItem(atPath: "\(directory)/\(staged)", toPath: "\(directory)/\(queued)")
    try Data([1]).write(to: URL(filePath: "\(directory)/buffer.q\(String(repeating: "0", count: 32)).log.meta"))
    let buffer = try buffer(keys: keys)
    let (chunks, _) = buffer.open()
    #expect(try chunks.allSatisfy { try buffer.view($0.id, timekeySeconds: nil)?.metadata.tag != nil })
    #expect(chunks.reduce(0) { $0 + $1.records } == 65)
    for chunk in chunks { _ = buffer.remove(chunk.id) }
    #expect(try names() == [])
    remove()
  }
}
