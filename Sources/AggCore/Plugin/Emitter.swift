/// Why a batch was not taken. Nothing of it was stored.
public enum EmitError: Error, Sendable, CustomStringConvertible {
  /// A buffer is full and its overflow_action refuses (`throw_exception`): name of the output.
  case full(String)
  /// The daemon's shutdown deadline has passed.
  case closed
  /// The events cannot be stored now: a disk is full or fails. A state that may end; it is logged already, once.
  case unavailable(String)
  /// An unbuffered output failed.
  case failed(String)
  /// A reload exchanges what the batch was on its way to; the engine sends it again, and no plugin sees this.
  case moved
  /// Whether the same events may be taken later.
  public var isTransient: Bool {
    switch self {
    case .full, .unavailable: true
    case .closed, .failed, .moved: false
    }
  }
  public var description: String {
    switch self {
    case .full(let name): "buffer of \(name) is full"
    case .closed: "agg is stopping"
    case .unavailable(let why): why
    case .failed(let why): why
    case .moved: "the configuration is being exchanged"
    }
  }
}

/// How far a source has been read, stored in the same commit as the events it covers.
///
/// `key` names the stream within the input (a path, a peer's chunk id), `state` is the input's own encoding.
public struct SourceSpan: Sendable {
  public var key: String
  public var state: [UInt8]
  public init(key: String, state: [UInt8]) {
    self.key = key
    self.state = state
  }
}

/// Where an input hands its batches over.
public struct Emitter: Sendable {
  private let service: any EmitService
  public init(_ service: any EmitService) { self.service = service }

  /// Returns when the batches are stored (committed) at every output they go to: only then acknowledge or move a position.
  ///
  /// All of them or none. Suspends while a full buffer's overflow_action is `block`. Not interrupted by cancellation.
  public func emit(_ batches: [EventBatch], covering spans: [SourceSpan] = []) async throws(EmitError) {
    try await service.emit(batches, covering: spans)
  }
  public func emit(_ batch: EventBatch, covering spans: [SourceSpan] = []) async throws(EmitError) {
    try await service.emit([batch], covering: spans)
  }
  /// Sends events to `@ERROR` (or logs them when there is none) with the reason; counted as rejected.
  public func reject(_ batch: EventBatch, reason: String) async { await service.reject(batch, reason: reason) }
  /// The input works now; the daemon counts as started when all inputs said so.
  public func ready() { service.ready() }
}

public protocol EmitService: Sendable {
  func emit(_ batches: [EventBatch], covering spans: [SourceSpan]) async throws(EmitError)
  func reject(_ batch: EventBatch, reason: String) async
  func ready()
}
