import AggCore
import AggNet

/// The pages of all workers of this daemon as one: each listens on the first one's port plus its number.
struct WorkerPages: Sendable {
  let client: HTTPClient
  let host: String
  let port: Int
  let path: String
  let isTLS: Bool
  let system: SystemInfo

  /// Throws when a worker does not answer: a page without it would show its counters as gone.
  func merged(own: [UInt8]) async throws -> [UInt8] {
    var pages = MergedPages()
    for worker in 0..<system.workers {
      if worker == system.workerID {
        pages.add(own)
        continue
      }
      // Addresses to listen on that nobody can connect to.
      let name = host == "0.0.0.0" ? "127.0.0.1" : host == "::" ? "::1" : host
      var request = HTTPRequest("GET", "\(isTLS ? "https" : "http")://\(Endpoint.host(name, port + worker))\(path)")
      request.timeout = .seconds(5)
      let reply = try await client.send(request)
      guard reply.status == 200 else { throw NetworkError(.other, "worker \(worker) answered \(reply.status)") }
      pages.add(reply.body)
    }
    return pages.finish()
  }
}

/// Pages in text format 0.0.4, put together family by family: each is told once, with the samples of all.
struct MergedPages {
  private var order: [[UInt8]] = []
  private var families: [[UInt8]: (title: [UInt8], samples: [UInt8])] = [:]

  mutating func add(_ page: [UInt8]) {
    var current: [UInt8] = []
    var isNew = false
    for line in page.split(separator: 0x0a) {
      if line.first == UInt8(ascii: "#") {
        let words = line.split(separator: 0x20, maxSplits: 3)
        guard words.count >= 3, words[1].elementsEqual("HELP".utf8) || words[1].elementsEqual("TYPE".utf8) else { continue }
        let name = Array(words[2])
        if name != current {
          current = name
          isNew = families[name] == nil
          if isNew {
            order.append(name)
            families[name] = ([], [])
          }
        }
        if isNew { families[name]?.title += line + [0x0a] }
      } else {
        families[current]?.samples += line + [0x0a]
      }
    }
  }

  func finish() -> [UInt8] { order.flatMap { name in families[name].map { $0.title + $0.samples } ?? [] } }
}
