import AggCore
import Glibc
import Synchronization

/// agg's own log: standard error or a file, one write a line, control bytes escaped.
///
/// Lines also become `fluent.LEVEL` events; those queue here, bounded, so that a full buffer can never feed itself.
final class DaemonLog: LogWriter {
  struct Options {
    var path: String?
    var isJSON = false
    var timeFormat = "%Y-%m-%d %H:%M:%S %z"
    var rotateSize: Int?
    var rotateAge: String?
    /// A message repeated within this many nanoseconds is left out and counted.
    var repeatInterval: Int64?
    /// nil in a supervisor.
    var workerID: Int? = 0
  }
  /// Log events that wait for their route; more are left out (they are in the log itself).
  private static let queuedEvents = 1024
  /// How often one source may repeat one message in a minute before repeats are summed up.
  private static let repeatsAMinute = 20

  struct Entry: Sendable {
    var level: LogLevel
    var time: EventTime
    var message: String
  }
  private struct State: ~Copyable {
    var options = Options()
    var file: File?
    var size = 0
    var opened = EventTime.now()
    var format: StrftimeProgram?
    var events: [Entry] = []
    var wantsEvents = false
    var repeats: [String: (since: EventTime, count: Int, left: Int)] = [:]
  }
  private let state = Mutex(State())
  private let wake: Mutex<Waker?> = Mutex(nil)

  func configure(_ options: Options) throws {
    let format = StrftimeProgram(options.timeFormat)
    var file: File?
    if let path = options.path { file = try File(path, [.write, .create, .append]) }
    let size = (try? file?.status().size) ?? 0
    state.withLock { s in
      s.options = options
      s.format = format
      s.file = file
      s.size = size
      s.opened = .now()
    }
  }

  /// USR1: the file may have been moved away.
  func reopen() {
    state.withLock { s in
      guard let path = s.options.path else { return }
      if let file = try? File(path, [.write, .create, .append]) {
        s.file = file
        s.size = (try? file.status().size) ?? 0
      }
    }
  }

  func write(_ level: LogLevel, _ source: String, _ message: String) {
    let now = EventTime.now()
    let text = source.isEmpty ? message : "[\(source)] \(message)"
    let waker = wake.withLock { $0 }
    let queued = state.withLock { s -> Bool in
      guard !isRepeat(text, now, &s) else { return false }
      var line = ByteWriter(capacity: text.utf8.count + 96)
      if s.options.isJSON {
        line.append("{\"time\":\"")
        writeTime(now, s, &line)
        line.append("\",\"level\":\"\(level.name)\"\(s.options.workerID.map { ",\"worker_id\":\($0)" } ?? ""),\"message\":")
        var value = ByteWriter()
        value.putString(text)
        value.withView { _ = JSONFormatter.write($0, into: &line) }
        line.append("}")
      } else {
        writeTime(now, s, &line)
        line.append(" [\(level.name)]: \(s.options.workerID.map { "#\($0) " } ?? "")")
        line.append(text.shownInLine)
      }
      line.append(0x0a as UInt8)
      rotateIfNeeded(now, &s)
      s.size += line.count
      if let file = s.file { try? file.write(line.bytes) } else { _ = Glibc.write(2, line.bytes.baseAddress, line.count) }
      guard s.wantsEvents, s.events.count < Self.queuedEvents else { return false }
      s.events.append(Entry(level: level, time: now, message: text))
      return true
    }
    if queued { waker?.wakeOne() }
  }

  private func writeTime(_ now: EventTime, _ s: borrowing State, _ line: inout ByteWriter) {
    guard let format = s.format else {
      line.append("\(now.seconds)")
      return
    }
    format.format(now, zone: DaemonLog.zone, into: &line)
  }
  private static let zone = Zone.local()

  /// The first twenty a minute are printed, then one line says how many were left out.
  private func isRepeat(_ text: String, _ now: EventTime, _ s: inout State) -> Bool {
    if s.repeats.count > 512 { s.repeats.removeAll() }
    var known = s.repeats[text] ?? (now, 0, 0)
    if now.seconds - known.since.seconds >= 60 { known = (now, 0, 0) }
    known.count += 1
    defer { s.repeats[text] = known }
    if let interval = s.options.repeatInterval, known.count > 1, (now.seconds - known.since.seconds) * 1_000_000_000 < interval { return true }
    return known.count > Self.repeatsAMinute
  }

  private func rotateIfNeeded(_ now: EventTime, _ s: inout State) {
    guard let path = s.options.path, s.file != nil else { return }
    let kept: Int
    if let limit = s.options.rotateSize {
      guard s.size >= limit else { return }
      kept = s.options.rotateAge.flatMap { Int($0) } ?? 5
    } else if let age = s.options.rotateAge, Int(age) == nil {
      let period: Int64 = age == "weekly" ? 7 * 86400 : age == "monthly" ? 30 * 86400 : 86400
      guard now.seconds / period != s.opened.seconds / period else { return }
      kept = 5
    } else {
      return
    }
    for n in stride(from: kept - 1, through: 0, by: -1) {
      let from = n == 0 ? path : "\(path).\(n - 1)"
      if n == 0 || File.status(from) != nil { try? File.rename(from, to: "\(path).\(n)") }
    }
    s.file = try? File(path, [.write, .create, .append])
    s.size = 0
    s.opened = now
  }

  // MARK: Events

  /// From here on lines are also kept as events until `take`.
  func keepEvents(_ waker: Waker) {
    wake.withLock { $0 = waker }
    state.withLock { $0.wantsEvents = true }
  }
  func takeEvents() -> [Entry] {
    state.withLock { s in
      let events = s.events
      s.events = []
      return events
    }
  }
}

extension ByteWriter {
  /// The one value this writer holds.
  func withView(_ body: (ValueView) -> Void) { if let base = bytes.baseAddress { body(ValueView(unchecked: base)) } }
}
