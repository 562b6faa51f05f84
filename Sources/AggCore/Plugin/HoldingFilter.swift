/// A filter that keeps events back until more come: joins of lines, of a container runtime's partial messages.
///
/// No acknowledgement covers an event that is only in memory: what is held after a batch is told to the sink with `hold`, is
/// stored in the same commit as the batch, and comes back through `restore` at the next start. Where nothing is stored on disk
/// (memory buffers only) a kill loses what is held, as it loses the buffers.
///
/// `filter` runs for one batch at a time: the engine takes `gate` before and gives it back when the batch is stored or refused.
/// A refused batch comes again: undo what it changed in `FilterSink.onRefusal`.
public protocol HoldingFilter: Filter {
  /// Made in `init`, one a filter.
  var gate: HoldGate { get }
  /// What the last run held, by key, before anything is filtered.
  func restore(_ held: [(key: String, state: [UInt8])])
  /// Emits what has been held for too long, until cancelled; then everything that is still held, and returns.
  ///
  /// Called once, after `restore`. Cancellation comes after the inputs have stopped; `HoldEmitter.emit` is not interrupted by it.
  func run(_ emitter: HoldEmitter) async
}

/// What a holding filter emits on its own: held events that are let go, and the state that is left then.
public struct HoldEmission: Sendable {
  public var batches: [EventBatch]
  /// The held state after this, by key; an empty state forgets the key.
  public var spans: [SourceSpan]
  /// Runs when the batches are stored.
  public var onCommit: @Sendable () -> Void
  /// Runs when they were refused: put back what was taken out.
  public var onRefusal: @Sendable () -> Void
  public init(_ batches: [EventBatch], covering spans: [SourceSpan], onCommit: @escaping @Sendable () -> Void = {}, onRefusal: @escaping @Sendable () -> Void) {
    self.batches = batches
    self.spans = spans
    self.onCommit = onCommit
    self.onRefusal = onRefusal
  }
}

/// Where a holding filter's emissions go.
public struct HoldEmitter: Sendable {
  public enum Route: Sendable, Equatable {
    /// To the filters and the match after this one, as if the filter had returned them.
    case downstream
    /// To the start of a label; name it in `init` with `context.label(_:at:)` too, so that an unknown one is reported.
    case label(String)
    /// As failures, to `@ERROR`, with this reason.
    case error(String)
  }
  private let service: any HoldService
  public init(_ service: any HoldService) { self.service = service }

  /// Takes the filter's gate, asks `make` what to emit (nil: nothing), stores it. Throws when it was refused; try again later.
  ///
  /// `make` may be called twice, after its first emission's `onRefusal`. The count of the batches goes to the filter's ledger:
  /// from held to out (or to failed).
  public func emit(to route: Route, _ make: @Sendable () -> HoldEmission?) async throws(EmitError) { try await service.emit(to: route, make) }
}

public protocol HoldService: Sendable {
  func emit(to route: HoldEmitter.Route, _ make: @Sendable () -> HoldEmission?) async throws(EmitError)
}
