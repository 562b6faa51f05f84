public import AggCore

/// A text with `${…}` parts, as `enable_ruby true` has them: a part that stands alone gives its value, anything else a
/// text in which escapes (`\n`, `\"`) count as in Ruby's double quotes.
public struct Template: Sendable {
  public let source: String
  private let kind: Kind

  private enum Kind: Sendable {
    case constant([UInt8])
    case expression(Expression)
  }

  /// `isTyped` false makes every value a text, as `auto_typecast false` and fields' names want it.
  /// `preparation` gives the names of `@x`.
  public init(_ source: String, allowing names: ExpressionNames = .filter, isTyped: Bool = true, preparation: Preparation? = nil) throws(ExpressionError)
  {
    self.source = source
    let bytes = Array(source.utf8)
    let starts = bytes.indices.dropLast().filter { bytes[$0] == UInt8(ascii: "$") && bytes[$0 + 1] == UInt8(ascii: "{") }
    if isTyped, starts == [0], bytes.last == UInt8(ascii: "}") {
      do throws(ExpressionError) {
        let text = Array(bytes[2..<bytes.count - 1])
        var parser = try RubyParser(String(decoding: text, as: UTF8.self), names)
        parser.variables = preparation?.names ?? []
        let node = try parser.program()
        kind = .expression(Expression(source: source, node: node, parser))
      } catch {
        throw ExpressionError(source, at: error.offset + 2, error.message)
      }
      return
    }
    // Fluentd turns every `${` into `#{` and reads the whole in double quotes; a `#{` that was there counts too.
    var text = bytes
    for start in starts { text[start] = UInt8(ascii: "#") }
    do throws(ExpressionError) {
      var parser = try RubyParser(String(decoding: text, as: UTF8.self), names)
      parser.variables = preparation?.names ?? []
      let node = try parser.interpolatedText()
      parser.finishTraits()
      if let constant = node as? Literal, case .string(let value) = constant.value {
        kind = .constant(value.bytes)
      } else {
        kind = .expression(Expression(source: source, node: node, parser))
      }
    } catch {
      throw ExpressionError(source, at: error.offset, error.message)
    }
  }

  /// The text when there is nothing to evaluate.
  public var constant: [UInt8]? { if case .constant(let bytes) = kind { bytes } else { nil } }

  public var traits: ExpressionTraits { if case .expression(let expression) = kind { expression.traits } else { ExpressionTraits() } }

  public func evaluate(_ bindings: Bindings) throws(EvaluationError) -> RubyValue {
    switch kind {
    case .constant(let bytes): return RubyValue(bytes)
    case .expression(let expression): return try expression.evaluate(bindings)
    }
  }

  /// Evaluates and appends the value as MessagePack; nothing is appended when it fails.
  public func write(_ bindings: Bindings, into out: inout ByteWriter) throws(EvaluationError) {
    switch kind {
    case .constant(let bytes): out.putString(bytes)
    case .expression(let expression): try expression.write(bindings, into: &out)
    }
  }

  /// Evaluates and appends the value's text.
  public func display(_ bindings: Bindings, into out: inout ByteWriter) throws(EvaluationError) {
    switch kind {
    case .constant(let bytes): out.append(bytes)
    case .expression(let expression): try expression.display(bindings, into: &out)
    }
  }
}
