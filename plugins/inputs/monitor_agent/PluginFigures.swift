import AggCore

/// One plugin as Fluentd's monitor_agent shows it.
enum PluginFigures {
  static func object(_ plugin: PluginSnapshot, config: Bool, retry: Bool) -> ConfigJSON {
    let c = plugin.counters
    let isOutput = plugin.kind == "output" && !isMulti(plugin)
    var pairs: [ConfigJSON.Pair] = [
      .init("plugin_id", .string(plugin.id)), .init("plugin_category", .string(plugin.kind)), .init("type", .string(plugin.type)),
    ]
    if config {
      pairs.append(.init("config", .object(plugin.config.map { .init($0.name, $0.value.map { .string($0) } ?? .null) })))
    }
    pairs.append(.init("output_plugin", .bool(isOutput)))
    if let buffer = plugin.buffer {
      pairs += [
        .init("buffer_queue_length", .int(buffer.queuedChunks)), .init("buffer_timekeys", .array(buffer.timekeys.map { .int(Int($0)) })),
        .init("buffer_total_queued_size", .int(buffer.stagedBytes &+ buffer.queuedBytes)),
      ]
    }
    pairs.append(.init("retry_count", plugin.kind == "output" ? .int(c[.writeErrors]) : .null))
    switch plugin.kind {
    case "input": pairs += [.init("emit_records", .int(c[.committed])), .init("emit_size", .int(c[.bytes]))]
    case "filter": pairs += [.init("emit_records", .int(c[.out])), .init("emit_size", .int(c[.bytes]))]
    default: if isOutput { pairs += output(c) }
    }
    if let buffer = plugin.buffer { pairs += self.buffer(buffer) }
    if retry, isOutput { pairs.append(.init("retry", self.retry(plugin.retry))) }
    return .object(pairs)
  }

  /// copy and roundrobin are no Output in Fluentd's sense: they have neither a buffer nor a retry.
  static func isMulti(_ plugin: PluginSnapshot) -> Bool { plugin.type == "copy" || plugin.type == "roundrobin" }

  private static func output(_ c: Counters.Snapshot) -> [ConfigJSON.Pair] {
    // The two that Fluentd 1.19 added are shown once they count something: readers of the older shape see no new field.
    let secondary: [ConfigJSON.Pair] = c[.secondaryWrites] > 0 ? [.init("write_secondary_count", .int(c[.secondaryWrites]))] : []
    let oldest: [ConfigJSON.Pair] = c[.oldestDropped] > 0 ? [.init("drop_oldest_chunk_count", .int(c[.oldestDropped]))] : []
    return [
      .init("emit_records", .int(c[.offered])), .init("emit_size", .int(c[.bytes])), .init("emit_count", .int(c[.emits])),
      .init("write_count", .int(c[.writes])),
    ] + secondary + [
      .init("rollback_count", .int(c[.writeErrors])), .init("slow_flush_count", .int(c[.slowWrites])),
      .init("flush_time_count", .int(c[.writeMilliseconds])),
    ] + oldest
  }

  private static func buffer(_ buffer: BufferSnapshot) -> [ConfigJSON.Pair] {
    let used = buffer.limitBytes > 0 ? Double(buffer.stagedBytes &+ buffer.queuedBytes) / Double(buffer.limitBytes) : 0
    var pairs: [ConfigJSON.Pair] = [
      .init("buffer_stage_length", .int(buffer.stagedChunks)), .init("buffer_stage_byte_size", .int(buffer.stagedBytes)),
      .init("buffer_queue_byte_size", .int(buffer.queuedBytes)),
      .init("buffer_available_buffer_space_ratios", .double(((1 - used) * 1000).rounded() / 10)),
    ]
    if let oldest = buffer.timekeys.first { pairs.append(.init("buffer_oldest_timekey", .int(Int(oldest)))) }
    if let newest = buffer.timekeys.last { pairs.append(.init("buffer_newest_timekey", .int(Int(newest)))) }
    return pairs
  }

  private static func retry(_ retry: RetrySnapshot?) -> ConfigJSON {
    guard let retry else { return .object([]) }
    return .object([
      .init("start", .string(time(retry.started))), .init("steps", .int(retry.steps)), .init("next_time", .string(time(retry.next))),
      .init("breaker", .string(retry.breaker)),
    ])
  }
  /// As Ruby prints a Time.
  private static func time(_ time: EventTime) -> String { StrftimeProgram("%Y-%m-%d %H:%M:%S %z").string(time, zone: .local()) }
}
