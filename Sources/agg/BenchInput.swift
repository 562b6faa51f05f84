import AggCore
import Synchronization

/// The source of `agg bench`: lines from memory, parsed and sent until the time is over.
struct BenchInput: Input {
  struct Config: Configurable {
    var tag = ""
    var parse: ConfigElement?
    init() {}
    static let parameters: [Parameter<Self>] = [
      .required("tag", \.tag, "Tag of the events"),
      .element("parse", \.parse, "How a line becomes an event", required: true),
    ]
  }
  static let name = "agg_bench"
  static let summary = "The lines of agg bench."

  private let tag: Tag
  private let parser: any Parser
  private let context: PluginContext

  init(_ config: Config, _ context: PluginContext) throws {
    tag = Tag(config.tag)
    parser = try context.parser(config.parse)
    self.context = context
  }

  var tags: SourceTags { .tag(tag.description) }

  func run(_ emitter: Emitter) async throws {
    guard let feed = context.shared(BenchFeed.self) else { throw ConfigValueError("there are no lines to send") }
    emitter.ready()
    let begun = MonotonicTime.now()
    let end = begun.adding(nanoseconds: Int64(feed.seconds) * 1_000_000_000)
    var sent = 0
    sending: while true {
      for piece in feed.pieces {
        if Task.isCancelled || MonotonicTime.now() >= end { break sending }
        let text = UnsafeRawBufferPointer(rebasing: feed.text.bytes[piece.range])
        var builder = BatchBuilder(capacity: text.count + text.count / 4 + 4096)
        var parsed = ParseContext()
        parser.parseLines(text, into: &builder, &parsed)
        let batch = builder.finish(tag: tag)
        let events = batch.count
        if !parsed.rejects.isEmpty { context.counters.add(.received, .rejected, parsed.rejects.count) }
        do throws(EmitError) {
          if events > 0 { try await emitter.emit(batch) }
          feed.add(events: events, bytes: text.count, rejected: parsed.rejects.count, reason: parsed.rejects.first?.reason)
        } catch {
          context.counters.add(.received, .lost, events)
          feed.add(events: 0, bytes: 0, rejected: events, reason: "\(error)")
          // Full, and refusing.
          try? await Task.sleep(for: .milliseconds(20))
        }
        sent += piece.lines
        guard let rate = feed.rate else { continue }
        let due = begun.adding(nanoseconds: Int64(Double(sent) / Double(rate) * 1e9))
        let now = MonotonicTime.now()
        if due > now {
          try? await Task.sleep(for: .nanoseconds(Int64(min(due, end).nanoseconds) - Int64(min(now, end).nanoseconds)))
        }
      }
    }
    feed.end()
  }
}

/// What is sent, and what has been.
final class BenchFeed: Sendable {
  struct Piece: Sendable {
    var range: Range<Int>
    var lines: Int
  }
  struct Counts: Sendable {
    var events = 0
    var bytes = 0
    /// Lines that the parser refused, and events that no buffer took.
    var rejected = 0
    var reason: String?
  }
  /// As much as a tailed file brings with one read.
  private static let pieceSize = 256 << 10
  let text: Block
  let seconds: Int
  let rate: Int?
  let pieces: [Piece]
  private let counted = Mutex(Counts())
  private let isOver: AsyncStream<Void>
  private let over: AsyncStream<Void>.Continuation

  /// Throws where the text has no line. With a rate a piece is what comes in 10 ms.
  init(_ text: Block, seconds: Int, rate: Int?) throws {
    let most = rate.map { max(1, $0 / 100) } ?? .max
    var pieces: [Piece] = []
    var current = Piece(range: 0..<0, lines: 0)
    forEachLine(text.bytes) { line, offset in
      if current.lines == most || current.lines > 0 && offset + line.count - current.range.lowerBound > Self.pieceSize {
        pieces.append(current)
        current = Piece(range: offset..<offset, lines: 0)
      }
      current.range = current.range.lowerBound..<min(text.count, offset + line.count + 1)
      current.lines += 1
    }
    if current.lines > 0 { pieces.append(current) }
    if pieces.isEmpty { throw ConfigValueError("the input has no line") }
    self.text = text
    self.seconds = seconds
    self.rate = rate
    self.pieces = pieces
    (isOver, over) = AsyncStream.makeStream()
  }

  var counts: Counts { counted.withLock { $0 } }
  func add(events: Int, bytes: Int, rejected: Int, reason: String?) {
    counted.withLock { c in
      c.events += events
      c.bytes += bytes
      c.rejected += rejected
      if c.reason == nil { c.reason = reason }
    }
  }
  func end() { over.finish() }
  func ended() async { for await _ in isOver {} }
}
