import AggCore
import AggNet
import Foundation
import Testing

@Suite(.timeLimit(.minutes(1))) struct InheritedSocketTests {
  @Test func `sockets go to another network with what waits in them`() async throws {
    let path = temporaryPath("handed.sock")
    try await withNetwork { old in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: old)
      let unix = try await Listener.bind(.unix(path), on: old)
      let endpoint = listener.endpoint
      await listener.close(keepingSocket: true)
      await unix.close(keepingSocket: true)
      let early = try await old.connect(endpoint)
      try await early.send("early")
      try await early.closeOutput()
      try await withNetwork { new in
        let handed = old.handedSockets
        #expect(handed.count == 2)
        for socket in handed { #expect(new.adopt(socket.description, dup(socket.descriptor))) }
        old.forgetHandedSockets()
        let next = try await Listener.bind(endpoint, on: new)
        let answer = try await serving(next, echo) { try await rest(early) }
        #expect(answer == "early")
        // The path is the new owner's to remove.
        #expect(FileManager.default.fileExists(atPath: path))
        let nextUnix = try await Listener.bind(.unix(path), on: new)
        await nextUnix.close()
        #expect(!FileManager.default.fileExists(atPath: path))
      }
      await early.close()
    }
  }

  @Test func `a description that is none, or of another socket, is refused`() async throws {
    try await withNetwork { network in
      for text in ["", "stream", "stream\town\thost\tx\t127.0.0.1", "datagram\town\thost\t1\t127.0.0.1"] {
        // Its other end is told when it is closed; the number may be another test's by then.
        var pair: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
        #expect(!network.adopt(text, pair[0]))
        var byte: UInt8 = 0
        #expect(recv(pair[1], &byte, 1, Int32(MSG_DONTWAIT)) == 0)
        close(pair[1])
      }
      // Connected or unbound streams are not listening.
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      #expect(!network.adoptActivated(descriptor))
      close(descriptor)
      #expect(!network.adoptActivated(9999))
    }
  }

  @Test func `a slow sender of a request loses its connection when its time is over, however it drips`() async throws {
    var options = HTTPServerOptions()
    // Looked at when a connection could be idle: the shorter of the two.
    options.idleTimeout = .milliseconds(600)
    options.listen.messageTimeout = .milliseconds(1500)
    try await withNetwork { network in
      let server = try await HTTPServer.bind(.host("127.0.0.1", 0), options, on: network)
      let task = Task { await server.run { _ in HTTPResponse(200, text: "") } }
      // With an answer where there is a head to answer.
      for (start, answer) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n", "HTTP/1.1 408 "), ("GET / HTTP/1.1\r\nX-A: ", ""),
      ] {
        let connection = try await network.connect(server.endpoint)
        try await connection.send(start)
        let drip = Task {
          while !Task.isCancelled { try await connection.send("a"); try await Task.sleep(for: .milliseconds(50)) }
        }
        #expect(try await rest(connection).prefix(13) == answer, "\(start.prefix(4))")
        drip.cancel()
        _ = try? await drip.value
        await connection.close()
      }
      task.cancel()
      await task.value
      await server.close()
    }
  }
}
