import AggCore
import AggExpression
import Testing

@Suite struct ExpressionTraitsTests {
  private func traits(_ text: String) throws -> ExpressionTraits { try Template(text).traits }
  private func names(_ traits: ExpressionTraits) -> [String]? {
    traits.fields.map { $0.map { String(decoding: $0, as: UTF8.self) }.sorted() }
  }

  @Test(
    arguments: [
      (#"${record["a"]}"#, ["a"]), (#"${record["a"]["b"]} ${record.dig("c", "d")}"#, ["a", "c"]),
      (#"${record.key?("k")}"#, ["k"]), ("${tag}", []),
      (#"${record.to_json}"#, nil), (#"${record}"#, nil), (#"${record[tag]}"#, nil), (#"${r = record; r["a"]}"#, nil),
      (#"${record["a"].map { |x| record["b"] }}"#, ["a", "b"]),
      (#"${record.fetch("a")}"#, nil),
    ] as [(String, [String]?)])
  func `the fields that it reads`(text: String, fields: [String]?) throws { #expect(names(try traits(text)) == fields) }

  @Test func `what is the same for all events of a tag`() throws {
    for text in [
      "${tag}", "${tag_parts[1]}-x", "${hostname.upcase}", "plain", "${ENV['X'] || tag}", "${JSON.parse('{}')}",
      "${Socket.gethostname}",
    ] {
      #expect(try traits(text).isConstant, "\(text)")
    }
    for text in [
      "${record['a']}", "${time}", "${Time.now}", "${rand}", "${[1, 2].sample}", "${SecureRandom.uuid}", "${[1].map(&:shuffle)}",
      "${DateTime.now.to_s}",
    ] {
      #expect(try !traits(text).isConstant, "\(text)")
    }
  }

  @Test func `what may change the record`() throws {
    for text in [
      #"${record["a"] = 1}"#, #"${record["a"]["b"] = 1}"#, #"${record["a"] ||= 1}"#, #"${record.delete("a")}"#,
      #"${record["a"] << "x"}"#, #"${record["a"].gsub!(/x/, "")}"#,
      #"${record["l"].each(&:clear)}"#, #"${r = record; r.store("a", 1)}"#, #"${record["l"].push(1)}"#,
      #"${record["l"].map! { 1 }}"#, #"${record.dig("a", "b").concat("x")}"#,
      #"${record["a"]&.delete("x")}"#, #"${x, y = record["a"]; x << y}"#,
    ] { #expect(try traits(text).changesRecord, "\(text)") }
    for text in [
      #"${record["a"].gsub(/x/, "")}"#, #"${a = record["a"]; a + 1}"#, #"${record["a"].map { |x| x * 2 }}"#,
      #"${a = [1]; a << 2}"#, "${tag.delete('x')}",
    ] {
      #expect(try !traits(text).changesRecord, "\(text)")
    }
  }

  @Test func `what is only passed on keeps its bytes`() throws {
    // 1 as an int 64, a float 32, an unsorted map with a long header: forms that agg itself does not write.
    let odd: [UInt8] = [0xde, 0, 2, 0xa1, 0x6e, 0xd3, 0, 0, 0, 0, 0, 0, 0, 1, 0xa1, 0x66, 0xca, 0x3f, 0x80, 0, 0]
    let record: [UInt8] = [0x81, 0xa1, 0x6f] + odd
    let bindings = Bindings(Scene.host)
    try record.withUnsafeBytes { bytes in
      bindings.begin(EventTime(seconds: 1), RecordView(unchecked: ValueView(unchecked: bytes.baseAddress!)))
      defer { bindings.end() }
      for (text, expected) in [
        (#"${record["o"]}"#, odd), (#"${record["o"]["n"]}"#, Array(odd[5..<14])),
        (#"${record.dig("o", "f")}"#, Array(odd[16...])),
      ] {
        var out = ByteWriter()
        try Template(text).write(bindings, into: &out)
        #expect(out.array == expected, "\(text)")
      }
    }
  }

  @Test func `a path asks for each of its keys where it stands`() throws {
    let scene = Scene(#"{"a":{"b":{}},"s":"text"}"#)
    #expect(try scene.value(#"record["a"]["b"]["a"]"#) == .null)
    #expect(throws: EvaluationError.self) { try scene.value(#"record["a"]["x"]["a"]"#) }
    #expect(throws: EvaluationError.self) { try scene.value(#"record["x"]["a"]"#) }
    #expect(try scene.value(#"record["s"]["ex"]"#) == "ex")
    #expect(try scene.value(#"record.dig("x", "a")"#) == .null)
    #expect(throws: EvaluationError.self) { try scene.value(#"record.dig("s", "a")"#) }
  }
}
