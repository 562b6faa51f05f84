/// Decides which results of a check are reported; pure.
///
/// What is not OK always is; OK only where status or message changed, and never with `prevent_alert_auto_close`.
struct CheckHistory: Sendable {
  let keepsAlertsOpen: Bool
  private(set) var status: CheckReport.Status?
  private var message = ""

  init(keepsAlertsOpen: Bool) { self.keepsAlertsOpen = keepsAlertsOpen }

  /// Takes a result in; whether it is to be reported.
  mutating func take(_ report: CheckReport) -> Bool {
    let isNew = report.status != status || report.message != message
    (status, message) = (report.status, report.message)
    if report.status != .ok { return true }
    return isNew && !keepsAlertsOpen
  }
}
