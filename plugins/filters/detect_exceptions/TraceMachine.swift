import AggCore

/// The rules of the wanted languages, by the state that they start from; compiled once, read by every batch.
final class TraceMachine: Sendable {
  typealias State = TraceRules.State
  struct Step: Sendable {
    var form: Regexp
    var to: State
  }
  /// By the state's number.
  private let steps: [[Step]]
  /// Any of the lines that begin a trace: most lines are none, and need no more than this.
  let beginning: Regexp

  /// Throws for a language that is not known.
  init(_ languages: [String]) throws(ConfigValueError) {
    let wanted = languages.map { $0.lowercased() }
    let known = TraceRules.languages.flatMap(\.names) + ["all"]
    for name in wanted where !known.contains(name) {
      let near = nearest(name, known).map { "did you mean '\($0)'?" } ?? "known: " + known.joined(separator: ", ")
      throw ConfigValueError("'languages' has an unknown language '\(name)'; \(near)")
    }
    let isAll = wanted.isEmpty || wanted.contains("all")
    let rules = TraceRules.languages.filter { language in isAll || language.names.contains(where: wanted.contains) }.flatMap(
      \.rules)
    var steps = [[Step]](repeating: [], count: (State.allCases.map(\.rawValue).max() ?? 0) + 1)
    for rule in rules {
      let form = try Regexp(rule.form)
      for state in rule.from { steps[state.rawValue].append(Step(form: form, to: rule.to)) }
    }
    self.steps = steps
    beginning = try Regexp(rules.filter { $0.from.contains(.outside) }.map { "(?:\($0.form))" }.joined(separator: "|"))
  }

  enum Verdict { case nothing, start, inside, end }

  /// Where `line` leads; `beginning` is a matcher of the expression of that name.
  func next(_ state: State, _ line: UnsafeRawBufferPointer, _ beginning: inout RegexpMatcher) -> (state: State, verdict: Verdict)
  {
    if state != .outside, let next = step(state, line) { return (next, next == .outside ? .end : .inside) }
    // A line that ends a trace by not belonging to it may begin another one.
    guard beginning.match(line), let next = step(.outside, line), next != .outside else { return (.outside, .nothing) }
    return (next, .start)
  }

  private func step(_ state: State, _ line: UnsafeRawBufferPointer) -> State? {
    for step in steps[state.rawValue] where step.form.matches(line) { return step.to }
    return nil
  }
}
