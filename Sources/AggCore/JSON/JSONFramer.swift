/// Finds where JSON values end that follow each other in a stream, before any of them is parsed.
///
/// Looks at brackets and strings only, so that what it frames may still be refused by the transcoder; comments are not known
/// here. Every byte is looked at once, however the stream is cut: call `next` again with more bytes behind the same ones, and
/// `discard` for what was taken from the front.
public struct JSONFramer: Sendable {
  public enum Frame: Equatable, Sendable {
    case value(Range<Int>)
    /// The rest is white space or the beginning of a value, `pending` bytes from the end back.
    case needMore(pending: Int)
    /// No value starts at this offset: the stream has lost its frame.
    case invalid(at: Int)
  }

  private enum State { case between, container, string, scalar }

  private var state = State.between
  private var start = 0
  private var position = 0
  private var depth = 0
  private var inString = false
  private var escaped = false

  public init() {}

  /// The next value in `bytes`, which begin where they began in the last call, less what was discarded.
  public mutating func next(_ bytes: UnsafeRawBufferPointer) -> Frame {
    while position < bytes.count {
      let byte = bytes[position]
      switch state {
      case .between:
        start = position
        switch byte {
        case 0x20, 0x09...0x0d: break
        case 0x7b, 0x5b:
          state = .container
          depth = 1
        case 0x22: state = .string
        case 0x2d, 0x30...0x39, 0x61...0x7a: state = .scalar
        default: return .invalid(at: position)
        }
      case .container:
        if inString {
          if endsString(byte) { inString = false }
        } else if byte == 0x22 {
          inString = true
        } else if byte | 0x20 == 0x7b {
          depth += 1
        } else if byte | 0x20 == 0x7d {
          depth -= 1
          if depth == 0 { return take(through: position + 1) }
        }
      case .string: if endsString(byte) { return take(through: position + 1) }
      case .scalar:
        switch byte {
        case 0x2b, 0x2d, 0x2e, 0x30...0x39, 0x41...0x5a, 0x61...0x7a: break
        default: return take(through: position)
        }
      }
      position += 1
    }
    return .needMore(pending: state == .between ? 0 : bytes.count - start)
  }

  /// The number or literal that the end of the stream ends; nil when nothing or half a value is left.
  public mutating func finish(_ bytes: UnsafeRawBufferPointer) -> Range<Int>? {
    guard state == .scalar, position == bytes.count, case .value(let range) = take(through: position) else { return nil }
    return range
  }

  /// Tells that the first `n` bytes are gone from the buffer; no more than were taken.
  public mutating func discard(_ n: Int) {
    start = max(start - n, 0)
    position = max(position - n, 0)
  }

  private mutating func take(through end: Int) -> Frame {
    position = end
    state = .between
    return .value(start..<end)
  }

  private mutating func endsString(_ byte: UInt8) -> Bool {
    if escaped {
      escaped = false
    } else if byte == 0x5c {
      escaped = true
    } else {
      return byte == 0x22
    }
    return false
  }
}
