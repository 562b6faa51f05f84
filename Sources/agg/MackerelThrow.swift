import AggCore
import AggPlugins
import ArgumentParser
import Glibc

/// `agg throw`: metrics from standard input, as a plugin prints them.
struct MackerelThrow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "throw", abstract: "Send metrics to Mackerel: lines of name, value and time on standard input.")
  @OptionGroup var connection: MackerelConnection
  @Option(name: [.long, .customShort("H")], help: "Id of the host that they are of.")
  var host: String?
  @Option(name: .shortAndLong, help: "Service that they are of.")
  var service: String?
  @Option(name: .shortAndLong, help: "How often to try again, 15 seconds and then longer apart.")
  var retry = 0

  private static let largest = 64 << 20
  private static let pointsARequest = 1000

  mutating func run() async throws {
    guard (host == nil) != (service == nil) else { exitWithError("whose metrics are these? Give --host or --service") }
    let (host, service, retry) = (host, service, retry)
    let points = Self.points(Self.input(), isOfHost: host != nil)
    let path = service.map { "/services/\(MackerelClient.pathPart($0))/tsdb" } ?? "/tsdb"
    await connection.with { client, _ in
      var rest = points[...]
      while !rest.isEmpty {
        let some = rest.prefix(Self.pointsARequest)
        rest = rest.dropFirst(some.count)
        let body = Value.array(
          some.map { point in
            var point = point
            if let host { point["hostId"] = Value(host) }
            return .map(point)
          })
        try await Self.send(body.json ?? [], to: path, client, retry)
        for point in some {
          printError(
            "thrown \(host ?? service ?? "") '\(point["name"]?.text ?? "")\t\(Self.text(point["value"]))\t\(Self.text(point["time"]))'"
          )
        }
      }
    }
  }

  private static func send(_ body: [UInt8], to path: String, _ client: MackerelClient, _ retries: Int) async throws {
    var left = retries
    var pause: Duration = .seconds(15)
    while true {
      do {
        try await client.call("POST", path, body)
        return
      } catch let failure as MackerelFailure where !failure.isRefusal && left > 0 {
        let wait = max(pause, failure.retryAfter ?? .zero)
        printError("warning: \(failure); again in \(wait.components.seconds) s")
        try await Task.sleep(for: wait)
        left -= 1
        pause = min(pause * 2, .seconds(300))
      }
    }
  }

  private static func input() -> [UInt8] {
    var bytes = ByteWriter(capacity: 65_536)
    while bytes.count < largest {
      bytes.reserve(65_536)
      let n = read(0, bytes.end, 65_536)
      if n < 0, errno == EINTR { continue }
      if n <= 0 { break }
      bytes.count += n
    }
    return bytes.array
  }

  static func points(_ input: [UInt8], isOfHost: Bool) -> [FieldMap] {
    var points: [FieldMap] = []
    for line in input.split(separator: 0x0a) {
      let fields = line.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }.map { String(decoding: $0, as: UTF8.self) }
      guard fields.count == 3 else { continue }
      guard let value = Double(fields[1]), value.isFinite, let time = Int64(fields[2]) else {
        printError("warning: not sent: '\(String(decoding: line.prefix(200), as: UTF8.self))'")
        continue
      }
      var point = FieldMap()
      point["name"] = Value(isOfHost && !fields[0].hasPrefix("custom.") ? "custom." + fields[0] : fields[0])
      point["time"] = .int(time)
      point["value"] = Int64(fields[1]).map { .int($0) } ?? .double(value)
      points.append(point)
    }
    return points
  }
  private static func text(_ value: Value?) -> String { value?.json.map { String(decoding: $0, as: UTF8.self) } ?? "" }
}
