public import AggCore

/// What `agg dlq` asks of the daemon that has the dead letters: a file beside them, kept until it is done.
///
/// Letters that were given up after `before` are not meant: what is replayed and refused again is not replayed for ever.
public struct DeadLetterRequest: Sendable, Equatable {
  public enum Action: String, Sendable { case replay, drop }
  public struct Key: Sendable, Equatable, Hashable {
    public var chunk: ChunkID
    /// Nil: every letter of the chunk.
    public var index: Int?
    public init(chunk: ChunkID, index: Int?) {
      self.chunk = chunk
      self.index = index
    }
    /// `CHUNK` or `CHUNK:INDEX`; nil for anything else.
    public init?(_ text: String) {
      let parts = text.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count <= 2, let chunk = ChunkID(String(parts[0])) else { return nil }
      self.chunk = chunk
      if parts.count == 2 {
        guard let index = Int(parts[1]), index >= 0 else { return nil }
        self.index = index
      }
    }
    public var text: String { index.map { "\(chunk):\($0)" } ?? "\(chunk)" }
  }
  public var action: Action
  /// Empty: all.
  public var keys: [Key] = []
  public var reason: String?
  public var status: Int?
  public var tag: TagPattern?
  /// Nanoseconds since 1970.
  public var before: Int64

  public init(_ action: Action, before: Int64) {
    self.action = action
    self.before = before
  }
  public static func == (a: Self, b: Self) -> Bool { a.text == b.text }

  public func selects(_ letter: DeadLetter) -> Bool {
    if letter.givenUp > before { return false }
    if !keys.isEmpty, !keys.contains(where: { $0.chunk == letter.chunk && ($0.index == nil || $0.index == letter.index) }) {
      return false
    }
    if let reason, letter.reason != reason, !letter.reason.hasPrefix(reason + ":") { return false }
    if let status, letter.status != status { return false }
    if let tag, !tag.matches(Tag(letter.tag)) { return false }
    return true
  }

  // MARK: As a file

  public static let suffix = ".request"
  public static let resultSuffix = ".result"

  public var text: String {
    var pairs: [ConfigJSON.Pair] = [
      .init("version", .int(1)), .init("action", .string(action.rawValue)), .init("before", .int(Int(before))),
    ]
    if !keys.isEmpty { pairs.append(.init("keys", .array(keys.map { .string($0.text) }))) }
    if let reason { pairs.append(.init("reason", .string(reason))) }
    if let status { pairs.append(.init("status", .int(status))) }
    if let tag { pairs.append(.init("tag", .string(tag.source))) }
    return ConfigJSON.object(pairs).json
  }

  /// Nil for what is no request of this version.
  public init?(text: String) {
    guard let json = try? ConfigJSON(parsing: text), case .int(1)? = json["version"], case .string(let name)? = json["action"],
      let action = Action(rawValue: name), case .int(let before)? = json["before"]
    else { return nil }
    self.action = action
    self.before = Int64(before)
    if let value = json["keys"] {
      guard case .array(let items) = value else { return nil }
      for item in items {
        guard case .string(let text) = item, let key = Key(text) else { return nil }
        keys.append(key)
      }
      if keys.isEmpty { return nil }
    }
    // What is there and not understood must not select more than was meant.
    if let value = json["reason"] {
      guard case .string(let text) = value else { return nil }
      reason = text
    }
    if let value = json["status"] {
      guard case .int(let number) = value else { return nil }
      status = number
    }
    if let value = json["tag"] {
      guard case .string(let text) = value, let pattern = try? TagPattern(text) else { return nil }
      tag = pattern
    }
  }
}

/// How a request ended.
public struct DeadLetterResult: Sendable, Equatable {
  /// Events that were replayed or dropped.
  public var done: Int
  /// Events that were meant and cannot be replayed: text that Fluentd formatted, or damaged.
  public var left = 0
  public var error: String?
  public init(done: Int, left: Int = 0, error: String? = nil) {
    self.done = done
    self.left = left
    self.error = error
  }
  public var text: String {
    ConfigJSON.object(
      [.init("done", .int(done)), .init("left", .int(left))] + (error.map { [.init("error", .string($0))] } ?? [])
    ).json
  }
  public init?(text: String) {
    guard let json = try? ConfigJSON(parsing: text), case .int(let done)? = json["done"] else { return nil }
    self.done = done
    if case .int(let left)? = json["left"] { self.left = left }
    if case .string(let error)? = json["error"] { self.error = error }
  }
}
