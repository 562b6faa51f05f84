import AggCore
import AggExpression
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
      "bin": .binary([0xff, 0x00]), "ext": .ext(type: 5, [1, 2, 3]), "big": .uint(.max), "min": .int(.min), "nil": nil, "float": 1.5,
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
    let change = try Expression(#"record["k"]["x"] = 2; record["l"] << 2; record["a"] = 5; record["k2"] = {}; nil"#, allowing: .filter)
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
