import AggCore

/// Lines as services write them, the same at every run.
enum BenchLines {
  private static let count = 20_000
  private static let levels = ["debug", "info", "info", "warn", "error"]

  static func block(_ kind: BenchCommand.Kind) -> Block {
    var out = ByteWriter(capacity: count * 300)
    for i in 0..<count {
      out.append(line(kind, i))
      out.append(0x0a as UInt8)
    }
    return Block(out)
  }

  private static func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }

  private static func line(_ kind: BenchCommand.Kind, _ i: Int) -> String {
    let clock = "\(two(i / 3600 % 24)):\(two(i / 60 % 60)):\(two(i % 60))"
    let client = "10.\(i * 7919 % 256).\(i % 256).\(i * 31 % 256)"
    switch kind {
    case .json:
      return
        #"{"ts":"2026-11-25T\#(clock).\#(100 + i % 900)Z","level":"\#(levels[i * 7 % 5])","service":"checkout","host":"web-\#(i % 40).example.com","#
        + #""status":\#(200 + i % 4 * 100),"latency_ms":\#(i % 900).25,"user":{"id":\#(i * 104_729 % 10_000_000),"plan":"free"},"#
        + #""path":"/api/v1/orders/\#(i)","message":"request of \#(client) served after cache lookup, upstream backend-\#(i % 12)"}"#
    case .nginx:
      return
        "\(client) - - [25/Nov/2026:\(clock) +0000] \"GET /api/v1/orders/\(i)?page=\(i % 9) HTTP/1.1\" \(200 + i % 4 * 100) \(i * 31 % 9000) "
        + "\"https://shop.example.com/cart\" \"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0\""
    case .syslog:
      return
        "<\(i * 13 % 192)>Nov 25 \(clock) web-\(i % 40) checkout[\(1000 + i % 900)]: request \(i * 7919 % 100_000) of \(client) served in \(i % 900) ms"
    case .raw:
      return
        "2026-11-25 \(clock) web-\(i % 40) checkout[\(1000 + i % 900)]: request \(i * 7919 % 100_000) of \(client) served from cache in \(i % 900) ms, "
        + "\(i * 31 % 9000) bytes sent, keepalive on, upstream backend-\(i % 12)"
    }
  }
}
