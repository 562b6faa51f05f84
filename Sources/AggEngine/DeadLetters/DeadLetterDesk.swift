import AggCore
import Glibc
import Synchronization

/// Does what `agg dlq` asks for: drops letters, or stores their events in the output's buffer again.
///
/// A replay is exact with a file buffer: each batch of letters is committed together with how far its segment is read, so a kill
/// leaves neither a gap nor a second copy. Only then are the letters taken out of the segment.
final class DeadLetterDesk: Sendable {
  private let store: DeadLetterStore
  private let runner: OutputRunner
  private let gateway: Gateway
  private let log: Log
  let bell: Waker
  private static let batchBytes = 1 << 20
  private static let batchEvents = 4096

  init(_ runner: OutputRunner, _ store: DeadLetterStore, gateway: Gateway, timers: TimerQueue, log: Log) {
    self.runner = runner
    self.store = store
    self.gateway = gateway
    self.log = log
    bell = Waker(timers)
  }

  /// Until cancelled. Requests that an earlier run left are gone on with first.
  func run() async {
    // Those that could not be taken away.
    var done: Set<String> = []
    while !Task.isCancelled {
      let all = requests
      done.formIntersection(all)
      guard let path = all.first(where: { !done.contains($0) }) else {
        await bell.wait()
        continue
      }
      switch await handle(path) {
      case .done: done.insert(path)
      case .later: await bell.wait(until: .now().adding(nanoseconds: 10_000_000_000))
      case .stopped: return
      }
    }
  }

  /// In the order they were made: their names begin with the time. A replay that was interrupted comes first: another one, which may have
  /// an earlier name and have been left later, would store again what that one has stored already.
  private var requests: [String] {
    var names = ((try? File.list(store.options.directory)) ?? []).filter { $0.hasSuffix(DeadLetterRequest.suffix) }
    if let begun = progress?.name, let place = names.firstIndex(of: begun) { names.insert(names.remove(at: place), at: 0) }
    return names.map { store.options.directory + "/" + $0 }
  }

  /// A replay that cannot go on stays a request: another one would not know what this one has stored already.
  private enum Outcome { case done, later, stopped }

  private func handle(_ path: String) async -> Outcome {
    let text: String
    do throws(FileError) { text = try File.contents(path, limit: 16 << 20).string } catch {
      if !error.isMissing { log.error("\(error)") }
      return .done
    }
    var result: DeadLetterResult
    if let request = DeadLetterRequest(text: text) {
      do {
        try await store.secure(path)
        switch request.action {
        case .drop:
          result = DeadLetterResult(done: 0)
          for segment in try await store.closedSegments() {
            result.done += try await store.rewrite(segment) { request.selects($1) }
          }
          log.info("\(result.done) dead letters were dropped, as asked for")
        case .replay:
          guard let outcome = try await replay(request, named: File.name(of: path)) else { return .stopped }
          result = outcome
          log.info("\(result.done) dead letters were replayed, as asked for")
        }
      } catch {
        log.error("\(path): \(error)")
        if request.action == .replay { return .later }
        result = DeadLetterResult(done: 0, error: "\(error)")
      }
      runner.deadLettersHaveRoom()
    } else {
      result = DeadLetterResult(done: 0, error: "not a request that this agg knows")
      log.error("\(path): not a request that this agg knows; removed")
    }
    let answer = String(path.dropLast(DeadLetterRequest.suffix.utf8.count)) + DeadLetterRequest.resultSuffix
    do {
      try Array(result.text.utf8).withUnsafeBytes { try File.replace(answer, with: $0) }
      try File.remove(path)
    } catch { log.error("\(error)") }
    return .done
  }

  // MARK: Replay

  private var plugin: String { "@dead_letters.\(runner.id)" }

  /// Nil when the daemon stops in the midst of it: the request stays.
  private func replay(_ request: DeadLetterRequest, named name: String) async throws -> DeadLetterResult? {
    var result = DeadLetterResult(done: 0)
    for path in try await store.closedSegments() {
      let segment: DeadLetterSegment
      do { segment = try DeadLetterSegment(path: path) } catch {
        log.error("\(error); its letters stay")
        continue
      }
      guard let nonce = segment.nonce else { continue }
      guard try await replay(segment, nonce, request, name, &result) else { return nil }
      // Whether the event can be read was asked before it was stored; the answer is the same.
      _ = try await store.rewrite(path) { request.selects($1) && $0.event($1) != nil }
    }
    return result
  }

  private func replay(
    _ segment: DeadLetterSegment, _ nonce: UInt64, _ request: DeadLetterRequest, _ name: String, _ result: inout DeadLetterResult
  ) async throws -> Bool {
    // How far an interrupted replay for this request came; a memory buffer has lost what it held.
    let from = runner.buffer.isPersistent ? progress(nonce, name) : 0
    var run = DeadLetterRun()
    for group in segment.groups {
      for (letter, _) in group.letters where request.selects(letter) {
        guard segment.event(letter) != nil else {
          result.left += letter.count
          continue
        }
        result.done += letter.count
        if letter.payload.lowerBound < from { continue }
        run.add(segment.bytes(letter.payload), tag: letter.tag)
        if run.bytes >= Self.batchBytes || run.count >= Self.batchEvents {
          guard await emit(run.take(), through: letter.payload.upperBound, nonce, name) else { return false }
        }
      }
    }
    return await emit(run.take(), through: segment.block.count, nonce, name)
  }

  private func emit(_ batches: [EventBatch], through offset: Int, _ nonce: UInt64, _ name: String) async -> Bool {
    if batches.isEmpty { return true }
    let count = batches.reduce(0) { $0 + $1.count }
    let span = SourceSpan(key: "replay", state: Self.state(nonce, offset, name))
    var isTold = false
    while !Task.isCancelled {
      guard hasRoom(batches) else {
        await bell.wait(until: .now().adding(nanoseconds: 1_000_000_000))
        continue
      }
      do throws(EmitError) {
        try await gateway.emit(batches, covering: runner.buffer.isPersistent ? [span] : [], to: runner, plugin: plugin)
        runner.buffer.counters.add(.replayed, count)
        Faults.hit(.replayed)
        return true
      } catch {
        if case .closed = error { return false }
        if !isTold { log.warn("a replay of dead letters waits: \(error)") }
        isTold = true
        await bell.wait(until: .now().adding(nanoseconds: 1_000_000_000))
      }
    }
    return false
  }

  /// A buffer that makes room by dropping its oldest chunk need not do so for letters, which can wait.
  private func hasRoom(_ batches: [EventBatch]) -> Bool {
    guard runner.buffer.config.overflowAction == .dropOldestChunk, !batches.isEmpty else { return true }
    guard let room = runner.buffer.reserve(batches) else { return false }
    runner.buffer.release(room)
    return true
  }

  private static func state(_ nonce: UInt64, _ offset: Int, _ name: String) -> [UInt8] {
    withUnsafeBytes(of: nonce.bigEndian) { Array($0) } + withUnsafeBytes(of: UInt64(offset).bigEndian) { Array($0) }
      + Array(name.utf8)
  }
  private func progress(_ nonce: UInt64, _ name: String) -> Int {
    guard let progress, progress.nonce == nonce, progress.name == name else { return 0 }
    return progress.offset
  }
  /// How far the last replay came.
  private var progress: (nonce: UInt64, offset: Int, name: String)? {
    guard let state = gateway.commitLog?.state(plugin, "replay") else { return nil }
    return state.withUnsafeBytes { bytes in
      var reader = BinaryReader(bytes)
      guard let nonce = reader.integer(UInt64.self), let offset = reader.integer(UInt64.self),
        let name = reader.slice(reader.remaining).map({ String(decoding: $0, as: UTF8.self) })
      else { return nil }
      return (nonce, Int(clamping: offset), name)
    }
  }
}

/// Letters on their way back, as batches of runs with one tag.
private struct DeadLetterRun {
  private(set) var bytes = 0
  private(set) var count = 0
  private var parts: [(tag: String, bytes: [UInt8], count: Int)] = []

  mutating func add(_ event: UnsafeRawBufferPointer, tag: String) {
    bytes += event.count
    count += 1
    if parts.last?.tag == tag {
      parts[parts.count - 1].bytes += event
      parts[parts.count - 1].count += 1
    } else {
      parts.append((tag, Array(event), 1))
    }
  }
  mutating func take() -> [EventBatch] {
    defer { self = DeadLetterRun() }
    return parts.map { part in part.bytes.withUnsafeBytes { EventBatch.validating($0, tag: Tag(part.tag)).batch } }
  }
}
