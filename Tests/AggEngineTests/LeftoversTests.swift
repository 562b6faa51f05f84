import AggCore
package import AggEngine
import AggTesting
import Foundation
import Testing

@Suite struct LeftoversTests {
  @Test func `while removing fails a removal costs the same however many are left, and each file has its turn`() {
    let leftovers = Leftovers()
    var tried: [String: Int] = [:]
    var calls = 0
    for n in 0..<1000 {
      leftovers.add("\(n)")
      leftovers.retry { path in
        tried[path, default: 0] += 1
        calls += 1
        return false
      }
    }
    #expect(leftovers.count == 1000)
    #expect(calls <= 1000 * Leftovers.failures)
    // Without further files two rounds take everyone.
    for _ in 0..<1000 {
      leftovers.retry {
        tried[$0, default: 0] += 1; return false
      }
    }
    #expect(tried.count == 1000)
    // One that never goes does not keep the others.
    for _ in 0..<1000 { leftovers.retry { $0 != "500" } }
    #expect(leftovers.count == 1)
    leftovers.retryAll { _ in true }
    #expect(leftovers.count == 0)
  }

  @Test func `what could not be removed goes with later chunks, the rest when the store is closed`() throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "agg-leftovers-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let store = FileChunkStore(.init(directory: directory, prefix: "buffer."), log: Log(level: .fatal, writer: SilentLog()))
    _ = try store.open(committed: { _ in true })
    var sequence: UInt64 = 0
    func chunk() throws -> (ChunkID, String) {
      let id = ChunkID.random()
      sequence += 1
      try store.append(try .json(["{\"n\":1}"]), to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: sequence))
      try store.seal(id, records: 1)
      return (id, "\(directory)/buffer.q\(id).agg")
    }
    func files() throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: directory).filter { $0.hasSuffix(".agg") }.count
    }
    var paths: [String] = []
    for _ in 0..<100 {
      let (id, path) = try chunk()
      // A directory in its place cannot be unlinked, by root neither.
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
      store.remove(id)
      paths.append(path)
    }
    #expect(try files() == 100)
    for path in paths {
      try FileManager.default.removeItem(atPath: path)
      FileManager.default.createFile(atPath: path, contents: Data())
    }
    store.remove(try chunk().0)
    #expect(try files() == 100 - Leftovers.attempts)
    store.close()
    #expect(try files() == 0)
  }
}
