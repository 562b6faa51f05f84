public import AggCore

/// Which names an expression may use besides literals and what is computed from them.
public struct ExpressionNames: OptionSet, Sendable {
  public let rawValue: Int
  public init(rawValue: Int) { self.rawValue = rawValue }
  /// `record`, `tag`, `tag_parts`, `tag_prefix`, `tag_suffix` and `time`.
  public static let event = ExpressionNames(rawValue: 1)
  public static let hostname = ExpressionNames(rawValue: 2)
  public static let workerID = ExpressionNames(rawValue: 4)
  /// `use_nil` and `use_default`.
  public static let configuration = ExpressionNames(rawValue: 8)

  /// In `${…}` of a filter.
  public static let filter: ExpressionNames = [.event, .hostname]
  /// In `#{…}` of a configuration's value.
  public static let value: ExpressionNames = [.hostname, .workerID, .configuration]
}

/// Why a text is no expression that is supported: found at start, never at an event.
public struct ExpressionError: Error, CustomStringConvertible, Sendable {
  public var expression: String
  /// Bytes before what is not understood.
  public var offset: Int
  public var message: String
  public var description: String { "'\(expression)', at \(offset): \(message)" }
  public init(_ expression: String, at offset: Int, _ message: String) {
    self.expression = expression
    self.offset = offset
    self.message = message
  }
}

/// What evaluating an expression looks at and may change, as far as its text tells.
public struct ExpressionTraits: Sendable {
  /// Fields of the record that it reads; nil when it may look at all of them.
  public internal(set) var fields: Set<[UInt8]>? = []
  /// Gives the same for all events of a tag.
  public internal(set) var isConstant = true
  /// May change the record or what nests in it.
  public internal(set) var changesRecord = false
  public init() {}
}

/// An expression in the part of Ruby that configurations use, parsed and resolved once. docs/EXPRESSIONS.md lists the part.
///
/// May be evaluated from several threads at once, each with its own `Bindings`.
public struct Expression: Sendable {
  /// Longer texts are refused.
  public static let maximumLength = 64 << 10

  public let source: String
  public let traits: ExpressionTraits
  let node: Node
  let slots: Int

  public init(_ source: String, allowing names: ExpressionNames) throws(ExpressionError) {
    var parser = try RubyParser(source, names)
    let node = try parser.program()
    self.init(source: source, node: node, parser)
  }

  init(source: String, node: Node, _ parser: RubyParser) {
    self.source = source
    self.node = node
    traits = parser.traits
    slots = parser.slotCount
  }

  /// The value for the event that `bindings` holds, valid until its next `begin`.
  public func evaluate(_ bindings: Bindings) throws(EvaluationError) -> RubyValue { try bindings.run(node, slots: slots) }

  /// Evaluates and appends the value as MessagePack; nothing is appended when it fails.
  public func write(_ bindings: Bindings, into out: inout ByteWriter) throws(EvaluationError) {
    try bindings.write(node, slots: slots, into: &out)
  }
  /// Evaluates and appends the value's text.
  public func display(_ bindings: Bindings, into out: inout ByteWriter) throws(EvaluationError) {
    try bindings.display(node, slots: slots, into: &out)
  }
}

extension RubyValue {
  /// Of a Time.
  public var eventTime: EventTime? { if case .time(let time) = self { time.time } else { nil } }

  /// Appends the value as MessagePack, all of it or nothing.
  public func write(into out: inout ByteWriter) throws(EvaluationError) {
    let start = out.count
    if !encode(into: &out) {
      out.count = start
      throw EvaluationError(Failure.tooDeep)
    }
  }
}
