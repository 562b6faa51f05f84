import AggCore
import Glibc

/// Input as peerbench makes it: the same shapes, without chance.
enum Lines {
  static let folder: String = {
    let path = "/tmp/agg-micro-\(getpid())"
    mkdir(path, 0o755)
    return path
  }()

  static func block(_ count: Int, _ line: (Int) -> String) -> Block {
    var out = ByteWriter(capacity: count * 300)
    for i in 0..<count {
      out.append(line(i))
      out.append(0x0a as UInt8)
    }
    return Block(out)
  }
  private static let levels = ["debug", "info", "warn", "error"]
  private static func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }

  static func json(_ i: Int) -> String {
    #"{"time":"2026-11-25T10:\#(two(i % 60)):\#(two(i * 7 % 60)).123Z","level":"\#(levels[i % 4])","host":"web-\#(i % 40).example.com","#
      + #""service":"checkout","status":\#(200 + i % 4 * 100),"latency_ms":\#(i % 900).25,"request_id":"7f3c\#(i * 7919 % 100_000)-a1b2","#
      + #""path":"/api/v1/orders/\#(i)","cached":\#(i % 2 == 0),"message":"request served after cache lookup \#(i)"}"#
  }
  static func raw(_ i: Int) -> String {
    "2026-11-25 10:\(two(i % 60)):\(two(i * 7 % 60)) web-\(i % 40) checkout[\(1000 + i % 900)]: request \(i * 7919 % 100_000) served from cache for client "
      + "10.0.\(i % 256).\(i * 3 % 256) in \(i % 900) ms, \(i * 31 % 9000) bytes sent, keepalive on, upstream backend-\(i % 12)"
  }
  static func nginx(_ i: Int) -> String {
    "10.0.\(i % 256).\(i * 3 % 256) - - [25/Nov/2026:10:\(two(i % 60)):\(two(i * 7 % 60)) +0000] \"GET /api/v1/orders/\(i)?page=\(i % 9) HTTP/1.1\" "
      + "\(200 + i % 4 * 100) \(i * 31 % 9000) \"https://shop.example.com/cart\" \"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0\""
  }
  static func syslog(_ i: Int) -> String {
    "<\(i * 13 % 192)>Nov 25 10:\(two(i % 60)):\(two(i * 7 % 60)) web-\(i % 40) checkout[\(1000 + i % 900)]: request \(i * 7919 % 100_000) served from "
      + "cache for client 10.0.\(i % 256).\(i * 3 % 256) in \(i % 900) ms"
  }
}
