import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct ForwardProtocolTests {
  static func message(_ value: Value) -> [UInt8] {
    var out = ByteWriter()
    value.encode(into: &out)
    return out.array
  }
  static func packed(_ n: Int) -> [UInt8] {
    var builder = BatchBuilder()
    for index in 0..<n {
      builder.begin()
      (["i": .int(Int64(index)), "text": "some text"] as Value).encode(into: &builder.writer)
      builder.commit(time: EventTime(seconds: 1_700_000_000, nanoseconds: 5))
    }
    return builder.writer.array
  }

  /// One valid message of each mode.
  static var samples: [[UInt8]] {
    let entries = packed(20)
    var gzip = ByteWriter()
    var zstd = ByteWriter()
    entries.withUnsafeBytes { Gzip.compress($0, into: &gzip) }
    entries.withUnsafeBytes { Zstd.compress($0, into: &zstd) }
    let record: Value = ["a": 1, "b": ["c": ["d", nil, 1.5]]]
    return [
      message(["t.a", 1_700_000_000, record]),
      message(["t.a", .ext(type: 0, [1, 2, 3, 4, 5, 6, 7, 8]), record, ["chunk": "x"]]),
      message(["t.b", [[1_700_000_000, record], [[1_700_000_001, ["meta": 1]], record]], ["size": 2, "chunk": "y"]]),
      message(["t.c", .binary(entries), ["size": 20]]), message(["t.d", .string(entries)]),
      message(["t.e", .binary(gzip.array), ["compressed": "gzip"]]), message(["t.f", .binary(zstd.array), ["compressed": "zstd"]]),
      Array(#"["t.g",[[1700000000,{"a":1}],[1700000001,{"a":"\u00fc"}]],{"chunk":"z"}]"#.utf8),
    ]
  }

  /// Feeds the pieces to a reader as a connection does, and takes apart what comes out; how many events there were.
  @discardableResult
  static func read(_ pieces: [[UInt8]], limit: Int = 1 << 20) -> Int {
    var reader = ForwardReader(limit: limit)
    var count = 0
    for piece in pieces {
      reader.buffer.append(piece)
      do {
        while let messages = try reader.next() {
          for range in messages.messages {
            guard range.upperBound <= messages.block.count else { fatalError("a message lies outside its block") }
            let value = ValueView(unchecked: messages.block.base + range.lowerBound)
            let options = ForwardMessage.Options(decompressionLimit: 8 << 20)
            guard let message = try? ForwardMessage(value, in: messages.block, now: .now(), options) else { continue }
            switch message.content {
            case .batch(let batch):
              batch.forEachEvent { _, record in
                _ = Value(record)
                count += 1
              }
            case .event: count += 1
            case .nothing: break
            }
          }
          withExtendedLifetime(messages.block) {}
        }
      } catch { return count }
    }
    return count
  }

  @Test func `every mode is read, whole and byte by byte`() {
    for sample in Self.samples {
      let whole = Self.read([sample])
      #expect(whole > 0)
      #expect(Self.read(sample.map { [$0] }) == whole)
      #expect(Self.read([sample + sample]) == 2 * whole)
    }
  }

  @Test func `the framer ends values where the scanner does`() {
    var random = SeededRandom(seed: 7)
    for _ in 0..<20_000 {
      let bytes = (0..<random.int(1..<40)).map { _ in UInt8(random.int(0..<256)) }
      var framer = MessagePackFramer()
      let frame = bytes.withUnsafeBytes { framer.next($0) }
      switch bytes.withUnsafeBytes({ MessagePackScanner.skip($0) }) {
      case .complete(let end): #expect(frame == .value(end: end), "\(bytes)")
      case .needMore:
        // The framer sees a wrong type as soon as it is there.
        if case .value = frame { Issue.record("\(bytes)") }
      case .invalid: if case .value = frame { Issue.record("\(bytes)") }
      }
    }
  }

  @Test func `a message over the limit is passed over while it arrives`() throws {
    let large = Self.message(["t", .binary(Self.packed(10_000))])
    var reader = ForwardReader(limit: 1000)
    var sizes: [Int] = []
    var kept = 0
    for start in stride(from: 0, to: large.count, by: 4096) {
      reader.buffer.append(Array(large[start..<min(large.count, start + 4096)]))
      if let messages = try reader.next() { sizes += messages.oversized }
      kept = max(kept, reader.buffer.count)
    }
    #expect(sizes == [large.count])
    #expect(kept < 4096)
    reader.buffer.append(Self.message(["t", 1, ["a": 1]]))
    #expect(try reader.next()?.messages.count == 1)
  }

  @Test func `a chunk's id is its 16 bytes in Base64 with a line feed`() {
    let id = ChunkID(high: 0x0001_0203_0405_0607, low: 0x0809_0a0b_0c0d_0eff)
    let text = ForwardChunkID.text(id)
    #expect(String(decoding: text, as: UTF8.self) == "AAECAwQFBgcICQoLDA0O/w==\n")
    #expect(text.withUnsafeBytes { ForwardChunkID.parse($0) } == id)
    #expect(text.dropLast().withUnsafeBytes { ForwardChunkID.parse($0) } == id)
    for other in ["", "AAECAwQFBgcICQoLDA0O/x==\n", "p8n9gmxTQVC8", "0123456789abcdef01234567", "AAECAwQFBgcICQoLDA0O!w=="] {
      #expect(Array(other.utf8).withUnsafeBytes { ForwardChunkID.parse($0) } == nil, "\(other)")
    }
  }

  @Test func `servers take turns by weight, and standbys take the place of what is missing`() {
    func turns(_ candidates: [LoadBalancer.Candidate]) -> [Int: Int] {
      LoadBalancer(candidates, seed: 1).turns.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }
    #expect(turns([.init(weight: 60), .init(weight: 20)]) == [0: 9, 1: 3])
    #expect(turns([.init(weight: 60)]) == [0: 6])
    #expect(turns([.init(weight: 60), .init(weight: 0), .init(weight: 60, isStandby: true)]) == [0: 6])
    let failed: [LoadBalancer.Candidate] = [
      .init(weight: 60, isAvailable: false), .init(weight: 60), .init(weight: 30, isStandby: true), .init(weight: 30, isStandby: true),
      .init(weight: 30, isStandby: true),
    ]
    #expect(turns(failed) == [0: 8, 1: 8, 2: 4, 3: 4])
    #expect(turns([]) == [:])
    #expect(LoadBalancer(failed, seed: 5).turns == LoadBalancer(failed, seed: 5).turns)
  }

  @Test func `a silent server becomes suspect, and overdue`() {
    var detector = FailureDetector(interval: 1, hardTimeout: 60, now: 100)
    for second in 101...110 { detector.beat(Double(second)) }
    #expect(detector.sampleCount == 11)
    #expect(abs(detector.phi(111) - 0.434) < 0.01)
    #expect(detector.phi(140) < 16)
    #expect(detector.phi(147) > 16)
    #expect(!detector.isOverdue(170))
    #expect(detector.isOverdue(171))
    detector.clear()
    #expect(detector.isOverdue(0))
    detector.beat(200)
    #expect(detector.sampleCount == 1)
  }
}

extension SeededRandom {
  fileprivate mutating func int(_ range: Range<Int>) -> Int { Int.random(in: range, using: &self) }
}
