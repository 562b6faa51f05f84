import AggCore
import AggNet
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct DatagramSocketTests {
  @Test func `a burst arrives in batches, each datagram whole`() async throws {
    try await withNetwork { network in
      var options = DatagramOptions()
      options.receiveBuffer = 4 << 20
      let receiver = try await DatagramSocket.bind(.host("127.0.0.1", 0), options, on: network)
      let sender = try await DatagramSocket.bind(.host("127.0.0.1", 0), on: network)
      guard case .host(_, let port) = receiver.endpoint else { return }
      let peer = try #require(try await network.resolve("127.0.0.1", port: port).first)
      for index in 0..<200 {
        var writer = ByteWriter()
        writer.append("datagram \(index)")
        try await sender.send(writer.bytes, to: peer)
      }
      var batch = DatagramBatch()
      var (seen, largest): ([String], Int) = ([], 0)
      while seen.count < 200 {
        let count = try await receiver.receive(into: &batch)
        largest = max(largest, count)
        for index in 0..<count {
          seen.append(String(decoding: batch.datagram(index), as: UTF8.self))
          #expect(batch.entries[index].peer.ip == "127.0.0.1")
        }
      }
      #expect(seen == (0..<200).map { "datagram \($0)" })
      #expect(largest > 1)
      #expect(receiver.kernelDrops == 0)
      await sender.close()
      await receiver.close()
    }
  }

  /// Between its reads the receiver rests a little.
  @Test func `datagrams that come often arrive whole and in order`() async throws {
    try await withNetwork { network in
      let receiver = try await DatagramSocket.bind(.host("127.0.0.1", 0), on: network)
      let sender = try await DatagramSocket.bind(.host("127.0.0.1", 0), on: network)
      guard case .host(_, let port) = receiver.endpoint else { return }
      let peer = try #require(try await network.resolve("127.0.0.1", port: port).first)
      let seen = Mutex<[String]>([])
      let reading = Task {
        var batch = DatagramBatch()
        while try await receiver.receive(into: &batch) > 0 {
          for index in 0..<batch.count { seen.withLock { $0.append(String(decoding: batch.datagram(index), as: UTF8.self)) } }
        }
      }
      for index in 0..<400 {
        try await Task.sleep(for: .microseconds(100))
        var writer = ByteWriter()
        writer.append("datagram \(index)")
        try await sender.send(writer.bytes, to: peer)
      }
      while seen.withLock({ $0.count }) < 400 { try await Task.sleep(for: .milliseconds(1)) }
      await receiver.close()
      try await reading.value
      #expect(seen.withLock { $0 } == (0..<400).map { "datagram \($0)" })
      await sender.close()
    }
  }

  @Test func `a receiver that does not receive makes the kernel drop and count`() async throws {
    try await withNetwork { network in
      var options = DatagramOptions()
      options.receiveBuffer = 4096
      let receiver = try await DatagramSocket.bind(.host("127.0.0.1", 0), options, on: network)
      let sender = try await DatagramSocket.bind(.host("127.0.0.1", 0), on: network)
      guard case .host(_, let port) = receiver.endpoint else { return }
      let peer = try #require(try await network.resolve("127.0.0.1", port: port).first)
      var writer = ByteWriter()
      writer.append([UInt8](repeating: 1, count: 1000))
      for _ in 0..<100 { try await sender.send(writer.bytes, to: peer) }
      #expect((receiver.kernelDrops ?? 0) > 50)
      await sender.close()
      await receiver.close()
    }
  }

  @Test func `closing and cancelling end a receive`() async throws {
    try await withNetwork { network in
      for isClosed in [true, false] {
        let receiver = try await DatagramSocket.bind(.host("127.0.0.1", 0), on: network)
        let task = Task {
          var batch = DatagramBatch()
          return try await receiver.receive(into: &batch)
        }
        if isClosed { await receiver.close() } else { task.cancel() }
        #expect(try await task.value == 0)
        await receiver.close()
      }
    }
  }

  @Test func `the next socket of an endpoint takes over what waits there`() async throws {
    try await withNetwork { network in
      let first = try await DatagramSocket.bind(.host("127.0.0.1", 0), on: network)
      guard case .host(_, let port) = first.endpoint else { return }
      let sender = try await DatagramSocket.bind(.host("127.0.0.1", 0), on: network)
      let peer = try #require(try await network.resolve("127.0.0.1", port: port).first)
      await first.close(keepingSocket: true)
      var writer = ByteWriter()
      writer.append("between")
      try await sender.send(writer.bytes, to: peer)
      let second = try await DatagramSocket.bind(first.endpoint, on: network)
      var batch = DatagramBatch()
      #expect(try await second.receive(into: &batch) == 1)
      #expect(String(decoding: batch.datagram(0), as: UTF8.self) == "between")
      await sender.close()
      await second.close()
    }
  }

  @Test func `a unix datagram socket that is in use is an error`() async throws {
    try await withNetwork { network in
      let path = temporaryPath("datagram.sock")
      let receiver = try await DatagramSocket.bind(.unix(path), on: network)
      #expect(await code { _ = try await DatagramSocket.bind(.unix(path), on: network) } == .addressInUse)
      await receiver.close()
    }
  }
}
