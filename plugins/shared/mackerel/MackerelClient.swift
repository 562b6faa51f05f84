package import AggCore
package import AggNet
import Crypto

/// Why a call of the API did not succeed.
package struct MackerelFailure: Error, Sendable, CustomStringConvertible {
  /// The answer's; nil where there was none.
  package var status: Int?
  package var description: String
  /// What `Retry-After` said.
  package var retryAfter: Duration?

  /// Sending the same again is useless.
  package var isRefusal: Bool { status.map { (400..<500).contains($0) && $0 != 408 && $0 != 429 } ?? false }
  /// Nobody answered: further calls need not be tried now.
  package var isSilence: Bool { status == nil }
  package var reason: String { status.map { "http_\($0)" } ?? "no_answer" }
}

/// Calls the API of Mackerel, or of a server that speaks as it does. May be used by several tasks at once.
package struct MackerelClient: Sendable {
  package static let defaultBase = "https://api.mackerelio.com/"
  package static let timeout: Duration = .seconds(30)
  /// Mackerel says so in seconds; no longer than an hour is waited.
  private static let longestRetryAfter: Int64 = 3600

  private let base: String
  private let key: String
  private let agent: String
  private let http: HTTPClient

  package init(base: String, key: String, agent: String, http: HTTPClient) {
    var base = base
    while base.hasSuffix("/") { base.removeLast() }
    self.base = base + "/api/v0"
    self.key = key
    self.agent = agent
    self.http = http
  }

  /// What is wrong with a base URL; nil when nothing is.
  package static func problem(inBase base: String) -> String? {
    guard let url = HTTPEndpoint(base), ["http", "https"].contains(url.scheme) else {
      return "must be a URL such as https://api.mackerelio.com/; got '\(HTTPEndpoint.masked(base))'"
    }
    return base.contains("?") || base.contains("#") ? "must have no query; got '\(base)'" : nil
  }
  package static func problem(inKey key: String) -> String? {
    key.isEmpty || !key.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
      ? "must be a key of the API: printable characters without blanks" : nil
  }

  /// The decoded answer; `.null` where it has no body. Throws `MackerelFailure`, `CancellationError`.
  ///
  /// A call that may be made twice is repeated once, at once, when the connection broke before an answer.
  @discardableResult
  package func call(
    _ method: String, _ path: String, _ body: [UInt8] = [], isRepeatable: Bool = true, timeout: Duration = Self.timeout
  ) async throws -> Value {
    var request = HTTPRequest(method, base + path, body: body)
    request.fields = ["X-Api-Key": key, "User-Agent": agent, "Accept": "application/json"]
    if !body.isEmpty { request.fields["Content-Type"] = "application/json" }
    request.timeout = timeout
    let what = "\(method) \(path.prefix(200))"
    var reply: HTTPReply
    do { reply = try await http.send(request) } catch let error as NetworkError where error.code == .closed && isRepeatable {
      do { reply = try await http.send(request) } catch let error as NetworkError { throw Self.silence(what, error) }
    } catch let error as NetworkError { throw Self.silence(what, error) }
    guard (200..<300).contains(reply.status) else { throw Self.failure(what, reply) }
    if reply.body.isEmpty { return .null }
    guard let value = JSONTranscoder.decode(String(decoding: reply.body, as: UTF8.self)) else {
      // A proxy's page, not the API's answer: nothing says that it was taken.
      throw MackerelFailure(status: nil, description: "\(what) was answered \(reply.status) without JSON")
    }
    return value
  }

  private static func silence(_ what: String, _ error: NetworkError) -> MackerelFailure {
    MackerelFailure(status: nil, description: "\(what): \(error)")
  }

  private static func failure(_ what: String, _ reply: HTTPReply) -> MackerelFailure {
    let text = String(decoding: reply.body.prefix(2000), as: UTF8.self)
    let error = JSONTranscoder.decode(String(decoding: reply.body, as: UTF8.self))?["error"]
    let message = error?["message"]?.text ?? error?.text ?? String(text.prefix(200))
    var failure = MackerelFailure(
      status: reply.status,
      description: "\(what) was answered \(reply.status)\(message.isEmpty ? "" : ": " + message.prefix(500))")
    if let wait = reply.fields["retry-after"].flatMap({ Int64($0) }), wait >= 0 {
      failure.retryAfter = .seconds(min(wait, longestRetryAfter))
    }
    return failure
  }
}

/// A host as the API shows it: what agg looks at.
package struct MackerelHost: Sendable {
  package var id: String
  package var name: String
  package var customIdentifier: String?
  package var status: String
  package var isRetired: Bool
  package var macAddresses: [String]
  /// All of it.
  package var value: Value

  package init?(_ value: Value?) {
    guard let value, let id = value["id"]?.text, !id.isEmpty else { return nil }
    self.id = id
    self.value = value
    name = value["name"]?.text ?? ""
    customIdentifier = value["customIdentifier"]?.text.flatMap { $0.isEmpty ? nil : $0 }
    status = value["status"]?.text ?? ""
    isRetired = value["isRetired"] == .bool(true)
    macAddresses = (value["interfaces"]?.array ?? []).compactMap { $0["macAddress"]?.text?.lowercased() }.filter { !$0.isEmpty }
  }
}

extension MackerelClient {
  package func host(_ id: String) async throws -> MackerelHost {
    guard let host = MackerelHost(try await call("GET", "/hosts/" + MackerelName.pathPart(id))["host"]) else {
      throw MackerelFailure(status: nil, description: "GET /hosts/\(id) was answered without a host")
    }
    return host
  }
  /// Nil where there is none of that identifier.
  package func host(customIdentifier: String) async throws -> MackerelHost? {
    do {
      return MackerelHost(try await call("GET", "/hosts-by-custom-identifier/" + MackerelName.pathPart(customIdentifier))["host"])
    } catch let failure as MackerelFailure where failure.status == 404 { return nil }
  }
  /// Those of a name that are not retired, whatever their status.
  package func hosts(name: String) async throws -> [MackerelHost] {
    let statuses = Self.statuses.map { "&status=" + $0 }.joined()
    let answer = try await call("GET", "/hosts?name=" + Self.queryPart(name) + statuses)
    return (answer["hosts"]?.array ?? []).compactMap { MackerelHost($0) }
  }
  package func setStatus(_ status: String, of id: String, timeout: Duration = Self.timeout) async throws {
    try await call(
      "POST", "/hosts/\(MackerelName.pathPart(id))/status", Array(#"{"status":"\#(status)"}"#.utf8), timeout: timeout)
  }
  package func retire(_ id: String, timeout: Duration = Self.timeout) async throws {
    try await call("POST", "/hosts/\(MackerelName.pathPart(id))/retire", Array("{}".utf8), timeout: timeout)
  }
}

extension MackerelClient {
  package static var statuses: [String] { MackerelName.statuses }
  /// One part of a URL's path, or a value of its query: everything but unreserved characters as %XX.
  package static func pathPart(_ text: String) -> String { MackerelName.pathPart(text) }
  package static func queryPart(_ text: String) -> String { MackerelName.pathPart(text) }
  /// The first three bytes of a text's MD5 as hexadecimal digits.
  package static func shortDigest(_ text: String) -> String {
    Insecure.MD5.hash(data: Array(text.utf8)).prefix(3).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
