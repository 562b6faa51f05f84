/// JSON text into MessagePack without an object in between, with the semantics of Fluentd's Yajl.
///
/// A key that comes twice keeps its first place and last value; comments are white space; integers are exact up to 64 bits and
/// floats beyond; a string must be UTF-8 (by Yajl's lax check). Text is a range of bytes followed by 64 readable ones, whose content
/// never matters. Owns a little scratch memory: make one a block, or keep one per task.
public struct JSONTranscoder: ~Copyable {
  /// Room for the MessagePack of `n` bytes of JSON: a float of 3 bytes and its comma become 9, which is the worst, and the copy
  /// loops store up to 32 bytes too far.
  @inlinable public static func room(for n: Int) -> Int { 3 &* n &+ 64 }

  struct Frame {
    var header: Target
    var count: Int
    var isMap: Bool
  }

  let maxDepth: Int
  let stack: UnsafeMutablePointer<Frame>
  let powers = JSONNumber.exactPowers
  var keys = JSONKeySet()
  /// Some object in the value had a key twice.
  var sawDuplicate = false
  /// The top-level key to look for, where it was seen last in the output, and whether to look at all.
  var soughtKey: [UInt8] = []
  var soughtCount = -1
  var foundKey: Target?

  public init(maxDepth: Int = MessagePack.maximumDepth) {
    self.maxDepth = min(max(maxDepth, 1), MessagePack.maximumDepth)
    stack = .allocate(capacity: self.maxDepth)
  }
  deinit { stack.deallocate() }

  /// Appends the map that `text` is, all of it; false, and nothing appended, when it is no JSON object.
  public mutating func transcodeObject(_ text: UnsafeRawBufferPointer, into out: inout ByteWriter) -> Bool {
    guard let base = text.baseAddress else { return false }
    let start = Self.skipSpace(base, base + text.count)
    guard start < base + text.count, start.byte() == 0x7b else { return false }
    return transcodeValue(text, into: &out)
  }

  /// Appends the value that `text` is, all of it; false, and nothing appended, when it is no JSON value.
  public mutating func transcodeValue(_ text: UnsafeRawBufferPointer, into out: inout ByteWriter) -> Bool {
    guard let base = text.baseAddress, text.count > 0 else { return false }
    out.reserve(Self.room(for: text.count))
    guard let end = value(base, base + text.count, out.end) else { return false }
    finishValue(end, into: &out)
    return true
  }

  /// Decodes `text` as a whole; for configuration and small things. It is copied, so nothing need be readable behind it.
  public static func decode(_ text: UnsafeRawBufferPointer) -> Value? {
    var copy = ByteWriter(capacity: text.count)
    copy.append(text)
    var transcoder = JSONTranscoder()
    var out = ByteWriter(capacity: 256)
    guard transcoder.transcodeValue(copy.bytes, into: &out), let base = out.bytes.baseAddress else { return nil }
    let value = Value(ValueView(unchecked: base))
    withExtendedLifetime(out) {}
    withExtendedLifetime(copy) {}
    return value
  }
  public static func decode(_ text: String) -> Value? {
    var text = text
    return text.withUTF8 { decode(UnsafeRawBufferPointer($0)) }
  }

  /// Takes the value that was written up to `end`, and collapses keys that came twice.
  @inline(__always) mutating func finishValue(_ end: Target, into out: inout ByteWriter) {
    let start = out.count
    out.advance(to: end)
    if sawDuplicate { collapse(from: start, &out) }
  }

  @inline(never) private mutating func collapse(from start: Int, _ out: inout ByteWriter) {
    sawDuplicate = false
    let decoded = Value(ValueView(unchecked: UnsafeRawPointer(out.mutableBytes.baseAddress! + start)))  // a value was written there
    out.count = start
    decoded.encode(into: &out)
    foundKey = nil
    guard soughtCount >= 0, let map = RecordView(writtenAt: start, in: out) else { return }
    foundKey = map.key(soughtKey).map { Target(mutating: $0) }
  }

  /// Writes the one value between `start` and `end`, white space around it allowed; nil when it is not JSON.
  ///
  /// `o` has `room(for: end - start)`. Reads at most 64 bytes past `end`.
  @inline(__always) mutating func value(_ start: Source, _ end: Source, _ o: Target) -> Target? {
    keys.begin()
    sawDuplicate = false
    foundKey = nil
    var s = start
    if s.byte() <= 0x20 || s.byte() == 0x2f { s = Self.skipSpace(s, end) }
    guard s < end else { return nil }
    let c = s.byte()
    guard let result = c == 0x7b || c == 0x5b ? container(s, end, o) : Self.scalar(c, s, end, o, powers) else { return nil }
    s = result.source
    if s == end { return result.target }
    guard s < end, Self.skipSpace(s, end) == end else { return nil }
    return result.target
  }

  /// A string, number or literal that starts at `s < end` with `c`.
  @inline(__always)
  static func scalar(
    _ c: UInt8, _ s: Source, _ end: Source, _ o: Target, _ powers: UnsafePointer<Double>
  ) -> JSONString.Result {
    if c == 0x22 { return JSONString.transcode(s + 1, end, o) }
    if c &- 0x30 < 10 || c == 0x2d { return JSONNumber.transcode(s, end, o, powers) }
    let word = s.loadUnaligned(as: UInt32.self).littleEndian
    if word == 0x6575_7274 {
      o.put(0, 0xc3)
      return (s + 4, o + 1)
    }
    if word == 0x736c_6166, s.byte(4) == 0x65 {
      o.put(0, 0xc2)
      return (s + 5, o + 1)
    }
    if word == 0x6c6c_756e {
      o.put(0, 0xc0)
      return (s + 4, o + 1)
    }
    return nil
  }

  /// An object or array that starts at `start < end`. A result past `end` means that it was cut off: the caller checks.
  @inline(__always) mutating func container(_ start: Source, _ end: Source, _ out: Target) -> JSONString.Result {
    var s = start + 1
    var o = out + 1
    var header = out
    var isMap = start.byte() == 0x7b
    var count = 0
    var depth = 0
    var isFirst = true
    while true {
      // Every turn of this loop starts before `end` and reads no more than 64 bytes past it.
      guard s < end else { return nil }
      var c = s.byte()
      if c <= 0x20 || c == 0x2f {
        s = Self.skipSpace(s, end)
        guard s < end else { return nil }
        c = s.byte()
      }
      var closed = false
      if isFirst, c == (isMap ? 0x7d : 0x5d) {
        closed = true
        s += 1
      } else {
        isFirst = false
        if isMap {
          guard c == 0x22, let key = JSONString.transcode(s + 1, end, o) else { return nil }
          note(keyAt: o, end: key.target, object: header, isTop: depth == 0)
          (s, o) = key
          if s.byte() != 0x3a {
            s = Self.skipSpace(s, end)
            guard s < end, s.byte() == 0x3a else { return nil }
          }
          s += 1
          guard s < end else { return nil }
          c = s.byte()
          if c == 0x20 {
            s += 1
            c = s.byte()
          }
          if c <= 0x20 || c == 0x2f {
            s = Self.skipSpace(s, end)
            c = s.byte()
          }
          guard s < end else { return nil }
        }
        count &+= 1
        if c | 0x20 == 0x7b {
          guard depth < maxDepth - 1 else { return nil }
          stack[depth] = Frame(header: header, count: count, isMap: isMap)
          depth &+= 1
          header = o
          count = 0
          isMap = c == 0x7b
          isFirst = true
          s += 1
          o += 1
          continue
        }
        guard let value = Self.scalar(c, s, end, o, powers) else { return nil }
        (s, o) = value
      }
      while true {
        if !closed {
          guard s < end else { return nil }
          c = s.byte()
          if c <= 0x20 || c == 0x2f {
            s = Self.skipSpace(s, end)
            guard s < end else { return nil }
            c = s.byte()
          }
          s += 1
          if c == 0x2c { break }
          guard c == (isMap ? 0x7d : 0x5d) else { return nil }
        }
        closed = false
        let fix: UInt8 = isMap ? 0x80 : 0x90
        if count < 16 {
          header.put(0, fix | UInt8(truncatingIfNeeded: count))
        } else {
          let widened = MessagePack.widenHeader(header, fix: fix, count, end: o)
          if depth == 0, let found = foundKey { foundKey = found + (widened - o) }
          o = widened
        }
        if depth == 0 { return (s, o) }
        depth &-= 1
        let frame = stack[depth]
        (header, count, isMap) = (frame.header, frame.count, frame.isMap)
      }
      isFirst = false
    }
  }

  /// Remembers the key that was written from `o` to `end`.
  @inline(__always) private mutating func note(keyAt o: Target, end: Target, object: Target, isTop: Bool) {
    var n = end - o - 1
    var content = Source(o) + 1
    if n >= 32 {
      let header = o.load(as: UInt8.self) == 0xd9 ? 2 : o.load(as: UInt8.self) == 0xda ? 3 : 5
      content = Source(o) + header
      n = end - o - header
    }
    if !keys.insert(content, n, object: Int(bitPattern: object)) { sawDuplicate = true }
    if isTop, n == soughtCount, soughtMatches(content) { foundKey = o }
  }

  @inline(never) private func soughtMatches(_ content: Source) -> Bool {
    UnsafeRawBufferPointer(start: content, count: soughtCount).elementsEqual(soughtKey)
  }

  /// The first byte at or after `s` that is neither white space nor comment; `end` when none is, or a comment is not closed.
  @inline(never) static func skipSpace(_ start: Source, _ end: Source) -> Source {
    var s = start
    while s < end {
      switch s.byte() {
      case 0x20, 0x09...0x0d: s += 1
      case 0x2f:
        guard let next = skipComment(s, end) else { return s }
        s = next
      default: return s
      }
    }
    return s
  }

  /// `//` to the line's end or `/* */`, which Yajl allows; nil when it is neither, or not closed.
  private static func skipComment(_ start: Source, _ end: Source) -> Source? {
    var s = start + 2
    guard s < end else { return nil }
    switch start.byte(1) {
    case 0x2f:
      while s < end { defer { s += 1 }; if s.byte() == 0x0a { return s + 1 } }
    case 0x2a:
      while s + 1 < end { defer { s += 1 }; if s.byte() == 0x2a, s.byte(1) == 0x2f { return s + 2 } }
    default: break
    }
    return nil
  }
}

extension RecordView {
  /// The map that starts at `offset`, if one does.
  init?(writtenAt offset: Int, in writer: borrowing ByteWriter) {
    guard offset < writer.count, let base = writer.bytes.baseAddress else { return nil }
    let view = ValueView(unchecked: base + offset)
    guard view.isMap else { return nil }
    self.init(unchecked: view)
  }

  /// Where the key itself starts.
  func key(_ sought: [UInt8]) -> UnsafeRawPointer? {
    var cursor = fields
    while let (key, _) = cursor.next() {
      if let bytes = key.stringBytes, bytes.count == sought.count, bytes.elementsEqual(sought) { return key.pointer }
    }
    return nil
  }
}
