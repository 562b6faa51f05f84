import AggCore
import AggPlugins
import AggTesting

/// The forward protocol, cut anywhere, and the handshake before it.
enum ForwardTargets {
  static let all = [forward, handshake]

  private static var corpus: [[UInt8]] {
    let record: Value = ["a": 1, "b": ["c": ["d", nil, 1.5]], "text": "some text"]
    let entries = (0..<8).flatMap { CodecTargets.bytes([.ext(type: 0, [0x65, 0, 0, 0, 0, 0, 0, UInt8($0)]), record]) }
    return [
      ["t.a", 1_700_000_000, record, ["chunk": "AAECAwQFBgcICQoLDA0O/w==\n"]],
      ["t.b", [[1_700_000_000, record], [[1_700_000_001, ["meta": 1]], record]], ["size": 2, "chunk": "y"]],
      ["t.c", .binary(entries), ["size": 8]], ["t.d", .string(entries)],
      ["t.e", .binary(CodecTargets.gzipped(entries)), ["compressed": "gzip"]],
      ["t.f", .binary(CodecTargets.zstandard(entries)), ["compressed": "zstd"]],
    ].map { CodecTargets.bytes($0) } + [
      Array(#"["t.g",[[1700000000,{"a":1}],[1700000001,{"a":"\u00fc"}]],{"chunk":"z"}]"#.utf8) + Array(#"["t",1,{"a":[]}]"#.utf8)
    ]
  }

  static let forward = FuzzTarget("forward", words: ["\u{0}", "[", "{", "\"", "compressed", "gzip", "chunk"], bytes: corpus) {
    bytes in
    // The input itself says how it is cut and how large a message may be.
    let step = max(1, Int(bytes.last ?? 1) * 4)
    var reader = ForwardReader(limit: (bytes.count & 3) == 0 ? step : 1 << 20)
    for start in stride(from: 0, to: bytes.count, by: step) {
      reader.buffer.append(Array(bytes[start..<min(bytes.count, start + step)]))
      while true {
        guard let messages = try? reader.next() else { break }
        try take(messages)
      }
    }
  }

  private static func take(_ messages: ForwardReader.Messages) throws {
    for range in messages.messages {
      try Failure.unless(range.upperBound <= messages.block.count, "a message outside: \(range)")
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
        try Failure.unless(seen == batch.count, "\(seen) events of \(batch.count)")
      case .event(let time, let record): _ = (Value(time), Value(record))
      case .nothing: break
      }
    }
    withExtendedLifetime(messages.block) {}
  }

  static let handshake = FuzzTarget(
    "forward-handshake",
    bytes: [
      CodecTargets.bytes(["HELO", ["nonce": .binary([1, 2]), "auth": "", "keepalive": true]]),
      CodecTargets.bytes(["PING", "host", .binary([1]), "digest", "user", "password"]),
      CodecTargets.bytes(["PONG", false, "reason", "host", "digest"]), CodecTargets.bytes(["PONG", true, nil, 5, .double(1.5)]),
      Array("AAECAwQFBgcICQoLDA0O/w==\n".utf8),
    ]
  ) { bytes in
    bytes.withUnsafeBytes { raw in
      _ = ForwardChunkID.parse(raw)
      guard MessagePackScanner.validate(raw), let base = raw.baseAddress else { return }
      let view = ValueView(unchecked: base)
      var out = ByteWriter()
      ForwardHandshake.Helo(view)?.encode(into: &out)
      ForwardHandshake.Ping(view)?.encode(into: &out)
      ForwardHandshake.Pong(view)?.encode(into: &out)
    }
  }
}
