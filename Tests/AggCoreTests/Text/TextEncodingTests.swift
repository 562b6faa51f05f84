import AggCore
import AggTesting
import Testing

@Suite struct TextEncodingTests {
  private func convert(_ bytes: [UInt8], from source: String, to target: String = "UTF-8") throws -> [UInt8] {
    var encoding = try TextEncoding(from: source, to: target)
    return bytes.withUnsafeBytes { b in
      var out = ByteWriter()
      encoding.convert(b, into: &out)
      return out.array
    }
  }

  /// Expectations from Ruby's `String#encode` with `invalid: :replace, undef: :replace`.
  @Test(
    arguments: [
      ("Shift_JIS", [147, 250, 150, 123], "日本"), ("EUC-JP", [198, 252, 203, 220], "日本"), ("Windows-1252", [233, 128], "é€"),
      ("ISO-8859-1", [0x63, 0xe9], "cé"), ("Shift_JIS", [0x93, 0xfa, 0x81], "日\u{fffd}"),
      ("Windows-31J", [0x61, 0x81, 0xff, 0x62], "a\u{fffd}\u{fffd}b"), ("UTF-16LE", [0x42, 0x30], "あ"),
      ("UTF-8", [0xe3, 0x81, 0x62], "\u{fffd}b"),
      ("UTF-8", [], ""),
    ] as [(String, [UInt8], String)]) func `bytes of an encoding become UTF-8`(_ source: String, _ bytes: [UInt8], _ text: String)
    throws
  {
    #expect(String(decoding: try convert(bytes, from: source), as: UTF8.self) == text)
  }

  @Test func `UTF-8 becomes another encoding, with a question mark for what it lacks`() throws {
    #expect(try convert(Array("日本".utf8), from: "UTF-8", to: "EUC-JP") == [198, 252, 203, 220])
    #expect(try convert(Array("a日é".utf8), from: "UTF-8", to: "ISO-8859-1") == [0x61, 0x3f, 0xe9])
    #expect(try convert(Array("日".utf8), from: "UTF-8", to: "ISO-2022-JP") == [0x1b, 0x24, 0x42, 0x46, 0x7c, 0x1b, 0x28, 0x42])
  }

  @Test(arguments: ["", "no-such-encoding", "UTF-8//IGNORE", "a b", String(repeating: "x", count: 100)])
  func `an unknown name is an error`(_ name: String) {
    #expect(!TextEncoding.isKnown(name))
    #expect(throws: ConfigValueError.self) { _ = try TextEncoding(from: name) }
  }

  @Test func `broken UTF-8 is scrubbed as Ruby does`() {
    let bytes: [UInt8] = [0x61, 0xe3, 0x81, 0x62, 0xff, 0xf0, 0x9f, 0x98, 0x63, 0xed, 0xa0, 0x80, 0xc0, 0xaf]
    let text = bytes.withUnsafeBytes { b in
      var out = ByteWriter()
      UTF8Text.scrub(b, into: &out)
      return out.string
    }
    #expect(text == "a?b??c?????")
  }

  @Test func `validity is Swift's, for any bytes`() {
    var random = SeededRandom(state: 9)
    let pieces: [[UInt8]] = [
      Array("a".utf8), Array("é".utf8), Array("日".utf8), Array("😀".utf8), [0x80], [0xff], [0xe3, 0x81], [0xf4, 0x90, 0x80, 0x80],
      [0xc0, 0x80],
      [UInt8](repeating: 0x41, count: 33),
    ]
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...8, using: &random)).flatMap { _ in pieces.randomElement(using: &random) ?? [] }
      let isValid = String(validating: bytes, as: UTF8.self) != nil
      #expect(bytes.withUnsafeBytes { UTF8Text.isValid($0) } == isValid)
      #expect(bytes.withUnsafeBytes { UTF8Text.isASCII($0) } == bytes.allSatisfy { $0 < 0x80 })
      let scrubbed = bytes.withUnsafeBytes { b in
        var out = ByteWriter()
        UTF8Text.scrub(b, into: &out)
        return out.array
      }
      #expect(String(validating: scrubbed, as: UTF8.self) != nil)
      if isValid { #expect(scrubbed == bytes) }
    }
  }

  @Test func `random bytes of any encoding convert without a trap`() throws {
    var random = SeededRandom(state: 10)
    for name in ["Shift_JIS", "EUC-JP", "ISO-2022-JP", "UTF-16", "UTF-8", "Big5", "GB18030", "EUC-KR", "UTF-7"] {
      for _ in 0..<300 {
        let bytes = (0..<Int.random(in: 0...100, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        let result = try convert(bytes, from: name)
        #expect(String(validating: result, as: UTF8.self) != nil)
      }
    }
  }
}
