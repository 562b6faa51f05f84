import Glibc

/// Turns bytes of one encoding into another (UTF-8 as a rule) by glibc's iconv.
///
/// What is broken or has no counterpart becomes U+FFFD, or `?` where the target lacks it, as Ruby's `encode` with
/// `invalid: :replace, undef: :replace`. One at a time may use it.
public struct TextEncoding: ~Copyable {
  private let descriptor: iconv_t
  private let replacement: [UInt8]
  private let isFromUTF8: Bool
  private let isToUTF8: Bool

  /// Throws when glibc does not know one of the names; Ruby's own names are translated.
  public init(from source: String, to target: String = "UTF-8") throws(ConfigValueError) {
    let to = try Self.systemName(target)
    let from = try Self.systemName(source)
    guard let opened = iconv_open(to, from), Int(bitPattern: opened) != -1 else {
      throw ConfigValueError("unknown encoding or pair of encodings: \(source) to \(target)")
    }
    descriptor = opened
    isFromUTF8 = from == "UTF-8"
    isToUTF8 = to == "UTF-8"
    replacement = to == "UTF-8" ? [0xef, 0xbf, 0xbd] : [UInt8(ascii: "?")]
  }

  deinit { iconv_close(descriptor) }

  /// Whether a name can be used, for a configuration's check.
  public static func isKnown(_ name: String) -> Bool { (try? TextEncoding(from: name)) != nil }

  private static func systemName(_ name: String) throws(ConfigValueError) -> String {
    // A slash would be an option of iconv (//IGNORE), not a name.
    guard !name.isEmpty, name.utf8.count <= 64,
      name.utf8.allSatisfy({ ZoneText.isDigit($0) || ZoneText.isLetter($0) || "-_.:".utf8.contains($0) })
    else { throw ConfigValueError("unknown encoding name - \(name)") }
    switch name.uppercased() {
    case "WINDOWS-31J", "CSWINDOWS31J", "SJIS", "PCK": return "CP932"
    case "EUCJP-MS", "EUC-JP-MS", "CP51932": return "EUC-JP-MS"
    case "ASCII-8BIT", "BINARY": return "ISO-8859-1"
    case "UTF-8", "UTF8", "CP65001": return "UTF-8"
    case "UTF-8-MAC", "UTF8-MAC": return "UTF-8"
    default: return name
    }
  }

  public mutating func convert(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) {
    let start = out.count
    run(bytes, &out)
    // glibc lets lone surrogates of some encodings (UTF-7) through.
    let written = UnsafeRawBufferPointer(rebasing: out.bytes[start...])
    guard isToUTF8, !UTF8Text.isValid(written) else { return }
    var clean = ByteWriter(capacity: written.count * 3)
    UTF8Text.scrub(written, replacement: "\u{fffd}", into: &clean)
    out.count = start
    out.append(clean.bytes)
  }

  private mutating func run(_ bytes: UnsafeRawBufferPointer, _ out: inout ByteWriter) {
    _ = iconv(descriptor, nil, nil, nil, nil)
    guard let base = bytes.baseAddress, bytes.count > 0 else { return }
    var input: UnsafeMutablePointer<CChar>? = UnsafeMutablePointer(mutating: base.assumingMemoryBound(to: CChar.self))
    var left = bytes.count
    while left > 0 {
      let room = max(64, left * 2)
      out.reserve(room)
      var output: UnsafeMutablePointer<CChar>? = out.end.assumingMemoryBound(to: CChar.self)
      var free = room
      let result = iconv(descriptor, &input, &left, &output, &free)
      let reason = errno
      out.count += room - free
      if result != -1 { break }
      if reason == E2BIG { continue }
      out.append(replacement)
      // EINVAL: a character cut off at the end. EILSEQ: one byte is stepped over, in UTF-8 what there is of a character.
      if reason == EINVAL || left == 0 { break }
      let step = isFromUTF8 ? UTF8Text.sequence(bytes, at: bytes.count - left).length : 1
      input = input.map { $0 + step }
      left -= step
    }
    // What a stateful target (ISO-2022-JP) needs to return to its first state.
    out.reserve(16)
    var output: UnsafeMutablePointer<CChar>? = out.end.assumingMemoryBound(to: CChar.self)
    var free = 16
    _ = iconv(descriptor, nil, nil, &output, &free)
    out.count += 16 - free
  }
}
