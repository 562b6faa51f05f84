import AggCore
import AggPlugins
import AggTesting
import Testing

/// Damaged messages of the forward protocol, cut anywhere, are read or refused.
@Suite(.serialized) struct ForwardFuzzTests {
  static func bytes(_ value: Value) -> [UInt8] {
    var out = ByteWriter()
    value.encode(into: &out)
    return out.array
  }

  static var corpus: [[UInt8]] {
    let record: Value = ["a": 1, "b": ["c": ["d", nil, 1.5]], "text": "some text"]
    let entries = (0..<8).flatMap { bytes([.ext(type: 0, [0x65, 0, 0, 0, 0, 0, 0, UInt8($0)]), record]) }
    var gzip = ByteWriter()
    var zstd = ByteWriter()
    entries.withUnsafeBytes {
      Gzip.compress($0, into: &gzip)
      Zstd.compress($0, into: &zstd)
    }
    return [
      bytes(["t.a", 1_700_000_000, record, ["chunk": "AAECAwQFBgcICQoLDA0O/w==\n"]]),
      bytes(["t.b", [[1_700_000_000, record], [[1_700_000_001, ["meta": 1]], record]], ["size": 2, "chunk": "y"]]),
      bytes(["t.c", .binary(entries), ["size": 8]]), bytes(["t.d", .string(entries)]),
      bytes(["t.e", .binary(gzip.array), ["compressed": "gzip"]]), bytes(["t.f", .binary(zstd.array), ["compressed": "zstd"]]),
      Array(#"["t.g",[[1700000000,{"a":1}],[1700000001,{"a":"\u00fc"}]],{"chunk":"z"}]"#.utf8) + Array(#"["t",1,{"a":[]}]"#.utf8),
    ]
  }

  @Test func forward() {
    Fuzzer("forward", corpus: Self.corpus, words: ["\u{0}", "[", "{", "\"", "compressed", "gzip", "chunk"]).run { bytes in
      // The input itself says how it is cut and how large a message may be.
      let step = max(1, Int(bytes.last ?? 1) * 4)
      var reader = ForwardReader(limit: (bytes.count & 3) == 0 ? step : 1 << 20)
      for start in stride(from: 0, to: bytes.count, by: step) {
        reader.buffer.append(Array(bytes[start..<min(bytes.count, start + step)]))
        do { while let messages = try reader.next() { take(messages) } } catch { return }
      }
    }
  }

  private func take(_ messages: ForwardReader.Messages) {
    for range in messages.messages {
      #expect(range.upperBound <= messages.block.count)
      let value = ValueView(unchecked: messages.block.base + range.lowerBound)
      let options = ForwardMessage.Options(decompressionLimit: 1 << 20)
      guard let message = try? ForwardMessage(value, in: messages.block, now: EventTime(seconds: 5), options) else { continue }
      switch message.content {
      case .batch(let batch):
        var seen = 0
        batch.forEachEvent { _, record in
          _ = Value(record)
          seen += 1
        }
        #expect(seen == batch.count)
      case .event(let time, let record): _ = (Value(time), Value(record))
      case .nothing: break
      }
    }
    withExtendedLifetime(messages.block) {}
  }
}
