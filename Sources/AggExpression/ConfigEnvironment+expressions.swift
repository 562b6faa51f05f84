public import AggCore

extension ConfigEnvironment {
  /// The same, with `#{…}` evaluated as docs/EXPRESSIONS.md says.
  public var evaluatingExpressions: ConfigEnvironment {
    var environment = self
    environment.understands = { code in (try? Expression(code, allowing: .value)) != nil }
    environment.evaluate = { code, environment throws(ConfigValueError) in try Self.evaluate(code, environment) }
    return environment
  }

  private static func evaluate(_ code: String, _ environment: ConfigEnvironment) throws(ConfigValueError) -> EmbeddedResult {
    let expression: Expression
    do throws(ExpressionError) { expression = try Expression(code, allowing: .value) } catch {
      throw ConfigValueError("cannot be evaluated: \(error.message); docs/EXPRESSIONS.md lists what can")
    }
    let bindings = Bindings(
      Bindings.Host(
        hostname: environment.hostname, workerID: environment.workerID, variables: environment.variables, zone: .local()))
    defer { bindings.end() }
    var out = ByteWriter(capacity: 128)
    do throws(EvaluationError) { try expression.display(bindings, into: &out) } catch {
      switch error.kind {
      case .useNil: return .useNil
      case .useDefault: return .useDefault
      case .limit: throw ConfigValueError(error.message)
      case .raised: throw ConfigValueError("raises \(error.className): \(error.message)\(hint(error))")
      }
    }
    return .text(out.string)
  }

  private static func hint(_ error: EvaluationError) -> String {
    switch error.className {
    case "KeyError": "; set the variable, or give a default: ENV.fetch('X', 'default')"
    case "NoMethodError" where error.message.hasSuffix("nil:NilClass"): "; give a default with || before it"
    default: ""
    }
  }
}
