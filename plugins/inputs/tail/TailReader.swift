import AggCore
import CAgg
import Glibc

/// Reads blocks of a file, has them parsed, emits one batch a block, and moves the position only then.
final class TailReader {
  /// Large enough that a batch's fixed cost does not show, small enough for the cache.
  private static let blockSize = 512 << 10
  /// A line (or multi-line event) longer than this is skipped even without max_line_size: memory is bounded.
  private static let longest = 64 << 20

  /// In the commit log while pos_file cannot be written.
  static let behindKey = "pos_file"

  private let input: TailInput
  private let config: TailInput.Config
  private let emitter: Emitter
  private let positions: PositionFile?
  private let multiline: (any MultilineParser)?
  private let pathField: [UInt8]?
  private var block = ByteWriter(capacity: 64 << 10)
  private var converted = ByteWriter(capacity: 64)
  private let waiting: Trouble
  private let quiet: QuietLog
  private let memory: MemoryBudget?

  init(_ input: TailInput, positions: PositionFile?, emitter: Emitter) {
    self.input = input
    config = input.config
    self.positions = positions
    self.emitter = emitter
    waiting = Trouble(input.context.log)
    quiet = QuietLog(input.context.log)
    memory = input.context.shared(MemoryBudget.self)
    multiline = input.parser as? any MultilineParser
    pathField = config.pathKey.map { Array($0.utf8) }
  }

  /// One block; true when the position moved. `isLast`: the file will not grow any more, so an unfinished line counts.
  func read(_ file: TailedFile, isLast: Bool) async throws -> Bool {
    let handle = try file.opened()
    let status = try handle.status()
    let size = status.size
    let isTouched = status.modified != file.lastModified
    file.lastModified = status.modified
    let unread = file.lastSize - file.position
    if size < file.position {
      try restart(file, "became shorter than what was read (\(size) < \(file.position))", unread: unread)
    }
    if size != file.lastSize {
      file.lastSize = size
      file.lastGrowth = .now()
    }
    if size == file.position, !isTouched {
      (file.isHeld, file.isThrottled) = (false, false)
      return false
    }
    file.lag.look(size: size)
    // Emptied and filled up to the position, or beyond it, between two looks.
    if try !file.mark.hasItsTail(handle) { try restart(file, "was rewritten before byte \(file.position)", unread: unread) }
    if size == file.position {
      (file.isHeld, file.isThrottled) = (false, false)
      return false
    }
    // The file keeps it; asked again in a moment.
    if let memory, !memory.admits() {
      file.isThrottled = true
      return false
    }
    var wanted = min(size - file.position, Self.blockSize)
    let now = MonotonicTime.now()
    let lines = file.group.flatMap { file.share.allowance($0, now: now) }
    file.isThrottled = lines == 0
    if file.isThrottled { return false }
    if let limit = config.readBytesLimitPerSecond?.bytes, limit > 0 {
      let most = max(limit, TailInput.leastBytesPerSecond)
      if now.since(file.window.since) >= 1_000_000_000 { file.window = (now, 0) }
      if file.window.bytes >= most {
        file.isThrottled = true
        return false
      }
      wanted = max(4096, min(wanted, most - file.window.bytes))
    }
    var length = wanted
    while true {
      block.removeAll()
      block.trim(to: Self.blockSize * 2)
      _ = try handle.read(at: file.position, length, into: &block)
      if block.isEmpty { return false }
      let complete = completeLength(file, isLast: isLast && block.count == size - file.position)
      if complete > 0 {
        let part = lines.map { firstLines($0, of: complete) } ?? complete
        let taken = file.group == nil ? 0 : lineCount(part)
        guard try await take(file, part) else { return false }
        if taken > 0 { file.share.took(taken, now: now) }
        return true
      }
      // No line ends in this block: read on, unless the file does.
      if length >= size - file.position || block.count >= size - file.position {
        if block.count > limit || file.isSkipping { return try skip(file) }
        file.isHeld = multiline != nil
        return false
      }
      if length > limit || file.isSkipping { return try skip(file) }
      length = min(length * 2, limit + 1, size - file.position)
    }
  }

  /// `unread`: bytes that were seen behind the position. What was written and cut off between two looks nobody knows.
  private func restart(_ file: TailedFile, _ why: String, unread: Int) throws {
    quiet.warn("\(file.path): \(why); reading it from the head. Lines written between may be lost")
    input.givenUp(1, "possible_loss", bytes: unread)
    file.restart()
    keep(file)
  }

  /// pos_file has one line a path: the current file's.
  private func keep(_ file: TailedFile) {
    if !file.isRotated || config.followInodes { positions?.set(file.path, .init(position: file.position, inode: file.inode)) }
  }

  private var limit: Int { min(config.maxLineSize?.bytes ?? Self.longest, Self.longest) }

  /// How much of the block are whole lines (whole events, where they span lines).
  private func completeLength(_ file: TailedFile, isLast: Bool) -> Int {
    let bytes = block.bytes
    guard let base = bytes.baseAddress else { return 0 }
    if isLast { return bytes.count }
    guard let newline = memrchr(base, 0x0a, bytes.count) else { return 0 }
    let lines = UnsafeRawPointer(newline) - base + 1
    guard let multiline, multiline.hasFirstLine else { return lines }
    let starts = multiline.eventStarts(UnsafeRawBufferPointer(start: base, count: lines))
    // The last event may go on; it counts as whole after a silence.
    if let silence = config.multilineFlushInterval, MonotonicTime.now().since(file.lastGrowth) >= Int64(silence.nanoseconds) { return lines }
    file.isHeld = true
    return starts.last ?? 0
  }

  /// Bytes of at most that many lines; of an event that has more of them all, and of a format without a first line everything.
  private func firstLines(_ count: Int, of complete: Int) -> Int {
    guard let base = block.bytes.baseAddress else { return complete }
    if let multiline {
      guard multiline.hasFirstLine else { return complete }
      let starts = multiline.eventStarts(UnsafeRawBufferPointer(start: base, count: complete))
      var end = 0
      for next in starts.dropFirst() + [complete] {
        if end > 0, lineCount(next) > count { break }
        end = next
      }
      return end
    }
    var end = 0
    for _ in 0..<count {
      guard end < complete, let newline = memchr(base + end, 0x0a, complete - end) else { return complete }
      end = UnsafeRawPointer(newline) - base + 1
    }
    return end
  }
  private func lineCount(_ length: Int) -> Int {
    UnsafeRawBufferPointer(rebasing: block.bytes[..<min(length, block.count)]).reduce(0) { $1 == 0x0a ? $0 + 1 : $0 }
  }

  private func skip(_ file: TailedFile) throws -> Bool {
    if !file.isSkipping {
      quiet.warn("\(file.path): a line at byte \(file.position) is longer than \(limit) bytes and is skipped")
      input.givenUp(1, "line_too_long")
    }
    file.isSkipping = true
    file.mark = try file.mark.moved(to: file.position + block.count, after: block.bytes, of: file.opened())
    // Its middle is no place to begin at after a restart: the position is kept when its end is found.
    return true
  }

  private func take(_ file: TailedFile, _ complete: Int) async throws -> Bool {
    var text = UnsafeRawBufferPointer(rebasing: block.bytes[0..<complete])
    if file.isSkipping, let base = text.baseAddress {
      // The rest of the line that was too long.
      let end = memchr(base, 0x0a, text.count).map { UnsafeRawPointer($0) - base + 1 } ?? text.count
      text = UnsafeRawBufferPointer(rebasing: text[end...])
      file.isSkipping = false
    }
    if let encoding = config.fromEncoding ?? config.encoding, encoding.uppercased() != "UTF-8" {
      converted.removeAll()
      var conversion = try TextEncoding(from: encoding, to: config.fromEncoding == nil ? "UTF-8" : config.encoding ?? "UTF-8")
      conversion.convert(text, into: &converted)
      text = converted.bytes
    } else if Self.hasReturns(text) {
      removeReturns(text)
      text = converted.bytes
    }
    let batch = parse(text, file)
    let mark = try file.mark.moved(to: file.position + complete, after: UnsafeRawBufferPointer(rebasing: block.bytes[0..<complete]), of: file.opened())
    var spans = positions == nil ? [] : [SourceSpan(key: TailedFile.key(config.followInodes ? "*" : file.path, file.inode), state: mark.state)]
    // A position that pos_file could not take is not one that somebody removed there.
    let isBehind = positions?.isBehind ?? false
    if let positions, isBehind != positions.isToldBehind { spans.append(SourceSpan(key: Self.behindKey, state: isBehind ? [1] : [])) }
    if !batch.isEmpty {
      while true {
        do throws(EmitError) {
          try await emitter.emit(batch, covering: spans)
          waiting.worked("\(file.path): goes on")
          break
        } catch {
          // A pull input waits: the lines are safe in the file.
          if case .closed = error { return false }
          if case .unavailable = error {} else { waiting.failed("\(file.path): waiting: \(error)") }
          try? await Task.sleep(for: .milliseconds(500))
          if Task.isCancelled { return false }
        }
      }
    }
    if !batch.isEmpty { positions?.isToldBehind = isBehind }
    Faults.hit(.position)
    file.mark = mark
    file.window.bytes += complete
    file.isHeld = false
    keep(file)
    return true
  }

  /// Whether a line ends in `\r\n`. By memchr: glibc's memmem takes a fifth of a raw tail's time for these two bytes.
  private static func hasReturns(_ text: UnsafeRawBufferPointer) -> Bool {
    guard let base = text.baseAddress else { return false }
    var at = 0
    while let found = memchr(base + at, 0x0d, text.count - at) {
      at = UnsafeRawPointer(found) - base + 1
      if at < text.count, text[at] == 0x0a { return true }
    }
    return false
  }

  private func removeReturns(_ text: UnsafeRawBufferPointer) {
    converted.removeAll()
    forEachLine(text) { line, _ in
      converted.append(line.last == 0x0d ? UnsafeRawBufferPointer(rebasing: line.dropLast()) : line)
      converted.append(0x0a as UInt8)
    }
  }

  private func parse(_ text: UnsafeRawBufferPointer, _ file: TailedFile) -> EventBatch {
    var parse = TailParse(parser: input.parser, keepsUnmatched: config.emitUnmatchedLines, maxLineSize: config.maxLineSize?.bytes)
    let batch = parse.run(text, tag: file.tag)
    report(parse, file)
    guard let pathField else { return batch }
    return batch.setting(pathField, file.path)
  }

  /// One line a block, whatever is wrong in it.
  private func report(_ parse: borrowing TailParse, _ file: TailedFile) {
    if parse.tooLong > 0 {
      quiet.warn("\(file.path): \(parse.tooLong) lines are longer than max_line_size and are skipped")
      input.givenUp(parse.tooLong, "line_too_long")
    }
    guard let sample = parse.sample else { return }
    input.context.counters.add(.received, .rejected, parse.unmatched)
    let more = parse.unmatched > 1 ? " (and \(parse.unmatched - 1) more in this block)" : ""
    input.context.log.warn("\(file.path): pattern not matched\(more): \(sample)")
  }
}
