import AggCore

/// The number in `<…>` at the start of a syslog message: facility * 8 + severity (RFC 3164, section 4.1.1).
enum SyslogPriority {
  private static let facilities = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "at", "local0",
    "local1", "local2", "local3", "local4", "local5", "local6", "local7",
  ]
  private static let severities = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"]

  /// How many priorities have a facility.
  static let count = facilities.count * severities.count

  static func facility(_ priority: Int) -> String? {
    facilities.indices.contains(priority >> 3) ? facilities[priority >> 3] : nil
  }
  /// The same for all priorities that make one tag: beyond the last facility the severity alone does.
  static func place(_ priority: Int) -> Int { priority < count ? priority : count | priority & 7 }
  static func severity(_ priority: Int) -> String { severities[priority & 7] }

  /// The priority at the start of a line of `message` and the rest of that line, as Fluentd's `/^\<([0-9]+)\>(.*)/` finds them.
  static func split(_ message: UnsafeRawBufferPointer) -> (priority: Int, text: UnsafeRawBufferPointer)? {
    var found: (Int, UnsafeRawBufferPointer)?
    forEachLine(message) { line, _ in
      guard found == nil, line.first == 0x3c else { return }
      var priority = 0
      var at = 1
      while at < line.count, line[at] &- 0x30 < 10, at < 10 {
        priority = priority * 10 + Int(line[at] &- 0x30)
        at += 1
      }
      if at > 1, at < line.count, line[at] == 0x3e { found = (priority, UnsafeRawBufferPointer(rebasing: line[(at + 1)...])) }
    }
    return found
  }

  /// The field `pri` that the syslog parser leaves in a record, and where its key is.
  static func field(of record: RecordView) -> (priority: Int, key: UnsafeRawPointer)? {
    var cursor = record.fields
    while let (key, value) = cursor.next() {
      guard key.equals("pri") else { continue }
      if let number = value.int64 { return (Int(truncatingIfNeeded: number), key.pointer) }
      guard let text = value.stringBytes, text.count < 10, let number = Int(String(decoding: text, as: UTF8.self)) else { return nil }
      return (number, key.pointer)
    }
    return nil
  }
}
