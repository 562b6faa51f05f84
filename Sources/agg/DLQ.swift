import AggCore
import AggEngine
import ArgumentParser
import Glibc

/// `agg dlq`: what outputs gave up.
struct DLQ: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dlq",
    abstract: "Events that outputs gave up: list, show, replay or drop them.",
    discussion: """
      An event becomes a dead letter when its destination refuses it for good, or when all retries have failed and there is no
      <secondary>. Dead letters are kept beside a file buffer, or under dead_letter_path or root_dir of <system>.
      All of it works while agg runs, and while it does not.
      """,
    subcommands: [DLQList.self, DLQShow.self, DLQReplay.self, DLQDrop.self])
}

/// Which letters.
struct LetterFilter: ParsableArguments {
  @Option(help: ArgumentHelp("Only this letter, or all of a chunk; may be given again.", valueName: "chunk[:index]"))
  var letter: [String] = []
  @Option(help: "Only letters with this reason, such as http_400 or retry_exhausted.")
  var reason: String?
  @Option(help: "Only letters with this status of the destination, such as 400.")
  var status: Int?
  @Option(help: ArgumentHelp("Only letters whose tag matches.", valueName: "pattern"))
  var tag: String?
  @Option(
    name: .customLong("older-than"),
    help: ArgumentHelp("Only letters that were given up so long ago, such as 1h or 7d.", valueName: "time"))
  var olderThan: String?

  var isEmpty: Bool { letter.isEmpty && reason == nil && status == nil && tag == nil && olderThan == nil }

  func request(_ action: DeadLetterRequest.Action) throws -> DeadLetterRequest {
    var request = DeadLetterRequest(action, before: SafeText.now())
    for text in letter {
      guard let key = DeadLetterRequest.Key(text) else {
        throw ValidationError(
          "'\(text)' is no letter: write a chunk's 32 digits, or those and an index, as `agg dlq list` and `show` print them")
      }
      request.keys.append(key)
    }
    request.reason = reason
    request.status = status
    do throws(ConfigValueError) {
      if let tag { request.tag = try TagPattern(tag) }
      if let olderThan {
        let span = try TimeSpan(configText: olderThan, strict: true)
        request.before = request.before &- Int64(span.nanoseconds)
      }
    } catch { throw ValidationError(error.message) }
    return request
  }
}

/// `agg dlq list`: a line for each chunk that letters came from.
struct DLQList: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List dead letters by output and chunk.")
  @OptionGroup var places: StoragePlaces
  @OptionGroup var filter: LetterFilter
  @Flag(help: "JSON lines, for machines.")
  var json = false

  private struct Row {
    var output: String
    var chunk: ChunkID
    var events = 0
    var bytes = 0
    var reasons: [String] = []
    var statuses: [Int] = []
    var tags: [String] = []
    var givenUp: Int64
    var attempts: Int
    var message: String
  }
  /// Of one row's reasons and tags.
  private static let most = 3

  mutating func run() throws {
    let request = try filter.request(.drop)
    let json = json
    var out = Printer()
    var (problems, events, chunks, bytes) = (0, 0, 0, 0)
    for store in places.stores() {
      var row: Row?
      func finish() {
        guard let done = row else { return }
        row = nil
        chunks += 1
        events += done.events
        json ? out.line(json: Self.json(done)) : out.line(Self.text(done))
      }
      bytes += store.letters.bytes
      store.letters.forEach(problem: {
        problems += 1; printError(SafeText.line($0))
      }) { letter, _, payload in
        guard request.selects(letter) else { return }
        if row?.chunk != letter.chunk || row?.givenUp != letter.givenUp {
          finish()
          row = Row(
            output: store.name, chunk: letter.chunk, givenUp: letter.givenUp, attempts: letter.attempts, message: letter.message)
        }
        row?.events += letter.count
        row?.bytes += payload.count
        if let r = row, r.reasons.count <= Self.most, !r.reasons.contains(letter.reason) { row?.reasons.append(letter.reason) }
        if let r = row, let status = letter.status, r.statuses.count <= Self.most, !r.statuses.contains(status) {
          row?.statuses.append(status)
        }
        if let r = row, r.tags.count <= Self.most, !r.tags.contains(letter.tag) { row?.tags.append(letter.tag) }
      }
      finish()
    }
    if !json {
      out.line(
        events == 0
          ? "no dead letters"
          : "\(events) event\(events == 1 ? "" : "s") of \(chunks) chunk\(chunks == 1 ? "" : "s"), \(bytes) bytes on disk")
    }
    out.flush()
    if problems > 0 { throw ExitCode(1) }
  }

  private static func text(_ row: Row) -> String {
    func some(_ list: [String]) -> String {
      list.prefix(most).map { SafeText.line($0, limit: 60) }.joined(separator: ", ") + (list.count > most ? ", …" : "")
    }
    let status = row.statuses.isEmpty ? "" : " status \(some(row.statuses.map(String.init)))"
    return
      "\(SafeText.line(row.output))  \(row.chunk)  \(row.events) event\(row.events == 1 ? "" : "s"), \(row.bytes) bytes  \(SafeText.time(row.givenUp))  "
      + "attempt \(row.attempts)  tag \(some(row.tags))  \(some(row.reasons))\(status)"
  }
  private static func json(_ row: Row) -> ConfigJSON {
    .object([
      .init("output", .string(row.output)), .init("chunk", .string("\(row.chunk)")), .init("events", .int(row.events)),
      .init("bytes", .int(row.bytes)),
      .init("reasons", .array(row.reasons.prefix(most).map { .string($0) })),
      .init("statuses", .array(row.statuses.prefix(most).map { .int($0) })),
      .init("tags", .array(row.tags.prefix(most).map { .string($0) })), .init("given_up", .string(SafeText.time(row.givenUp))),
      .init("attempts", .int(row.attempts)), .init("message", .string(row.message)),
    ])
  }
}

/// `agg dlq show`: the letters themselves.
struct DLQShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show dead letters as JSON lines: the event, and what is known of its end.")
  @OptionGroup var places: StoragePlaces
  @OptionGroup var filter: LetterFilter
  @Option(name: [.short, .long], help: "At most so many.")
  var number: Int?

  mutating func run() throws {
    let request = try filter.request(.drop)
    var left = number ?? .max
    var out = Printer()
    var problems = 0
    for store in places.stores() where left > 0 {
      store.letters.forEach(problem: {
        problems += 1; printError(SafeText.line($0))
      }) { letter, event, payload in
        guard left > 0, request.selects(letter) else { return }
        left -= 1
        var pairs: [ConfigJSON.Pair] = [
          .init("output", .string(store.name)), .init("chunk", .string("\(letter.chunk)")), .init("index", .int(letter.index)),
          .init("reason", .string(letter.reason)), .init("status", letter.status.map { .int($0) } ?? .null),
          .init("given_up", .string(SafeText.time(letter.givenUp))), .init("attempts", .int(letter.attempts)),
          .init("message", .string(letter.message)),
        ]
        guard let event else {
          pairs += [.init("events", .int(letter.count)), .init("formatted", .string(String(decoding: payload, as: UTF8.self)))]
          return out.line(json: .object(pairs))
        }
        let head = Array(ConfigJSON.object(pairs).json.utf8.dropLast())
        EventLines.write(event) { line in out.put(head.withUnsafeBytes { SafeText.json($0) } + [0x2c] + line.dropFirst()) }
      }
    }
    out.flush()
    if problems > 0 { throw ExitCode(1) }
  }
}
