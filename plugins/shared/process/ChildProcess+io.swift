import AggCore
import Glibc
import Synchronization

/// The lines a command writes to standard error, in the plugin's log: at most `limit` in ten seconds.
struct ErrorLines {
  private static let limit = 50
  private static let window: Int64 = 10_000_000_000
  private static let longestLine = 4096
  private let log: Log
  private var pending: [UInt8] = []
  private var begun = MonotonicTime(nanoseconds: 0)
  private var written = 0
  private var left = 0

  init(_ log: Log) { self.log = log }

  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    var rest = bytes[...]
    while let end = rest.firstIndex(of: 0x0a) {
      take(rest[rest.startIndex..<end])
      line()
      rest = rest[(end + 1)...]
    }
    take(rest)
  }
  mutating func finish() {
    line()
    if left > 0 { log.warn("stderr: \(left) more lines were left out") }
    left = 0
  }

  private mutating func take(_ part: Slice<UnsafeRawBufferPointer>) {
    pending.append(contentsOf: part.prefix(max(0, Self.longestLine - pending.count)))
  }
  private mutating func line() {
    while let last = pending.last, last == 0x0d || last == 0x20 { pending.removeLast() }
    defer { pending.removeAll(keepingCapacity: true) }
    if pending.isEmpty { return }
    let now = MonotonicTime.now()
    if now.since(begun) > Self.window {
      if left > 0 { log.warn("stderr: \(left) more lines were left out") }
      (begun, written, left) = (now, 0, 0)
    }
    written += 1
    if written > Self.limit {
      left += 1
      return
    }
    log.warn("stderr: \(String(decoding: pending, as: UTF8.self))")
  }
}

extension ChildProcess {
  /// Waits for output and appends up to `limit` bytes of it; 0 at its end. What comes on standard error meanwhile is logged.
  ///
  /// Ends with both pipes, or with standard output once the command has ended. Blocks.
  func read(into out: inout ByteWriter, limit: Int = 65_536, _ lines: inout ErrorLines, _ ended: inout Ended) -> Int {
    while true {
      let (hasExited, isAborted) = state.withLock { ($0.hasExited, $0.isAborted) }
      if isAborted { return 0 }
      let outputIsDone = output < 0 || ended.output
      let errorsAreDone = errors < 0 || ended.errors
      if outputIsDone, errorsAreDone { return 0 }
      var waits = [
        pollfd(fd: outputIsDone ? -1 : output, events: Int16(POLLIN), revents: 0),
        pollfd(fd: errorsAreDone ? -1 : errors, events: Int16(POLLIN), revents: 0),
        // Its byte stays in the pipe once the command has ended: then only what is there already counts.
        pollfd(fd: hasExited ? -1 : wakeRead, events: Int16(POLLIN), revents: 0),
      ]
      // A descendant may hold the output open for long after; standard error alone is not waited for.
      let ready = poll(&waits, 3, hasExited && outputIsDone ? 0 : hasExited ? 1000 : -1)
      if ready < 0, errno != EINTR { return 0 }
      if ready == 0, hasExited, outputIsDone { return 0 }
      if waits[1].revents != 0 { readErrors(&lines, &ended) }
      if waits[0].revents != 0 {
        out.reserve(limit)
        let n = Glibc.read(output, out.end, limit)
        if n > 0 {
          out.count += n
          return n
        }
        if n == 0 || (errno != EAGAIN && errno != EINTR) { ended.output = true }
      }
    }
  }

  struct Ended {
    var output = false
    var errors = false
  }

  private func readErrors(_ lines: inout ErrorLines, _ ended: inout Ended) {
    withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
      let n = Glibc.read(errors, buffer.baseAddress, buffer.count)
      if n > 0 { return lines.add(UnsafeRawBufferPointer(rebasing: buffer[..<n])) }
      if n == 0 || (errno != EAGAIN && errno != EINTR) { ended.errors = true }
    }
  }

  /// Writes all of it to standard input. Throws when the command has ended or closed it, and when the task is cancelled.
  /// Blocks; one caller at a time.
  func write(_ bytes: UnsafeRawBufferPointer) throws {
    let isOpen = state.withLock { s in
      s.isWriting = !s.inputIsClosed
      return s.isWriting
    }
    guard isOpen else { throw ProcessError(description: "the command's input is closed") }
    defer {
      let closes = state.withLock { s in
        s.isWriting = false
        return s.inputIsClosed
      }
      if closes { close(input) }
    }
    var done = 0
    while done < bytes.count {
      if state.withLock({ $0.hasExited || $0.inputIsClosed }) { throw ProcessError(description: "the command has ended") }
      let n = Glibc.write(input, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      if n > 0 {
        done += n
        continue
      }
      if n < 0, errno == EPIPE { throw ProcessError(description: "the command has closed its input") }
      if n < 0, errno != EAGAIN, errno != EINTR { throw ProcessError(description: "writing to the command: \(String(cString: strerror(errno)))") }
      try Task.checkCancellation()
      var wait = pollfd(fd: input, events: Int16(POLLOUT), revents: 0)
      // A second, so that cancellation is seen though the command reads nothing.
      _ = poll(&wait, 1, 1000)
    }
  }
}
