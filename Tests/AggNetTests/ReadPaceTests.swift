import AggCore
package import AggNet
import NIOCore
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct ReadPaceTests {
  /// After reads of `size` bytes, `apart` microseconds from each other.
  private func pace(_ reads: Int, of size: Int, apart: UInt64) -> ReadPace {
    var pace = ReadPace()
    for n in 1...reads { pace.got(size, at: .uptimeNanoseconds(1_000_000_000 + UInt64(n) * apart * 1000)) }
    return pace
  }

  @Test func `a reader rests when little comes often, and not for an answer, a flood or a pause`() {
    #expect(!pace(10, of: 200, apart: 100).rests)
    #expect(pace(20, of: 200, apart: 100).rests)
    // While it rests, more comes at once.
    #expect(pace(20, of: 5000, apart: 1100).rests)
    #expect(!pace(100, of: 200, apart: 5000).rests)
    #expect(!pace(100, of: 20_000, apart: 100).rests)
    var answered = pace(20, of: 200, apart: 100)
    answered.answered()
    #expect(!answered.rests)
  }

  @Test func `with little room for datagrams the rest is short, or none`() {
    #expect(ReadPace.rest(room: 8 << 20) == .milliseconds(1))
    // A usual system's limit without privileges, doubled.
    #expect(ReadPace.rest(room: 425_984) == .nanoseconds(212_992))
    #expect(ReadPace.rest(room: 8192) == nil)
  }

  @Test func `little messages that come often arrive whole, in order, up to the end`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let got = Mutex<[UInt8]>([])
      try await serving(listener) { connection in
        var writer = ByteWriter()
        while try await connection.read(into: &writer) > 0 {
          got.withLock { $0.append(contentsOf: writer.bytes) }
          writer.removeAll()
        }
        try await connection.send("end")
      } _: {
        let connection = try await network.connect(listener.endpoint)
        for n in 0..<400 {
          try await connection.write([UInt8(n & 255)])
          try await Task.sleep(for: .microseconds(100))
        }
        try await connection.closeOutput()
        #expect(try await rest(connection) == "end")
        await connection.close()
      }
      #expect(got.withLock { $0 } == (0..<400).map { UInt8($0 & 255) })
    }
  }
}
