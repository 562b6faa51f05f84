/// What every plugin is: a typed configuration and a name. `init` validates; it does no I/O.
public protocol Plugin: Sendable {
  associatedtype Config: Configurable
  /// The `@type` that selects it.
  static var name: String { get }
  /// One sentence for `agg plugins`.
  static var summary: String { get }
  /// What configurations of Fluentd v0.12 have in this plugin's own section.
  static var oldParameters: OldParameters { get }
  /// Throws `ConfigValueError` (reported at the section's line), `ConfigError` or `ConfigErrors`.
  init(_ config: Config, _ context: PluginContext) throws
}

/// Brings events in. `run` is called once, on a thread it may block, until its task is cancelled.
///
/// Call `emitter.ready()` when listening or watching has begun; an error thrown before that stops the daemon's start.
/// Cancellation asks to stop: emit what has been read, then return. `emit` itself is never interrupted by it.
public protocol Input: Plugin {
  /// Whether several worker processes can run it at once on the same configuration. Not where they would read the same thing.
  static var sharesWorkers: Bool { get }
  func run(_ emitter: Emitter) async throws
  /// The tags its events can have, as far as the configuration says; `.any`, the default, where others choose them. For `agg check`.
  var tags: SourceTags { get }
}
extension Input {
  public var tags: SourceTags { .any }
}

/// The tags that a source can give its events.
public enum SourceTags: Sendable {
  case any
  /// It emits nothing, as it is configured.
  case none
  /// Those that one of the patterns takes.
  case some([TagPattern])

  /// One tag, or what `*` and `**` in `text` stand for; `.any` where that is no pattern. A blank cannot be said in a pattern.
  public static func pattern(_ text: String) -> SourceTags {
    guard !text.utf8.contains(where: { $0 == 32 || (9...13).contains($0) }), let pattern = try? TagPattern(text) else { return .any }
    return .some([pattern])
  }
  public static func tag(_ tag: String) -> SourceTags { tag.isEmpty ? .any : pattern(TagPattern.literal(tag)) }
}

/// Looks at, drops or rewrites whole batches. Called from several tasks at once, in order per source.
public protocol Filter: Plugin {
  /// Returns what goes on; what was dropped or failed is told to `sink`. An error leaves the batch whole for `@ERROR`.
  func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch
}

extension Plugin { public static var oldParameters: OldParameters { .none } }

extension Input { public static var sharesWorkers: Bool { true } }

public struct FilterError: Error, Sendable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}

/// Turns text into events.
public protocol Parser: Plugin {
  /// Parses one record's text (no line end), committing events to `batch`; 64 bytes after `text` are readable.
  ///
  /// Nothing is left begun in `batch` when it returns `.rejected`.
  func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome
  /// Parses a block of whole lines. The default calls `parse` for each; JSON and others run their own loop.
  func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext)
  /// The parser reads a continuous byte stream (msgpack) rather than records cut out by someone else.
  var isStream: Bool { get }
  /// For a stream: how many bytes of `bytes` are complete values; nil when it can never become valid.
  func completeLength(_ bytes: UnsafeRawBufferPointer) -> Int?
}

/// A parser whose events can span lines: in_tail gives it the joined text of one event.
public protocol MultilineParser: Parser {
  /// Whether an event begins only at lines that `startsEvent` takes; without that every join is tried.
  var hasFirstLine: Bool { get }
  /// Marks, for a block of whole lines, where events begin: one matcher a call.
  func eventStarts(_ block: UnsafeRawBufferPointer) -> [Int]
}

public enum ParseOutcome: Sendable, Equatable {
  case parsed
  /// Not of this format; `reason` is shown in the log line, the text stays with the caller.
  case rejected(String)
}

/// What a parse call knows and collects; made once a block.
public struct ParseContext {
  /// The time of events that carry none: one clock reading a block.
  public var now: EventTime
  /// Parts of the block that were not parsed, in order, for `parseLines`. Offsets are the block's.
  public var rejects: [(range: Range<Int>, reason: String)] = []
  /// Lines that were left out without being events (blank ones).
  public var skipped = 0
  /// What an event without a time gets where `estimate_current_event` is false; nil rejects it, as most of Fluentd's inputs do.
  public var timeOfUntimed: EventTime?
  /// The events that got `timeOfUntimed`, by their index in the batch: for filters and inputs that find a time elsewhere.
  public var untimed: [Int] = []
  public init(now: EventTime = .now()) { self.now = now }
}

extension Parser {
  public var isStream: Bool { false }
  public func completeLength(_ bytes: UnsafeRawBufferPointer) -> Int? { bytes.count }

  @inlinable public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    forEachLine(block) { line, offset in
      if case .rejected(let reason) = parse(line, into: &batch, &context) {
        context.rejects.append((offset..<offset + line.count, reason))
      }
    }
  }
}

/// Makes bytes of events. Called on the flush side, from several tasks at once.
public protocol Formatter: Plugin {
  /// Appends every event of `batch`; an event it cannot format is told to `rejects` by its index.
  func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection])
  /// False for text that may be shown on a terminal.
  var isBinary: Bool { get }
}
extension Formatter { public var isBinary: Bool { false } }

/// One event of a batch or chunk that was refused, by its index there.
public struct Rejection: Sendable, Equatable {
  public var index: Int
  public var reason: String
  /// Of the protocol, as HTTP's; nil where there is none.
  public var status: Int?
  public init(index: Int, reason: String, status: Int? = nil) {
    self.index = index
    self.reason = reason
    self.status = status
  }
}
