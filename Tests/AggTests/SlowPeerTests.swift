import AggCore
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Testing

/// What each listener does with peers that take for ever, and with quiet ones.
@Suite(.timeLimit(.minutes(3))) struct SlowPeerTests {
  /// A listener; `partial` begins a message that never ends, `whole` is one (no such where there is nothing to keep open).
  struct Listener: Sendable, CustomTestStringConvertible {
    var name: String
    var config: String
    var partial: [UInt8]
    var whole: [UInt8]?
    /// What is sent on, a byte at a time.
    var drip: UInt8 = 0x61
    /// Events for each `whole`.
    var events = 1
    var testDescription: String { name }
  }
  private static let fixtures = StreamInputTests.fixtures
  private static let none = "<parse>\n@type none\n</parse>"
  private static let tls =
    "<transport tls>\ncert_path \(fixtures)/server.pem\nprivate_key_path \(fixtures)/server.key\n</transport>"
  private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
  /// The header of a TLS record of 512 bytes.
  private static let hello: [UInt8] = [0x16, 0x03, 0x01, 0x02, 0x00]
  /// `["t", 1, {"a": 1}]`.
  private static let message: [UInt8] = [0x93, 0xa1, 0x74, 0x01, 0x81, 0xa1, 0x61, 0x01]
  private static let security = "<security>\nself_hostname a\nshared_key k\n</security>"

  static let listeners: [Listener] = [
    .init(name: "tcp", config: "@type tcp\ntag t\n\(none)", partial: bytes("half"), whole: bytes("line\n")),
    .init(
      name: "tcp, msgpack", config: "@type tcp\ntag t\n<parse>\n@type msgpack\n</parse>", partial: [0xda, 0xff, 0xff],
      whole: [0x81, 0xa1, 0x61, 0x01]),
    .init(
      name: "tcp, too long", config: "@type tcp\ntag t\nmessage_length_limit 10\n\(none)", partial: bytes("more than ten"),
      whole: bytes("line\n")),
    .init(name: "tcp, TLS handshake", config: "@type tcp\ntag t\n\(none)\n\(tls)", partial: hello, drip: 0),
    .init(
      name: "syslog", config: "@type syslog\ntag t\n<transport tcp>\n</transport>", partial: bytes("<6>Sep"),
      whole: bytes("<6>Sep 10 00:00:00 h a: b\n")),
    .init(
      name: "syslog, octet_count", config: "@type syslog\ntag t\nframe_type octet_count\n<transport tcp>\n</transport>",
      partial: bytes("100 <6>Sep"),
      whole: bytes("25 <6>Sep 10 00:00:00 h a: b\n")),
    .init(name: "syslog, TLS handshake", config: "@type syslog\ntag t\n\(tls)", partial: hello, drip: 0),
    .init(name: "forward", config: "@type forward", partial: Array(message[..<4]) + [0xda, 0xff, 0xff], whole: message),
    .init(
      name: "forward, too large", config: "@type forward\nchunk_size_limit 100", partial: [0x93, 0xa1, 0x74, 0xc6, 0, 1, 0, 0],
      whole: message),
    .init(
      name: "forward, JSON", config: "@type forward", partial: bytes("[\"t\",1,{\"a\":\""), whole: bytes("[\"t\",1,{\"a\":1}]\n")),
    .init(name: "forward, handshake", config: "@type forward\n\(security)", partial: [0x96, 0xda, 0xff, 0xff]),
    .init(name: "forward, TLS handshake", config: "@type forward\n\(tls)", partial: hello, drip: 0),
    .init(name: "unix", config: "@type unix", partial: Array(message[..<4]) + [0xda, 0xff, 0xff], whole: message),
    .init(name: "unix, JSON", config: "@type unix", partial: bytes("[\"t\",1,{\"a\":\""), whole: bytes("[\"t\",1,{\"a\":1}]\n")),
    .init(
      name: "statsd, tcp", config: "@type statsd\ntag t\nprotocol tcp", partial: bytes("a:1"), whole: bytes("a:1|c\n"), events: 0),
    .init(
      name: "statsd, unix_stream", config: "@type statsd\ntag t\nprotocol unix_stream", partial: bytes("a:1"),
      whole: bytes("a:1|c\n"), events: 0),
    .init(name: "http, header", config: "@type http", partial: bytes("POST /t HTTP/1.1\r\nX: ")),
    .init(
      name: "http, body", config: "@type http", partial: bytes("POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n")),
    .init(name: "http, TLS handshake", config: "@type http\n\(tls)", partial: hello, drip: 0),
    .init(name: "prometheus", config: "@type prometheus\nagg_metrics false", partial: bytes("GET /metrics HTTP/1.1\r\nX: ")),
  ]

  private static func with(_ listener: Listener, _ more: String, _ body: (RunningEngine, Endpoint, Network) async throws -> Void)
    async throws
  {
    try await withFolder { folder in
      let isUnix = listener.config.contains("unix")
      let endpoint: Endpoint = isUnix ? .unix(folder + "/s") : .host("127.0.0.1", Int(TestPort.free()))
      var place = "path \(folder)/s"
      if case .host(let host, let port) = endpoint { place = "bind \(host)\nport \(port)" }
      let text = """
        <source>
        @id slow
        \(listener.config)
        \(place)
        \(more)
        </source>
        <match **>
          @type collect
        </match>
        """
      try await RunningEngine.with(text) { agg in
        try await withClient { network in try await body(agg, endpoint, network) }
      }
    }
  }

  @Test(arguments: listeners)
  func `a peer that never ends what it has begun is cut off, a quiet one is not`(listener: Listener) async throws {
    try await Self.with(listener, "message_timeout 0.4") { agg, endpoint, network in
      let quiet = try await network.connect(endpoint)
      if let whole = listener.whole {
        try await quiet.write(whole)
        try await soon("the message came") { agg.collected.batches.reduce(0) { $0 + $1.count } >= listener.events }
      }
      let slow = try await network.connect(endpoint)
      try await slow.write(listener.partial)
      let dripping = Task {
        while !Task.isCancelled, (try? await slow.write([listener.drip])) != nil { try? await Task.sleep(for: .milliseconds(30)) }
      }
      await slow.waitForEnd()
      dripping.cancel()
      try await soon("it is counted") { try agg.counters("slow")[.timedOutConnections] >= 1 }
      if let whole = listener.whole {
        try await quiet.write(whole)
        try await soon("another message came") { agg.collected.batches.reduce(0) { $0 + $1.count } >= 2 * listener.events }
        // The peer sees its end before the listener has counted it.
        try await soon("the other stays") {
          let counters = try agg.counters("slow")
          return counters[.timedOutConnections] == 1 && counters[.openConnections] == 1 && counters[.connections] == 2
        }
        // One line for what was cut off.
        #expect(agg.log.lines.filter { $0.contains("in time") }.count == 1, "\(agg.log.lines)")
      }
      await quiet.close()
      await slow.close()
      try await soon("all have ended") { try agg.counters("slow")[.openConnections] == 0 }
    }
  }

  @Test(arguments: listeners.filter { $0.whole != nil })
  func `idle_timeout closes a connection that says nothing`(listener: Listener) async throws {
    try await Self.with(listener, "idle_timeout 0.3") { agg, endpoint, network in
      // A machine under load may leave one of its clients idle before it has sent anything.
      try await soon("the message came, and its connection was closed") {
        let quiet = try await network.connect(endpoint)
        if let whole = listener.whole { try? await quiet.write(whole) }
        await quiet.waitForEnd()
        await quiet.close()
        return try agg.collected.batches.reduce(0) { $0 + $1.count } >= listener.events && agg.counters("slow")[.timedOutConnections] > 0
      }
      #expect(try agg.counters("slow")[.rejected] == 0)
      // Nothing was wrong.
      #expect(!agg.log.lines.contains { $0.hasPrefix("warn") && $0.contains("in time") }, "\(agg.log.lines)")
    }
  }

  @Test(arguments: listeners)
  func `connection_limit closes what is beyond it`(listener: Listener) async throws {
    try await Self.with(listener, "connection_limit 1") { agg, endpoint, network in
      let first = try await network.connect(endpoint)
      try await soon("it is accepted") { try agg.counters("slow")[.openConnections] == 1 }
      for _ in 0..<3 {
        let beyond = try await network.connect(endpoint)
        await beyond.waitForEnd()
        await beyond.close()
      }
      #expect(try agg.counters("slow")[.refusedConnections] == 3)
      #expect(agg.log.lines.filter { $0.contains("1 connections are open, the limit") }.count == 1)
      await first.close()
      try await soon("it has ended") { try agg.counters("slow")[.openConnections] == 0 }
      let next = try await network.connect(endpoint)
      try await soon("there is room") { try agg.counters("slow")[.connections] == 2 }
      await next.close()
    }
  }
}

extension SlowPeerTests {
  @Test(arguments: [
    ("connection_limit 0", "'connection_limit' must be 1 or more; got 0"), ("message_timeout -1", "'message_timeout' must be 0, for no limit, or more"),
    ("idle_timeout -1", "'idle_timeout' must be 0, for no limit, or more"),
  ])
  func `limits that cannot be are refused`(line: String, reason: String) throws {
    let bench = try InputBench()
    do {
      _ = try bench.make(UnixInput.self, line)
      Issue.record("\(line) is taken")
    } catch { #expect("\(error)".contains(reason), "\(error)") }
  }

  @Test func `without message_timeout a message may take any time`() async throws {
    let listener = try #require(Self.listeners.first)
    try await Self.with(listener, "message_timeout 0") { agg, endpoint, network in
      let slow = try await network.connect(endpoint)
      try await slow.write(listener.partial)
      try await Task.sleep(for: .milliseconds(300))
      try await slow.send(" a line\n")
      try await soon("it came") { agg.collected.lines == [#"t {"message":"half a line"}"#] }
      await slow.close()
    }
  }
}

extension Connection {
  /// Returns when the peer has closed or reset it.
  fileprivate func waitForEnd() async {
    var writer = ByteWriter()
    while let count = try? await read(into: &writer, timeout: .seconds(60)), count > 0 {}
  }
}
