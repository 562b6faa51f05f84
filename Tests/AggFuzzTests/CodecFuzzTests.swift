import AggCore
import AggTesting
import Testing

/// Damaged input never traps, hangs or makes something that a reader of validated bytes could stumble over.
@Suite(.serialized) struct CodecFuzzTests {
  static let records = [
    #"{"message":"GET /index.html","code":200,"ok":true,"none":null,"f":1.5e-7,"list":[1,-2,[3,{"a":"b"}]],"o":{"k":"v"}}"#,
    #"{"s":"\u00e9\ud83d\ude00\n\"\\","big":18446744073709551615,"neg":-9223372036854775808,"e":1E400,"":""}"#,
    #"[{"a":1},{"b":"\u0000"}]"#,
    #"{"deep":[[[[[[[[[[[[[[[[{"a":[]}]]]]]]]]]]]]]]]]}"#,
  ]

  @Test func messagepack() {
    var corpus: [[UInt8]] = []
    for record in Self.records {
      guard let value = JSONTranscoder.decode(record) else { continue }
      var out = ByteWriter()
      value.encode(into: &out)
      corpus.append(Array(out.bytes))
      corpus.append([0x92, 0xd7, 0x00, 0x65, 0x53, 0xf1, 0x00, 0, 0, 0, 1] + out.bytes)
    }
    Fuzzer("messagepack", corpus: corpus).run { bytes in
      bytes.withUnsafeBytes { raw in
        if case .complete(let end) = MessagePackScanner.skip(raw, at: 0), let base = raw.baseAddress {
          let value = ValueView(unchecked: base)
          #expect(value.end - base == end)
          _ = Value(value)
          var out = ByteWriter()
          _ = JSONFormatter.write(value, into: &out)
        }
        let result = EventBatch.validating(raw, tag: Tag("fuzz"))
        var seen = 0
        result.batch.forEachEvent { _, record in
          seen += 1
          var out = ByteWriter()
          _ = JSONFormatter.writeRecord(record, into: &out)
        }
        #expect(seen == result.batch.count)
      }
    }
  }

  @Test func json() {
    let lines = Self.records.joined(separator: "\n")
    let words = ["{", "}", "[", "]", ":", ",", "\"", "\\u", "\\ud800", "null", "-0", "1e999", "\n", "\r\n", "\u{feff}"]
    Fuzzer("json", corpus: (Self.records + [lines]).map { Array($0.utf8) }, words: words).run { bytes in
      // The transcoder may read 64 bytes past the text.
      let padded = bytes + [UInt8](repeating: 0, count: 64)
      padded.withUnsafeBytes { raw in
        let text = UnsafeRawBufferPointer(rebasing: raw[..<bytes.count])
        var transcoder = JSONTranscoder()
        var builder = BatchBuilder()
        transcoder.transcodeLines(text, into: &builder, time: EventTime(seconds: 1)) { range, _ in
          #expect(range.lowerBound >= 0 && range.upperBound <= bytes.count)
        }
        transcoder.transcodeLines(text, into: &builder, timeKey: Array("code".utf8), keepTimeKey: false) { value in
          value?.int64.map { EventTime(seconds: $0) } ?? EventTime(seconds: 0)
        } rejects: { _, _ in
        }
        let batch = builder.finish(tag: Tag("fuzz"))
        // What was written must be what a stranger's bytes would have to be.
        let again = batch.withBytes { EventBatch.validating($0, tag: Tag("fuzz")) }
        #expect(again.rejected == 0 && again.batch.count == batch.count)
      }
      _ = JSONTranscoder.decode(String(decoding: bytes, as: UTF8.self))
    }
  }

  @Test func compression() {
    let plain = Array(Self.records.joined(separator: "\n").utf8)
    var gzip = ByteWriter()
    plain.withUnsafeBytes { Gzip.compress($0, into: &gzip) }
    var zstd = ByteWriter()
    plain.withUnsafeBytes { Zstd.compress($0, into: &zstd) }
    Fuzzer("compression", corpus: [Array(gzip.bytes), Array(zstd.bytes)]).run { bytes in
      bytes.withUnsafeBytes { raw in
        var out = ByteWriter()
        _ = try? Gzip.decompress(raw, into: &out, limit: DecompressionLimit(bytes: 1 << 20))
        _ = try? Zstd.decompress(raw, into: &out, limit: DecompressionLimit(bytes: 1 << 20))
      }
    }
  }
}
