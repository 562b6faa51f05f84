import AggCore

/// A formatter whose events get an `<inject>` section's fields first: what outputs format with, and hand to a secondary.
struct InjectedFormatter: Formatter {
  struct Config: Configurable {
    var inject: InjectSection?
    var format: ConfigElement?
    init() {}
    static let parameters: [Parameter<Self>] = [
      .section("inject", \.inject, "Fields that are added to every record"), .element("format", \.format, "How an event is written"),
    ]
  }
  static let name = "injected"
  static let summary = "Adds fields, then formats."
  private let injector: Injector?
  private let formatter: any Formatter

  init(_ config: Config, _ context: PluginContext) throws {
    injector = try Injector(config.inject, context)
    formatter = try context.formatter(config.format, default: "json")
  }
  init(_ formatter: any Formatter, _ injector: Injector) {
    self.injector = injector
    self.formatter = formatter
  }

  var isBinary: Bool { formatter.isBinary }
  func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    formatter.format(injector?.apply(batch) ?? batch, into: &out, &rejects)
  }
}

extension Formatter {
  /// This formatter, after the injector where there is one.
  func injecting(_ injector: Injector?) -> any Formatter { injector.map { InjectedFormatter(self, $0) } ?? self }
}
