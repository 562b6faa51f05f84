import AggCore
import AggEngine
import ArgumentParser
import Glibc

/// What `replay` and `drop` share: which letters, and how long to wait for the daemon.
struct LetterChange: ParsableArguments {
  @OptionGroup var places: StoragePlaces
  @OptionGroup var filter: LetterFilter
  @Flag(help: "All letters of the outputs.")
  var all = false
  @Option(help: "How many seconds to wait for a running daemon's answer; it goes on without.")
  var wait = 60.0
  @Flag(help: "JSON lines, for machines.")
  var json = false

  mutating func validate() throws {
    if all != filter.isEmpty {
      throw ValidationError(
        all
          ? "--all and a choice of letters exclude each other."
          : "Which letters? Give --all, --letter, --reason, --status, --tag or --older-than.")
    }
    if !wait.isFinite || wait < 0 { throw ValidationError("--wait must be 0 or more seconds.") }
  }

  func run(_ action: DeadLetterRequest.Action) throws {
    let request = try filter.request(action)
    let word = action == .replay ? "replayed" : "dropped"
    var failed = false
    var isAny = false
    var out = Printer()
    for store in places.stores() where store.letters.exists {
      var found = false
      store.letters.forEach(problem: { printError(SafeText.line($0)) }) { letter, _, _ in found = found || request.selects(letter)
      }
      if !found { continue }
      isAny = true
      let outcome: (result: DeadLetterResult?, note: String?)
      do { outcome = try perform(request, on: store.letters) } catch {
        outcome = (DeadLetterResult(done: 0, error: "\(error)"), nil)
      }
      let result = outcome.result
      if result?.error != nil { failed = true }
      if json {
        var pairs: [ConfigJSON.Pair] = [
          .init("output", .string(store.name)), .init(word, result.map { .int($0.done) } ?? .null),
          .init("left", .int(result?.left ?? 0)),
        ]
        if let text = result?.error ?? outcome.note {
          pairs.append(.init(result?.error == nil ? "note" : "error", .string(text)))
        }
        out.line(json: .object(pairs))
      } else if let result {
        let left = result.left == 0 ? "" : "; \(result.left) hold no events any more (text that was formatted) and stay"
        out.line(
          "\(SafeText.line(store.name)): \(result.error.map { SafeText.line($0) } ?? "\(result.done) event\(result.done == 1 ? "" : "s") \(word)\(left)")"
        )
      } else {
        out.line("\(SafeText.line(store.name)): \(outcome.note ?? "")")
      }
    }
    if !isAny, !json { out.line("no dead letters are meant") }
    out.flush()
    if failed { throw ExitCode(1) }
  }

  private func perform(_ request: DeadLetterRequest, on letters: DeadLetterDirectory) throws -> (DeadLetterResult?, String?) {
    if request.action == .drop, let result = try letters.drop(request) { return (result, nil) }
    let isLive = letters.isLive
    let path = try letters.leave(request)
    if !isLive { return (nil, "agg does not run on these; they are replayed when it starts") }
    var progress = Progress()
    let end = MonotonicTime.now().adding(nanoseconds: Int64(min(wait, 1e9) * 1e9))
    while MonotonicTime.now() < end {
      if let result = DeadLetterDirectory.takeResult(of: path) {
        progress.clear()
        return (result, nil)
      }
      progress.show("waiting for agg")
      usleep(20_000)
    }
    progress.clear()
    return (nil, "agg has the request and goes on with it")
  }
}

/// `agg dlq replay`: once more to the output that gave them up.
struct DLQReplay: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay", abstract: "Send dead letters to their output again.",
    discussion: """
      Their events go into the output's buffer again, and leave the dead letters, each exactly once whatever is killed in between
      (with a memory buffer, once or twice). A running agg does it at once, else it is done at the next start. What is refused
      again becomes a dead letter again.
      """)
  @OptionGroup var change: LetterChange
  mutating func run() throws { try change.run(.replay) }
}

/// `agg dlq drop`: for good.
struct DLQDrop: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drop", abstract: "Drop dead letters. There is no way back.",
    discussion: "A running agg is asked to; where none runs, it is done here.")
  @OptionGroup var change: LetterChange
  mutating func run() throws { try change.run(.drop) }
}
