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
