import AggCore
import Glibc

/// Where the parts of a syslog line are.
struct SyslogLine {
  struct Mismatch: Error {}

  var pri: Int64?
  var time: Range<Int>
  var host: Range<Int>?
  var ident: Range<Int>?
  var pid: Range<Int>?
  var msgid: Range<Int>?
  var extradata: Range<Int>?
  var message: Range<Int>?
  /// Behind the time and the blank after it.
  var body: Int
  let base: UnsafeRawPointer
  let count: Int

  /// `^<[0-9]{1,3}>[1-9]\d{0,2}`
  @inline(__always) static func looksLike5424(_ base: UnsafeRawPointer, _ n: Int) -> Bool {
    guard let (_, end) = priority(base, n), end < n else { return false }
    return ByteScan.byte(base, end) &- 0x31 <= 8
  }

  /// `<` one to three digits `>`: the number, and what follows it.
  @inline(__always) static func priority(_ base: UnsafeRawPointer, _ n: Int) -> (value: Int64, end: Int)? {
    guard n > 2, ByteScan.byte(base, 0) == 0x3c else { return nil }
    var value: Int64 = 0
    var i = 1
    while i < n, i <= 4 {
      let digit = ByteScan.byte(base, i) &- 48
      if digit > 9 { break }
      value = value &* 10 &+ Int64(digit)
      i &+= 1
    }
    guard i > 1, i <= 4, i < n, ByteScan.byte(base, i) == 0x3e else { return nil }
    return (value, i &+ 1)
  }

  /// The time's words, each ended by a blank; blanks before a word belong to it.
  @inline(__always)
  init(_ base: UnsafeRawPointer, _ n: Int, pri: Int64?, from start: Int, words: Int) throws(Mismatch) {
    self.base = base
    count = n
    self.pri = pri
    var at = start
    for word in 0..<words {
      while at < n, ByteScan.byte(base, at) == 0x20 { at &+= 1 }
      at = ByteScan.find(base, at, n, 0x20)
      guard at < n else { throw Mismatch() }
      if word &+ 1 < words { at &+= 1 }
    }
    time = start..<at
    body = at &+ 1
  }

  /// Priority and time as Fluentd's regexp engine cuts them.
  @inline(__always)
  init(header3164 base: UnsafeRawPointer, _ n: Int, priority: Bool, _ format: SyslogTime) throws(Mismatch) {
    var pri: Int64?
    var at = 0
    if priority {
      guard let (value, end) = Self.priority(base, n) else { throw Mismatch() }
      (pri, at) = (value, end)
    }
    try self.init(base, n, pri: pri, from: at, words: format.words)
  }

  /// `<pri>version` and a white space, then the time.
  @inline(__always)
  init(header5424 base: UnsafeRawPointer, _ n: Int, priority: Bool, _ format: SyslogTime) throws(Mismatch) {
    var pri: Int64?
    var at = 0
    if priority {
      guard let (value, end) = Self.priority(base, n) else { throw Mismatch() }
      at = end
      while at < n, at < end &+ 3, ByteScan.byte(base, at) &- 48 <= 9 { at &+= 1 }
      guard at > end, at < n, ByteScan.byte(base, at) == 0x20 || ByteScan.byte(base, at) &- 9 <= 4 else { throw Mismatch() }
      pri = value
      at &+= 1
    }
    try self.init(base, n, pri: pri, from: at, words: format.words)
  }

  /// `host ident[pid]…: message` as Fluentd's expression reads it, which has one way only: the colon may be anywhere.
  @inline(__always) mutating func read3164() throws(Mismatch) {
    let hostEnd = ByteScan.find(base, body, count, 0x20)
    guard hostEnd < count else { throw Mismatch() }
    host = body..<hostEnd
    var at = hostEnd &+ 1
    let identStart = at
    while at < count {
      let byte = ByteScan.byte(base, at)
      if byte == 0x20 || byte == 0x3a || byte == 0x5b { break }
      at &+= 1
    }
    ident = identStart..<at
    if at < count, ByteScan.byte(base, at) == 0x5b {
      var end = at &+ 1
      while end < count, ByteScan.byte(base, end) &- 48 <= 9 { end &+= 1 }
      if end > at &+ 1, end < count, ByteScan.byte(base, end) == 0x5d {
        pid = (at &+ 1)..<end
        at = end &+ 1
      }
    }
    let colon = ByteScan.find(base, at, count, 0x3a)
    if colon < count { at = colon &+ 1 }
    while at < count, ByteScan.byte(base, at) == 0x20 { at &+= 1 }
    message = at..<ByteScan.find(base, at, count, 0x0a)
  }

  /// The parts where they belong; false where Fluentd's expression might still find them further on.
  @inline(__always) mutating func read5424() -> Bool {
    var at = body
    @inline(__always) func word(_ most: Int) -> Range<Int>? {
      let start = at
      while at < count, ByteScan.byte(base, at) &- 0x21 <= 0x5d { at &+= 1 }
      guard at > start, at &- start <= most, at < count, ByteScan.byte(base, at) == 0x20 else { return nil }
      at &+= 1
      return start..<at &- 1
    }
    guard let host = word(255), let ident = word(48), let pid = word(128), let msgid = word(32), at < count else { return false }
    let start = at
    /// The end of the line, or a blank and a message.
    @inline(__always) func ends(_ i: Int) -> Bool { i == count || (ByteScan.byte(base, i) == 0x20 && i &+ 1 < count) }
    if ByteScan.byte(base, at) == 0x2d {
      at &+= 1
      guard ends(at) else { return false }
    } else if ByteScan.byte(base, at) == 0x5b {
      while true {
        at = ByteScan.find(base, at, count, 0x5d) &+ 1
        guard at <= count else { return false }
        if ByteScan.byte(base, at &- 2) != 0x5c, ends(at) { break }
      }
    } else {
      return false
    }
    (self.host, self.ident, self.pid, self.msgid, extradata) = (host, ident, pid, msgid, start..<at)
    if at < count { message = (at &+ 1)..<count }
    return true
  }

  /// Without one line end.
  @inline(__always) static func chomped(_ base: UnsafeRawPointer, _ range: Range<Int>) -> Range<Int> {
    var end = range.upperBound
    if end > range.lowerBound, ByteScan.byte(base, end &- 1) == 0x0a {
      end &-= 1
      if end > range.lowerBound, ByteScan.byte(base, end &- 1) == 0x0d { end &-= 1 }
    } else if end > range.lowerBound, ByteScan.byte(base, end &- 1) == 0x0d {
      end &-= 1
    }
    return range.lowerBound..<end
  }
}
