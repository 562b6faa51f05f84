import AggCore
import AggTesting
import Testing

@Suite struct JSONFormatterTests {
  private func json(_ value: Value) -> String? { jsonBytes(value).map { String(decoding: $0, as: UTF8.self) } }
  private func jsonBytes(_ value: Value) -> [UInt8]? {
    var encoded = ByteWriter()
    value.encode(into: &encoded)
    var out = ByteWriter(capacity: 1)
    guard let base = encoded.bytes.baseAddress, JSONFormatter.write(ValueView(unchecked: base), into: &out) else { return nil }
    return out.array
  }
  private func reprinted(_ text: String) -> String? { JSONTranscoder.decode(text).flatMap { json($0) } }

  // Lines of the recorded cases fmt-json-bytes and fmt-json-escapes.
  @Test func `records are printed byte for byte as Fluentd prints them`() {
    for text in [
      #"{"a":"x","n":5,"f":1.0,"g":0.1,"t":true,"z":null,"o":{"k":[1,"2",null]},"e":"","uni":"é日😀","q":"\"\\/\b\f\n\r\t","neg":-12.75,"k with space":{}}"#,
      #"{"a":"x","n":5,"f":1.0,"g":0.1,"h":1.0e+20,"i":1.0e-07,"t":true,"z":null,"o":{"k":[1,"2",null]},"e":""}"#,
      #"{"q":"\"\\/\b\f\n\r\t\u0001\u001F"# + "\u{7f}\",\"sp\":\" \u{2028} \u{2029}\"}",
      #"{"i":-1,"big":9223372036854775807,"neg":-9223372036854775808,"u64":18446744073709551615,"f":1.5,"l":[[],{}]}"#, "[]",
      "{}", "[[],{},[{}]]",
    ] { #expect(reprinted(text) == text) }
  }

  @Test func `bytes that are no UTF-8 pass unchanged`() {
    #expect(jsonBytes(.string([0xff, 0xfe, 0x22, 0xe6])) == [0x22, 0xff, 0xfe, 0x5c, 0x22, 0xe6, 0x22])
    #expect(json(.binary([0x61, 0x0a])) == #""a\n""#)
  }

  @Test func `times, other exts and keys that are no string`() {
    #expect(json(.ext(type: 0, [0, 0, 0, 5, 0, 0, 0, 1])) == "5")
    #expect(json(.ext(type: 7, [0xab, 1])) == #""AB01""#)
    #expect(
      json([.int(1): 1, .null: 2, .bool(true): 3, .double(1): 4, .int(-5): 5, .uint(.max): 6, .binary([0x62]): 7])
        == #"{"1":1,"":2,"true":3,"1.0":4,"-5":5,"18446744073709551615":6,"b":7}"#)
    #expect(json([.ext(type: 0, [0, 0, 0, 5, 0, 0, 0, 1]): 1]) == #"{"5":1}"#)
  }

  @Test func `what Yajl cannot print is refused`() {
    #expect(json(["a": .double(.nan)]) == nil)
    #expect(json(["a": .double(.infinity)]) == nil)
    #expect(json([.array([1]): 1]) == nil)
    var deep: Value = 1
    for _ in 0..<255 { deep = [deep] }
    #expect(json(deep) == String(repeating: "[", count: 255) + "1" + String(repeating: "]", count: 255))
    #expect(json([deep]) == nil)
  }

  @Test func `strings of every length and every byte`() {
    for n in [0, 1, 15, 16, 17, 31, 32, 255, 256, 1000, 70_000] {
      #expect(jsonBytes(.string([UInt8](repeating: 0x61, count: n)))?.count == n + 2)
      #expect(jsonBytes(.string([UInt8](repeating: 0x01, count: n)))?.count == 6 * n + 2)
      #expect(jsonBytes(.string([UInt8](repeating: 0x22, count: n)))?.count == 2 * n + 2)
      #expect(jsonBytes(.binary([UInt8](repeating: 0xe3, count: n)))?.count == n + 2)
    }
    for byte in UInt8.min ... .max {
      for place in [0, 15, 16, 40] {
        var bytes = [UInt8](repeating: 0x61, count: 41)
        bytes[place] = byte
        let printed = jsonBytes(.string(bytes)) ?? []
        if byte >= 0x20, byte != 0x22, byte != 0x5c {
          #expect(printed == [0x22] + bytes + [0x22])
        } else {
          #expect(JSONTranscoder.decode(String(decoding: printed, as: UTF8.self)) == .string(bytes))
        }
      }
    }
  }

  @Test func `the densest records do not overflow their room`() {
    for element in [.null, .bool(false), "", -32, 127, .double(-2.2250738585072014e-308), [[:]], [:]] as [Value] {
      for n in [1, 15, 16, 100, 5000] { #expect(json(.array([Value](repeating: element, count: n))) != nil) }
    }
    let keys = FieldMap((0..<5000).map { .init(key: .double(-2.2250738585072014e-308 * Double($0 + 1)), value: false) })
    #expect(json(.map(keys)) != nil)
  }

  @Test func `lines are written for a batch and the unprintable are reported`() {
    var builder = BatchBuilder()
    for value in [["a": 1], ["a": .double(.nan)], ["b": "x"]] as [Value] {
      builder.begin()
      value.encode(into: &builder.writer)
      builder.commit(time: EventTime(seconds: 3))
    }
    var out = ByteWriter(capacity: 1)
    var rejected = 0
    JSONFormatter.writeLines(builder.finish(tag: Tag("t")), into: &out) { event in
      rejected += 1
      #expect(event.time.seconds == 3 && event.record.find("a")?.double?.isNaN == true)
    }
    let lines = out.string
    #expect(lines == "{\"a\":1}\n{\"b\":\"x\"}\n")
    #expect(rejected == 1)
  }
}

@Suite struct DecimalTextTests {
  private func ruby(_ value: Double) -> String {
    var out = ByteWriter(capacity: 1)
    out.putRubyDouble(value)
    return out.string
  }

  @Test func `floats are printed as Ruby prints them`() {
    let cases: [(Double, String)] = [
      (0, "0.0"), (-0.0, "-0.0"), (1, "1.0"), (-1, "-1.0"), (0.1, "0.1"), (-12.75, "-12.75"), (100, "100.0"),
      // As Ruby 3.1.2 prints them.
      (1e14, "100000000000000.0"), (1e15, "1.0e+15"), (999_999_999_999_999.9, "999999999999999.9"), (9_007_199_254_740_993, "9.007199254740992e+15"),
      (1_234_567_890_123_456.7, "1234567890123456.8"), (1_234_567_890_123_455.5, "1234567890123455.5"), (4_503_599_627_370_497.5, "4.503599627370498e+15"),
      (1e16, "1.0e+16"), (9_999_999_999_999_998, "9.999999999999998e+15"), (12_345_678_901_234_567, "1.2345678901234568e+16"), (1.5e16, "1.5e+16"), (1e20, "1.0e+20"), (1e22, "1.0e+22"),
      (1e100, "1.0e+100"),
      (0.001, "0.001"), (0.0001, "0.0001"), (0.00001, "1.0e-05"), (1e-7, "1.0e-07"), (1.25e-10, "1.25e-10"), (5e-324, "5.0e-324"),
      (1.7976931348623157e308, "1.7976931348623157e+308"), (0.30000000000000004, "0.30000000000000004"),
      (123456.789, "123456.789"),
      (1_700_000_000.25, "1700000000.25"), (1234567890.123456, "1234567890.123456"), (0.00123, "0.00123"),
      (0.1 + 0.7, "0.7999999999999999"),
      (.infinity, "Infinity"), (-.infinity, "-Infinity"), (.nan, "NaN"), (1e9, "1000000000.0"), (123e18, "1.23e+20"),
    ]
    for (value, text) in cases { #expect(ruby(value) == text) }
  }

  @Test func `floats read back the same`() {
    var random = SeededRandom(seed: 4)
    for i in 0..<50_000 {
      let value: Double =
        switch i % 3 {
        case 0: Double(bitPattern: random.next())
        case 1: Double(Int64.random(in: -10_000_000...10_000_000, using: &random)) / 10_000
        default: Double.random(in: -1e7...1e7, using: &random)
        }
      guard value.isFinite else { continue }
      let text = ruby(value)
      #expect(Double(text)?.bitPattern == value.bitPattern, "\(text)")
      // As few digits as Swift's own shortest form.
      func digits(_ s: some StringProtocol) -> Int {
        let mantissa = s.split(separator: "e")[0].filter { $0.isNumber }
        return mantissa.drop { $0 == "0" }.reversed().drop { $0 == "0" }.count
      }
      #expect(digits(text) == digits(value.description), "\(text)")
    }
  }

  @Test func `integers are printed in full`() {
    for value in [0, 9, 10, 99, 100, 12345, -1, -100, .max, .min] as [Int64] {
      var out = ByteWriter()
      out.putDecimal(value)
      let text = out.string
      #expect(text == "\(value)")
    }
    var out = ByteWriter()
    out.putDecimal(UInt64.max)
    let text = out.string
    #expect(text == "18446744073709551615")
  }
}
