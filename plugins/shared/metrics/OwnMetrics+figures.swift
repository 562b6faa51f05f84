import AggCore
import Glibc

extension OwnMetrics {
  /// Everything there is to tell now. `files`: how many files of one input are told one by one, those that are furthest behind first.
  init(_ context: PluginContext, _ monitor: DaemonMonitor, files: Int) {
    let snapshot = monitor.snapshot()
    let program = context.shared(ProgramFacts.self)
    family("agg_build_info", .gauge, "Version of agg, as a label.") { $0.add([("version", program?.version ?? "")], 1) }
    process()
    if let memory = context.shared(MemoryBudget.self) { held(memory) }
    counters(snapshot)
    family("agg_dropped_events_total", .counter, "Events given up on purpose, by reason.") { family in
      for plugin in snapshot.plugins {
        for (reason, n) in plugin.counters.dropped.sorted(by: { $0.key < $1.key }) {
          family.add([("kind", plugin.kind)] + Self.labels(plugin) + [("reason", reason)], Double(n))
        }
      }
    }
    let reasons = Set(snapshot.plugins.flatMap { $0.counters.droppedBytes.keys })
    for reason in reasons.sorted() {
      family("agg_\(reason)_bytes_total", .counter, "Bytes of what was given up with the reason \(reason), as far as they are known.") { family in
        for plugin in snapshot.plugins {
          if let n = plugin.counters.droppedBytes[reason] { family.add([("kind", plugin.kind)] + Self.labels(plugin), Double(n)) }
        }
      }
    }
    connections(snapshot)
    family("agg_unaccounted_events", .gauge, "Events that a plugin's ledger does not account for; 0 but for moments.") { family in
      for plugin in snapshot.plugins { family.add([("kind", plugin.kind)] + Self.labels(plugin), Double(plugin.unaccounted)) }
    }
    buffers(snapshot)
    latencies(snapshot)
    if let tails = context.shared(MetricRegistry.self)?.tails { self.files(tails, limit: files) }
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

  private mutating func counters(_ snapshot: DaemonSnapshot) {
    for row in Self.columns {
      family(row.name, row.type, row.help) { family in
        for plugin in snapshot.plugins where plugin.kind == row.kind {
          family.add(Self.labels(plugin), Double(plugin.counters[row.column]))
        }
      }
    }
    family("agg_output_write_seconds_total", .counter, "Time spent in attempts to deliver.") { family in
      for plugin in snapshot.plugins where plugin.kind == "output" {
        family.add(Self.labels(plugin), Double(plugin.counters[.writeMilliseconds]) / 1000)
      }
    }
    family("agg_output_breaker_open", .gauge, "1 while the output's destination fails and is probed by one attempt at a time.") { family in
      for plugin in snapshot.plugins where plugin.buffer != nil { family.add(Self.labels(plugin), plugin.retry == nil ? 0 : 1) }
    }
    family("agg_output_retry_steps", .gauge, "Failures in a row of the output; 0 while it works.") { family in
      for plugin in snapshot.plugins where plugin.buffer != nil { family.add(Self.labels(plugin), Double(plugin.retry?.steps ?? 0)) }
    }
  }

  /// Of plugins that listen, once somebody has connected.
  private mutating func connections(_ snapshot: DaemonSnapshot) {
    let listeners = snapshot.plugins.filter { $0.counters[.connections] > 0 || $0.counters[.refusedConnections] > 0 }
    if listeners.isEmpty { return }
    let rows: [(name: String, type: MetricKind, help: String, column: Counters.Column)] = [
      ("agg_connections_total", .counter, "Connections that were accepted.", .connections),
      ("agg_connections_open", .gauge, "Connections that are open.", .openConnections),
      ("agg_connections_refused_total", .counter, "Connections closed at once, beyond connection_limit.", .refusedConnections),
      ("agg_connections_timed_out_total", .counter, "Connections closed for a message or a silence that took too long.", .timedOutConnections),
    ]
    for row in rows {
      family(row.name, row.type, row.help) { family in
        for plugin in listeners { family.add([("kind", plugin.kind)] + Self.labels(plugin), Double(plugin.counters[row.column])) }
      }
    }
  }

  private mutating func buffers(_ snapshot: DaemonSnapshot) {
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
      family(row.name, .gauge, row.help) { family in
        for plugin in snapshot.plugins { if let buffer = plugin.buffer { family.add(Self.labels(plugin), row.value(buffer)) } }
      }
    }
  }

  private mutating func latencies(_ snapshot: DaemonSnapshot) {
    let rows: [(name: String, help: String, latency: Counters.Latency)] = [
      ("agg_output_write_duration_seconds", "How long attempts to deliver a chunk took.", .write),
      (
        "agg_output_delivery_latency_seconds", "From taking an event in to its delivery, of events that this process took in.",
        .delivery
      ),
    ]
    for row in rows {
      family(row.name, .histogram, row.help) { family in
        for plugin in snapshot.plugins where plugin.buffer != nil { family.add(Self.labels(plugin), plugin.counters[row.latency]) }
      }
    }
  }

  /// How far in_tail is behind, by file.
  private mutating func files(_ tails: TailFigures, limit: Int) {
    let all = tails.all.map { (plugin: $0.plugin, rows: TailRow.rows(of: $0.input, limit: limit), files: $0.input.files.count) }
    family("agg_tail_files", .gauge, "Files that are followed.") { family in
      for input in all { family.add([("plugin_id", input.plugin)], Double(input.files)) }
    }
    let rows: [(name: String, help: String, value: (TailRow) -> Double?)] = [
      ("agg_tail_position_bytes", "How far a file is read and stored.", { $0.position.map { Double($0) } }),
      ("agg_tail_lag_bytes", "What a file has beyond that.", { Double($0.bytes) }),
      ("agg_tail_lag_seconds", "Since when the first of those bytes has been seen; 0 when there are none.", { $0.seconds }),
    ]
    for row in rows {
      family(row.name, .gauge, row.help) { family in
        for input in all {
          for file in input.rows {
            if let value = row.value(file) { family.add([("plugin_id", input.plugin), ("path", file.path)], value) }
          }
        }
      }
    }
  }

  private mutating func held(_ memory: MemoryBudget) {
    family("agg_memory_held_bytes", .gauge, "Events on their way, memory buffers and unfinished input.") { $0.add([], Double(HeldMemory.current)) }
    guard let limit = memory.limit else { return }
    family("agg_memory_limit_bytes", .gauge, "memory_limit.") { $0.add([], Double(limit)) }
    family("agg_memory_suspended", .gauge, "1 while inputs wait for memory.") { $0.add([], memory.isSuspended ? 1 : 0) }
    family("agg_memory_suspensions_total", .counter, "How often inputs had to wait for memory.") { $0.add([], Double(memory.suspensionCount)) }
  }

  /// What Prometheus' own client libraries tell of a process, from /proc.
  private mutating func process() {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let cpu =
      Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    family("process_cpu_seconds_total", .counter, "User and system time of the process.") { $0.add([], cpu) }
    if let text = try? File.contents("/proc/self/statm", limit: 4096).string {
      let pages = text.split(separator: " ").compactMap { Int($0) }
      if pages.count > 1 {
        let size = Int(sysconf(Int32(_SC_PAGESIZE)))
        family("process_resident_memory_bytes", .gauge, "Resident memory of the process.") {
          $0.add([], Double(pages[1] &* size))
        }
        family("process_virtual_memory_bytes", .gauge, "Virtual memory of the process.") {
          $0.add([], Double(pages[0] &* size))
        }
      }
    }
    if let descriptors = try? File.list("/proc/self/fd").count {
      family("process_open_fds", .gauge, "Open file descriptors of the process.") { $0.add([], Double(descriptors)) }
    }
  }
}
