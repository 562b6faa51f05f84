import AggCore

/// `/ledger.json`: what became of every event, plugin by plugin.
enum LedgerPage {
  private static let columns: [(kind: String, columns: [Counters.Column])] = [
    ("input", [.received, .committed, .rejected, .lost]),
    ("filter", [.in, .recovered, .created, .out, .merged, .held]),
    ("output", [.offered, .recovered, .delivered, .buffered, .deadLettered]),
    ("label", [.offered]),
  ]

  static func object(_ snapshot: DaemonSnapshot) -> ConfigJSON {
    var plugins: [ConfigJSON] = []
    var totals: [ConfigJSON.Pair] = []
    for (kind, columns) in columns {
      let all = snapshot.plugins.filter { $0.kind == kind }
      plugins += all.map { plugin($0, columns) }
      // Events that no match took count with the outputs: they left there.
      if kind == "label" { continue }
      let counted = kind == "output" ? all + snapshot.plugins.filter { $0.kind == "label" } : all
      var pairs = columns.map { column in ConfigJSON.Pair(column.name, .int(counted.reduce(0) { $0 &+ $1.counters[column] })) }
      pairs.append(.init("dropped", dropped(counted)))
      pairs += droppedBytes(counted)
      pairs.append(.init("unaccounted", .int(counted.reduce(0) { $0 &+ $1.unaccounted })))
      totals.append(.init(kind + "s", .object(pairs)))
    }
    return .object([
      .init("balanced", .bool(snapshot.plugins.allSatisfy { $0.unaccounted == 0 })), .init("totals", .object(totals)),
      .init("plugins", .array(plugins)),
    ])
  }

  private static func plugin(_ plugin: PluginSnapshot, _ columns: [Counters.Column]) -> ConfigJSON {
    var pairs: [ConfigJSON.Pair] = [
      .init("id", .string(plugin.id)), .init("kind", .string(plugin.kind)), .init("type", .string(plugin.type)),
      .init("label", .string(plugin.label)),
    ]
    pairs += columns.map { .init($0.name, .int(plugin.counters[$0])) }
    // Where it has happened: dead letters that are part of `offered` again, and chunks that wait for room among them.
    if plugin.kind == "output" {
      pairs += [Counters.Column.replayed, .deadLettersRefused].filter { plugin.counters[$0] > 0 }.map { .init($0.name, .int(plugin.counters[$0])) }
    }
    // An output that emits (exec_filter) has an input's columns beside its own.
    if plugin.kind == "output", plugin.counters[.received] > 0 {
      pairs += [Counters.Column.received, .committed, .rejected, .lost].map { .init($0.name, .int(plugin.counters[$0])) }
    }
    // Plugins that listen.
    if plugin.counters[.connections] > 0 || plugin.counters[.refusedConnections] > 0 {
      let columns: [Counters.Column] = [.connections, .openConnections, .refusedConnections, .timedOutConnections]
      pairs += columns.map { .init($0.name, .int(plugin.counters[$0])) }
    }
    pairs.append(.init("dropped", dropped([plugin])))
    pairs += droppedBytes([plugin])
    pairs.append(.init("unaccounted", .int(plugin.unaccounted)))
    return .object(pairs)
  }

  /// `REASON_bytes`, for losses whose events nobody can count.
  private static func droppedBytes(_ plugins: [PluginSnapshot]) -> [ConfigJSON.Pair] {
    var sums: [String: Int] = [:]
    for plugin in plugins { for (reason, n) in plugin.counters.droppedBytes { sums[reason, default: 0] &+= n } }
    return sums.sorted { $0.key < $1.key }.map { .init($0.key + "_bytes", .int($0.value)) }
  }

  /// Counts by reason, those of several plugins together.
  private static func dropped(_ plugins: [PluginSnapshot]) -> ConfigJSON {
    var sums: [String: Int] = [:]
    for plugin in plugins { for (reason, n) in plugin.counters.dropped { sums[reason, default: 0] &+= n } }
    return .object(sums.sorted { $0.key < $1.key }.map { .init($0.key, .int($0.value)) })
  }
}
