import AggCore
import AggNet
import Glibc

/// What network inputs share: emitting with the loss counted, and telling about bad input.
struct InputLane: Sendable {
  let context: PluginContext
  let emitter: Emitter
  let quiet: QuietLog
  /// Of a stream, whose peer waits meanwhile.
  var waits = false

  init(_ context: PluginContext, _ emitter: Emitter, waits: Bool = false) {
    self.waits = waits
    self.context = context
    self.emitter = emitter
    quiet = QuietLog(context.log)
  }

  /// For peers that get no answer: what is not taken is lost, counted and logged. A full disk is waited for
  /// where that makes the peer wait.
  func emit(_ batches: [EventBatch], from peer: String) async {
    let batches = batches.filter { !$0.isEmpty }
    if batches.isEmpty { return }
    do throws(EmitError) {
      while true {
        do throws(EmitError) { return try await emitter.emit(batches) } catch {
          guard waits, case .unavailable = error, !Task.isCancelled else { throw error }
          try? await Task.sleep(for: .milliseconds(500))
        }
      }
    } catch {
      let count = batches.reduce(0) { $0 + $1.count }
      context.counters.add(.received, .lost, count)
      quiet.error("\(peer): \(count) events were not taken: \(error)")
    }
  }

  /// As `Connection.read`, and 0 too when the connection failed or its peer took too long, which is told here; counted is by the
  /// caller what it has of a message then.
  func read(_ connection: Connection, into buffer: inout ByteWriter, isInside: Bool = false) async throws -> Int {
    do { return try await connection.read(into: &buffer, isInside: isInside) } catch let error as NetworkError {
      if error.code == .idle { context.log.debug("\(error): the connection is closed") } else { quiet.warn("\(error)") }
      return 0
    }
  }

  /// Counts and tells of `count` records that became no event.
  func reject(_ count: Int, from peer: String, _ what: @autoclosure () -> String) {
    if count == 0 { return }
    context.counters.add(.received, .rejected, count)
    quiet.warn("\(peer): \(what())")
  }

  /// Counts and tells of what a parser left in `parsed`, whose ranges are of `text`.
  func reject(_ parsed: ParseContext, of text: UnsafeRawBufferPointer, from peer: String) {
    guard let first = parsed.rejects.first else { return }
    let range = first.range.clamped(to: 0..<text.count)
    let count = parsed.rejects.count
    let excerpt = QuietLog.excerpt(UnsafeRawBufferPointer(rebasing: text[range]))
    reject(count, from: peer, "pattern not matched\(count > 1 ? " (\(count) records)" : ""): \(first.reason): \(excerpt)")
  }
}

extension Parser {
  /// Parses one record that may hold line breaks: a datagram, an HTTP body.
  func parseRecord(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    guard self is JSONParser, let base = text.baseAddress, memchr(base, 0x0a, text.count) != nil else { return parse(text, into: &batch, &context) }
    // Line breaks are white space to JSON, and no string may hold one; the JSON parser takes them for ends of records.
    var copy = ByteWriter(capacity: text.count)
    copy.append(text)
    var at = 0
    while at < text.count, let found = memchr(base + at, 0x0a, text.count - at) {
      at = UnsafeRawPointer(found) - base + 1
      copy.mutableBytes[at - 1] = 0x20
    }
    let outcome = parse(copy.bytes, into: &batch, &context)
    return outcome
  }
}
