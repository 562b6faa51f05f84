import AggCore
import Glibc

/// The last time text of a block and what it meant; the text must stay where it is.
struct TimeTextCache {
  private var text = UnsafeRawBufferPointer(start: nil, count: 0)
  private var value: EventTime?

  @inline(__always) mutating func time(_ text: UnsafeRawBufferPointer, _ parse: (UnsafeRawBufferPointer) -> EventTime?) -> EventTime? {
    if text.count == self.text.count, let a = text.baseAddress, let b = self.text.baseAddress, memcmp(a, b, text.count) == 0 {
      return value
    }
    self.text = text
    value = parse(text)
    return value
  }
  @inline(__always) mutating func time(_ text: UnsafeRawBufferPointer, _ parser: TimeParser) -> EventTime? {
    time(text) { parser.parse($0) }
  }
}
