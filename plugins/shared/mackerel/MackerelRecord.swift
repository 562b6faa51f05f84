import AggCore

// What monitoring plugins say, beside metrics (see MetricRecord.swift), as events. A check report is a record of
//
//     check                  string   the check's name
//     status                 string   OK, WARNING, CRITICAL or UNKNOWN
//     message                string   at most 1,024 characters
//     previous_status        string   of the report before, where there was one
//     notification_interval  int, optional: minutes
//     max_check_attempts     int, optional
//     memo                   string, optional
//     host                   string, optional: custom identifier or id of the host, where that is not this machine
//
// a graph definition one of `graph_def` (the graph's name), `display_name`, `unit` and `metrics`, an array of maps of `name`,
// `display_name` and `is_stacked`; metadata one of `metadata` (the namespace), `value` (anything) and perhaps `host`.

/// One report of a check.
struct CheckReport: Sendable, Equatable {
  static let messageLimit = 1024

  enum Status: String, Sendable, CaseIterable {
    case ok = "OK"
    case warning = "WARNING"
    case critical = "CRITICAL"
    case unknown = "UNKNOWN"
    init(exitCode: Int32) {
      switch exitCode {
      case 0: self = .ok
      case 1: self = .warning
      case 2: self = .critical
      default: self = .unknown
      }
    }
  }

  var name: String
  var status: Status
  /// Cut at `messageLimit` characters.
  var message: String { didSet { message = Self.cut(message) } }
  var previous: Status?
  /// Minutes.
  var notificationInterval: Int64?
  var maxCheckAttempts: Int64?
  var memo: String?
  var host: String?

  init(name: String, status: Status, message: String) {
    self.name = name
    self.status = status
    self.message = Self.cut(message)
  }

  static func cut(_ text: String) -> String {
    // Characters as the API counts them: code points.
    if text.utf8.count <= messageLimit || text.unicodeScalars.count <= messageLimit { return text }
    var out = String.UnicodeScalarView()
    out.append(contentsOf: text.unicodeScalars.prefix(messageLimit))
    return String(out)
  }

  /// Throws what a record lacks.
  init(_ record: Value) throws(ConfigValueError) {
    guard let name = record["check"]?.text, MackerelName.isPlain(name) else {
      throw ConfigValueError("'check' cannot be a check's name; letters, digits, '_' and '-' can")
    }
    guard let status = record["status"]?.text.flatMap({ Status(rawValue: $0.uppercased()) }) else {
      throw ConfigValueError("'status' of check \(name) is none of OK, WARNING, CRITICAL, UNKNOWN")
    }
    self.init(name: name, status: status, message: record["message"]?.text ?? "")
    if case .int(let minutes)? = record["notification_interval"] { notificationInterval = minutes }
    if case .int(let attempts)? = record["max_check_attempts"] { maxCheckAttempts = attempts }
    memo = record["memo"]?.text
    host = record["host"]?.text
  }

  func encode(into out: inout ByteWriter) {
    var record = FieldMap()
    record["check"] = Value(name)
    record["status"] = Value(status.rawValue)
    record["message"] = Value(message)
    if let previous { record["previous_status"] = Value(previous.rawValue) }
    if let notificationInterval { record["notification_interval"] = .int(notificationInterval) }
    if let maxCheckAttempts { record["max_check_attempts"] = .int(maxCheckAttempts) }
    if let memo { record["memo"] = Value(memo) }
    if let host { record["host"] = Value(host) }
    record.encode(into: &out)
  }
}
