import AggNet

/// Which web pages may send records: `cors_allow_origins`.
struct HTTPOrigins: Sendable {
  /// Nil: the question is not asked, and browsers are told nothing.
  private let patterns: [String]?
  private let allowsCredentials: Bool
  private let allowsAll: Bool

  init(_ patterns: [String]?, credentials: Bool) {
    self.patterns = patterns
    allowsCredentials = credentials
    allowsAll = patterns?.contains("*") ?? false
  }

  /// Where there is a list, a request without an origin is refused too, as Fluentd 1.16 does.
  func accepts(_ origin: String?) -> Bool { patterns == nil || allowsAll || origin.map { isListed($0) } ?? false }

  /// What the answer to a request of an accepted origin says.
  func setFields(of response: inout HTTPResponse, for origin: String?) {
    if patterns == nil { return }
    if allowsAll {
      response.fields["Access-Control-Allow-Origin"] = "*"
    } else if let origin, isListed(origin) {
      response.fields["Access-Control-Allow-Origin"] = origin
      if allowsCredentials { response.fields["Access-Control-Allow-Credentials"] = "true" }
    }
  }

  /// The answer to a browser that asks before it sends.
  func preflight(_ request: HTTPServerRequest) -> HTTPResponse {
    let origin = request.fields["Origin"]
    guard patterns != nil, request.fields["Access-Control-Request-Method"] == "POST", allowsAll || origin.map({ isListed($0) }) ?? false
    else { return HTTPResponse(403, text: "") }
    var response = HTTPResponse(200, text: "")
    response.fields["Access-Control-Allow-Methods"] = "POST"
    response.fields["Access-Control-Allow-Headers"] = request.fields["Access-Control-Request-Headers"] ?? ""
    setFields(of: &response, for: origin)
    return response
  }

  /// An entry may hold one `*`, which stands for anything.
  private func isListed(_ origin: String) -> Bool {
    (patterns ?? []).contains { pattern in
      if pattern == origin { return true }
      guard let star = pattern.firstIndex(of: "*") else { return false }
      let (head, tail) = (pattern[..<star], pattern[pattern.index(after: star)...])
      return origin.utf8.count >= head.utf8.count + tail.utf8.count && origin.hasPrefix(head) && origin.hasSuffix(tail)
    }
  }
}
