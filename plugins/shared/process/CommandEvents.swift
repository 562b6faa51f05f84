import AggCore
import Glibc
import Synchronization

/// Takes what one command prints into the daemon: read, parsed, tag and time extracted, stored; what is not taken is counted.
struct CommandEvents: Sendable {
  let parser: any Parser
  let parserType: String
  let extractor: Extractor?
  /// The tag of events whose record gives none; nil: they are rejected.
  let tag: String?
  /// Goes before tags from records.
  var prefix = ""
  var blockSize = 10240
  /// Nil: bytes are UTF-8 as they come.
  var encoding: String?
  /// At most one line about rejected events in this time.
  var logInterval: Int64 = 0
  /// Counts stored events too: the emitter of an output does not.
  var countsCommitted = false
  let context: PluginContext
  let services: CommandServices
  private let nextLog = SharedTime()

  /// Reads until the command's output ends. Blocks the thread, which has to be a pool's.
  func read(_ child: ChildProcess, _ emitter: Emitter) async {
    var output = OutputParser(parser, type: parserType, tag: Self.noTag)
    var buffer = ByteWriter(capacity: 4096)
    var lines = ErrorLines(context.log)
    var ended = ChildProcess.Ended()
    let limit = min(max(blockSize, 1), 1 << 20)
    if let encoding {
      // A character cut by a block's end would be broken: the output is converted as a whole.
      var raw = ByteWriter(capacity: 4096)
      while raw.count < OutputParser.limit, child.read(into: &raw, limit: limit, &lines, &ended) > 0 {}
      if var converter = try? TextEncoding(from: encoding) { converter.convert(raw.bytes, into: &buffer) }
    } else {
      while child.read(into: &buffer, limit: limit, &lines, &ended) > 0 {
        await store(output.take(&buffer, atEnd: false), emitter)
        if buffer.isEmpty { buffer.trim(to: 65_536) }
      }
    }
    await store(output.take(&buffer, atEnd: true), emitter)
    lines.finish()
  }

  private func store(_ parsed: OutputParser.Batch, _ emitter: Emitter) async {
    if parsed.rejected > 0 { reject(parsed.rejected, "pattern not matched", parsed.reason) }
    if parsed.batch.isEmpty { return }
    let batches = tagged(parsed)
    if batches.isEmpty { return }
    let count = batches.reduce(0) { $0 + $1.count }
    let waker = Waker(services.timers)
    var isWaiting = false
    while true {
      do throws(EmitError) {
        try await emitter.emit(batches)
        if countsCommitted { context.counters.add(.received, .committed, count) }
        return
      } catch {
        if error.isTransient, !Task.isCancelled {
          // The command waits at its pipe meanwhile.
          if !isWaiting { context.log.warn("\(error); reading goes on when there is room") }
          isWaiting = true
          await waker.wait(until: .now().adding(nanoseconds: 1_000_000_000))
          continue
        }
        context.counters.add(.received, .lost, count)
        return context.log.error("\(count) events were not taken: \(error)")
      }
    }
  }

  private static let noTag = Tag("")

  /// The events under their tags, with their times.
  private func tagged(_ parsed: OutputParser.Batch) -> [EventBatch] {
    var timeless = 0
    let parts = extractor?.apply(parsed.batch, untimed: parsed.untimed) { _ in timeless += 1 } ?? [parsed.batch]
    if timeless > 0 { reject(timeless, "events rejected", "their time cannot be read") }
    var batches: [EventBatch] = []
    for part in parts {
      if part.tag != Self.noTag { batches.append(prefix.isEmpty ? part : part.tagged(Tag(prefix + part.tag.description))) } else if let tag {
        batches.append(part.tagged(Tag(tag)))
      } else {
        reject(part.count, "events rejected", "no tag, or one that cannot be a tag")
      }
    }
    return batches
  }

  private func reject(_ n: Int, _ what: String, _ reason: String) {
    context.counters.add(.received, .rejected, n)
    let now = MonotonicTime.now()
    if nextLog.passed(now, next: now.adding(nanoseconds: logInterval)) { context.log.warn("\(what) (\(n)): \(reason)") }
  }
}

private final class SharedTime: Sendable {
  private let at = Mutex(MonotonicTime(nanoseconds: 0))
  /// Whether the time noted last has come; then notes `next`.
  func passed(_ now: MonotonicTime, next: MonotonicTime) -> Bool {
    at.withLock { at in
      guard now >= at else { return false }
      at = next
      return true
    }
  }
}
