import AggCore
import AggNet
import Foundation
import Synchronization
import Testing

/// Sends the lines that are whole back, keeps the rest.
@Sendable private func lines(_ connection: Connection) async throws {
  var buffer = ByteWriter()
  while try await connection.read(into: &buffer) > 0 {
    guard let end = buffer.bytes.lastIndex(of: 0x0a) else { continue }
    try await connection.write(Array(buffer.bytes[...end]))
    buffer.removeFirst(end + 1)
  }
}

/// Sends a byte now and then until the connection is gone.
private func drip(_ connection: Connection) -> Task<Void, Never> {
  Task {
    while !Task.isCancelled, (try? await connection.send("a")) != nil { try? await Task.sleep(for: .milliseconds(20)) }
  }
}

@Suite(.timeLimit(.minutes(2))) struct ConnectionLimitTests {
  @Test func `connections beyond the limit are closed at once, counted and told once; when one ends there is room`() async throws
  {
    try await withNetwork { network in
      var options = ListenOptions()
      options.maxConnections = 2
      let watched = Watched()
      watched.watch(&options)
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      try await serving(listener, echo) {
        var open: [Connection] = []
        for text in ["a", "b"] {
          let connection = try await network.connect(listener.endpoint)
          try await connection.send(text)
          #expect(try await self.text(connection) == text)
          open.append(connection)
        }
        for _ in 0..<5 {
          let connection = try await network.connect(listener.endpoint)
          await connection.waitForEnd()
          await connection.close()
        }
        #expect(watched.count(.refused) == 5 && watched.count(.accepted) == 2)
        #expect(watched.lines.count == 1)
        #expect(watched.lines.first?.hasPrefix("error \(listener.endpoint): 2 connections are open, the limit") == true)
        try await open[0].send("c")
        #expect(try await text(open[0]) == "c")
        await open[1].close()
        try await watched.wait(for: .ended, 1)
        let next = try await network.connect(listener.endpoint)
        try await next.send("d")
        #expect(try await text(next) == "d")
        await next.close()
        await open[0].close()
      }
      #expect(watched.count(.accepted) == watched.count(.ended))
    }
  }
  private func text(_ connection: Connection) async throws -> String {
    var writer = ByteWriter()
    _ = try await connection.read(into: &writer, timeout: .seconds(20))
    return writer.string
  }

  @Test func `a message that is not ended in time ends its connection, a quiet sender stays`() async throws {
    try await withNetwork { network in
      var options = ListenOptions()
      options.messageTimeout = .milliseconds(300)
      let watched = Watched()
      watched.watch(&options)
      let errors = Mutex<[String]>([])
      options.onError = { _, error in errors.withLock { $0.append("\(error)") } }
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      try await serving(listener, lines) {
        let quiet = try await network.connect(listener.endpoint)
        try await quiet.send("first\n")
        #expect(try await self.text(quiet) == "first\n")
        let silent = try await network.connect(listener.endpoint)
        try await silent.send("half")
        let slow = try await network.connect(listener.endpoint)
        let dripping = drip(slow)
        await slow.waitForEnd()
        await silent.waitForEnd()
        dripping.cancel()
        #expect(watched.count(.timedOut) == 2)
        #expect(
          errors.withLock { $0.allSatisfy { $0.hasPrefix("a message that has begun is not complete in time") } && $0.count == 2 })
        try await quiet.send("second\n")
        #expect(try await text(quiet) == "second\n")
        for connection in [quiet, silent, slow] { await connection.close() }
      }
    }
  }

  @Test func `the time that the reader does not wait is not the sender's`() async throws {
    try await withNetwork { network in
      var options = ListenOptions()
      options.messageTimeout = .seconds(1)
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      let hasHalf = Gate()
      let isSent = Gate()
      let serve: @Sendable (Connection) async throws -> Void = { connection in
        var buffer = ByteWriter()
        _ = try await connection.read(into: &buffer)
        hasHalf.open()
        // A store that takes long, or memory_limit: longer than a message may.
        await isSent.wait()
        try await Task.sleep(for: .milliseconds(1500))
        while buffer.count < 4 { _ = try await connection.read(into: &buffer) }
        try await connection.write(buffer)
      }
      try await serving(listener, serve) {
        let connection = try await network.connect(listener.endpoint)
        try await connection.send("ha")
        await hasHalf.wait()
        try await connection.send("lf")
        isSent.open()
        #expect(try await rest(connection) == "half")
        await connection.close()
      }
    }
  }

  @Test func `a peer that does not read ends a write`() async throws {
    try await withNetwork { network in
      var options = ListenOptions()
      options.messageTimeout = .milliseconds(300)
      let watched = Watched()
      watched.watch(&options)
      let failure = Mutex<NetworkError.Code?>(nil)
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      let serve: @Sendable (Connection) async throws -> Void = { connection in
        // Small ones first: each is in time, though all together are not.
        for _ in 0..<10 {
          try await connection.send("a")
          try await Task.sleep(for: .milliseconds(50))
        }
        let code = await code { try await connection.write([UInt8](repeating: 0x61, count: 64 << 20)) }
        failure.withLock { $0 = code }
      }
      try await serving(listener, serve) {
        let connection = try await network.connect(listener.endpoint)
        try await watched.wait(for: .ended, 1)
        await connection.close()
      }
      #expect(failure.withLock { $0 } == .timeout)
      #expect(watched.count(.timedOut) == 1)
    }
  }

  @Test func `a client that does not take its answer loses its connection`() async throws {
    try await withNetwork { network in
      var options = HTTPServerOptions()
      options.listen.messageTimeout = .milliseconds(300)
      let watched = Watched()
      watched.watch(&options.listen)
      let errors = Mutex<[String]>([])
      options.listen.onError = { _, error in errors.withLock { $0.append("\(error)") } }
      let server = try await HTTPServer.bind(.host("127.0.0.1", 0), options, on: network)
      let task = Task {
        await server.run { _ in HTTPResponse(200, fields: [:], body: [UInt8](repeating: 0x61, count: 64 << 20)) }
      }
      let connection = try await network.connect(server.endpoint)
      try await connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      try await watched.wait(for: .ended, 1)
      #expect(watched.count(.timedOut) == 1 && watched.count(.ended) == 1)
      #expect(errors.withLock { $0.count == 1 && $0[0].hasPrefix("the answer was not taken in time") })
      await connection.close()
      task.cancel()
      await task.value
      await server.close()
    }
  }

  @Test func `datagrams that wait in a unix socket go to who takes it over`() async throws {
    let path = temporaryPath("datagrams.sock")
    func send(_ text: String) {
      let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
      defer { close(descriptor) }
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
      let sent = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          sendto(descriptor, text, text.utf8.count, 0, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      #expect(sent == text.utf8.count, "\(errno)")
    }
    /// Until a datagram "end" has come.
    func received(_ socket: UnixDatagrams) async -> [String] {
      let texts = Mutex<[String]>([])
      let hasEnded = Gate()
      let task = Task(executorPreference: BlockingPool()) {
        await socket.run { bytes in
          let text = String(decoding: bytes, as: UTF8.self)
          if text == "end" { hasEnded.open() } else { texts.withLock { $0.append(text) } }
        }
      }
      await hasEnded.wait()
      task.cancel()
      await task.value
      return texts.withLock { $0 }
    }
    try await withNetwork { old in
      let first = try await UnixDatagrams.bind(path, on: old)
      #expect(await code { _ = try await UnixDatagrams.bind(path, on: old) } == .addressInUse)
      send("one")
      send("end")
      #expect(await received(first) == ["one"])
      first.close(keepingSocket: true)
      send("two")
      // A reload: the same network binds it again.
      let second = try await UnixDatagrams.bind(path, on: old)
      send("end")
      #expect(await received(second) == ["two"])
      second.close(keepingSocket: true)
      send("three")
      // An upgrade: another one does.
      try await withNetwork { new in
        for socket in old.handedSockets { #expect(new.adopt(socket.description, dup(socket.descriptor))) }
        old.forgetHandedSockets()
        let third = try await UnixDatagrams.bind(path, on: new)
        send("end")
        #expect(await received(third) == ["three"])
        third.close()
        #expect(!FileManager.default.fileExists(atPath: path))
      }
    }
  }
}
