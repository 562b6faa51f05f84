public import AggCore

/// One event that an output gave up, with what is known about why. Its key is the chunk it was in and its place there.
///
/// `payload` is a range in the segment it was read from.
public struct DeadLetter: Sendable {
  public var chunk: ChunkID
  /// In the chunk, from 0.
  public var index: Int
  public var tag: String
  /// A short name such as `http_400` or `retry_exhausted`, or what the output said of this event.
  public var reason: String
  /// Of a protocol, as HTTP's; nil where there is none.
  public var status: Int?
  /// When it was given up, in nanoseconds since 1970.
  public var givenUp: Int64
  /// How often its chunk was tried, since the daemon's start.
  public var attempts: Int
  /// What the attempt's error said; of all events of the chunk.
  public var message = ""
  /// `[time, record]` as MessagePack; of a formatted one the text.
  public var payload: Range<Int>
  /// Events in it: 1, or of a chunk that Fluentd had formatted all of them.
  public var count = 1
  /// Text that Fluentd formatted: it can be shown, not delivered as events.
  public var isFormatted = false
}

/// What one attempt gave up of a chunk, as it goes into the store: all of it or nothing.
public struct DeadLetterGroup: Sendable {
  var view: ChunkView
  /// By index in the chunk, ascending, each once; nil: every event, for `reason`.
  var rejections: [Rejection]?
  var reason: String
  var status: Int?
  var message: String
  var attempts: Int
  var givenUp: Int64

  public init(_ view: ChunkView, _ rejections: [Rejection]?, reason: String, status: Int?, message: String, attempts: Int) {
    self.view = view
    let count = view.count
    self.rejections = rejections.map { all in
      var seen: Set<Int> = []
      return all.filter { $0.index >= 0 && $0.index < count && seen.insert($0.index).inserted }.sorted { $0.index < $1.index }
    }
    self.reason = reason
    self.status = status
    self.message = message
    self.attempts = attempts
    let now = EventTime.now()
    givenUp = now.seconds &* 1_000_000_000 &+ Int64(now.nanoseconds)
  }

  /// How many events it gives up.
  public var count: Int { view.formatted?.count ?? rejections?.count ?? view.count }
}

extension Rejection {
  /// What the output said, or what its reason begins with, as `http_400`.
  var knownStatus: Int? { status ?? DeadLetterFormat.status(in: reason) }
}
