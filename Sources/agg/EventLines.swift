import AggCore

/// Events as JSON lines that no terminal obeys: `{"tag":…,"time":…,"record":{…}}`.
enum EventLines {
  private static func near(_ value: Value) -> ConfigJSON {
    switch value {
    case .null: .null
    case .bool(let value): .bool(value)
    case .int(let value): .int(Int(value))
    case .uint(let value): .string("\(value)")
    case .double(let value): value.isFinite ? .double(value) : .string("\(value)")
    case .string, .binary: .string(value.text ?? "")
    case .ext(let type, let bytes): .string("ext \(type): \(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())")
    case .array(let items): .array(items.map(near))
    case .map(let map): .object(map.fields.map { .init($0.key.text ?? near($0.key).json, near($0.value)) })
    }
  }

  static func write(_ batch: EventBatch, _ body: ([UInt8]) -> Void) {
    let program = StrftimeProgram("%Y-%m-%dT%H:%M:%S.%NZ")
    let tag = ConfigJSON.string(batch.tag.description).json
    batch.forEachEvent { time, record in
      var out = ByteWriter(capacity: record.bytes.count * 2 + 128)
      out.append("{\"tag\":\(tag),\"time\":\"\(program.string(time, zone: .utc))\",\"record\":")
      let before = out.count
      if !JSONFormatter.writeRecord(record, into: &out) {
        out.count = before
        // What the destination could not be sent either: as near as JSON comes.
        out.append(near(Value(record)).json)
      }
      out.append("}" as StaticString)
      body(SafeText.json(out.bytes) + [0x0a])
    }
  }
}
