public import AggCore

/// Sends every event to each of its stores. Batches are never changed, so all of Fluentd's copy modes are the same.
public struct CopyOutput: RoutingOutput {
  public struct Config: Configurable {
    public enum Mode: String, ConfigEnum {
      case noCopy = "no_copy"
      case shallow, deep, marshal
    }
    var stores: [ConfigElement] = []
    var mode = Mode.noCopy
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .elements("store", \.stores, "An output; arguments: ignore_error, ignore_if_prev_success", required: true),
      .optional("copy_mode", \.mode, "Kept for Fluentd's files: events are shared and never changed"),
      .ignored("deep_copy", "Events are shared and never changed"),
    ]
  }
  public static let name = "copy"
  public static let summary = "Sends every event to each of its stores."

  private struct Store: Sendable {
    var sink: any Sink
    var ignoresError: Bool
    var onlyAfterFailure: Bool
  }
  private let stores: [Store]

  public init(_ config: Config, _ context: PluginContext) throws {
    stores = try config.stores.map { element in
      let words = element.argument.split(whereSeparator: { $0 == " " || $0 == "," })
      for word in words where word != "ignore_error" && word != "ignore_if_prev_success" {
        throw ConfigErrors(at: element.at, "<store \(element.argument)>: unknown argument '\(word)'; known: ignore_error, ignore_if_prev_success")
      }
      return Store(
        sink: try context.output(element), ignoresError: words.contains("ignore_error"),
        onlyAfterFailure: words.contains("ignore_if_prev_success"))
    }
    if stores.first?.onlyAfterFailure ?? false { throw ConfigValueError("ignore_if_prev_success cannot stand at the first <store>") }
    if stores.allSatisfy(\.ignoresError), !stores.contains(where: \.onlyAfterFailure) {
      context.log.warn("ignore_error is set in all <store>: a failure of all of them is only counted")
    }
  }

  public func route(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) {
    var previousWorked = false
    for store in stores {
      if store.onlyAfterFailure, previousWorked {
        // A store that was passed over has not worked: the one after it is tried.
        previousWorked = false
        continue
      }
      let outer = transaction.ignoringErrors
      transaction.ignoringErrors = outer || store.ignoresError
      defer { transaction.ignoringErrors = outer }
      do throws(EmitError) {
        try store.sink.take(batch, &transaction)
        previousWorked = true
      } catch {
        if !store.ignoresError { throw error }
        previousWorked = false
      }
    }
  }
}
