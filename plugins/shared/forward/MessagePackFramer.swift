import AggCore

/// Finds where MessagePack values end in a stream, looking at every byte once however the stream is cut.
///
/// Constant memory: nothing is allocated from a declared length. The bytes of a value that is not wanted may be
/// discarded while it is still arriving.
package struct MessagePackFramer {
  package enum Frame: Equatable {
    /// The value ends before this offset.
    case value(end: Int)
    case needMore
    case invalid(String)
  }

  /// The first byte that was not looked at; what is before it may be discarded.
  package private(set) var position = 0
  /// Bytes of the current value that have passed or are declared to come by a string.
  package private(set) var size = 0
  /// What is still to pass of a string's content.
  private var skip = 0
  /// Values that are missing in each container around the current one, the innermost in `left`.
  private var stack: [Int] = []
  private var left = 0
  package private(set) var isInside = false

  package init() {}

  /// The next value in `bytes`, which begin where they began in the last call, less what was discarded.
  package mutating func next(_ bytes: UnsafeRawBufferPointer) -> Frame {
    while true {
      if skip > 0 {
        let n = min(skip, bytes.count - position)
        position += n
        skip -= n
        if skip > 0 { return .needMore }
      }
      if isInside {
        while left == 0 {
          guard let outer = stack.popLast() else {
            isInside = false
            return .value(end: position)
          }
          left = outer
        }
      }
      guard position < bytes.count else { return .needMore }
      guard let item = Item(bytes, at: position) else { return .needMore }
      if item.header == 0 { return .invalid("0xc1 is no MessagePack type") }
      if !isInside {
        isInside = true
        left = 1
        size = 0
      }
      left -= 1
      position += item.header
      skip = item.payload
      size += item.header + item.payload
      if item.children > 0 {
        guard stack.count < MessagePack.maximumDepth + 2 else { return .invalid("nested deeper than \(MessagePack.maximumDepth) levels") }
        stack.append(left)
        left = item.children
      }
    }
  }

  /// Tells that the first `n` bytes, all of them looked at, are gone from the buffer.
  package mutating func discard(_ n: Int) { position -= min(n, position) }

  /// One value without its children; `header` is 0 where the byte is no type.
  private struct Item {
    var header: Int
    var payload = 0
    var children = 0

    /// Nil when the header is not there as a whole.
    init?(_ bytes: UnsafeRawBufferPointer, at position: Int) {
      let first = bytes[position]
      let available = bytes.count - position
      func length(_ width: Int) -> Int? {
        guard available > width else { return nil }
        var value = 0
        for index in 1...width { value = value << 8 | Int(bytes[position + index]) }
        return value
      }
      header = 1
      switch first {
      case 0x00...0x7f, 0xe0...0xff, 0xc0, 0xc2, 0xc3: break
      case 0x80...0x8f: children = Int(first & 15) * 2
      case 0x90...0x9f: children = Int(first & 15)
      case 0xa0...0xbf: payload = Int(first & 31)
      case 0xcc, 0xd0: payload = 1
      case 0xcd, 0xd1: payload = 2
      case 0xce, 0xd2, 0xca: payload = 4
      case 0xcf, 0xd3, 0xcb: payload = 8
      case 0xd4...0xd8: payload = 1 + 1 << Int(first - 0xd4)
      case 0xc4...0xc6, 0xd9...0xdb, 0xc7...0xc9:
        let width = first < 0xc7 ? 1 << Int(first - 0xc4) : first < 0xd9 ? 1 << Int(first - 0xc7) : 1 << Int(first - 0xd9)
        guard let count = length(width) else { return nil }
        header = 1 + width
        payload = count + (first >= 0xc7 && first <= 0xc9 ? 1 : 0)
      case 0xdc...0xdf:
        let width = first & 1 == 0 ? 2 : 4
        guard let count = length(width) else { return nil }
        header = 1 + width
        children = first < 0xde ? count : count * 2
      default: header = 0
      }
    }
  }
}
