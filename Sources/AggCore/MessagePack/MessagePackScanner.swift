/// Finds where a value that came from outside ends, and whether it is MessagePack at all.
///
/// Constant memory: nothing is allocated from a declared length, and nesting costs no recursion.
public enum MessagePackScanner {
  public enum Scan: Equatable, Sendable {
    /// The value ends before this offset.
    case complete(end: Int)
    /// The bytes stop inside the value: it needs `atLeast` bytes counted from the start of the buffer, maybe more.
    case needMore(atLeast: Int)
    case invalid(String)
  }

  /// A record at the maximum depth is still read inside its entry.
  static let stackDepth = MessagePack.maximumDepth + 2

  /// Scans the value that starts at `start`.
  ///
  /// A stream that asks again after `needMore` should wait for `atLeast` bytes, and refuse when that passes its limit.
  public static func skip(_ bytes: UnsafeRawBufferPointer, at start: Int = 0, maxDepth: Int = MessagePack.maximumDepth) -> Scan {
    guard start >= 0, start < bytes.count, let base = bytes.baseAddress else { return .needMore(atLeast: max(start, 0) &+ 1) }
    let maxDepth = min(max(maxDepth, 0), stackDepth)
    return withUnsafeTemporaryAllocation(of: Int.self, capacity: stackDepth) { stack in
      skip(base, bytes.count, at: start, maxDepth: maxDepth, stack: stack.baseAddress!)
    }
  }

  /// Whether `bytes` is exactly one value.
  public static func validate(_ bytes: UnsafeRawBufferPointer, maxDepth: Int = MessagePack.maximumDepth) -> Bool {
    skip(bytes, maxDepth: maxDepth) == .complete(end: bytes.count)
  }

  /// `stack` holds `maxDepth` counts of what is left in the containers around the current one.
  @inline(__always)
  static func skip(_ base: UnsafeRawPointer, _ count: Int, at start: Int, maxDepth: Int, stack: UnsafeMutablePointer<Int>) -> Scan
  {
    var position = start
    var left = 1
    var depth = 0
    while true {
      left &-= 1
      guard position < count else { return .needMore(atLeast: position &+ left &+ 1) }
      let item = Item(base + position, available: count &- position)
      guard item.size <= count &- position else {
        if item.size == Item.invalid { return .invalid("0xc1 is no MessagePack type") }
        return .needMore(atLeast: position &+ item.size &+ left)
      }
      position &+= item.size
      if item.children > 0 {
        guard depth < maxDepth else { return .invalid("nested deeper than \(maxDepth) levels") }
        guard item.children <= count &- position else { return .needMore(atLeast: position &+ item.children &+ left) }
        stack[depth] = left
        depth &+= 1
        left = item.children
      }
      while left == 0 {
        if depth == 0 { return .complete(end: position) }
        depth &-= 1
        left = stack[depth]
      }
    }
  }

  /// One value without its children: `size` counts header and payload, `children` what follows (a pair is two).
  struct Item {
    static let invalid = Int.max
    var size: Int
    var children: Int

    /// When the header itself is cut off, `size` is the header's size, which is more than is there.
    @inline(__always) init(_ p: UnsafeRawPointer, available: Int) {
      let first = p.byte()
      if first < 0x80 || first >= 0xe0 {
        (size, children) = (1, 0)
      } else if first >= 0xa0, first < 0xc0 {
        (size, children) = (1 &+ Int(first & 0x1f), 0)
      } else if first < 0xa0 {
        size = 1
        children = first < 0x90 ? Int(first & 0x0f) &* 2 : Int(first & 0x0f)
      } else {
        let fixed = MessagePack.fixedSize(first)
        (size, children) = fixed != 0 ? (fixed, 0) : Self.long(first, p, available: available)
      }
    }

    private static func long(_ first: UInt8, _ p: UnsafeRawPointer, available: Int) -> (size: Int, children: Int) {
      switch first {
      case 0xc1: return (invalid, 0)
      case 0xd8: return (18, 0)
      case 0xd9, 0xc4: return (available < 2 ? 2 : 2 &+ Int(p.byte(1)), 0)
      case 0xda, 0xc5: return (available < 3 ? 3 : 3 &+ p.length16(1), 0)
      case 0xdb, 0xc6: return (available < 5 ? 5 : 5 &+ p.length32(1), 0)
      case 0xc7: return (available < 2 ? 3 : 3 &+ Int(p.byte(1)), 0)
      case 0xc8: return (available < 3 ? 4 : 4 &+ p.length16(1), 0)
      case 0xc9: return (available < 5 ? 6 : 6 &+ p.length32(1), 0)
      // 0xdc and 0xdd are arrays, 0xde and 0xdf maps, whose pairs are two values each.
      case 0xdc, 0xde: return (3, available < 3 ? 0 : p.length16(1) << Int(first >> 1 & 1))
      default: return (5, available < 5 ? 0 : p.length32(1) << Int(first >> 1 & 1))
      }
    }
  }
}
