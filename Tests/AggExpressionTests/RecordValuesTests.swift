import AggCore
import AggExpression
import AggTesting
import Testing

@Suite struct RecordValuesTests {
  private func run(_ value: Value, _ code: String) throws -> Value? {
    var out = ByteWriter()
    value.encode(into: &out)
    let bytes = out.array
    let bindings = Bindings(Scene.host)
    let expression = try Expression(code, allowing: .filter)
    return try bytes.withUnsafeBytes { buffer in
      bindings.begin(EventTime(seconds: 1), RecordView(unchecked: ValueView(unchecked: buffer.baseAddress!)))
      defer { bindings.end() }
      return try expression.evaluate(bindings).decoded
    }
  }

  @Test func `values pass through as they are`() throws {
    let record: Value = [
      "bin": .binary([0xff, 0x00]), "ext": .ext(type: 5, [1, 2, 3]), "big": .uint(.max), "min": .int(.min), "nil": nil,
      "float": 1.5,
      "nest": ["a": [1, ["b": true]]],
    ]
    #expect(try run(record, "record") == record)
    #expect(try run(record, "record.dup") == record)
    for field in record.map?.fields ?? [] {
      #expect(try run(record, "record[\"\(field.key.text ?? "")\"]") == field.value)
    }
    #expect(try run(record, #"record["bin"].is_a?(String)"#) == true)
    #expect(try run(record, #"record["big"] > 1"#) == true)
    #expect(try run(record, #"record["min"].abs rescue "beyond""#) == "beyond")
  }

  @Test func `a key that comes twice counts once when the record is opened`() throws {
    var out = ByteWriter()
    out.putMapHeader(2)
    out.putString("a")
    out.putInt(1)
    out.putString("a")
    out.putInt(2)
    let bytes = out.array
    let bindings = Bindings(Scene.host)
    try bytes.withUnsafeBytes { buffer in
      bindings.begin(EventTime(seconds: 1), RecordView(unchecked: ValueView(unchecked: buffer.baseAddress!)))
      let size = try Expression("record.size", allowing: .filter).evaluate(bindings).decoded
      #expect(size == 1)
      bindings.end()
    }
  }

  @Test func `a record of many fields keeps its order through changes`() throws {
    let record = Value.map(FieldMap((0..<100).map { .init(key: .string(Array("k\($0)".utf8)), value: .int(Int64($0))) }))
    #expect(
      try run(record, #"record.delete("k5"); record["new"] = 1; record["k50"] = "x"; record.keys.values_at(4, 5, 49, 99)"#) == [
        "k4", "k6", "k50", "new",
      ])
    #expect(try run(record, #"record["k50"] = "x"; [record["k50"], record["k99"], record.size]"#) == ["x", 99, 100])
  }

  @Test func `symbols and times become texts`() throws {
    #expect(try run([:], "{a: :b, t: Time.at(0).utc}") == ["a": "b", "t": "1970-01-01 00:00:00 UTC"])
  }

  @Test func `invalid UTF-8 is kept and can be scrubbed`() throws {
    let record: Value = ["a": .string([0x61, 0xff, 0x62])]
    #expect(try run(record, #"record["a"]"#) == .string([0x61, 0xff, 0x62]))
    #expect(try run(record, #"record["a"].scrub("?")"#) == "a?b")
    #expect(try run(record, #"record["a"].length"#) == 3)
    #expect(try run(record, #"record["a"].upcase"#) == .string([0x41, 0xff, 0x42]))
    #expect(try run(record, #"record["a"].to_json rescue "invalid""#) == "invalid")
  }
}

@Suite struct RecordContainersTests {
  @Test func `what nests is told apart from what was set in the record`() throws {
    let scene = Scene(#"{"a":1,"k":{"x":1},"l":[1],"other":{"y":2}}"#)
    let change = try Expression(
      #"record["k"]["x"] = 2; record["l"] << 2; record["a"] = 5; record["k2"] = {}; nil"#, allowing: .filter)
    try scene.with { bindings in
      #expect(bindings.container(Array("k".utf8)) == nil)
      _ = try change.evaluate(bindings)
      #expect(bindings.container(Array("k".utf8))?.decoded == ["x": 2])
      #expect(bindings.container(Array("l".utf8))?.decoded == [1, 2])
      #expect(bindings.container(Array("k2".utf8)) == nil)
      _ = try Expression(#"record["k"] = 1"#, allowing: .filter).evaluate(bindings)
      #expect(bindings.container(Array("k".utf8))?.decoded == ["x": 2])
    }
  }
}

@Suite struct RecordEditsTests {
  /// The same changes to the record, whose fields lie in its bytes, and to a Hash that was decoded.
  @Test func `changes to a record that stays in its bytes are those of a Hash`() throws {
    var random = SeededRandom(seed: 7)
    let keys = ["a", "b", "k", "l", "s", "new", "n2", "n3"]
    for _ in 0..<300 {
      var code = "h = Hash[record.dup.to_a]; "
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        let key = keys[Int.random(in: 0..<keys.count, using: &random)]
        let changes = [
          "[\"\(key)\"] = \(Int.random(in: 0...9, using: &random))", ".delete(\"\(key)\")", "[\"\(key)\"] = {\"x\" => 1}",
          ".store(\"\(key)\", [2])",
        ]
        let change = changes[Int.random(in: 0..<changes.count, using: &random)]
        code += "record\(change); h\(change); "
        if Int.random(in: 0..<8, using: &random) == 0 { code += "record.keys; " }
      }
      let scene = Scene(#"{"a":1,"b":"text","k":{"x":1},"l":[1],"s":null}"#)
      try scene.with { bindings in
        let other = try Expression(code + "h", allowing: .filter).evaluate(bindings)
        var out = ByteWriter()
        try RubyValue.hash(bindings.record).write(into: &out)
        var expected = ByteWriter()
        try other.write(into: &expected)
        #expect(out.array == expected.array, "\(code)")
        #expect(RubyValue.hash(bindings.record).decoded == other.decoded, "\(code)")
        let keys = try Expression("record.keys", allowing: .filter).evaluate(bindings).decoded
        #expect(keys == .array((other.decoded?.map?.fields ?? []).map(\.key)), "\(code)")
      }
    }
  }

  @Test func `what nests is edited in its bytes too`() throws {
    let scene = Scene(#"{"k":{"x":1,"y":{"z":[1]},"t":"text"},"o":2}"#)
    #expect(
      try scene.value(
        #"record["k"]["y"]["z"] << 2; record["k"]["n"] = 3; record["k"].delete("x"); record["k"]["t"].gsub!("t", "T"); record"#)
        == ["k": ["y": ["z": [1, 2]], "t": "TexT", "n": 3], "o": 2])
  }
}
