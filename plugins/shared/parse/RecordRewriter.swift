import AggCore

/// Applies the shared parameters to records that are MessagePack already: json and msgpack.
struct RecordRewriter: ~Copyable {
  private let rules: ParseRules
  private var writer: FieldWriter

  init(_ rules: ParseRules) {
    self.rules = rules
    writer = FieldWriter(rules)
  }

  /// Appends one event; `record` must not lie in the batch.
  mutating func append(_ record: RecordView, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    if rules.timeKey == nil, !rules.convertsValues {
      let bytes = record.bytes
      batch.begin(room: bytes.count)
      batch.writer.append(bytes)
      return rules.commitUntimed(&batch, &context)
    }
    writer.begin(&batch, room: 256, fields: 4)
    record.forEachField { key, value in writer.put(key: key, value, &batch) }
    return writer.finish(&batch, &context)
  }
}
