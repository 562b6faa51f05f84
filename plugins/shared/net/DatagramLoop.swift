import AggCore
import AggNet

/// Receives datagrams until the task is cancelled, and tells of those that the kernel or the length limit took.
struct DatagramLoop {
  /// How often the kernel is asked what it dropped, in nanoseconds.
  private static let dropInterval: Int64 = 1_000_000_000

  let lane: InputLane
  let socket: DatagramSocket
  /// Longer datagrams are cut.
  let limit: Int

  /// Binds; `receiveBuffer` is SO_RCVBUF.
  static func bind(_ host: String, _ port: Port, limit: Int, receiveBuffer: Int?, lane: InputLane, on network: Network) async throws -> DatagramLoop {
    var options = DatagramOptions()
    if let receiveBuffer { options.receiveBuffer = receiveBuffer }
    // One byte more shows that something was cut.
    options.maxLength = min(max(limit, 1), 65_535) + 1
    let socket = try await DatagramSocket.bind(.host(host, Int(port.number)), options, on: network)
    return DatagramLoop(lane: lane, socket: socket, limit: max(limit, 1))
  }

  /// Calls `body` with what one wakeup brought, on the thread that reads the socket.
  func run(_ body: (borrowing DatagramBatch) async -> Void) async throws {
    try await withTaskExecutorPreference(socket.executor) {
      var batch = DatagramBatch()
      var drops = socket.kernelDrops ?? 0
      var nextCheck = MonotonicTime.now()
      let memory = lane.context.shared(MemoryBudget.self)
      while try await socket.receive(into: &batch) > 0 {
        await body(batch)
        // What comes meanwhile the kernel keeps as far as it can.
        if let memory, !memory.admits() { await memory.wait(ObjectIdentifier(socket)) }
        let now = MonotonicTime.now()
        if now >= nextCheck {
          drops = countDrops(since: drops)
          nextCheck = now.adding(nanoseconds: Self.dropInterval)
        }
      }
      _ = countDrops(since: drops)
      // What a read that was under way still took from the kernel is nobody else's.
      await socket.close(keepingSocket: true)
      if try await socket.receive(into: &batch) > 0 { await body(batch) }
    }
  }

  /// A datagram's text within the limit.
  func text(_ batch: borrowing DatagramBatch, _ index: Int) -> UnsafeRawBufferPointer {
    let text = batch.datagram(index)
    if text.count <= limit { return text }
    lane.quiet.warn("\(batch.entries[index].peer): a datagram is longer than message_length_limit and is cut at \(limit) bytes")
    return UnsafeRawBufferPointer(rebasing: text[..<limit])
  }

  private func countDrops(since known: Int) -> Int {
    guard let drops = socket.kernelDrops, drops > known else { return known }
    lane.context.counters.add(.received, .lost, drops - known)
    lane.quiet.warn("the kernel dropped \(drops - known) datagrams for want of room; a larger receive_buffer_size holds more")
    return drops
  }
}

extension UnsafeRawBufferPointer {
  /// Without one `\r\n`, `\n` or `\r` at the end.
  var chomped: UnsafeRawBufferPointer {
    var end = count
    if end > 0, self[end - 1] == 0x0a { end -= 1; if end > 0, self[end - 1] == 0x0d { end -= 1 } } else if end > 0, self[end - 1] == 0x0d { end -= 1 }
    return UnsafeRawBufferPointer(rebasing: self[..<end])
  }
}
