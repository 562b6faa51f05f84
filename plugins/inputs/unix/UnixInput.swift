public import AggCore
import AggNet
import Glibc

/// Events of the forward protocol over a unix socket, without acknowledgements.
public struct UnixInput: Input {
  public struct Config: Configurable, ConnectionLimited {
    var path = "/var/run/fluent/fluent.sock"
    var backlog: Int?
    var tag: String?
    var limits = ConnectionLimits()
    public init() {}
    public static let parameters: [Parameter<Self>] = ownRows + streamRows
    private static let ownRows: [Parameter<Self>] = [
      .optional("path", \.path, "Path of the socket; its directory is made"),
      .optional("backlog", \.backlog, "Connections that may wait to be accepted; 1024 where it is not given"),
      .optional("tag", \.tag, "Tag for all events, instead of the sender's"),
    ]
    public mutating func validate(_ context: ConfigContext) throws { try limits.validate() }
  }
  public static let name = "unix"
  public static let summary = "Events of the forward protocol over a unix socket."
  public static let sharesWorkers = false

  /// A message larger than this is not read, whatever it declares.
  private static let longestMessage = 256 << 20
  private let config: Config
  private let context: PluginContext

  public init(_ config: Config, _ context: PluginContext) throws {
    if config.path.isEmpty || config.path.utf8.count > 107 { throw ConfigValueError("'path' of a unix socket has 1 to 107 bytes") }
    self.config = config
    self.context = context
  }

  public var tags: SourceTags { config.tag.map { .tag($0) } ?? .any }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    let lane = InputLane(context, emitter, waits: true)
    var options = ListenOptions()
    if let backlog = config.backlog { options.backlog = backlog }
    config.limits.apply(to: &options, context)
    options.onError = { peer, error in lane.quiet.warn("\(peer): \(error)") }
    makeDirectory()
    let listener = try await Listener.bind(.unix(config.path), options, on: network)
    context.log.info("listening fluent socket on \(config.path)")
    emitter.ready()
    await listener.run { connection in try await serve(connection, lane) }
    await listener.close(keepingSocket: true)
  }

  /// With its parents, as far as they are missing; what fails shows when the socket is bound.
  private func makeDirectory() {
    let parts = config.path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
    var path = ""
    for part in parts {
      path += path.isEmpty && part.isEmpty ? "" : part
      if !path.isEmpty { mkdir(path, 0o755) }
      path += "/"
    }
  }

  private func serve(_ connection: Connection, _ lane: InputLane) async throws {
    var buffer = ByteWriter(capacity: 4096)
    guard try await lane.read(connection, into: &buffer) > 0 else { return }
    // The first byte decides for the whole connection, as with Fluentd.
    var stream = UnixStream(isJSON: buffer.bytes.first == 0x7b || buffer.bytes.first == 0x5b, limit: Self.longestMessage, tag: config.tag)
    repeat {
      var batches: [EventBatch] = []
      let failure = stream.take(from: &buffer, into: &batches)
      lane.reject(stream.rejected, from: "unix", "\(stream.rejected) invalid events left out: \(stream.reason ?? "")")
      await lane.emit(batches, from: "unix")
      if let failure { return lane.reject(1, from: "unix", "\(failure); the connection is closed") }
    } while try await lane.read(connection, into: &buffer) > 0
    if buffer.count > 0, !stream.isBlank(buffer.bytes) {
      lane.reject(1, from: "unix", "closed inside a message; its \(buffer.count) bytes are dropped")
    }
  }
}
