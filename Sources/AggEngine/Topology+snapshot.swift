public import AggCore

extension Topology {
  func snapshot() -> DaemonSnapshot {
    let runners = Dictionary(self.runners.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    let now = (monotonic: MonotonicTime.now(), wall: EventTime.now())
    var result: [PluginSnapshot] = []
    let labels = ["@ROOT"] + routers.keys.filter { $0 != "@ROOT" }.sorted()
    for (label, kind) in [("", "input")] + labels.flatMap({ [($0, "output"), ($0, "filter")] }) {
      for plugin in plugins where plugin.kind == kind && (kind == "input" || plugin.label == label) {
        let runner = runners[plugin.id]
        result.append(
          PluginSnapshot(
            id: plugin.id, type: plugin.type, kind: kind, label: plugin.label, config: plugin.shownEntries, counters: plugin.counters.snapshot(),
            buffer: runner?.buffer.snapshot(now: now.monotonic), retry: runner?.status.snapshot(now)))
      }
    }
    for counters in counters where counters.kind == "label" {
      result.append(
        PluginSnapshot(
          id: counters.plugin, type: counters.type, kind: "label", label: counters.plugin, config: [], counters: counters.snapshot()))
    }
    return DaemonSnapshot(plugins: result)
  }
}

extension Topology.PluginEntry {
  /// The section's own lines; what the plugin declares as secret, or what looks like it, is masked.
  var shownEntries: [PluginSnapshot.Entry] {
    let secrets = Set(parameters().filter(\.isSecret).flatMap { [$0.name, $0.alias ?? $0.name] })
    return element.entries.map { entry in
      guard case .text(let text) = entry.value else { return .init(name: entry.name, value: nil) }
      let isSecret = secrets.contains(entry.name) || ConfigElement.looksSecret(entry.name) || Self.holdsSecret(text)
      return .init(name: entry.name, value: isSecret ? "xxxxxx" : Self.withoutCredentials(text))
    }
  }

  /// A hash of headers with one of the names that carry credentials.
  static func holdsSecret(_ text: String) -> Bool {
    let text = text.lowercased()
    return text.hasPrefix("{") && (["authorization", "cookie", "bearer ", "x-api"].contains { text.contains($0) } || ConfigElement.looksSecret(text))
  }

  /// A URL without the part before `@`, and without the values of parameters that are named like a secret: `http://user:password@host/?token=…`.
  static func withoutCredentials(_ text: String) -> String {
    guard text.utf8.contains(0x3a) else { return text }
    return withoutUser(withoutSecretParameters(text))
  }

  private static func withoutSecretParameters(_ text: String) -> String {
    guard let query = text.firstIndex(of: "?"), text[..<query].contains("://") else { return text }
    let ends: Set<Character> = ["&", "#", " ", "\"", "'", ","]
    var out = String(text[...query])
    var rest = text[text.index(after: query)...]
    while !rest.isEmpty {
      let end = rest.firstIndex(where: ends.contains) ?? rest.endIndex
      let pair = rest[..<end]
      if let equals = pair.firstIndex(of: "="), ConfigElement.looksSecret(String(pair[..<equals])) || pair[..<equals].lowercased() == "key" {
        out += pair[...equals] + "xxxxxx"
      } else {
        out += pair
      }
      guard end < rest.endIndex else { break }
      out.append(rest[end])
      rest = rest[rest.index(after: end)...]
    }
    return out
  }

  private static func withoutUser(_ text: String) -> String {
    let bytes = Array(text.utf8)
    var out: [UInt8] = []
    var at = 0
    while at < bytes.count {
      out.append(bytes[at])
      at += 1
      guard out.suffix(3).elementsEqual("://".utf8) else { continue }
      let end = bytes[at...].firstIndex { $0 == 0x2f || $0 == 0x20 || $0 == 0x22 || $0 == 0x2c } ?? bytes.count
      if let sign = bytes[at..<end].lastIndex(of: 0x40) {
        out += Array("xxxxxx".utf8)
        at = sign
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}

extension Buffer {
  func snapshot(now: MonotonicTime) -> BufferSnapshot {
    let status = status
    return BufferSnapshot(
      stagedBytes: status.stagedBytes, queuedBytes: status.queuedBytes, stagedChunks: status.stagedChunks, queuedChunks: status.queuedChunks,
      limitBytes: status.limit, timekeys: status.timekeys, oldestAge: status.oldest.map { max(0, now.since($0)) })
  }
}

extension OutputRunner.Status {
  func snapshot(_ now: (monotonic: MonotonicTime, wall: EventTime)) -> RetrySnapshot? {
    guard let nextAttempt, let retryStarted else { return nil }
    func wall(_ time: MonotonicTime) -> EventTime { EventTime(seconds: now.wall.seconds &+ time.since(now.monotonic) / 1_000_000_000) }
    return RetrySnapshot(steps: retryCount, started: wall(retryStarted), next: wall(nextAttempt), lastError: lastError, breaker: breaker.rawValue)
  }
}
