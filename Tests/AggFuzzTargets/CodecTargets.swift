import AggCore
import AggTesting
import CZlib
import Foundation

/// MessagePack, JSON and the compressed formats: damaged input is refused or read as another implementation reads it.
enum CodecTargets {
  static let all = [messagepack, json, jsonFrames, gzip, zstd, plain]

  static let records = [
    #"{"message":"GET /index.html","code":200,"ok":true,"none":null,"f":1.5e-7,"list":[1,-2,[3,{"a":"b"}]],"o":{"k":"v"}}"#,
    #"{"s":"\u00e9\ud83d\ude00\n\"\\","big":18446744073709551615,"neg":-9223372036854775808,"e":1E400,"":""}"#,
    #"[{"a":1},{"b":"\u0000"}]"#,
    #"{"deep":[[[[[[[[[[[[[[[[{"a":[]}]]]]]]]]]]]]]]]]}"#,
  ]
  static func bytes(_ value: Value) -> [UInt8] {
    var out = ByteWriter()
    value.encode(into: &out)
    return out.array
  }

  private static func encoded(_ value: Value) -> [UInt8] { bytes(value) }
  static let messagepack = FuzzTarget(
    "messagepack",
    bytes: records.compactMap { JSONTranscoder.decode($0).map(bytes) }.flatMap {
      [$0, [0x92, 0xd7, 0, 0x65, 0x53, 0xf1, 0, 0, 0, 0, 1] + $0]
    }
  ) { bytes in
    // The formatter may read some bytes past a value.
    try (bytes + [UInt8](repeating: 0xaa, count: 64)).withUnsafeBytes { padded in
      let raw = UnsafeRawBufferPointer(rebasing: padded[..<bytes.count])
      if case .complete(let end) = MessagePackScanner.skip(raw, at: 0), let base = raw.baseAddress {
        let view = ValueView(unchecked: base)
        try Failure.unless(view.end - base == end, "two lengths: \(view.end - base), \(end)")
        // What is written of it is read as the same again.
        let value = Value(view)
        let again = encoded(value)
        let second = again.withUnsafeBytes { Value(validating: $0) }
        try Failure.unless(second.map(encoded) == again, "another value after a round: \(value) \(String(describing: second))")
        var out = ByteWriter()
        if JSONFormatter.write(view, into: &out) { try isJSON(out.array) }
      }
      let result = EventBatch.validating(raw, tag: Tag("fuzz"))
      var seen = 0
      result.batch.forEachEvent { _, record in
        seen += 1
        var out = ByteWriter()
        _ = JSONFormatter.writeRecord(record, into: &out)
      }
      try Failure.unless(seen == result.batch.count, "\(seen) events of \(result.batch.count)")
    }
  }

  /// What agg writes is JSON to somebody else.
  private static func isJSON(_ text: [UInt8]) throws {
    // A log line need not be UTF-8, and is written as it is; Foundation's reader is limited to 512 levels.
    guard String(validating: text, as: UTF8.self) != nil else { return }
    do { _ = try JSONSerialization.jsonObject(with: Data(text), options: .fragmentsAllowed) } catch {
      let what = "\(error)"
      // Numbers that no double holds are JSON.
      if what.contains("nested") || what.contains("depth") || what.contains("overflow") || what.contains("Number") { return }
      throw Failure("not JSON: \(String(decoding: text, as: UTF8.self)): \(what)")
    }
  }

  static let json = FuzzTarget(
    "json", words: ["{", "}", "[", "]", ":", ",", "\"", "\\u", "\\ud800", "null", "-0", "1e999", "\n", "\r\n", "\u{feff}"],
    texts: records + [records.joined(separator: "\n")]
  ) { bytes in
    // The transcoder may read 64 bytes past the text.
    let padded = bytes + [UInt8](repeating: 0, count: 64)
    try padded.withUnsafeBytes { raw in
      let text = UnsafeRawBufferPointer(rebasing: raw[..<bytes.count])
      var transcoder = JSONTranscoder()
      var builder = BatchBuilder()
      var outside = 0
      transcoder.transcodeLines(text, into: &builder, time: EventTime(seconds: 1)) { range, _ in
        if range.lowerBound < 0 || range.upperBound > bytes.count { outside += 1 }
      }
      transcoder.transcodeLines(text, into: &builder, timeKey: Array("code".utf8), keepTimeKey: false) { value in
        value?.int64.map { EventTime(seconds: $0) } ?? EventTime(seconds: 0)
      } rejects: { _, _ in
      }
      let batch = builder.finish(tag: Tag("fuzz"))
      // What was written must be what a stranger's bytes would have to be.
      let again = batch.withBytes { EventBatch.validating($0, tag: Tag("fuzz")) }
      try Failure.unless(outside == 0 && again.rejected == 0 && again.batch.count == batch.count, "not sound MessagePack")
    }
    let value = JSONTranscoder.decode(String(decoding: bytes, as: UTF8.self))
    // Strict JSON of somebody else's mind is read.
    if value == nil, bytes.count < 1000, String(validating: bytes, as: UTF8.self) != nil,
      (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil, !hasKnownDifference(bytes)
    {
      throw Failure("Foundation reads it: \(String(decoding: bytes, as: UTF8.self))")
    }
  }
  /// Nesting beyond the limit, byte order marks, NUL bytes, which Foundation takes for UTF-16, and a comma behind the last element.
  private static func hasKnownDifference(_ bytes: [UInt8]) -> Bool {
    var previous: UInt8 = 0
    for byte in bytes where byte > 0x20 {
      if previous == 0x2c, byte == 0x5d || byte == 0x7d { return true }
      previous = byte
    }
    return bytes.contains(0) || bytes.starts(with: [0xef, 0xbb, 0xbf])
      || bytes.count { $0 == 0x5b || $0 == 0x7b } > MessagePack.maximumDepth
  }

  static let jsonFrames = FuzzTarget(
    "json-frames", words: ["{", "}", "[", "\"", "\\", "\n", "true", " "], texts: records + ["1 2 \"a\"{}[]\n{\"a\":\n1}"]
  ) { bytes in
    // However the stream is cut, the same frames come.
    func frames(_ step: Int) -> [JSONFramer.Frame] {
      var framer = JSONFramer()
      var frames: [JSONFramer.Frame] = []
      var end = 0
      while end < bytes.count {
        end = min(bytes.count, end + step)
        bytes.withUnsafeBytes { raw in
          while true {
            let frame = framer.next(UnsafeRawBufferPointer(rebasing: raw[..<end]))
            guard case .value = frame else {
              if case .invalid = frame { frames.append(frame) }
              return
            }
            frames.append(frame)
          }
        }
        if case .invalid? = frames.last { break }
      }
      return frames
    }
    let whole = frames(max(1, bytes.count))
    for case .value(let range) in whole {
      try Failure.unless(range.lowerBound >= 0 && range.upperBound <= bytes.count, "outside")
    }
    try Failure.unless(frames(1 + Int(bytes.last ?? 0) % 7) == whole, "cut otherwise, other frames")
  }

  static func gzipped(_ bytes: [UInt8]) -> [UInt8] {
    var out = ByteWriter()
    bytes.withUnsafeBytes { Gzip.compress($0, into: &out) }
    return out.array
  }
  static func zstandard(_ bytes: [UInt8]) -> [UInt8] {
    var out = ByteWriter()
    bytes.withUnsafeBytes { Zstd.compress($0, into: &out) }
    return out.array
  }
  static let text = Array(records.joined(separator: "\n").utf8)

  static let gzip = FuzzTarget(
    "gzip",
    bytes: [gzipped(text), gzipped([]), gzipped(text) + gzipped([1, 2, 3]), gzipped([UInt8](repeating: 0, count: 60_000))]
  ) { bytes in
    let limit = 1 << 20
    var out = ByteWriter()
    let isRead =
      (try? bytes.withUnsafeBytes { try Gzip.decompress($0, into: &out, limit: DecompressionLimit(bytes: limit)) }) != nil
    try Failure.unless(out.count <= limit && (isRead || out.count == 0), "\(out.count) bytes came out")
    var kept = ByteWriter()
    var inflater = Inflater()
    _ = bytes.withUnsafeBytes { inflater.salvage($0, into: &kept, limit: DecompressionLimit(bytes: limit)) }
    for format in [Inflater.Format.zlib, .raw, .httpDeflate] {
      var other = ByteWriter()
      _ = try? bytes.withUnsafeBytes {
        try inflater.decompress($0, format, into: &other, limit: DecompressionLimit(bytes: limit))
      }
    }
    // What zlib makes of it. One that it refuses and agg takes would be a checksum that is not looked at; only the reserved flags of
    // a header, which zlib refuses, are nothing to isa-l.
    let theirs = zlib(bytes, limit)
    let hasReservedFlags = bytes.indices.contains {
      bytes[$0...].starts(with: [0x1f, 0x8b, 0x08]) && $0 + 3 < bytes.count && bytes[$0 + 3] & 0xe0 != 0
    }
    if isRead, theirs != nil || !hasReservedFlags {
      try Failure.unless(theirs == out.array, "zlib refuses it or reads something else")
    }
  }
  /// nil when zlib refuses it.
  private static func zlib(_ bytes: [UInt8], _ limit: Int) -> [UInt8]? {
    var out: [UInt8] = []
    var rest = bytes[...]
    repeat {
      var stream = z_stream()
      guard inflateInit2_(&stream, 31, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else { return nil }
      defer { inflateEnd(&stream) }
      var input = Array(rest)
      var buffer = [UInt8](repeating: 0, count: limit + 1)
      let (result, given, made) = input.withUnsafeMutableBufferPointer { input in
        buffer.withUnsafeMutableBufferPointer { output in
          stream.next_in = input.baseAddress
          stream.avail_in = UInt32(input.count)
          stream.next_out = output.baseAddress
          stream.avail_out = UInt32(output.count)
          let result = inflate(&stream, Z_FINISH)
          return (result, input.count - Int(stream.avail_in), output.count - Int(stream.avail_out))
        }
      }
      guard result == Z_STREAM_END else { return nil }
      out += buffer[..<made]
      rest = rest.dropFirst(given)
    } while !rest.isEmpty
    return out
  }

  static let zstd = FuzzTarget("zstd", bytes: [zstandard(text), zstandard([]), zstandard(text) + zstandard([1, 2, 3])]) { bytes in
    let limit = 1 << 20
    var out = ByteWriter()
    let isRead =
      (try? bytes.withUnsafeBytes { try Zstd.decompress($0, into: &out, limit: DecompressionLimit(bytes: limit)) }) != nil
    try Failure.unless(out.count <= limit && (isRead || out.count == 0), "\(out.count) bytes came out")
    var decompressor = ZstdDecompressor()
    var kept = ByteWriter()
    _ = bytes.withUnsafeBytes { decompressor.salvage($0, into: &kept, limit: DecompressionLimit(bytes: limit)) }
    try Failure.unless(kept.count <= limit, "\(kept.count) bytes came out")
  }

  /// Any bytes, compressed, come out again.
  static let plain = FuzzTarget("compression", short: 4000, bytes: [text, [], [UInt8](repeating: 7, count: 5000)]) { bytes in
    for (name, packed) in [("gzip", gzipped(bytes)), ("zstd", zstandard(bytes))] {
      var out = ByteWriter()
      try packed.withUnsafeBytes {
        if name == "gzip" {
          try Gzip.decompress($0, into: &out, limit: DecompressionLimit(bytes: 1 << 20))
        } else {
          try Zstd.decompress($0, into: &out, limit: DecompressionLimit(bytes: 1 << 20))
        }
      }
      try Failure.unless(out.array == bytes, "\(name): other bytes")
    }
  }
}
