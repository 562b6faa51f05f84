import AggCore

/// A value of an expression: what Ruby's own value of that kind does, as far as configurations use it.
///
/// Containers are shared as in Ruby. A value that came from a record may still lie in the record's bytes: it is valid
/// until the next `Bindings.begin`, and as long as those bytes are.
public enum RubyValue {
  case null
  case bool(Bool)
  case int(Int64)
  /// An integer above Int64.max, as MessagePack can carry; it can be compared, printed and made a float.
  case uint(UInt64)
  case double(Double)
  case string(RubyString)
  case symbol([UInt8])
  case array(RubyArray)
  case hash(RubyHash)
  case range(RubyRange)
  case regexp(RubyRegexp)
  case match(RubyMatch)
  case time(RubyTime)
  case module(RubyModule)
  case exception(RubyException)
  case ext(RubyExtension)
}

/// A string is its bytes; they are read as UTF-8 where characters matter.
public struct RubyString: Hashable, Sendable {
  public var bytes: [UInt8]
  /// ASCII-8BIT in Ruby, `bin` in MessagePack.
  public var isBinary: Bool
  public init(_ bytes: [UInt8], isBinary: Bool = false) {
    self.bytes = bytes
    self.isBinary = isBinary
  }
  public init(_ text: String) { self.init(Array(text.utf8)) }

  public static func == (a: RubyString, b: RubyString) -> Bool { a.bytes == b.bytes }
  public func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
}

/// An Array: shared by all who hold it.
public final class RubyArray {
  public internal(set) var elements: [RubyValue]
  /// A value of `prepare_value`, which all events share.
  var isFrozen = false
  init(_ elements: [RubyValue]) { self.elements = elements }
}

/// `first..last` or `first...last`; nil is an open end.
public final class RubyRange {
  let first: RubyValue
  let last: RubyValue
  let excludesEnd: Bool
  init(_ first: RubyValue, _ last: RubyValue, excludesEnd: Bool) {
    self.first = first
    self.last = last
    self.excludesEnd = excludesEnd
  }
}

/// A compiled regular expression.
public final class RubyRegexp: Sendable {
  let regexp: Regexp
  init(_ regexp: Regexp) { self.regexp = regexp }
}

/// What a regular expression matched: the subject and the place of every group.
public final class RubyMatch {
  let subject: RubyString
  let groups: [Range<Int>?]
  /// Each name and the group that bears it.
  let names: [(name: String, range: Range<Int>?)]
  init(_ subject: RubyString, _ groups: [Range<Int>?], _ names: [(name: String, range: Range<Int>?)]) {
    self.subject = subject
    self.groups = groups
    self.names = names
  }

  func group(_ n: Int) -> RubyValue {
    let at = n < 0 ? groups.count &+ n : n
    guard groups.indices.contains(at), let range = groups[at] else { return .null }
    return .string(RubyString(Array(subject.bytes[range]), isBinary: subject.isBinary))
  }
  func text(_ range: Range<Int>?) -> RubyValue {
    range.map { .string(RubyString(Array(subject.bytes[$0]), isBinary: subject.isBinary)) } ?? .null
  }
}

/// A point in time and the zone that shows it.
public final class RubyTime: Sendable {
  let time: EventTime
  let zone: Zone
  /// Prints as a DateTime does.
  let isDateTime: Bool
  init(_ time: EventTime, _ zone: Zone, isDateTime: Bool = false) {
    self.time = time
    self.zone = zone
    self.isDateTime = isDateTime
  }
  /// Seconds from 1970 that a time may be away to be shown.
  static let farthest: Int64 = 1 << 45
  var civil: CivilTime { zone.civil(at: time.seconds) }
}

/// What was raised.
public final class RubyException: Sendable {
  let type: RubyModule
  let message: String
  init(_ type: RubyModule, _ message: String) {
    self.type = type
    self.message = message
  }
}

/// A MessagePack extension value, passed through untouched.
public final class RubyExtension: Sendable {
  let type: Int8
  let bytes: [UInt8]
  init(type: Int8, bytes: [UInt8]) {
    self.type = type
    self.bytes = bytes
  }
  init(_ time: EventTime) {
    var out = ByteWriter(capacity: 64)
    out.putEventTime(time)
    type = 0
    bytes = Array(out.bytes.dropFirst(2))
  }
  /// Fluentd's EventTime, which a record may hold and record_modifier's `time` is.
  var eventTime: EventTime? {
    guard type == 0, bytes.count == 8 else { return nil }
    let words = [bytes[..<4], bytes[4...]].map { $0.reduce(0 as UInt32) { $0 << 8 | UInt32($1) } }
    return EventTime(seconds: Int64(words[0]), nanoseconds: words[1])
  }
}

extension RubyValue {
  init(_ text: String) { self = .string(RubyString(text)) }
  init(_ bytes: [UInt8]) { self = .string(RubyString(bytes)) }
  init(_ value: Int) { self = .int(Int64(value)) }

  /// All but nil and false.
  @inline(__always) public var isTrue: Bool {
    switch self {
    case .null, .bool(false): false
    default: true
    }
  }
  var isNull: Bool { if case .null = self { true } else { false } }

  /// The class that Ruby would name.
  var module: RubyModule {
    switch self {
    case .null: .nilClass
    case .bool(true): .trueClass
    case .bool(false): .falseClass
    case .int, .uint: .integer
    case .double: .float
    case .string: .string
    case .symbol: .symbol
    case .array: .array
    case .hash: .hash
    case .range: .range
    case .regexp: .regexp
    case .match: .matchData
    case .time(let time): time.isDateTime ? .dateTime : .time
    case .module: .moduleClass
    case .exception(let exception): exception.type
    case .ext(let ext): ext.eventTime == nil ? .object : .eventTime
    }
  }
}
