import AggCore
import AggNet

/// Stores the events of forward messages and acknowledges them; shared by all connections of one in_forward.
struct ForwardIntake: Sendable {
  let context: PluginContext
  let emitter: Emitter
  let duplicates: ForwardDuplicates
  let quiet: QuietLog
  let options: ForwardMessage.Options
  /// A message larger than this is told.
  let warnLimit: Int
  /// A message larger than this is dropped.
  let limit: Int
  let deniesKeepalive: Bool

  /// What is stored by one emit, and then answered by one write.
  private struct Group: ~Copyable {
    var batches: [EventBatch] = []
    /// Single events of one tag that follow each other.
    var events: ByteWriter?
    var eventTag: [UInt8] = []
    var chunks: [ForwardDuplicates.Chunk] = []
    var acks: [[UInt8]] = []
    /// Events whose sender does not ask for an acknowledgement, and so will not send them again.
    var unacknowledged = 0
  }

  func dropped(_ size: Int, _ peer: PeerAddress) {
    context.counters.add(.received, .rejected, 1)
    quiet.warn("\(peer): Input chunk size is larger than 'chunk_size_limit', dropped: limit=\(limit) size=\(size)")
  }

  /// Stores what the messages hold; false when the connection is to be closed.
  func take(
    _ messages: ForwardReader.Messages, isJSON: Bool, _ connection: Connection, _ extra: ExtraFields
  ) async throws -> Bool {
    var group = Group()
    let now = EventTime.now()
    for range in messages.messages {
      let bytes = UnsafeRawBufferPointer(rebasing: messages.block.bytes[range])
      if bytes.count > warnLimit {
        quiet.warn("\(connection.peer): Input chunk size is larger than 'chunk_size_warn_limit': limit=\(warnLimit) size=\(bytes.count)")
      }
      let message = try ForwardMessage(ValueView(unchecked: messages.block.base + range.lowerBound), in: messages.block, now: now, options)
      if message.rejected > 0 { reject(message.rejected, message.reason, connection.peer) }
      if let id = message.chunk, let chunk = ForwardDuplicates.Chunk(id, message: bytes) {
        let isNew = try await isNew(chunk, &group, now, isJSON, connection, extra)
        if !isNew {
          context.counters.add(.duplicates, 1)
          group.acks.append(Array(id))
          continue
        }
        group.chunks.append(chunk)
      }
      if let id = message.chunk { group.acks.append(Array(id)) }
      add(message, &group, now, connection.peer)
      if deniesKeepalive {
        try await store(&group, now, isJSON, connection, extra)
        return false
      }
    }
    try await store(&group, now, isJSON, connection, extra)
    withExtendedLifetime(messages.block) {}
    return true
  }

  /// False when the chunk is stored already. Waits while another connection stores it, holding nothing itself meanwhile.
  private func isNew(
    _ chunk: ForwardDuplicates.Chunk, _ group: inout Group, _ now: EventTime, _ isJSON: Bool, _ connection: Connection,
    _ extra: ExtraFields
  ) async throws -> Bool {
    while true {
      switch duplicates.reserve(chunk) {
      case .reserved: return true
      case .stored: return false
      case .busy:
        try await store(&group, now, isJSON, connection, extra)
        await duplicates.wait(for: chunk)
      }
    }
  }

  private func add(_ message: ForwardMessage, _ group: inout Group, _ now: EventTime, _ peer: PeerAddress) {
    switch message.content {
    case .nothing: return
    case .batch(let batch):
      closeEvents(&group, now, peer)
      group.batches.append(batch)
      if message.chunk == nil { group.unacknowledged += batch.count }
    case .event(let time, let record):
      if group.events == nil || !message.tag.elementsEqual(group.eventTag) {
        closeEvents(&group, now, peer)
        group.events = ByteWriter(capacity: 4096)
        group.eventTag = Array(message.tag)
      }
      group.events?.putArrayHeader(2)
      group.events?.append(time.bytes)
      group.events?.append(record.bytes)
      if message.chunk == nil { group.unacknowledged += 1 }
    }
  }

  private func closeEvents(_ group: inout Group, _ now: EventTime, _ peer: PeerAddress) {
    guard let events = group.events.take() else { return }
    let tag = group.eventTag.withUnsafeBytes { options.tag($0) }
    let checked = EventBatch.validating(Block(events), tag: tag ?? Tag(""), zeroTime: now)
    if tag == nil { return reject(checked.batch.count + checked.rejected, "a tag is empty, too long or holds control bytes", peer) }
    if checked.rejected > 0 { reject(checked.rejected, checked.reason, peer) }
    if !checked.batch.isEmpty { group.batches.append(checked.batch) }
  }

  private func reject(_ count: Int, _ reason: String?, _ peer: PeerAddress) {
    context.counters.add(.received, .rejected, count)
    quiet.warn("\(peer): \(count) invalid events left out: \(reason ?? "")")
  }

  /// Commits the group and acknowledges it. Throws, and acknowledges nothing, when it was not taken: the sender tries again.
  private func store(
    _ group: inout Group, _ now: EventTime, _ isJSON: Bool, _ connection: Connection, _ extra: ExtraFields
  ) async throws {
    closeEvents(&group, now, connection.peer)
    if !group.batches.isEmpty {
      let spans = duplicates.spans(group.chunks)
      let batches = extra.isEmpty ? group.batches : group.batches.map { extra.applied(to: $0) }
      do throws(EmitError) { try await take(batches, spans, waits: group.unacknowledged > 0) } catch {
        duplicates.finish(group.chunks, stored: false)
        context.counters.add(.received, .lost, group.unacknowledged)
        if case .unavailable = error, group.unacknowledged == 0 { throw Refused() }
        quiet.warn("\(connection.peer): \(batches.reduce(0) { $0 + $1.count }) events were not taken: \(error); the connection is closed")
        throw Refused()
      }
      duplicates.finish(group.chunks, stored: true, spans)
    } else {
      duplicates.finish(group.chunks, stored: false)
    }
    if !group.acks.isEmpty {
      var answer = ByteWriter(capacity: 64)
      for ack in group.acks {
        var one = ByteWriter(capacity: 64)
        one.putMapHeader(1)
        one.putString("ack" as StaticString)
        one.putString(ack)
        answer.append(encoded(one, isJSON: isJSON))
      }
      Faults.hit(.acknowledge)
      try await connection.write(answer)
      Faults.hit(.acknowledged)
    }
    group = Group()
  }

  /// While a disk is full, events whose sender would not send them again wait: nothing more is read from it.
  private func take(_ batches: [EventBatch], _ spans: [SourceSpan], waits: Bool) async throws(EmitError) {
    while true {
      do throws(EmitError) { return try await emitter.emit(batches, covering: spans) } catch {
        guard waits, case .unavailable = error, !Task.isCancelled else { throw error }
        try? await Task.sleep(for: .milliseconds(500))
      }
    }
  }

  /// The events were refused; said already.
  struct Refused: Error {}

  /// MessagePack, or the same value as JSON text for a peer that speaks JSON.
  func encoded(_ value: borrowing ByteWriter, isJSON: Bool) -> [UInt8] {
    guard isJSON, let base = value.bytes.baseAddress else { return value.array }
    var out = ByteWriter(capacity: 256)
    _ = JSONFormatter.write(ValueView(unchecked: base), into: &out)
    return out.array
  }
}
