import AggCore
import AggNet
import Foundation
import Glibc
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct ListenerTests {
  @Test func `what is sent over TCP comes back`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let answer = try await serving(listener, echo) {
        let connection = try await network.connect(listener.endpoint)
        #expect(connection.peer.ip == "127.0.0.1")
        try await connection.send("hello")
        let answer = try await text(connection, count: 5)
        await connection.close()
        return answer
      }
      #expect(answer == "hello")
    }
  }

  @Test func `what is sent over a unix socket comes back and the socket file goes`() async throws {
    try await withNetwork { network in
      let path = temporaryPath("echo.sock")
      var options = ListenOptions()
      options.unixPermissions = 0o600
      let listener = try await Listener.bind(.unix(path), options, on: network)
      let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
      #expect(mode == 0o600)
      let answer = try await serving(listener, echo) {
        let connection = try await network.connect(.unix(path))
        try await connection.send("hello")
        let answer = try await text(connection, count: 5)
        await connection.close()
        return answer
      }
      #expect(answer == "hello")
      #expect(!FileManager.default.fileExists(atPath: path))
    }
  }

  @Test func `a connection's task runs on the thread that reads its socket`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let names = Mutex<Set<String>>([])
      let serve: @Sendable (Connection) async throws -> Void = { connection in
        var writer = ByteWriter()
        while try await connection.read(into: &writer) > 0 {
          names.withLock { _ = $0.insert(threadName()) }
          try await connection.write(writer)
          names.withLock { _ = $0.insert(threadName()) }
          writer.removeAll()
        }
      }
      try await serving(listener, serve) {
        let connection = try await network.connect(listener.endpoint)
        for _ in 0..<50 {
          try await connection.send("x")
          _ = try await text(connection, count: 1)
        }
        await connection.close()
      }
      let seen = names.withLock { $0 }
      #expect(seen.count == 1 && seen.allSatisfy { $0.hasPrefix("NIO") }, "\(seen)")
    }
  }

  @Test func `a used port is named in the error`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let endpoint = listener.endpoint
      do {
        _ = try await Listener.bind(endpoint, on: network)
        Issue.record("bound twice")
      } catch let error as NetworkError {
        #expect(error.code == .addressInUse)
        #expect(error.description == "address already in use (\(endpoint))")
      }
      await listener.close()
    }
  }

  @Test func `a stale socket file is replaced, a live one and a plain file are errors`() async throws {
    try await withNetwork { network in
      let path = temporaryPath("stale.sock")
      let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
      let status = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
      }
      #expect(status == 0)
      close(descriptor)
      let listener = try await Listener.bind(.unix(path), on: network)
      #expect(await code { _ = try await Listener.bind(.unix(path), on: network) } == .addressInUse)
      await listener.close()
      _ = FileManager.default.createFile(atPath: path, contents: Data("keep".utf8))
      #expect(await code { _ = try await Listener.bind(.unix(path), on: network) } == .cannotBind)
      #expect(FileManager.default.contents(atPath: path) == Data("keep".utf8))
      try FileManager.default.removeItem(atPath: path)
    }
  }

  @Test func `a peer that closed its sending side still gets the answer`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let serve: @Sendable (Connection) async throws -> Void = { connection in
        var writer = ByteWriter()
        while try await connection.read(into: &writer) > 0 {}
        try await connection.send("got \(writer.count)")
      }
      let answer = try await serving(listener, serve) {
        let connection = try await network.connect(listener.endpoint)
        try await connection.write([UInt8](repeating: 7, count: 300_000))
        try await connection.closeOutput()
        let answer = try await rest(connection)
        await connection.close()
        return answer
      }
      #expect(answer == "got 300000")
    }
  }

  @Test func `a consumer that does not read stops its sender`() async throws {
    try await withNetwork { network in
      var options = ListenOptions()
      options.receiveBuffer = 64 << 10
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      let (gate, arrived) = (Gate(), Gate())
      let total = Mutex(0)
      let serve: @Sendable (Connection) async throws -> Void = { connection in
        arrived.open()
        await gate.wait()
        var writer = ByteWriter()
        while try await connection.read(into: &writer) > 0 {
          total.withLock { $0 += writer.count }
          writer.removeAll()
        }
        try await connection.send("done")
      }
      let block = [UInt8](repeating: 7, count: 64 << 10)
      let sent = Mutex(0)
      try await serving(listener, serve) {
        let connection = try await network.connect(listener.endpoint)
        await arrived.wait()
        // A write that cannot finish closes the connection, so this one only fills what kernel and process will hold.
        let failure = await code {
          while sent.withLock({ $0 }) < 64 << 20 {
            try await connection.write(block, timeout: .seconds(1))
            sent.withLock { $0 += block.count }
          }
        }
        #expect(failure == .timeout)
        gate.open()
      }
      // Two kernel buffers (the sender's grows to 4 MiB by default) and at most a block.
      #expect(sent.withLock { $0 } < 16 << 20)
    }
  }

  @Test func `three hundred connections are served at once`() async throws {
    try await withNetwork { network in
      let failures = Mutex<[String]>([])
      var options = ListenOptions()
      options.onError = { peer, error in failures.withLock { $0.append("\(peer): \(error)") } }
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      defer { #expect(failures.withLock { $0 } == []) }
      try await serving(listener, echo) {
        try await withThrowingTaskGroup(of: String.self) { group in
          for index in 0..<300 {
            group.addTask {
              let connection = try await network.connect(listener.endpoint)
              try await connection.send("\(index)|")
              try await connection.closeOutput()
              let answer = try await rest(connection)
              await connection.close()
              return answer
            }
          }
          var answers = Set<String>()
          for try await answer in group { answers.insert(answer) }
          #expect(answers == Set((0..<300).map { "\($0)|" }))
        }
      }
    }
  }

  @Test func `cancelling ends accepting and gives readers what had arrived, then the end`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let (started, sent) = (Gate(), Gate())
      let received = Mutex("")
      let task = Task {
        await listener.run { connection in
          started.open()
          await sent.wait()
          var writer = ByteWriter()
          while try await connection.read(into: &writer) > 0 {}
          received.withLock { $0 = writer.string }
          try await connection.send("bye")
        }
      }
      let connection = try await network.connect(listener.endpoint)
      await started.wait()
      try await connection.send("before")
      // The gate's own wait ends on cancellation, so the bytes are in the kernel when the reader starts.
      task.cancel()
      sent.open()
      await task.value
      #expect(received.withLock { $0 } == "before")
      #expect(try await rest(connection) == "bye")
      await connection.close()
      await listener.close()
      #expect(await code { _ = try await network.connect(listener.endpoint) } == .refused)
    }
  }

  @Test func `a task that ignores its cancellation is cut off`() async throws {
    try await withNetwork { network in
      var options = ListenOptions()
      options.closeDeadline = .milliseconds(50)
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      let started = Gate()
      let task = Task {
        await listener.run { connection in
          started.open()
          // The peer never reads: only the forced close ends this.
          while true { try await connection.write([UInt8](repeating: 1, count: 1 << 20)) }
        }
      }
      let connection = try await network.connect(listener.endpoint)
      await started.wait()
      task.cancel()
      await task.value
      await connection.close()
    }
  }

  @Test func `the next listener of an endpoint takes over the socket and what waits there`() async throws {
    try await withNetwork { network in
      let first = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let endpoint = first.endpoint
      let firstTask = Task { await first.run(echo) }
      let old = try await network.connect(endpoint)
      try await old.send("a")
      #expect(try await text(old, count: 1) == "a")
      await first.close(keepingSocket: true)
      await firstTask.value
      #expect(try await rest(old) == "")
      await old.close()
      // Nobody accepts now; the kernel does.
      let waiting = try await network.connect(endpoint)
      try await waiting.send("b")
      let second = try await Listener.bind(endpoint, on: network)
      try await serving(second, echo) {
        #expect(try await text(waiting, count: 1) == "b")
        await waiting.close()
        network.releaseUnclaimed()
        let later = try await network.connect(endpoint)
        try await later.send("c")
        #expect(try await text(later, count: 1) == "c")
        await later.close()
      }
    }
  }

  @Test func `a listener whose task was cancelled still hands its socket over`() async throws {
    try await withNetwork { network in
      let first = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let firstTask = Task { await first.run(echo) }
      firstTask.cancel()
      await firstTask.value
      let waiting = try await network.connect(first.endpoint)
      try await waiting.send("b")
      await first.close(keepingSocket: true)
      let second = try await Listener.bind(first.endpoint, on: network)
      try await serving(second, echo) {
        let answer = try await text(waiting, count: 1)
        #expect(answer == "b")
        await waiting.close()
      }
    }
  }

  @Test func `no connection is lost while listeners follow one another`() async throws {
    try await withNetwork { network in
      var listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let endpoint = listener.endpoint
      // Answers and closes, so that only an accepted and forgotten connection could end without an answer.
      let serve: @Sendable (Connection) async throws -> Void = { try await $0.send("here") }
      let isOver = Mutex(false)
      let clients = Task {
        var count = 0
        while !isOver.withLock({ $0 }) {
          let connection = try await network.connect(endpoint)
          let answer = try await rest(connection)
          await connection.close()
          guard answer == "here" else { return "lost after \(count)" }
          count += 1
        }
        return count > 0 ? "all" : "none"
      }
      for _ in 0..<30 {
        let task = Task { [listener] in await listener.run(serve) }
        try await Task.sleep(for: .milliseconds(5))
        await listener.close(keepingSocket: true)
        await task.value
        listener = try await Listener.bind(endpoint, on: network)
      }
      isOver.withLock { $0 = true }
      let task = Task { [listener] in await listener.run(serve) }
      #expect(try await clients.value == "all")
      task.cancel()
      await task.value
    }
  }

  @Test func `a kept socket that nobody takes is closed`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      await listener.close(keepingSocket: true)
      network.releaseUnclaimed()
      #expect(await code { _ = try await network.connect(listener.endpoint) } == .refused)
    }
  }
}

private func threadName() -> String {
  ((try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)) ?? "").trimmingCharacters(in: .newlines)
}
