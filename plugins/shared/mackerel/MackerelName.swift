import AggCore

/// What the API takes as names, and what agg makes of others.
enum MackerelName {
  static let units = ["float", "integer", "percentage", "seconds", "milliseconds", "bytes", "bytes/sec", "bits/sec", "iops"]
  static let statuses = ["standby", "working", "maintenance", "poweroff"]
  /// A metric's name beyond this is refused here: no server shows it.
  static let longest = 255

  /// `[a-zA-Z0-9._-]+`
  static func isMetric(_ name: some Sequence<UInt8>) -> Bool { isMade(name) { isWord($0) || $0 == 0x2e } }
  /// `[a-zA-Z0-9_-]+`: a check, a namespace of metadata.
  static func isPlain(_ name: String) -> Bool { isMade(name.utf8) { isWord($0) } }
  /// `[A-Za-z0-9][A-Za-z0-9_-]+`, 2 to 63 characters.
  static func isService(_ name: String) -> Bool {
    guard let first = name.utf8.first, first != 0x5f, first != 0x2d else { return false }
    return (2...63).contains(name.utf8.count) && isPlain(name)
  }
  /// `service:role`
  static func isRole(_ name: String) -> Bool {
    let parts = name.split(separator: ":", omittingEmptySubsequences: false)
    return parts.count == 2 && parts.allSatisfy { isService(String($0)) }
  }
  /// `^custom(\.([-a-zA-Z0-9_]+|[*#]))+$` with at most one `#`.
  static func isGraph(_ name: String) -> Bool {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count > 1, parts[0] == "custom", name.utf8.count <= longest else { return false }
    return parts.dropFirst().allSatisfy { $0 == "*" || $0 == "#" || isPlain(String($0)) } && parts.filter { $0 == "#" }.count < 2
  }

  /// Names that a host's metrics have without `custom.` before them.
  static func isSystem(_ name: some StringProtocol) -> Bool {
    ["custom.", "loadavg", "cpu.", "memory.", "disk.", "interface.", "filesystem.", "processor_queue_length", "container."]
      .contains { name.hasPrefix($0) }
  }

  /// The name with `_` for what it cannot hold.
  static func cleaned(_ name: String, keepingDots: Bool) -> String {
    String(decoding: name.utf8.map { isWord($0) || keepingDots && $0 == 0x2e ? $0 : 0x5f }, as: UTF8.self)
  }

  /// One part of a URL's path: everything but unreserved characters as %XX.
  static func pathPart(_ text: String) -> String {
    var out = ""
    for byte in text.utf8 {
      if isWord(byte) || byte == 0x2e || byte == 0x7e {
        out.unicodeScalars.append(UnicodeScalar(byte))
      } else {
        let hex = String(byte, radix: 16, uppercase: true)
        out += byte < 16 ? "%0" + hex : "%" + hex
      }
    }
    // A part of dots alone would climb.
    return out == "." || out == ".." ? out.map { _ in "%2E" }.joined() : out
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    byte == 0x5f || byte == 0x2d || (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte) || (0x41...0x5a).contains(byte)
  }
  private static func isMade(_ name: some Sequence<UInt8>, _ take: (UInt8) -> Bool) -> Bool {
    var count = 0
    for byte in name {
      if !take(byte) { return false }
      count += 1
    }
    return count > 0 && count <= longest
  }
}

extension Value {
  /// As JSON text; nil for what JSON cannot hold.
  package var json: [UInt8]? {
    var packed = ByteWriter(capacity: 256)
    encode(into: &packed)
    guard let base = packed.bytes.baseAddress else { return nil }
    var out = ByteWriter(capacity: packed.count * 2 + 16)
    let isJSON = JSONFormatter.write(ValueView(unchecked: base), into: &out)
    return isJSON ? out.array : nil
  }
}
