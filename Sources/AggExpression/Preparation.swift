import AggCore

/// `prepare_value`: statements that set `@x` once, for expressions to read.
///
/// Fluentd keeps such values in the plugin, where expressions may change them; here they are frozen, since nothing would
/// bound what grows in them.
public struct Preparation: Sendable {
  public let source: String
  let names: [String]
  private let node: Node
  private let slots: Int

  public init(_ source: String, allowing names: ExpressionNames = .hostname) throws(ExpressionError) {
    self.source = source
    var parser = try RubyParser(source, names)
    parser.setsVariables = true
    node = try parser.program()
    self.names = parser.variables
    slots = parser.slotCount
  }

  /// Runs the statements; expressions see their `@x` from then on.
  public func run(_ bindings: Bindings) throws(EvaluationError) {
    bindings.variables = [RubyValue](repeating: .null, count: names.count)
    _ = try bindings.run(node, slots: slots)
    bindings.keepContainers()
    for value in bindings.variables {
      // What nests too deep for a record is no value to keep either.
      var scratch = ByteWriter(capacity: 256)
      try value.write(into: &scratch)
      value.freeze()
    }
  }
}

extension RubyValue {
  /// Containers, and what is in them, cannot change any more.
  fileprivate func freeze() {
    var open = [self]
    while let value = open.popLast() {
      switch value {
      case .array(let array) where !array.isFrozen:
        array.isFrozen = true
        open += array.elements
      case .hash(let hash) where !hash.isFrozen:
        hash.isFrozen = true
        open += hash.keys + hash.values + [hash.defaultValue]
      default: break
      }
    }
  }
}
