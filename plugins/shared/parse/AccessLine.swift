import AggCore

/// Where the parts of a web server's access line are: `a b user [time] "METHOD path PROTOCOL" code size "referer" "agent"…`.
///
/// Takes only lines on which every part has one meaning (the first quote ends the request, no quote is escaped), so that the
/// result is that of Fluentd's expressions for apache2 and nginx; any other line makes nil. The line has no newline.
struct AccessLine {
  var first: Range<Int>
  var second: Range<Int>
  var user: Range<Int>
  var time: Range<Int>
  var method: Range<Int>
  var path: Range<Int>
  var code: Range<Int>
  var size: Range<Int>
  var referer = 0..<0
  var agent = 0..<0
  var hasAgent = false
  /// Behind the last part.
  var end: Int

  @inline(__always) init?(_ base: UnsafeRawPointer, _ n: Int) {
    var at = 0
    @inline(__always) func byte(_ i: Int) -> UInt8 { ByteScan.byte(base, i) }
    /// Up to the next blank, which must be there.
    @inline(__always) func word() -> Range<Int>? {
      let start = at
      let end = ByteScan.find(base, at, n, 0x20)
      guard end < n else { return nil }
      at = end &+ 1
      return start..<end
    }
    guard let first = word(), let second = word(), let user = word(), at < n, byte(at) == 0x5b else { return nil }
    self.first = first
    self.second = second
    self.user = user
    let timeEnd = ByteScan.find(base, at &+ 1, n, 0x5d)
    guard timeEnd &+ 3 < n, byte(timeEnd &+ 1) == 0x20, byte(timeEnd &+ 2) == 0x22 else { return nil }
    time = (at &+ 1)..<timeEnd
    let request = timeEnd &+ 3
    let quote = ByteScan.find(base, request, n, 0x22)
    guard quote &+ 1 < n, byte(quote &+ 1) == 0x20, byte(quote &- 1) != 0x5c else { return nil }
    // The method ends at the first white space; only a blank may be that.
    let methodEnd = ByteScan.find(base, request, quote, 0x20)
    guard methodEnd < quote, methodEnd > request else { return nil }
    var i = request
    while i < methodEnd {
      if byte(i) &- 9 <= 4 { return nil }
      i &+= 1
    }
    method = request..<methodEnd
    var start = methodEnd
    while byte(start) == 0x20 { start &+= 1 }  // stops at the quote
    // The last word is the protocol, the blanks before it are no part of the path.
    var last = quote
    while last > start, byte(last &- 1) != 0x20 {
      if byte(last &- 1) &- 9 <= 4 { return nil }
      last &-= 1
    }
    if last == start {
      path = start..<quote
    } else {
      while last > start, byte(last &- 1) == 0x20 { last &-= 1 }
      path = start..<last
    }
    at = quote &+ 2
    guard let code = word() else { return nil }
    self.code = code
    let sizeEnd = ByteScan.find(base, at, n, 0x20)
    size = at..<sizeEnd
    end = sizeEnd
    if sizeEnd == n { return }
    guard sizeEnd &+ 1 < n, byte(sizeEnd &+ 1) == 0x22 else { return nil }
    let refererEnd = ByteScan.find(base, sizeEnd &+ 2, n, 0x22)
    guard refererEnd &+ 2 < n, byte(refererEnd &+ 1) == 0x20, byte(refererEnd &+ 2) == 0x22, byte(refererEnd &- 1) != 0x5c else {
      return nil
    }
    let agentEnd = ByteScan.find(base, refererEnd &+ 3, n, 0x22)
    guard agentEnd < n, byte(agentEnd &- 1) != 0x5c else { return nil }
    referer = (sizeEnd &+ 2)..<refererEnd
    agent = (refererEnd &+ 3)..<agentEnd
    hasAgent = true
    end = agentEnd &+ 1
  }
}
