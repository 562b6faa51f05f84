public import AggCore

/// The parameters of a check, for both names of the input.
public struct CheckInputConfig: Configurable {
  public struct Action: Configurable {
    var command = CommandText()
    var user: String?
    var env = StringMap()
    var timeout = TimeSpan(seconds: 30)
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("command", \.command, "What /bin/sh runs after each check, or a JSON array of arguments"),
      .optional("user", \.user, "User that it runs as"),
      .optional("env", \.env, "Variables for it, beside MACKEREL_STATUS, MACKEREL_PREVIOUS_STATUS and MACKEREL_CHECK_MESSAGE"),
      .optional("timeout", \.timeout, "One that takes longer is ended with its children, TERM first", alias: "timeout_seconds"),
    ]
  }

  var name = ""
  var command = CommandText()
  var tag = "mackerel.check"
  var checkInterval = TimeSpan(seconds: 60)
  var timeout = TimeSpan(seconds: 30)
  var maxCheckAttempts: Int?
  var notificationInterval: TimeSpan?
  var preventAlertAutoClose = false
  var user: String?
  var env = StringMap()
  var customIdentifier: String?
  var memo: String?
  var action: Action?
  public init() {}
  public static let parameters: [Parameter<Self>] = [
    .required("name", \.name, "Name of the check: letters, digits, _ and -"),
    .required("command", \.command, "What /bin/sh runs, or a JSON array of arguments"),
    .optional("tag", \.tag, "Tag of the reports"),
    .optional("check_interval", \.checkInterval, "Time between two runs, 1s to 1h", alias: "interval"),
    .optional(
      "timeout", \.timeout, "A run that takes longer is ended with its children, TERM first, and counts as UNKNOWN",
      alias: "timeout_seconds"),
    .optional("max_check_attempts", \.maxCheckAttempts, "Failures in a row before there is an alert, 1 to 10"),
    .optional("notification_interval", \.notificationInterval, "An alert is told again after this time; 10m at least"),
    .optional("prevent_alert_auto_close", \.preventAlertAutoClose, "OK is not reported, so that alerts stay open"),
    .optional("user", \.user, "User that the command runs as"),
    .optional("env", \.env, "Variables for the command, beside those of the daemon"),
    .optional("custom_identifier", \.customIdentifier, "The check is of the host with this custom identifier"),
    .optional("memo", \.memo, "Note on the check, at most 250 characters"),
    .section("action", \.action, "A command that runs after each check"),
  ]
  public mutating func validate(_ context: ConfigContext) throws {
    if !MackerelName.isPlain(name) {
      throw ConfigValueError("'name' must be made of letters, digits, '_' and '-'; got '\(name)'")
    }
    if checkInterval < TimeSpan(seconds: 1) || checkInterval > TimeSpan(seconds: 3600) {
      throw ConfigValueError(
        "'check_interval' must be from 1s to 1h; got \(checkInterval.configText) (mackerel-agent's 5 is 5m here)")
    }
    if let n = maxCheckAttempts, !(1...10).contains(n) {
      throw ConfigValueError("'max_check_attempts' must be from 1 to 10; got \(n)")
    }
    if let memo, memo.unicodeScalars.count > 250 { throw ConfigValueError("'memo' must have at most 250 characters") }
    if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
    if let wait = notificationInterval, wait < TimeSpan(seconds: 600) {
      throw ConfigValueError(
        "'notification_interval' must be at least 10m; got \(wait.configText) (mackerel-agent's 60 is 60m here)")
    }
  }

  /// Minutes, as reports hold it; a server takes no less than ten.
  var notificationMinutes: Int64? { notificationInterval.map { max(10, Int64($0.nanoseconds / 60_000_000_000)) } }
}
