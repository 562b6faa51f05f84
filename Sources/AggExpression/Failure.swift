/// Why an evaluation stopped.
enum Failure: Error {
  case raised(RubyException)
  /// A limit of the evaluation: `rescue` does not catch it.
  case limit(String)
  case next(Carried)
  case leave(ObjectIdentifier, Carried)
  case useNil
  case useDefault

  /// A value on its way out of a block, within one evaluation and one thread.
  final class Carried: @unchecked Sendable {
    let value: RubyValue
    init(_ value: RubyValue) { self.value = value }
  }

  static func raise(_ type: RubyModule, _ message: String) -> Failure { .raised(RubyException(type, message)) }
  static func argument(_ message: String) -> Failure { raise(.argumentError, message) }
  static func type(_ message: String) -> Failure { raise(.typeError, message) }
  static let overflow = raise(.rangeError, "integer is beyond 64 bits, which is not supported")
  static let tooDeep = Failure.limit("gives a value that nests deeper than 128 levels or holds more than a million others")
}

/// Why an expression gave no value for this event: what Ruby would have raised, or a limit.
public struct EvaluationError: Error, CustomStringConvertible, Sendable {
  public enum Kind: Sendable, Hashable {
    /// What Ruby raises too.
    case raised
    /// Steps, memory or nesting.
    case limit
    /// `use_nil` and `use_default` of configuration values.
    case useNil, useDefault
  }
  public var kind: Kind
  /// Ruby's class of the error; empty for a limit.
  public var className: String
  public var message: String
  public var description: String { message }

  init(_ failure: Failure) {
    switch failure {
    case .raised(let exception): self.init(kind: .raised, className: exception.type.rawValue, message: exception.message)
    case .limit(let message): self.init(kind: .limit, className: "", message: message)
    case .useNil: self.init(kind: .useNil, className: "", message: "use_nil")
    case .useDefault: self.init(kind: .useDefault, className: "", message: "use_default")
    case .next, .leave: self.init(kind: .raised, className: "LocalJumpError", message: "unexpected next or break")
    }
  }
  init(kind: Kind, className: String, message: String) {
    self.kind = kind
    self.className = className
    self.message = message
  }
}
