import Glibc

/// MessagePack into JSON text, byte for byte as Fluentd prints it through Yajl.
///
/// Control bytes become `\n` or `\u001F`, everything else stays: `/`, DEL, U+2028, bytes that are no UTF-8. Floats are Ruby's,
/// binaries are strings, an EventTime is its seconds, a key that is no string is its `to_s`; another ext is a string of its
/// payload in hexadecimal. What Yajl cannot print is refused: NaN, an infinity, 256 levels; here also a container as a key.
public enum JSONFormatter {
  /// Appends the value; false, and nothing appended, when it cannot be printed.
  public static func write(_ value: ValueView, into out: inout ByteWriter) -> Bool {
    withStack { stack in write(value.pointer, into: &out, stack) != nil }
  }
  public static func writeRecord(_ record: RecordView, into out: inout ByteWriter) -> Bool { write(record.value, into: &out) }

  /// Appends a line for every event; `rejects` gets those that cannot be printed.
  public static func writeLines(_ batch: EventBatch, into out: inout ByteWriter, rejects: (EventView) -> Void) {
    batch.withBytes { bytes in
      guard let base = bytes.baseAddress, bytes.count > 0 else { return }
      out.reserve(bytes.count &+ bytes.count / 2)
      withStack { stack in
        var p = base
        let end = base + bytes.count
        while p < end {
          let record = p.byte(1) == 0xd7 ? p + 11 : MessagePack.end(of: p + 1)
          if let next = write(record, into: &out, stack) {
            p = next
            out.append(0x0a as UInt8)
          } else {
            let next = MessagePack.end(of: record)
            rejects(
              EventView(
                bytes: UnsafeRawBufferPointer(start: p, count: next - p), rawTime: ValueView(unchecked: p + 1),
                record: RecordView(unchecked: ValueView(unchecked: record))))
            p = next
          }
        }
      }
    }
  }

  /// Yajl's: a container at this depth is refused.
  private static let depthLimit = 255
  /// Room before a value: 30 bytes of scalar, as many brackets as there are levels, and what a copy stores too far.
  private static let margin = 320

  private static func withStack<R>(_ body: (UnsafeMutablePointer<Int>) -> R) -> R {
    withUnsafeTemporaryAllocation(of: Int.self, capacity: depthLimit) { body($0.baseAddress!) }  // capacity > 0: never nil
  }

  /// Returns where the next value starts; tries again with more room until it fits.
  @inline(__always)
  private static func write(_ p: Source, into out: inout ByteWriter, _ stack: UnsafeMutablePointer<Int>) -> Source? {
    while true {
      switch format(p, out.end, out.end + (out.capacity - out.count), stack, DecimalText.pairs) {
      case .done(let next, let end):
        out.advance(to: end)
        return next
      case .refused: return nil
      case .needsRoom(let n): out.reserve(max(n, out.capacity - out.count + 1))
      }
    }
  }

  enum Outcome {
    case done(Source, Target)
    case needsRoom(Int)
    case refused
  }

  /// A container's count of what is left, with its kind in the lowest bit: 1 for a map. Room: checked before each value.
  @inline(__always)
  private static func format(
    _ start: Source, _ out: Target, _ limit: Target, _ stack: UnsafeMutablePointer<Int>, _ pairs: UnsafePointer<UInt16>
  ) -> Outcome {
    var s = start
    var o = out
    var depth = 0
    var left = 1
    var isMap = false
    var isKey = false
    while true {
      while left == 0 {
        if depth == 0 { return .done(s, o - 1) }  // without the comma behind the value
        if Source(o).byte(-1) == 0x2c { o -= 1 }
        o.put(0, isMap ? 0x7d : 0x5d)
        o.put(1, 0x2c)
        o += 2
        depth &-= 1
        left = stack[depth] >> 1
        isMap = stack[depth] & 1 == 1
        isKey = isMap
      }
      guard limit - o >= margin else { return .needsRoom(o - out + margin) }
      let first = s.byte()
      left &-= 1
      let separator: UInt8 = isKey ? 0x3a : 0x2c
      if first & 0xe0 == 0xa0 {
        let n = Int(first & 0x1f)
        guard let next = string(s + 1, n, o, limit) else { return .needsRoom(o - out + 6 * n + margin) }
        o = next
        s += n &+ 1
      } else if isKey {
        let end = MessagePack.end(of: s)
        let content = ValueView(unchecked: s).textBytes
        if let content, let text = content.baseAddress {
          guard let next = string(text, content.count, o, limit) else { return .needsRoom(o - out + 6 * content.count + margin) }
          o = next
        } else {
          guard let next = scalarKey(s, o, pairs) else { return .refused }
          o = next
        }
        s = end
      } else if first < 0x80 {
        o = DecimalText.put(UInt64(first), o, pairs)
        s += 1
      } else if first < 0xa0 || first >= 0xdc && first < 0xe0 {
        guard depth < depthLimit else { return .refused }
        stack[depth] = left << 1 | (isMap ? 1 : 0)
        depth &+= 1
        let (count, header) = MessagePack.container(s)
        isMap = first < 0x90 || first >= 0xde
        isKey = isMap
        left = isMap ? count &* 2 : count
        s += header
        o.put(0, isMap ? 0x7b : 0x5b)
        o += 1
        continue
      } else {
        switch first {
        case 0xc0:
          o.storeBytes(of: (0x6c6c_756e as UInt32).littleEndian, as: UInt32.self)
          o += 4
          s += 1
        case 0xc2:
          o.storeBytes(of: (0x65_736c_6166 as UInt64).littleEndian, as: UInt64.self)
          o += 5
          s += 1
        case 0xc3:
          o.storeBytes(of: (0x6575_7274 as UInt32).littleEndian, as: UInt32.self)
          o += 4
          s += 1
        case 0xcc:
          o = DecimalText.put(UInt64(s.byte(1)), o, pairs)
          s += 2
        case 0xcd:
          o = DecimalText.put(UInt64(s.bigEndian(1, as: UInt16.self)), o, pairs)
          s += 3
        case 0xce:
          o = DecimalText.put(UInt64(s.bigEndian(1, as: UInt32.self)), o, pairs)
          s += 5
        case 0xcf:
          o = DecimalText.put(s.bigEndian(1, as: UInt64.self), o, pairs)
          s += 9
        case 0xcb:
          let value = Double(bitPattern: s.bigEndian(1, as: UInt64.self))
          guard value.isFinite else { return .refused }
          o = DecimalText.put(value, o, pairs)
          s += 9
        case 0xd9:
          let n = Int(s.byte(1))
          guard let next = string(s + 2, n, o, limit) else { return .needsRoom(o - out + 6 * n + margin) }
          o = next
          s += n &+ 2
        case 0xda:
          let n = s.length16(1)
          guard let next = string(s + 3, n, o, limit) else { return .needsRoom(o - out + 6 * n + margin) }
          o = next
          s += n &+ 3
        default:
          guard let next = rare(s, o, limit, pairs) else {
            if let double = ValueView(unchecked: s).double, !double.isFinite { return .refused }
            return .needsRoom(o - out + 6 * (MessagePack.end(of: s) - s) + margin)
          }
          o = next
          s = MessagePack.end(of: s)
        }
      }
      isKey = isMap && !isKey
      o.put(0, separator)
      o += 1
    }
  }

  /// Negative integers, single floats, binaries, the longest strings, exts. nil when there is no room, or not finite.
  @inline(never)
  private static func rare(_ s: Source, _ o: Target, _ limit: Target, _ pairs: UnsafePointer<UInt16>) -> Target? {
    let view = ValueView(unchecked: s)
    if let value = view.int64 { return DecimalText.put(value, o, pairs) }
    if let value = view.double { return value.isFinite ? DecimalText.put(value, o, pairs) : nil }
    if let text = view.textBytes, let base = text.baseAddress { return string(base, text.count, o, limit) }
    guard let (_, payload) = view.ext else { return o }
    if let time = view.eventTime { return DecimalText.put(time.seconds, o, pairs) }
    guard limit - o >= 2 * payload.count + margin else { return nil }
    var out = o
    out.put(0, 0x22)
    out += 1
    for byte in payload {
      out.put(0, hexDigit(byte >> 4))
      out.put(1, hexDigit(byte & 15))
      out += 2
    }
    out.put(0, 0x22)
    return out + 1
  }

  /// A key that is no string, as Ruby's `to_s` gives it; nil for a container or an ext that is no time.
  @inline(never) private static func scalarKey(_ s: Source, _ start: Target, _ pairs: UnsafePointer<UInt16>) -> Target? {
    let view = ValueView(unchecked: s)
    var o = start
    o.put(0, 0x22)
    o += 1
    switch view.kind {
    case .null: break
    case .bool:
      let text: StaticString = view.bool == true ? "true" : "false"
      memcpy(o, text.utf8Start, text.utf8CodeUnitCount)
      o += text.utf8CodeUnitCount
    case .int: o = DecimalText.put(view.int64 ?? 0, o, pairs)
    case .uint: o = DecimalText.put(view.uint64 ?? 0, o, pairs)
    case .double: o = DecimalText.put(view.double ?? 0, o, pairs)
    case .ext:
      guard let time = view.eventTime else { return nil }
      o = DecimalText.put(time.seconds, o, pairs)
    case .string, .binary, .array, .map: return nil
    }
    o.put(0, 0x22)
    return o + 1
  }

  /// `"` + text + `"`; nil when there may be no room for it and the margin.
  @inline(__always) private static func string(_ s: Source, _ n: Int, _ start: Target, _ limit: Target) -> Target? {
    guard limit - start >= n &+ margin else { return nil }
    start.put(0, 0x22)
    let o = start + 1
    var i = 0
    while i < n {
      let k = CopyScan.bytes(s + i, o + i)
      i &+= k
      if k < CopyScan.step { break }
    }
    if i >= n {
      o.put(n, 0x22)
      return o + (n &+ 1)
    }
    return escaped(s + i, n &- i, o + i, limit)
  }

  /// The rest of a string, from its first byte that needs an escape.
  @inline(never) private static func escaped(_ start: Source, _ n: Int, _ out: Target, _ limit: Target) -> Target? {
    guard limit - out >= 6 &* n &+ margin else { return nil }
    var s = start
    var o = out
    let end = start + n
    while s < end {
      let k = min(CopyScan.bytes(s, o), end - s)
      s += k
      o += k
      if k == CopyScan.step || s >= end { continue }
      let c = s.byte()
      s += 1
      o.put(0, 0x5c)
      switch c {
      case 0x22, 0x5c: o.put(1, c)
      case 0x0a: o.put(1, 0x6e)
      case 0x09: o.put(1, 0x74)
      case 0x0d: o.put(1, 0x72)
      case 0x08: o.put(1, 0x62)
      case 0x0c: o.put(1, 0x66)
      default:
        o.storeBytes(of: (0x3030_755c as UInt32).littleEndian, as: UInt32.self)
        o.put(4, hexDigit(c >> 4))
        o.put(5, hexDigit(c & 15))
        o += 4
      }
      o += 2
    }
    o.put(0, 0x22)
    return o + 1
  }

  /// Uppercase, as Yajl's.
  private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 &+ value : 0x37 &+ value }
}
