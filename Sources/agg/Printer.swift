import AggCore
import Glibc

/// Standard output in large writes; ends the program quietly when nobody reads any more.
struct Printer: ~Copyable {
  private var out = ByteWriter(capacity: 64 << 10)
  init() { signal(SIGPIPE, SIG_DFL) }
  mutating func put(_ bytes: [UInt8]) {
    out.append(bytes)
    if out.count >= 60 << 10 { flush() }
  }
  mutating func put(_ bytes: UnsafeRawBufferPointer) {
    out.append(bytes)
    if out.count >= 60 << 10 { flush() }
  }
  mutating func line(_ text: String) { put(Array((text + "\n").utf8)) }
  /// A JSON object as a line, safe for a terminal.
  mutating func line(json: ConfigJSON) {
    let bytes = Array(json.json.utf8)
    bytes.withUnsafeBytes { put(SafeText.json($0) + [0x0a]) }
  }
  mutating func flush() {
    var done = 0
    while done < out.count {
      let n = write(1, out.bytes.baseAddress.map { $0 + done }, out.count - done)
      if n < 0 {
        if errno == EINTR { continue }
        exitWithError("cannot write: \(String(cString: strerror(errno)))")
      }
      done += n
    }
    out.removeAll()
  }
}

/// `12 of 340 chunks` on a terminal, gone when done; nothing elsewhere.
struct Progress {
  private let isShown = isatty(2) == 1
  private var last = MonotonicTime.now()
  mutating func show(_ text: @autoclosure () -> String) {
    guard isShown, MonotonicTime.now().since(last) > 200_000_000 else { return }
    last = .now()
    put("\r\u{1b}[K" + SafeText.line(text()))
  }
  func clear() { if isShown { put("\r\u{1b}[K") } }
  private func put(_ text: String) {
    var text = text
    text.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
  }
}
