import AggCore
import Testing

@Suite struct JSONTranscoderTests {
  /// Transcodes with different bytes behind the end, which must never matter.
  private func bytes(_ text: [UInt8], object: Bool = false) -> [UInt8]? {
    var results: [[UInt8]?] = []
    for padding in ["0", "\"", "}", " ", "[", "\\", "é", "e9", "/*", "1}"] {
      let filler = Array(String(repeating: padding, count: 64).utf8.prefix(64))
      results.append(
        (text + filler).withUnsafeBytes {
          var transcoder = JSONTranscoder()
          var out = ByteWriter(capacity: 1)
          let range = UnsafeRawBufferPointer(rebasing: $0[..<text.count])
          let ok = object ? transcoder.transcodeObject(range, into: &out) : transcoder.transcodeValue(range, into: &out)
          let written = out.array
          if !ok { #expect(written.isEmpty) }
          return ok ? written : nil
        })
    }
    for result in results { #expect(result == results[0], "\(String(decoding: text, as: UTF8.self))") }
    return results[0]
  }
  private func value(_ text: String) -> Value? {
    bytes(Array(text.utf8)).flatMap { $0.withUnsafeBytes { Value(validating: $0) } }
  }

  @Test func `values of every kind`() {
    #expect(
      value(#" {"a" : [1,-2 , 3.5,true,false,null,"x",{}, [] ] } "#) == ["a": [1, -2, 3.5, true, false, nil, "x", [:], []]])
    #expect(value("12") == 12)
    #expect(value("\"str\"") == "str")
    #expect(value("[]") == [])
    #expect(value("true") == true)
    #expect(value("null") == .null)
    #expect(value("\t\r\n{\u{0b}\u{0c}}\n") == [:])
    #expect(value("{\"a\":/* one */1, // two\n\"b\":2}") == ["a": 1, "b": 2])
  }

  @Test func `integers are exact up to 64 bits`() {
    for text in [
      "0", "127", "128", "255", "65536", "4294967296", "999999999999999999", "1000000000000000000", "9223372036854775807",
    ] {
      #expect(value(text) == .int(Int64(text)!))
      #expect(value("-" + text) == .int(-Int64(text)!))
    }
    #expect(value("-9223372036854775808") == .int(.min))
    #expect(value("9223372036854775808") == .uint(1 << 63))
    #expect(value("12345678901234567890") == .uint(12_345_678_901_234_567_890))
    #expect(value("18446744073709551615") == .uint(.max))
    #expect(value("18446744073709551616") == .double(18446744073709551616))
    #expect(value("-9223372036854775809") == .double(-9223372036854775809))
    #expect(value("-0") == 0)
  }

  @Test func `floats are the nearest double`() {
    for text in [
      "1.0", "1e3", "-0.0", "0.1", "-12.75", "1E-7", "1e20", "123456.789", "0.30000000000000004", "2.2250738585072014e-308",
      "5e-324",
      "1.7976931348623157e308", "9007199254740993.0", "123456789012345678.5", "0.000000000000000000000000000001", "1.5e+3",
    ] {
      guard case .double(let double)? = value(text) else { Issue.record("\(text)"); continue }
      #expect(double.bitPattern == Double(text)!.bitPattern, "\(text)")
    }
    #expect(value("1e999") == .double(.infinity))
  }

  @Test func `text that is not JSON is refused`() {
    for text in [
      "", " ", "{", "}", "{}{}", "{\"a\":1} x", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "[1,]", "[,]", "[1 2]", "{\"a\" 1}",
      "{a:1}",
      "{\"a\":1", "[", "[1", "\"x", "\"x\\", "\"\\x\"", "\"\\u12g4\"", "\"\\u123", "01", "-", "-a", "1.", ".5", "1e", "1e+", "+1",
      "tru",
      "truex", "nulll", "True", "NaN", "[}", "{]", "\"a\u{01}\"", "\"a\nb\"", "{\"a\":1 \"b\":2}", "/* x", "1 /", "[1}", "{}}",
      "]",
      "{\"a\":{}", "{\"a\":[}", "{{}}", "{[]}", "{1:2}", "{\"a\":[{}],}", "[{},]", "[[],]", "{\"a\":{},}",
    ] { #expect(value(text) == nil, "\(text)") }
    #expect(bytes(Array("[1]".utf8), object: true) == nil)
    #expect(bytes(Array("1".utf8), object: true) == nil)
    #expect(bytes(Array(" {} ".utf8), object: true) == [0x80])
  }

  @Test func `escapes and surrogates`() {
    #expect(value(#""\"\\\/\b\f\n\r\t""#) == "\"\\/\u{08}\u{0c}\n\r\t")
    #expect(value(#""\u00e9\u65E5\ud83d\uDE00\u0000\u007f\u07ff""#) == "é日😀\0\u{7f}\u{7ff}")
    #expect(value(#""a\ud83dz""#) == "a?z")
    #expect(value(#""\ud83d""#) == "?")
    #expect(value(#""\ude00x""#) == "?x")
    #expect(value(#""\ud83d\u0041""#) == "?A")
  }

  @Test func `strings of every length get the right header`() {
    for n in [0, 1, 15, 16, 17, 30, 31, 32, 33, 47, 48, 255, 256, 257, 65535, 65536] {
      let plain = [UInt8](repeating: 0x61, count: n)
      #expect(bytes([0x22] + plain + [0x22]).flatMap { $0.withUnsafeBytes { Value(validating: $0) } } == .string(plain))
      var escaped = plain
      if n > 0 { escaped[n - 1] = 0x0a }
      let text = n > 0 ? plain.dropLast() + Array("\\n".utf8) : []
      var expected = ByteWriter()
      expected.putString(escaped)
      let expectedBytes = expected.array
      #expect(bytes([0x22] + text + [0x22]) == expectedBytes)
    }
  }

  @Test func `text beyond ASCII is kept and checked as Yajl checks it`() {
    #expect(value("\"日本語のログ、長い文字列です。é😀 ü\"") == "日本語のログ、長い文字列です。é😀 ü")
    for bad in [
      [0xff], [0x80], [0xc3], [0xe6, 0x97], [0xe6, 0x97, 0x41], [0xf0, 0x9f, 0x98], [0xf8, 0x80, 0x80, 0x80], [0xc3, 0x28],
    ] as [[UInt8]] {
      #expect(bytes([0x22] + bad + [0x22]) == nil)
    }
    #expect(bytes([0x22, 0xed, 0xa0, 0x80, 0x22]) == [0xa3, 0xed, 0xa0, 0x80])
  }

  @Test func `a key that comes twice keeps its first place and its last value`() {
    #expect(value(#"{"dup":1,"x":0,"dup":2}"#) == ["dup": 2, "x": 0])
    #expect(value(#"{"o":{"k":1,"k":{"k":3}},"k":4,"\u006b":5}"#) == ["o": ["k": ["k": 3]], "k": 5])
    #expect(value(#"{"":1,"":2}"#) == ["": 2])
    let long = String(repeating: "key", count: 40)
    #expect(value("{\"\(long)\":1,\"\(long)x\":2,\"\(long)\":3}") == [Value(long): 3, Value(long + "x"): 2])
    let many = (0..<3000).map { "\"k\($0 % 1500)\":\($0)" }.joined(separator: ",")
    let map = value("{\(many)}")?.map
    #expect(map?.count == 1500)
    #expect(map?["k7"] == 1507)
  }

  @Test func `containers over fifteen elements get wide headers`() {
    for n in [15, 16, 17, 65535, 65536] {
      let list = value("[" + repeatElement("1", count: n).joined(separator: ",") + "]")
      #expect(list?.array?.count == n)
    }
    let text = "{" + (0..<20).map { "\"k\($0)\":[\($0),{\"n\":[]}]" }.joined(separator: ",") + "}"
    #expect(value(text)?.map?.count == 20)
    #expect(value(text)?["k19"] == [19, ["n": []]])
  }

  @Test func `nesting ends at the limit`() {
    func nested(_ n: Int) -> String { String(repeating: "[", count: n) + String(repeating: "]", count: n) }
    #expect(value(nested(128)) != nil)
    #expect(value(nested(129)) == nil)
    #expect(value(String(repeating: "[", count: 100_000)) == nil)
    #expect(value(String(repeating: "{\"a\":", count: 128) + "1" + String(repeating: "}", count: 128)) != nil)
    #expect(value(String(repeating: "{\"a\":", count: 129) + "1" + String(repeating: "}", count: 129)) == nil)
  }

  @Test func `the densest text does not overflow its room`() {
    for element in [
      "{}", "[]", "false", "0.0", "1e1", "\"\"", "\"\\u0001\"", "-1", "[[[]]]", "{\"\":1e1}", "18446744073709551615",
    ] {
      for n in [1, 16, 5000, 70_000] {
        #expect(value("[" + repeatElement(element, count: n).joined(separator: ",") + "]")?.array?.count == n)
      }
    }
  }
}
