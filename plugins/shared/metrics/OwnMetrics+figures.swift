import AggCore
import Glibc

/// agg's own figures for Prometheus: the process, the ledger, the buffers, the files that are followed. monitor_agent and the
/// input prometheus show them.
enum PrometheusText {
  static func write(_ snapshot: DaemonSnapshot, _ program: ProgramFacts?, _ tails: TailFigures?, _ memory: MemoryBudget?, into page: inout ExpositionPage)
  {
    page.family("agg_build_info", .gauge, "Version of agg, as a label.") { $0.add([("version", program?.version ?? "")], 1) }
    process(&page)
    if let memory { held(memory, &page) }
    counters(snapshot, &page)
    page.family("agg_dropped_events_total", .counter, "Events given up on purpose, by reason.") { family in
      for plugin in snapshot.plugins {
        for (reason, n) in plugin.counters.dropped.sorted(by: { $0.key < $1.key }) {
          family.add([("kind", plugin.kind)] + labels(plugin) + [("reason", reason)], Double(n))
        }
      }
    }
    let reasons = Set(snapshot.plugins.flatMap { $0.counters.droppedBytes.keys })
    for reason in reasons.sorted() {
      page.family("agg_\(reason)_bytes_total", .counter, "Bytes of what was given up with the reason \(reason), as far as they are known.") { family in
        for plugin in snapshot.plugins {
          if let n = plugin.counters.droppedBytes[reason] { family.add([("kind", plugin.kind)] + labels(plugin), Double(n)) }
        }
      }
    }
    connections(snapshot, &page)
    page.family("agg_unaccounted_events", .gauge, "Events that a plugin's ledger does not account for; 0 but for moments.") {
      family in
      for plugin in snapshot.plugins { family.add([("kind", plugin.kind)] + labels(plugin), Double(plugin.unaccounted)) }
    }
    buffers(snapshot, &page)
    if let tails { files(tails, &page) }
  }

  private static func labels(_ plugin: PluginSnapshot) -> [(String, String)] {
    [("plugin_id", plugin.id), ("type", plugin.type)]
  }

  private static let columns: [(kind: String, name: String, type: MetricKind, help: String, column: Counters.Column)] = [
    ("input", "agg_input_received_events_total", .counter, "Events that came in.", .received),
    ("input", "agg_input_committed_events_total", .counter, "Events stored at all their outputs.", .committed),
    ("input", "agg_input_rejected_events_total", .counter, "Events that could not be read.", .rejected),
    ("input", "agg_input_lost_events_total", .counter, "Events that no buffer took.", .lost),
    ("input", "agg_input_duplicate_events_total", .counter, "Events that came a second time and were left out.", .duplicates),
    ("input", "agg_input_committed_bytes_total", .counter, "Bytes of stored events, as MessagePack.", .bytes),
    ("filter", "agg_filter_in_events_total", .counter, "Events given to the filter.", .in),
    ("filter", "agg_filter_out_events_total", .counter, "Events that the filter passed on.", .out),
    ("filter", "agg_filter_created_events_total", .counter, "Events that the filter made of others.", .created),
    ("filter", "agg_filter_merged_events_total", .counter, "Events that the filter folded into others.", .merged),
    ("filter", "agg_filter_held_events", .gauge, "Events that the filter holds back for now.", .held),
    ("output", "agg_output_offered_events_total", .counter, "Events that were routed to the output.", .offered),
    ("output", "agg_output_recovered_events_total", .counter, "Events found in the buffer at the start.", .recovered),
    ("output", "agg_output_delivered_events_total", .counter, "Events that the destination has.", .delivered),
    ("output", "agg_output_dead_lettered_events_total", .counter, "Events put aside as undeliverable.", .deadLettered),
    ("output", "agg_output_replayed_events_total", .counter, "Dead letters that were offered again.", .replayed),
    (
      "output", "agg_output_dead_letters_refused_total", .counter, "Times a chunk stayed because the dead letters were full or could not be written.",
      .deadLettersRefused
    ),
    ("output", "agg_output_buffered_events", .gauge, "Events in the buffer.", .buffered),
    ("output", "agg_output_offered_bytes_total", .counter, "Bytes of events routed to the output, as MessagePack.", .bytes),
    ("output", "agg_output_writes_total", .counter, "Attempts to deliver a chunk.", .writes),
    ("output", "agg_output_write_errors_total", .counter, "Attempts that failed.", .writeErrors),
    ("output", "agg_output_retries_total", .counter, "Chunks put back to be tried again.", .retries),
    ("output", "agg_output_breaker_opens_total", .counter, "How often the destination began to fail.", .breakerOpens),
    ("output", "agg_output_secondary_writes_total", .counter, "Attempts to deliver a chunk to the secondary.", .secondaryWrites),
    ("output", "agg_output_oldest_chunks_dropped_total", .counter, "Chunks that drop_oldest_chunk gave up.", .oldestDropped),
    ("output", "agg_output_slow_writes_total", .counter, "Attempts that took longer than slow_flush_log_threshold.", .slowWrites),
  ]

  private static func counters(_ snapshot: DaemonSnapshot, _ page: inout ExpositionPage) {
    for row in columns {
      page.family(row.name, row.type, row.help) { family in
        for plugin in snapshot.plugins where plugin.kind == row.kind {
          family.add(labels(plugin), Double(plugin.counters[row.column]))
        }
      }
    }
    page.family("agg_output_write_seconds_total", .counter, "Time spent in attempts to deliver.") { family in
      for plugin in snapshot.plugins where plugin.kind == "output" {
        family.add(labels(plugin), Double(plugin.counters[.writeMilliseconds]) / 1000)
      }
    }
    page.family("agg_output_breaker_open", .gauge, "1 while the output's destination fails and is probed by one attempt at a time.") { family in
      for plugin in snapshot.plugins where plugin.buffer != nil { family.add(labels(plugin), plugin.retry == nil ? 0 : 1) }
    }
    page.family("agg_output_retry_steps", .gauge, "Failures in a row of the output; 0 while it works.") { family in
      for plugin in snapshot.plugins where plugin.buffer != nil { family.add(labels(plugin), Double(plugin.retry?.steps ?? 0)) }
    }
  }

  /// Of plugins that listen, once somebody has connected.
  private static func connections(_ snapshot: DaemonSnapshot, _ page: inout ExpositionPage) {
    let listeners = snapshot.plugins.filter { $0.counters[.connections] > 0 || $0.counters[.refusedConnections] > 0 }
    if listeners.isEmpty { return }
    let rows: [(name: String, type: MetricKind, help: String, column: Counters.Column)] = [
      ("agg_connections_total", .counter, "Connections that were accepted.", .connections),
      ("agg_connections_open", .gauge, "Connections that are open.", .openConnections),
      ("agg_connections_refused_total", .counter, "Connections closed at once, beyond connection_limit.", .refusedConnections),
      ("agg_connections_timed_out_total", .counter, "Connections closed for a message or a silence that took too long.", .timedOutConnections),
    ]
    for row in rows {
      page.family(row.name, row.type, row.help) { family in
        for plugin in listeners { family.add([("kind", plugin.kind)] + labels(plugin), Double(plugin.counters[row.column])) }
      }
    }
  }

  private static func buffers(_ snapshot: DaemonSnapshot, _ page: inout ExpositionPage) {
    let rows: [(name: String, help: String, value: (BufferSnapshot) -> Double)] = [
      ("agg_buffer_staged_bytes", "Bytes in chunks that still grow.", { Double($0.stagedBytes) }),
      ("agg_buffer_queued_bytes", "Bytes in chunks that wait for delivery or are being delivered.", { Double($0.queuedBytes) }),
      ("agg_buffer_limit_bytes", "total_limit_size.", { Double($0.limitBytes) }),
      ("agg_buffer_staged_chunks", "Chunks that still grow.", { Double($0.stagedChunks) }),
      ("agg_buffer_queued_chunks", "Chunks that wait for delivery.", { Double($0.queuedChunks) }),
      (
        "agg_buffer_oldest_chunk_age_seconds", "Age of the oldest chunk; 0 when there is none.",
        { Double($0.oldestAge ?? 0) / 1e9 }
      ),
    ]
    for row in rows {
      page.family(row.name, .gauge, row.help) { family in
        for plugin in snapshot.plugins { if let buffer = plugin.buffer { family.add(labels(plugin), row.value(buffer)) } }
      }
    }
  }

  /// How far in_tail is behind, by file.
  private static func files(_ tails: TailFigures, _ page: inout ExpositionPage) {
    let all = tails.all
    page.family("agg_tail_position_bytes", .gauge, "How far a file is read and stored.") { family in
      for (plugin, input) in all {
        for file in input.files { family.add([("plugin_id", plugin), ("path", file.path)], Double(file.position)) }
      }
    }
    page.family("agg_tail_lag_bytes", .gauge, "What a file has beyond that.") { family in
      for (plugin, input) in all {
        for file in input.files {
          family.add([("plugin_id", plugin), ("path", file.path)], Double(max(0, file.size - file.position)))
        }
      }
    }
  }

  private static func held(_ memory: MemoryBudget, _ page: inout ExpositionPage) {
    page.family("agg_memory_held_bytes", .gauge, "Events on their way, memory buffers and unfinished input.") { $0.add([], Double(HeldMemory.current)) }
    guard let limit = memory.limit else { return }
    page.family("agg_memory_limit_bytes", .gauge, "memory_limit.") { $0.add([], Double(limit)) }
    page.family("agg_memory_suspended", .gauge, "1 while inputs wait for memory.") { $0.add([], memory.isSuspended ? 1 : 0) }
    page.family("agg_memory_suspensions_total", .counter, "How often inputs had to wait for memory.") { $0.add([], Double(memory.suspensionCount)) }
  }

  /// What Prometheus' own client libraries tell of a process, from /proc.
  private static func process(_ page: inout ExpositionPage) {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let cpu =
      Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    page.family("process_cpu_seconds_total", .counter, "User and system time of the process.") { $0.add([], cpu) }
    if let text = try? File.contents("/proc/self/statm", limit: 4096).string {
      let pages = text.split(separator: " ").compactMap { Int($0) }
      if pages.count > 1 {
        let size = Int(sysconf(Int32(_SC_PAGESIZE)))
        page.family("process_resident_memory_bytes", .gauge, "Resident memory of the process.") {
          $0.add([], Double(pages[1] &* size))
        }
        page.family("process_virtual_memory_bytes", .gauge, "Virtual memory of the process.") {
          $0.add([], Double(pages[0] &* size))
        }
      }
    }
    if let descriptors = try? File.list("/proc/self/fd").count {
      page.family("process_open_fds", .gauge, "Open file descriptors of the process.") { $0.add([], Double(descriptors)) }
    }
  }
}
