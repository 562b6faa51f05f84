#if AGG_NET
  import AggCore
  import AggNet
  import AggPlugins
  import AggTesting
  import Glibc
  import Synchronization
  import Testing

  /// Damaged requests over real connections: each is answered or hung up on, and the server goes on serving good ones.
  enum HTTPFuzz {
    static let requests = [
      "POST /a.b?time=1700000000.5&x=%20 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"a\":[1]}",
      "POST /form HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 22\r\n\r\njson=%7B%22a%22%3A1%7D",
      "POST /chunks HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n3;x=y\r\n1}\n\r\n0\r\nT: v\r\n\r\n",
      "POST /m HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 74\r\n\r\n--B\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{\"multi\":true}\r\n--B--\r\n",
      "POST /z HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n\u{1f}\u{0b}\u{08}x",
      "OPTIONS /o HTTP/1.1\r\nHost: h\r\nOrigin: http://x\r\nAccess-Control-Request-Method: POST\r\n\r\n",
      "GET /q?json=%7B%7D HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /r HTTP/1.1\r\n\r\n",
      "POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    ]

    static func run() async throws {
      let network = Network(threads: 1)
      var driver = PluginDriver(builtins)
      driver.services = [network]
      let port = TestPort.free()
      let section = try driver.element(
        "port \(port)\nbind 127.0.0.1\nbody_size_limit 64k\nkeepalive_timeout 2s\ncors_allow_origins [\"http://x\"]",
        name: "source")
      let context = driver.context(section)
      let input = try HTTPInput(HTTPInput.Config.load(section, context.config), context)
      let ready = AsyncStream<Void>.makeStream()
      let sink = Dropping { ready.continuation.yield() }
      let task = Task { try await input.run(Emitter(sink)) }
      for await _ in ready.stream { break }

      let pool = BlockingPool()
      let words = [
        "\r\n", "Content-Length: ", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "%", "&", "=", "{", "--B", ": ", "HTTP/1.1",
        "\u{0}",
      ]
      try await Fuzzer("http", corpus: Self.requests.map { Array($0.utf8) }, words: words, short: 600).run { bytes in
        let isOver = try await pool { Self.exchange(bytes, port) != nil }
        try FuzzFailure.unless(isOver, "neither an answer's end nor a hang-up for 8 s")
      }
      let good = Array(
        "POST /good HTTP/1.1\r\nHost: h\r\nOrigin: http://x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}"
          .utf8)
      let answer = try await pool { Self.exchange(good, port) }
      #expect(answer?.starts(with: Array("HTTP/1.1 200".utf8)) == true)
      task.cancel()
      _ = await task.result
      await network.shutdown()
    }

    /// Sends, ends its side, and reads to the end; nil when that does not come.
    private static func exchange(_ bytes: [UInt8], _ port: UInt16) -> [UInt8]? {
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      guard descriptor >= 0 else { return nil }
      defer { close(descriptor) }
      var wait = timeval(tv_sec: 8, tv_usec: 0)
      setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
      var address = loopback(port)
      let connected = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
      guard connected == 0 else { return nil }
      // The server may hang up meanwhile: not an error here.
      _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
      shutdown(descriptor, Int32(SHUT_WR))
      var answer: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        let n = recv(descriptor, &buffer, buffer.count, 0)
        if n > 0 { answer += buffer[..<n] } else { return n == 0 || errno == ECONNRESET ? answer : nil }
      }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
      return address
    }
  }

  /// Takes every event and keeps none.
  private final class Dropping: EmitService {
    private let onReady: @Sendable () -> Void
    init(_ onReady: @escaping @Sendable () -> Void) { self.onReady = onReady }
    func emit(_ batches: [EventBatch], covering spans: [SourceSpan]) async throws(EmitError) {
      for batch in batches { batch.forEachEvent { _, record in _ = Value(record) } }
    }
    func reject(_ batch: EventBatch, reason: String) async {}
    func ready() { onReady() }
  }
#endif
