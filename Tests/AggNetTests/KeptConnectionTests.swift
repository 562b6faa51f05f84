import AggCore
import AggNet
import Testing

@Suite(.timeLimit(.minutes(1))) struct KeptConnectionTests {
  private final class Probe: Sendable {}

  @Test func `nothing of a listener's connections is left when they have ended`() async throws {
    weak var kept: Probe?
    try await withNetwork { network in
      do {
        let probe = Probe()
        kept = probe
        var options = ListenOptions()
        options.onEvent = { _ in withExtendedLifetime(probe) {} }
        let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
        try await serving(listener, echo) {
          let connection = try await network.connect(listener.endpoint)
          try await connection.send("x")
          #expect(try await text(connection, count: 1) == "x")
          await connection.close()
        }
      }
      for _ in 0..<500 where kept != nil { try await Task.sleep(for: .milliseconds(10)) }
      #expect(kept == nil)
    }
  }
}
