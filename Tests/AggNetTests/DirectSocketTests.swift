import AggCore
import AggNet
import Synchronization
import Testing

/// Large pieces go between the socket and the caller's memory without the network's buffers.
@Suite(.timeLimit(.minutes(2))) struct DirectSocketTests {
  /// Sizes around the limits of DirectSocket and of the kernel's buffers.
  private static let sizes = [1, 511, 512, 513, 8191, 8192, 8193, 32767, 32768, 100_000, 262_144, 300_001, 3_000_000, 5, 1_000_000]

  private static func bytes(_ count: Int, _ seed: inout UInt64) -> [UInt8] {
    (0..<count).map { _ in
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: seed >> 33)
    }
  }

  @Test(arguments: [false, true]) func `what is sent in pieces of any size comes back as it is`(isUnix: Bool) async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(isUnix ? .unix(temporaryPath("s")) : .host("127.0.0.1", 0), on: network)
      try await serving(listener) { connection in
        var writer = ByteWriter()
        while try await connection.read(into: &writer) > 0 {
          try await connection.write(writer)
          writer.removeAll()
        }
      } _: {
        let connection = try await network.connect(listener.endpoint)
        var seed: UInt64 = 1
        let pieces = Self.sizes.map { Self.bytes($0, &seed) }
        async let sent: Void = {
          for piece in pieces {
            var writer = ByteWriter(capacity: piece.count)
            writer.append(piece)
            try await connection.write(writer)
          }
          try await connection.closeOutput()
        }()
        var received = ByteWriter()
        while try await connection.read(into: &received, timeout: .seconds(30)) > 0 {}
        try await sent
        #expect(received.bytes.elementsEqual(pieces.joined()))
        await connection.close()
      }
    }
  }

  /// While anything holds the socket the peer would wait for ever.
  @Test(arguments: [false, true]) func `the peer sees the end of a connection that has sent directly`(isAbandoned: Bool) async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let ended = Gate()
      let count = Mutex(0)
      try await serving(listener) { connection in
        var writer = ByteWriter()
        while let n = try? await connection.read(into: &writer), n > 0 {
          count.withLock { $0 += n }
          writer.removeAll()
          if isAbandoned { break }
        }
        if isAbandoned { await connection.close() }
        ended.open()
      } _: {
        let connection = try await network.connect(listener.endpoint)
        var writer = ByteWriter()
        var seed: UInt64 = 2
        writer.append(Self.bytes(1 << 20, &seed))
        if isAbandoned {
          // The peer is gone: that is told, and not waited for.
          var failure: (any Error)?
          for _ in 0..<200 where failure == nil { do { try await connection.write(writer) } catch { failure = error } }
          #expect(failure is NetworkError)
        } else { try await connection.write(writer) }
        await connection.close()
        await ended.wait()
        #expect(isAbandoned || count.withLock { $0 } == 1 << 20)
      }
    }
  }

  @Test func `a write to a peer that does not read ends with its time, or its task`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let done = Gate()
      try await serving(listener) { _ in await done.wait() } _: {
        let large = [UInt8](repeating: 7, count: 32 << 20)
        let first = try await network.connect(listener.endpoint)
        #expect(await code { try await first.write(writer(large), timeout: .milliseconds(200)) } == .timeout)
        let second = try await network.connect(listener.endpoint)
        let task = Task { try await second.write(writer(large)) }
        try await Task.sleep(for: .milliseconds(100))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        await first.close()
        await second.close()
        done.open()
      }
    }
  }

  private func writer(_ bytes: [UInt8]) -> ByteWriter {
    var writer = ByteWriter(capacity: bytes.count)
    writer.append(bytes)
    return writer
  }
}
