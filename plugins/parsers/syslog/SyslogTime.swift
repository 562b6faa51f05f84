import AggCore

/// How the time of one syslog format is cut out and read.
struct SyslogTime: Sendable {
  let parser: TimeParser
  /// Tried where `parser` fails: a time without a fraction.
  let fallback: TimeParser?
  /// How many words the time has.
  let words: Int
  /// The format without blanks in it, or RFC 3164's own of 15 bytes: the string engine cuts these by place.
  let isOneWord: Bool
  let isStandard: Bool
  /// RFC 3164's own time without a fraction.
  let isPlain: Bool

  init(_ format: String, _ times: TimeParameters, fallback: String? = nil) throws {
    var own = times
    own.timeFormat = format
    parser = try TimeParser(own)
    own.timeFormat = fallback
    self.fallback = try fallback.map { _ in try TimeParser(own) }
    var blanks = 0
    var last: UInt8 = 0
    for byte in format.utf8 {
      if byte == 0x20, last != 0x20 { blanks += 1 }
      last = byte
    }
    words = blanks + 1
    isOneWord = blanks == 0
    isPlain = format == "%b %d %H:%M:%S"
    isStandard = format == "%b %d %H:%M:%S" || format == "%b %d %H:%M:%S.%N"
  }

  func parse(_ text: UnsafeRawBufferPointer, _ now: EventTime) -> EventTime? {
    parser.parse(text, now: { now }) ?? fallback?.parse(text, now: { now })
  }
}

extension TimeTextCache {
  @inline(__always) mutating func time(_ text: UnsafeRawBufferPointer, _ format: SyslogTime, _ now: EventTime) -> EventTime? {
    time(text) { format.parse($0, now) }
  }
}

/// The hour that RFC 3164's times were last in. Relays mix what many hosts sent, so that texts seldom repeat; within an hour only minutes
/// and seconds differ, which are added to its start.
struct SyslogHour {
  private var day: UInt64 = 0
  private var hour: UInt8 = 0
  private var start: EventTime?

  /// `Oct 11 22:14:15`; of another length, or with a leap second, nil: it has to be read as any other.
  @inline(__always) mutating func time(_ text: UnsafeRawBufferPointer, _ format: SyslogTime, _ now: EventTime) -> EventTime? {
    guard text.count == 15, let p = text.baseAddress else { return nil }
    let (day, hour) = (p.loadUnaligned(as: UInt64.self), p.load(fromByteOffset: 8, as: UInt8.self))
    @inline(__always) func digit(_ at: Int) -> UInt8 { p.load(fromByteOffset: at, as: UInt8.self) &- 0x30 }
    let (m, minute, s, second) = (digit(10), digit(11), digit(13), digit(14))
    guard m < 6, minute < 10, s < 6, second < 10, ByteScan.byte(p, 9) == 0x3a, ByteScan.byte(p, 12) == 0x3a else { return nil }
    if day != self.day || hour != self.hour { read(text, day, hour, format, now) }
    guard let start else { return nil }
    let seconds = Int64(m) &* 600 &+ Int64(minute) &* 60 &+ Int64(s) &* 10 &+ Int64(second)
    return EventTime(seconds: start.seconds &+ seconds, nanoseconds: start.nanoseconds)
  }

  @inline(never) private mutating func read(_ text: UnsafeRawBufferPointer, _ day: UInt64, _ hour: UInt8, _ format: SyslogTime, _ now: EventTime) {
    (self.day, self.hour, start) = (day, hour, nil)
    var ends: [EventTime] = []
    for rest in ["00:00", "59:59"] {
      let whole = Array(text.prefix(10)) + Array(rest.utf8)
      whole.withUnsafeBytes { if let time = format.parse($0, now) { ends.append(time) } }
    }
    // Not an hour in which the zone's offset changes.
    if ends.count == 2, ends[1].seconds - ends[0].seconds == 3599 { start = ends[0] }
  }
}
