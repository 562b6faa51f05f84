import AggCore
import AggPlugins
import AggTesting

/// Streams that are cut into messages, forms of HTTP, what commands print, and addresses.
enum StreamTargets {
  static let all = [octets, records, forms, output, snappy, address]

  static let octets = FuzzTarget(
    "octet-frames", words: [" ", "\n", "11 <6>message", "2147483647 "],
    texts: ["11 <6>a message5 12345", "3 abc\n4 abcd 12 par", "0 0 1 x", "99999999999 x", "9999999999 x"]
  ) { bytes in
    try bytes.withUnsafeBytes { raw in
      let frames = OctetFrames(limit: 64)
      var sum = 0
      switch frames.messages(raw) {
      case .messages(let messages, let taken):
        try Failure.unless(taken >= 0 && taken <= raw.count, "takes \(taken) of \(raw.count)")
        sum = messages.reduce(0) { $0 + $1.count }
      case .broken(let messages, _): sum = messages.reduce(0) { $0 + $1.count }
      }
      try Failure.unless(sum <= raw.count, "messages of \(sum) bytes in \(raw.count)")
    }
  }

  /// However the stream is cut, the same records come, as long as none is too long.
  static let records = FuzzTarget(
    "record-cutter", words: ["\n", "||", "|", "\r\n", "a record"], short: 5000,
    texts: ["one\ntwo\nthree", "a||b|||c", "\n\n\n", "|||||"]
  ) { bytes in
    func cut(_ delimiter: String, limit: Int, step: Int) -> (records: [[UInt8]], skipped: Int) {
      var cutter = RecordCutter(delimiter: delimiter, limit: limit)
      var buffer = ByteWriter()
      var records: [[UInt8]] = []
      var skipped = 0
      for start in stride(from: 0, to: bytes.count, by: step) {
        buffer.append(Array(bytes[start..<min(bytes.count, start + step)]))
        let whole = cutter.completeLength(buffer.bytes)
        if whole > 0 {
          cutter.forEach(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<whole])) { text, isLines in
            if isLines { records += text.split(separator: 0x0a).map { Array($0) } } else { records.append(Array(text)) }
          }
        }
        cutter.removeComplete(from: &buffer)
        skipped += cutter.takeSkipped()
      }
      return (records, skipped)
    }
    for delimiter in ["\n", "||", "\r\n\r\n", "|"] {
      let step = 1 + Int(bytes.first ?? 0) % 9
      let whole = cut(delimiter, limit: 1 << 20, step: max(1, bytes.count))
      let parts = cut(delimiter, limit: 1 << 20, step: step)
      try Failure.unless(whole.records == parts.records && whole.skipped == 0, "cut otherwise, other records")
      for limit in [0, 1, 3, 8] {
        let some = cut(delimiter, limit: limit, step: step)
        try Failure.unless(some.records.allSatisfy { $0.count <= limit }, "a record that is too long")
      }
    }
  }

  /// A boundary, a line break, and a body.
  static let forms = FuzzTarget(
    "http-form", words: ["--B", "\r\n", "%", "&", "=", "name=\"json\"", "Content-Disposition: form-data; ", "+", "%2"],
    short: 10_000,
    texts: [
      "B\n--B\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{\"multi\":true}\r\n--B--\r\n",
      "\njson=%7B%22a%22%3A1%7D&time=1+2&&x", "B\n--B--B\n\n--B\n\nx--B", "%\n%zz=%",
      "B\n--B\nContent-Disposition: form-data; name=a; filename=\"b\\\"c\"\n\nx\n--B",
    ]
  ) { bytes in
    let end = bytes.firstIndex(of: 0x0a) ?? bytes.count
    let boundary = String(decoding: bytes[..<end], as: UTF8.self)
    let body = Array(bytes[min(end + 1, bytes.count)...])
    try body.withUnsafeBytes { raw in
      var form = HTTPForm()
      _ = form.add(urlEncoded: raw)
      form.add(multipart: raw, boundary: boundary)
      let sum = form.pairs.reduce(0) { $0 + $1.value.count }
      try Failure.unless(sum <= 2 * raw.count, "\(sum) bytes of \(raw.count)")
    }
    _ = HTTPForm.parameter("boundary", of: boundary)
    _ = HTTPForm.parameter("name", of: String(decoding: body, as: UTF8.self))
  }

  /// What a command prints, whatever the format and however it comes.
  static let output = FuzzTarget(
    "command-output", words: ["{", "}", "\n", "[", "\"", "\\", "\r\n"], short: 3000,
    texts: ["{\"a\":1}\n{\"b\":2}\n", "{\"a\":\n1}{\"b\":[2]}", "not json\n{\"c\":3}\nx", "{\"open\":\"", "\"\n\n\\"]
  ) { bytes in
    let driver = PluginDriver(
      PluginSet(parsers: [
        .init(JSONParser.self), .init(NoneParser.self), .init(MessagePackParser.self), .init(MultilineTextParser.self),
      ]))
    for (type, text) in [("json", ""), ("none", ""), ("msgpack", ""), ("multiline", "\nformat1 /(?<a>.)/")] {
      let section = try driver.element("@type \(type)\(text)", name: "parse")
      let parser = try driver.context(section).parser(section)
      var output = OutputParser(parser, type: type, tag: Tag("fuzz"))
      var buffer = ByteWriter()
      let step = 1 + Int(bytes.first ?? 0) % 50
      for start in stride(from: 0, to: bytes.count, by: step) {
        buffer.append(Array(bytes[start..<min(bytes.count, start + step)]))
        try ParserTargets.check(output.take(&buffer, atEnd: false).batch)
      }
      try ParserTargets.check(output.take(&buffer, atEnd: true).batch)
      try Failure.unless(buffer.isEmpty, "\(type): \(buffer.count) bytes are left at the end")
    }
  }

  /// Any bytes, compressed, come out again of a reader that follows the format's description.
  static let snappy = FuzzTarget(
    "snappy", short: 3000,
    bytes: [Array("aaaaaaaaaabbbbbbbbbbaaaaaaaaaa".utf8), [], CodecTargets.text, [UInt8](repeating: 1, count: 65_000)]
  ) { bytes in
    // Twice and a half, so that there is more than one fragment.
    let plain = bytes.count > 26_000 ? bytes + bytes + bytes.prefix(bytes.count / 2) : bytes
    var out = ByteWriter()
    plain.withUnsafeBytes { SnappyBlock.compress($0, into: &out) }
    try Failure.unless(unsnapped(out.array) == plain, "other bytes")
  }
  private static func unsnapped(_ bytes: [UInt8]) -> [UInt8]? {
    var rest = bytes[...]
    var length = 0
    var shift = 0
    while let byte = rest.popFirst() {
      length |= Int(byte & 0x7f) << shift
      shift += 7
      if byte < 0x80 { break }
    }
    var out: [UInt8] = []
    while let tag = rest.popFirst() {
      switch tag & 3 {
      case 0:
        var count = Int(tag >> 2) + 1
        if count > 60 {
          let width = count - 60
          guard rest.count >= width else { return nil }
          count = rest.prefix(width).reversed().reduce(0) { $0 << 8 | Int($1) } + 1
          rest = rest.dropFirst(width)
        }
        guard rest.count >= count else { return nil }
        out += rest.prefix(count)
        rest = rest.dropFirst(count)
      case 2:
        guard rest.count >= 2 else { return nil }
        let offset = Int(rest.removeFirst()) | Int(rest.removeFirst()) << 8
        guard offset > 0, offset <= out.count else { return nil }
        for _ in 0...Int(tag >> 2) { out.append(out[out.count - offset]) }
      default: return nil
      }
    }
    return out.count == length ? out : nil
  }

  static let address = FuzzTarget(
    "address-range", words: ["/", "::", ".", "255", "/32", "ffff:"],
    texts: ["10.0.0.0/8", "10.0.0.0/255.0.0.0", "::1", "::ffff:1.2.3.4/96", "fe80::1%eth0/64", "1.2.3.4/33", "1.2.3.4/-1"]
  ) { bytes in
    guard let range = AddressRange(String(decoding: bytes, as: UTF8.self)) else { return }
    try Failure.unless(range.contains(range), "does not contain itself")
  }
}
