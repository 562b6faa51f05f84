import AggCore
import Testing

@Suite struct MessagePackTests {
  private func written(_ body: (inout ByteWriter) -> Void) -> [UInt8] {
    var writer = ByteWriter(capacity: 1)
    body(&writer)
    return writer.array
  }

  @Test func `integers take the shortest form`() {
    let cases: [(Int64, [UInt8])] = [
      (0, [0]), (127, [0x7f]), (128, [0xcc, 0x80]), (255, [0xcc, 0xff]), (256, [0xcd, 1, 0]), (65535, [0xcd, 0xff, 0xff]),
      (65536, [0xce, 0, 1, 0, 0]), (0xffff_ffff, [0xce, 0xff, 0xff, 0xff, 0xff]),
      (0x1_0000_0000, [0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
      (-1, [0xff]), (-32, [0xe0]), (-33, [0xd0, 0xdf]), (-128, [0xd0, 0x80]), (-129, [0xd1, 0xff, 0x7f]),
      (-32768, [0xd1, 0x80, 0]), (-32769, [0xd2, 0xff, 0xff, 0x7f, 0xff]), (-2_147_483_648, [0xd2, 0x80, 0, 0, 0]),
      (.min, [0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    ]
    for (value, bytes) in cases {
      #expect(written { $0.putInt(value) } == bytes)
      #expect(bytes.withUnsafeBytes { Value(validating: $0) } == .int(value))
    }
    #expect(written { $0.putUInt(.max) } == [0xcf] + [UInt8](repeating: 0xff, count: 8))
  }

  @Test func `scalars and strings are written as the specification says`() {
    #expect(
      written {
        $0.putNil(); $0.putBool(false); $0.putBool(true)
      } == [0xc0, 0xc2, 0xc3])
    #expect(written { $0.putDouble(1.5) } == [0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0])
    #expect(written { $0.putString("") } == [0xa0])
    #expect(written { $0.putString("abc") } == [0xa3, 0x61, 0x62, 0x63])
    for (n, header) in [(31, [0xbf]), (32, [0xd9, 32]), (255, [0xd9, 255]), (256, [0xda, 1, 0]), (65536, [0xdb, 0, 1, 0, 0])]
      as [(Int, [UInt8])]
    {
      let text = [UInt8](repeating: 0x78, count: n)
      #expect(written { $0.putString(text) } == header + text)
    }
    for (n, header) in [(1, [0xc4, 1]), (256, [0xc5, 1, 0]), (65536, [0xc6, 0, 1, 0, 0])] as [(Int, [UInt8])] {
      let data = [UInt8](repeating: 7, count: n)
      #expect(written { out in data.withUnsafeBytes { out.putBinary($0) } } == header + data)
    }
    for (n, header) in [
      (0, [0xc7, 0, 5]), (1, [0xd4, 5]), (2, [0xd5, 5]), (3, [0xc7, 3, 5]), (8, [0xd7, 5]), (16, [0xd8, 5]),
      (256, [0xc8, 1, 0, 5]),
    ] as [(Int, [UInt8])] {
      let data = [UInt8](repeating: 7, count: n)
      let bytes = written { out in data.withUnsafeBytes { out.putExtension(type: 5, $0) } }
      #expect(bytes == header + data)
      #expect(bytes.withUnsafeBytes { Value(validating: $0) } == .ext(type: 5, data))
    }
    #expect(written { $0.putEventTime(EventTime(seconds: 1, nanoseconds: 2)) } == [0xd7, 0, 0, 0, 0, 1, 0, 0, 0, 2])
  }

  @Test func `a container's count may be known only at its end`() {
    for n in [0, 15, 16, 70_000] {
      let bytes = written { out in
        let map = out.beginMap()
        for i in 0..<n { out.putInt(Int64(i)); let list = out.beginArray(); out.putNil(); out.end(list, count: 1) }
        out.end(map, count: n)
      }
      let expected = written { out in
        out.putMapHeader(n)
        for i in 0..<n { out.putInt(Int64(i)); out.putArrayHeader(1); out.putNil() }
      }
      #expect(bytes == expected)
    }
  }

  @Test func `a value survives encoding and decoding`() {
    let value: Value = [
      "a": 1, "b": [nil, true, false, -5, 1.25, "text"], "c": ["x": ["y": []]], "bytes": .binary([0, 255]), "big": .uint(.max),
      "time": .ext(type: 0, [0, 0, 0, 1, 0, 0, 0, 2]), "not utf-8": .string([0xff, 0xfe]), .int(7): "a key that is no string",
    ]
    let bytes = written { value.encode(into: &$0) }
    #expect(bytes.withUnsafeBytes { Value(validating: $0) } == value)
  }

  @Test func `a field map keeps order over setting and removing`() {
    var map = FieldMap()
    map["a"] = 1
    map["b"] = 2
    map["c"] = 3
    map["a"] = 4
    map["b"] = nil
    #expect(map.fields.map(\.key) == ["a", "c"])
    #expect(map["a"] == 4)
    var value: Value = ["x": 1]
    value["y"] = "z"
    #expect(value == ["x": 1, "y": "z"])
    let many = (0..<1000).map { FieldMap.Field(key: .int(Int64($0 % 20)), value: .int(Int64($0))) }
    #expect(FieldMap(many).count == 20)
    #expect(FieldMap(many)[Value.int(3)] == 983)
  }
}
