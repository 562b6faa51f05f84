import AggCore

/// Fluentd's string engine: it cuts by blanks only, and differs from the regexp engine in what an ident is.
extension SyslogLine {
  private static func index(_ byte: UInt8, _ base: UnsafeRawPointer, _ from: Int, _ n: Int) throws(Mismatch) -> Int {
    guard from <= n else { throw Mismatch() }
    let at = ByteScan.find(base, from, n, byte)
    guard at < n else { throw Mismatch() }
    return at
  }

  /// `<…>`: the number that it begins with, and what follows it.
  private static func anyPriority(_ base: UnsafeRawPointer, _ n: Int) throws(Mismatch) -> (value: Int64, end: Int) {
    guard n > 1, ByteScan.byte(base, 0) == 0x3c else { throw Mismatch() }
    let close = try index(0x3e, base, 1, n)
    guard close >= 2 else { throw Mismatch() }
    var value: Int64 = 0
    var i = 1
    while i < close, i < 19, ByteScan.byte(base, i) &- 48 <= 9 {
      value = value &* 10 &+ Int64(ByteScan.byte(base, i) &- 48)
      i &+= 1
    }
    return (value, close &+ 1)
  }

  init(string3164 base: UnsafeRawPointer, _ n: Int, priority: Bool, _ format: SyslogTime, colonless: Bool) throws(Mismatch) {
    var pri: Int64?
    var at = 0
    if priority {
      let (value, end) = try Self.anyPriority(base, n)
      (pri, at) = (value, end)
    }
    if format.isStandard {
      guard at &+ 15 < n else { throw Mismatch() }
      switch ByteScan.byte(base, at &+ 15) {
      case 0x20: try self.init(base, n, pri: pri, time: at..<at &+ 15)
      case 0x2e: try self.init(base, n, pri: pri, time: at..<max(at, Self.index(0x20, base, 15, n)))
      default: throw Mismatch()
      }
    } else {
      try self.init(base, n, pri: pri, from: at, words: format.words)
    }
    let hostEnd = try Self.index(0x20, base, body, n)
    host = body..<hostEnd
    let start = hostEnd &+ 1
    let end = ByteScan.find(base, start, n, 0x20)
    func byte(_ i: Int) -> UInt8 { i >= 0 && i < n ? ByteScan.byte(base, i) : 0 }
    guard start < n, end < n else {
      message = min(start, n)..<n
      return
    }
    let hasColon = byte(end &- 1) == 0x3a
    guard hasColon || colonless else {
      message = start..<n
      return
    }
    let wordEnd = hasColon ? end &- 1 : end
    if byte(wordEnd &- 1) == 0x5d {
      let open = try Self.index(0x5b, base, start, n)
      guard open < wordEnd else { throw Mismatch() }
      ident = start..<open
      pid = (open &+ 1)..<max(open &+ 1, wordEnd &- 1)
    } else {
      ident = start..<max(start, wordEnd)
    }
    message = (end &+ 1)..<n
  }

  /// The time where it is known to be.
  private init(_ base: UnsafeRawPointer, _ n: Int, pri: Int64?, time: Range<Int>) throws(Mismatch) {
    guard time.upperBound < n else { throw Mismatch() }
    self.base = base
    count = n
    self.pri = pri
    self.time = time
    body = time.upperBound &+ 1
  }

  init(string5424 base: UnsafeRawPointer, _ n: Int, priority: Bool, _ format: SyslogTime) throws(Mismatch) {
    var pri: Int64?
    var at = 0
    if priority {
      let (value, end) = try Self.anyPriority(base, n)
      pri = value
      at = try Self.index(0x20, base, end, n) &+ 1
    }
    if format.isOneWord {
      try self.init(base, n, pri: pri, time: at..<Self.index(0x20, base, at, n))
    } else {
      try self.init(base, n, pri: pri, from: at, words: format.words)
    }
    at = body
    func word() throws(Mismatch) -> Range<Int> {
      let end = try Self.index(0x20, base, at, n)
      defer { at = end &+ 1 }
      return at..<end
    }
    host = try word()
    ident = try word()
    pid = try word()
    msgid = try word()
    let start = at
    if at < n, ByteScan.byte(base, at) == 0x2d {
      at &+= 1
    } else {
      // Up to the first `] `, else all.
      var close = ByteScan.find(base, at, n, 0x5d)
      while close &+ 1 < n, ByteScan.byte(base, close &+ 1) != 0x20 { close = ByteScan.find(base, close &+ 1, n, 0x5d) }
      at = close &+ 1 < n ? close &+ 1 : n
    }
    extradata = start..<at
    if at < n { message = (at &+ 1)..<n }
  }
}
