import AggCore

/// Sends one request of a plan, taking it apart where the server refuses it as a whole.
struct MackerelDelivery {
  /// An item that fails alone so often, while the server takes others, is given up.
  static let mostStrikes = 3
  /// Most further requests that one refused request may cost.
  private static let mostProbes = 200

  let client: MackerelClient
  let directory: HostDirectory
  let text: [UInt8]

  /// Returns when each item was taken or is in `progress.refused`; throws `MackerelFailure` for what has to be tried again.
  func send(_ request: MackerelPlan.Request, at place: Int, _ progress: inout ChunkProgress) async throws {
    var items = request.items
    if let taken = progress.taken[place] { items.removeAll { taken.contains($0.event) } }
    var reason = "unknown_host"
    var found: String?
    do { found = try await host(of: request.target) } catch let failure as MackerelFailure where failure.isRefusal {
      reason = "\(failure.reason): \(failure.description)"
    }
    guard let id = found else {
      for item in items { progress.refused.append(Rejection(index: item.event, reason: reason)) }
      return finish(place, &progress)
    }
    do { try await post(request.target, id, items) } catch let failure as MackerelFailure where failure.isRefusal {
      var probes = Self.mostProbes
      try await divide(request.target, id, items[...], failure, &probes, &progress.refused)
    } catch let failure as MackerelFailure where (failure.status ?? 0) >= 500 {
      try await single(request.target, id, items, failure, place, &progress)
    }
    finish(place, &progress)
  }

  private func finish(_ place: Int, _ progress: inout ChunkProgress) {
    progress.done.insert(place)
    progress.taken[place] = nil
  }

  /// The empty text where the target has no host.
  private func host(of target: MackerelPlan.Target) async throws -> String? {
    switch target {
    case .graphs, .service: ""
    case .checks(let reference), .metadata(let reference, _), .host(let reference): try await directory.id(reference, client)
    }
  }

  private func post(_ target: MackerelPlan.Target, _ host: String, _ items: some Collection<MackerelPlan.Item>) async throws {
    var body = ByteWriter(capacity: 256 + items.reduce(0) { $0 + $1.json.count + 64 })
    var before = ""
    let method: String
    let path: String
    switch target {
    case .checks:
      (method, path) = ("POST", "/monitoring/checks/report")
      body.append("{\"reports\":")
      before = "{\"source\":{\"type\":\"host\",\"hostId\":\(Self.quoted(host))},"
    case .graphs: (method, path) = ("POST", "/graph-defs/create")
    case .metadata(_, let namespace):
      (method, path) = ("PUT", "/hosts/\(MackerelName.pathPart(host))/metadata/\(MackerelName.pathPart(namespace))")
    case .host:
      (method, path) = ("POST", "/tsdb")
      before = "{\"hostId\":\(Self.quoted(host)),"
    case .service(let name):
      (method, path) = ("POST", "/services/\(MackerelName.pathPart(name))/tsdb")
      before = "{"
    }
    if case .metadata = target {
      for item in items { append(item, &body) }
    } else {
      body.append(0x5b as UInt8)
      for (n, item) in items.enumerated() {
        if n > 0 { body.append(0x2c as UInt8) }
        body.append(before)
        append(item, &body)
      }
      body.append(0x5d as UInt8)
    }
    if case .checks = target { body.append(0x7d as UInt8) }
    try await client.call(method, path, body.array)
  }
  private func append(_ item: MackerelPlan.Item, _ body: inout ByteWriter) {
    text.withUnsafeBytes { body.append(UnsafeRawBufferPointer(rebasing: $0[item.json])) }
  }
  private static func quoted(_ text: String) -> String { String(decoding: Value(text).json ?? [0x22, 0x22], as: UTF8.self) }

  // MARK: Refused

  /// Halves a refused request until what is wrong with it stands alone. A refusal of everything costs no such search.
  private func divide(
    _ target: MackerelPlan.Target, _ host: String, _ items: ArraySlice<MackerelPlan.Item>, _ failure: MackerelFailure,
    _ probes: inout Int,
    _ refused: inout [Rejection]
  ) async throws {
    let isOfAll = [401, 403, 405].contains(failure.status) || failure.status == 404
    if items.count <= 1 || isOfAll || probes <= 0 {
      for item in items { refused.append(Rejection(index: item.event, reason: "\(failure.reason): \(failure.description)")) }
      return
    }
    let middle = items.startIndex + items.count / 2
    for half in [items[..<middle], items[middle...]] {
      probes -= 1
      do { try await post(target, host, half) } catch let failure as MackerelFailure where failure.isRefusal {
        try await divide(target, host, half, failure, &probes, &refused)
      }
    }
  }

  // MARK: Failed

  /// One report that makes a server fail must not hold the others back: each goes alone. What fails alone, while the server
  /// answers others of its kind, is given up at the third time; where it answers nothing, all wait.
  private func single(
    _ target: MackerelPlan.Target, _ host: String, _ items: [MackerelPlan.Item], _ failure: MackerelFailure, _ place: Int,
    _ progress: inout ChunkProgress
  ) async throws {
    switch target {
    case .host, .service: throw failure
    case .checks, .graphs, .metadata: break
    }
    guard try await serves(target) else { throw failure }
    var last: MackerelFailure?
    for item in items {
      do { try await post(target, host, [item]) } catch let failure as MackerelFailure where failure.isRefusal {
        progress.refused.append(Rejection(index: item.event, reason: "\(failure.reason): \(failure.description)"))
      } catch let failure as MackerelFailure where (failure.status ?? 0) >= 500 {
        let strikes = progress.strikes[item.event, default: 0] + 1
        progress.strikes[item.event] = strikes
        guard strikes >= Self.mostStrikes else {
          last = failure
          continue
        }
        progress.refused.append(
          Rejection(index: item.event, reason: "\(failure.reason) \(strikes) times: \(failure.description)"))
      }
      progress.taken[place, default: []].insert(item.event)
    }
    if let last { throw last }
  }

  /// Whether the server takes a request of this kind that says nothing.
  private func serves(_ target: MackerelPlan.Target) async throws -> Bool {
    do {
      switch target {
      case .checks: try await client.call("POST", "/monitoring/checks/report", Array(#"{"reports":[]}"#.utf8))
      case .graphs: try await client.call("POST", "/graph-defs/create", Array("[]".utf8))
      case .metadata(let reference, _):
        if let id = try await directory.id(reference, client) {
          try await client.call("GET", "/hosts/\(MackerelName.pathPart(id))/metadata")
        }
      case .host, .service: return false
      }
      return true
    } catch let failure as MackerelFailure { return failure.isRefusal }
  }
}
