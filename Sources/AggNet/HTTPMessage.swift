public import AggCore
import NIOCore
import NIOHTTP1

/// Header fields in their order; names compare without regard to case, and may repeat.
public struct HTTPFields: Sendable, Hashable, ExpressibleByDictionaryLiteral, Sequence {
  var headers: HTTPHeaders

  public init() { headers = HTTPHeaders() }
  public init(dictionaryLiteral elements: (String, String)...) { headers = HTTPHeaders(elements) }
  public init(_ elements: [(String, String)]) { headers = HTTPHeaders(elements) }
  init(_ headers: HTTPHeaders) { self.headers = headers }

  public var count: Int { headers.reduce(0) { sum, _ in sum + 1 } }

  /// The first field of this name; setting replaces all of them, nil removes them.
  public subscript(name: String) -> String? {
    get { headers.first(name: name) }
    set {
      headers.remove(name: name)
      if let newValue { headers.add(name: name, value: newValue) }
    }
  }
  /// Every value of this name, in order.
  public func all(_ name: String) -> [String] { headers[name] }
  public mutating func add(_ name: String, _ value: String) { headers.add(name: name, value: value) }

  public func makeIterator() -> AnyIterator<(name: String, value: String)> {
    var iterator = headers.makeIterator()
    return AnyIterator { iterator.next() }
  }

  public static func == (a: HTTPFields, b: HTTPFields) -> Bool { a.headers == b.headers }
  public func hash(into hasher: inout Hasher) {
    for (name, value) in headers {
      hasher.combine(name.lowercased())
      hasher.combine(value)
    }
  }
}

/// A whole request as a client sent it.
public struct HTTPServerRequest: Sendable {
  public let method: String
  /// Path and query as they came, nothing decoded.
  public let target: String
  public let fields: HTTPFields
  /// In one piece, followed by `ByteWriter.padding` zero bytes.
  public let body: Block
  public let peer: PeerAddress
  public let tls: TLSInfo?
  /// Whether the connection stays open after the answer.
  public let isKeptAlive: Bool

  /// The target up to the question mark, nothing decoded.
  public var path: Substring { target.prefix { $0 != "?" } }
  /// What follows the first question mark, nothing decoded; nil without one.
  public var query: Substring? { target.firstIndex(of: "?").map { target[target.index(after: $0)...] } }
}

/// What the server answers. `Content-Length` and `Connection` are added as needed.
public struct HTTPResponse: Sendable {
  public var status: Int
  /// The text after the status; nil takes the usual one.
  public var reason: String?
  public var fields: HTTPFields
  public var body: [UInt8]

  public init(_ status: Int, reason: String? = nil, fields: HTTPFields = HTTPFields(), body: [UInt8] = []) {
    self.status = status
    self.reason = reason
    self.fields = fields
    self.body = body
  }
  public init(_ status: Int, text: String) {
    self.init(status, fields: ["Content-Type": "text/plain"], body: Array(text.utf8))
  }
}

extension HTTPResponse {
  /// The bytes on the wire. Line breaks in a field would start another: control characters become spaces.
  func encode(keepAlive: Bool, isHead: Bool, announcesKeepAlive: Bool, into out: inout ByteBuffer) {
    out.writeStaticString("HTTP/1.1 ")
    let status = min(max(status, 100), 999)
    out.writeString("\(status) ")
    write(reason ?? HTTPResponseStatus(statusCode: status).reasonPhrase, &out)
    out.writeStaticString("\r\n")
    for (name, value) in fields.headers {
      write(name, &out)
      out.writeStaticString(": ")
      write(value, &out)
      out.writeStaticString("\r\n")
    }
    let hasNoBody = status == 204 || status == 304 || status < 200
    if !hasNoBody, fields["content-length"] == nil { out.writeString("Content-Length: \(body.count)\r\n") }
    if fields["connection"] == nil {
      if !keepAlive { out.writeStaticString("Connection: close\r\n") }
      if keepAlive, announcesKeepAlive { out.writeStaticString("Connection: Keep-Alive\r\n") }
    }
    out.writeStaticString("\r\n")
    if !hasNoBody, !isHead { out.writeBytes(body) }
  }

  private func write(_ text: String, _ out: inout ByteBuffer) {
    if text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
      out.writeBytes(text.utf8.map { $0 < 0x20 || $0 == 0x7F ? 0x20 : $0 })
    } else {
      out.writeString(text)
    }
  }
}
