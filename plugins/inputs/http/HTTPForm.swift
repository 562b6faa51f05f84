import AggCore
import CAgg
import Glibc

/// Parameters of a query or of a form, by name; of a name that comes twice the last counts.
package struct HTTPForm {
  package private(set) var pairs: [(name: String, value: [UInt8])] = []

  subscript(name: String) -> [UInt8]? { pairs.last { $0.name == name }?.value }

  package init() {}

  /// `application/x-www-form-urlencoded`; false when a `%` is not followed by two hexadecimal digits.
  package mutating func add(urlEncoded text: UnsafeRawBufferPointer) -> Bool {
    if text.isEmpty { return true }
    for part in text.split(separator: 0x26, omittingEmptySubsequences: false) {
      let equal = part.firstIndex(of: 0x3d) ?? part.endIndex
      guard let name = Self.decode(part[..<equal]), let value = Self.decode(part[min(equal + 1, part.endIndex)...]) else { return false }
      set(String(decoding: name, as: UTF8.self), value)
    }
    return true
  }

  mutating func add(urlEncoded text: Substring) -> Bool {
    var text = text
    return text.withUTF8 { add(urlEncoded: UnsafeRawBufferPointer($0)) }
  }

  /// `multipart/form-data`: each part's content under the name in its Content-Disposition. Parts without one are left out.
  package mutating func add(multipart body: UnsafeRawBufferPointer, boundary: String) {
    let mark = Array("--\(boundary)".utf8)
    guard var at = Self.find(mark, body, from: 0) else { return }
    while true {
      at += mark.count
      // "--" behind the boundary ends the last part.
      if at + 1 < body.count, body[at] == 0x2d, body[at + 1] == 0x2d { return }
      guard let lineEnd = Self.find([0x0a], body, from: at) else { return }
      guard let next = Self.find(mark, body, from: lineEnd + 1) else { return }
      add(part: UnsafeRawBufferPointer(rebasing: body[(lineEnd + 1)..<next]))
      at = next
    }
  }

  private mutating func add(part: UnsafeRawBufferPointer) {
    var at = 0
    var name: String?
    while let end = Self.find([0x0a], part, from: at) {
      let line = String(decoding: UnsafeRawBufferPointer(rebasing: part[at..<end]).chomped, as: UTF8.self)
      at = end + 1
      if line.isEmpty {
        guard let name else { return }
        return set(name, Array(UnsafeRawBufferPointer(rebasing: part[at...]).chomped))
      }
      if line.lowercased().hasPrefix("content-disposition:") { name = Self.parameter("name", of: line) }
    }
  }

  /// `name="value"` or `name=value` in a header field.
  package static func parameter(_ name: String, of field: String) -> String? {
    for part in field.split(separator: ";").dropFirst() {
      let text = part.drop { $0 == " " }
      guard let equal = text.firstIndex(of: "="), text[..<equal].lowercased() == name else { continue }
      var value = text[text.index(after: equal)...]
      if value.hasPrefix("\"") {
        value = value.dropFirst().prefix { $0 != "\"" }
      }
      return String(value)
    }
    return nil
  }

  private mutating func set(_ name: String, _ value: [UInt8]) {
    if let at = pairs.firstIndex(where: { $0.name == name }) { pairs[at].value = value } else if pairs.count < 1024 { pairs.append((name, value)) }
  }

  private static func decode(_ text: Slice<UnsafeRawBufferPointer>) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var at = text.startIndex
    while at < text.endIndex {
      let c = text[at]
      if c == 0x25 {
        guard text.endIndex - at > 2, let high = hexDigit(text[at + 1]), let low = hexDigit(text[at + 2]) else { return nil }
        out.append(high << 4 | low)
        at += 3
      } else {
        out.append(c == 0x2b ? 0x20 : c)
        at += 1
      }
    }
    return out
  }

  private static func hexDigit(_ c: UInt8) -> UInt8? {
    switch c {
    case 0x30...0x39: c - 0x30
    case 0x41...0x46: c - 0x37
    case 0x61...0x66: c - 0x57
    default: nil
    }
  }

  private static func find(_ sought: [UInt8], _ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard let base = bytes.baseAddress, start < bytes.count else { return nil }
    return sought.withUnsafeBytes { sought in
      sought.baseAddress.flatMap { memmem(base + start, bytes.count - start, $0, sought.count) }.map { UnsafeRawPointer($0) - base }
    }
  }
}
