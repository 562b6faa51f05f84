import AggCore
import AggExpression
import Foundation

/// A record from JSON, and the bindings of one event that holds it.
struct Scene {
  let bytes: [UInt8]
  let bindings: Bindings

  static let host = Bindings.Host(
    hostname: "web-01.example.com", workerID: 0, variables: ["HOME_X": "/home/x", "HOME": "/root"], zone: .local(environment: "UTC0"))

  init(_ json: String, tag: String = "kube.web-01.app.log") {
    var out = ByteWriter()
    let value = JSONTranscoder.decode(json) ?? .map(FieldMap())
    value.encode(into: &out)
    bytes = out.array
    bindings = Bindings(Self.host)
    bindings.setTag(tag)
  }

  /// Runs `body` with the event begun.
  func with<R>(_ body: (Bindings) throws -> R) rethrows -> R {
    try bytes.withUnsafeBytes { buffer in
      bindings.begin(EventTime(seconds: 1_700_000_000, nanoseconds: 123_456_789), RecordView(unchecked: ValueView(unchecked: buffer.baseAddress!)))
      defer { bindings.end() }
      return try body(bindings)
    }
  }

  /// What `code` gives, decoded.
  func value(_ code: String, allowing names: ExpressionNames = [.filter, .workerID]) throws -> Value? {
    let expression = try Expression(code, allowing: names)
    return try with { try expression.evaluate($0).decoded }
  }

  func template(_ text: String, isTyped: Bool = true) throws -> Value? {
    let template = try Template(text, isTyped: isTyped)
    return try with { try template.evaluate($0).decoded }
  }

  /// `inspect` of what `code` gives, or `!Class: message`.
  func inspected(_ code: String) throws -> String {
    let expression = try Expression("(" + code + "\n).inspect", allowing: [.filter, .workerID])
    return with { bindings in
      do throws(EvaluationError) {
        return String(decoding: try expression.evaluate(bindings).displayBytes, as: UTF8.self)
      } catch {
        return "!\(error.className): \(error.message)"
      }
    }
  }
}
