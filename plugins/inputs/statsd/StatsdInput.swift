public import AggCore
import AggNet
import Synchronization

/// Metrics of statsd and DogStatsD clients, over UDP, TCP or a unix socket, summed up every interval.
public struct StatsdInput: Input {
  enum Carrier: String, ConfigEnum { case udp, tcp, unix, unixStream = "unix_stream" }

  public struct Config: Configurable, ConnectionLimited {
    var tag = ""
    var bind = "127.0.0.1"
    var port = Port(8125)
    var carrier = Carrier.udp
    var path: String?
    var interval = TimeSpan(seconds: 10)
    var percentiles: [Double] = [50, 90, 99]
    var expiry = TimeSpan(seconds: 3600)
    var limit = 10_000
    var receiveBuffer: ByteSize?
    var labels: ConfigElement?
    var limits = ConnectionLimits()
    public init() {}
    public static let parameters: [Parameter<Self>] = ownRows + streamRows
    private static let ownRows: [Parameter<Self>] = [
      .required("tag", \.tag, "Tag of the metric events"),
      .optional("bind", \.bind, "Address to listen on"),
      .optional("port", \.port, "Port to listen on"),
      .optional("protocol", \.carrier, "What carries the lines; unix: datagrams, as DogStatsD clients send"),
      .optional("path", \.path, "The unix socket"),
      .optional("interval", \.interval, "How often the figures become events"),
      .optional("percentiles", \.percentiles, "Of timers, 0 to 100"),
      .optional("expire", \.expiry, "A series that nobody sends for so long ends"),
      .optional("max_series", \.limit, "Series kept; lines of further ones are refused and counted"),
      .optional("receive_buffer_size", \.receiveBuffer, "SO_RCVBUF of a datagram socket"),
      .element("labels", \.labels, "Labels of every metric, where it has no tag of that name"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      try limits.validate()
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
      let isUnix = carrier == .unix || carrier == .unixStream
      if isUnix, path == nil { throw ConfigValueError("'protocol \(carrier.rawValue)' needs 'path', the socket") }
      if !isUnix, path != nil { throw ConfigValueError("'path' is for 'protocol unix' and 'unix_stream'") }
      if interval.nanoseconds <= 0 || expiry.nanoseconds <= 0 {
        throw ConfigValueError("'interval' and 'expire' must be more than 0")
      }
      if percentiles.count > 32 || !percentiles.allSatisfy({ $0 > 0 && $0 <= 100 }) {
        throw ConfigValueError("'percentiles' must be numbers above 0, 100 at most")
      }
      if limit < 1 { throw ConfigValueError("'max_series' must be 1 or more") }
    }
  }
  public static let name = "statsd"
  public static let summary = "Metrics of statsd and DogStatsD clients, summed up every interval."
  public static let sharesWorkers = false

  /// The longest line of a stream.
  private static let lineLimit = 65_536

  private let config: Config
  private let context: PluginContext
  private let common: [(String, String)]

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    common = try MonitorLabels(config.labels, context).pairs
  }

  /// What all connections add to.
  private final class Intake: Sendable {
    let table: Mutex<StatsdTable>
    let lane: InputLane
    init(_ table: consuming StatsdTable, _ lane: InputLane) {
      self.table = Mutex(table)
      self.lane = lane
    }

    /// Whole lines from one peer.
    func take(_ lines: UnsafeRawBufferPointer, from peer: @autoclosure () -> String) {
      let outcome = table.withLock { $0.add(lines: lines, now: .now()) }
      lane.reject(outcome.rejected, from: peer(), "\(outcome.rejected) lines cannot be read: \(outcome.problem ?? "")")
      if outcome.refused > 0 {
        lane.context.counters.add(.received, outcome.refused)
        lane.context.counters.drop(outcome.refused, "max_series")
        lane.quiet.warn("\(outcome.refused) lines were left out: there are max_series series")
      }
    }
  }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self), let timers = context.shared(TimerQueue.self) else {
      throw ConfigValueError("there is no network")
    }
    let lane = InputLane(context, emitter)
    let intake = Intake(StatsdTable(limit: config.limit, expiry: Int64(config.expiry.nanoseconds), common: common), lane)
    let serve = try await server(intake, network)
    emitter.ready()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await flushLoop(intake, timers) }
      group.addTask { try await serve() }
      // Both end when the task is cancelled; a socket that fails ends all.
      try await group.next()
      group.cancelAll()
      try await group.waitForAll()
    }
    await flush(intake)
  }

  private func server(_ intake: Intake, _ network: Network) async throws -> @Sendable () async throws -> Void {
    let endpoint: Endpoint = config.path.map { .unix($0) } ?? .host(config.bind, Int(config.port.number))
    switch config.carrier {
    case .unix:
      // Clients run as whoever they are.
      let socket = try await UnixDatagrams.bind(config.path ?? "", receiveBuffer: config.receiveBuffer?.bytes, permissions: 0o666, on: network)
      context.log.info("listening statsd on \(endpoint)")
      let pool = context.shared(BlockingPool.self) ?? BlockingPool()
      return {
        await withTaskExecutorPreference(pool) { await socket.run { intake.take($0, from: "unix") } }
        socket.close(keepingSocket: true)
      }
    case .udp:
      var options = DatagramOptions()
      if let receiveBuffer = config.receiveBuffer { options.receiveBuffer = receiveBuffer.bytes }
      let socket = try await DatagramSocket.bind(endpoint, options, on: network)
      context.log.info("listening statsd on \(endpoint)")
      let loop = DatagramLoop(lane: intake.lane, socket: socket, limit: 65_536)
      return {
        try await loop.run { datagrams in
          for index in 0..<datagrams.count { intake.take(datagrams.datagram(index), from: "\(datagrams.entries[index].peer)") }
        }
      }
    case .tcp, .unixStream:
      var options = ListenOptions()
      options.onError = { peer, error in intake.lane.quiet.warn("\(peer): \(error)") }
      config.limits.apply(to: &options, context)
      let listener = try await Listener.bind(endpoint, options, on: network)
      context.log.info("listening statsd on \(endpoint)")
      return {
        await listener.run { connection in
          var buffer = ByteWriter(capacity: 4096)
          var cutter = RecordCutter(delimiter: "\n", limit: Self.lineLimit)
          while try await intake.lane.read(connection, into: &buffer, isInside: cutter.isSkipping) > 0 {
            let complete = cutter.completeLength(buffer.bytes)
            if complete > 0 {
              cutter.forEach(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<complete])) { lines, _ in
                intake.take(lines, from: "\(connection.peer)")
              }
            }
            cutter.removeComplete(from: &buffer)
            intake.lane.reject(
              cutter.takeSkipped(), from: "\(connection.peer)", "a line is longer than \(Self.lineLimit) bytes and is skipped")
          }
          // statsd clients end a connection without ending their last line.
          if cutter.isPartial(buffer) { intake.take(buffer.bytes, from: "\(connection.peer)") }
        }
        await listener.close(keepingSocket: true)
      }
    }
  }

  private func flushLoop(_ intake: Intake, _ timers: TimerQueue) async {
    let waker = Waker(timers)
    var next = MonotonicTime.now()
    while true {
      next = next.adding(nanoseconds: Int64(config.interval.nanoseconds))
      let now = MonotonicTime.now()
      if now.since(next) > Int64(config.interval.nanoseconds) { next = now }
      await waker.wait(until: next)
      if Task.isCancelled { return }
      await flush(intake)
    }
  }

  private func flush(_ intake: Intake) async {
    let batch = intake.table.withLock { $0.flush(Tag(config.tag), at: .now(), now: .now(), percentiles: config.percentiles) }
    if !batch.isEmpty { await intake.lane.emit([batch], from: "statsd") }
  }
}
