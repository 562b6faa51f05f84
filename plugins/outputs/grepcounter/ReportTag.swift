import AggCore

/// The tag of a report as it is made of the events' tag.
///
/// Source: fluent-plugin-grepcounter 0.6, `tag_proc`.
struct ReportTag: Sendable {
  private let fixed: String?
  private let addedPrefix: String
  private let addedSuffix: String
  private let removedPrefix: String?
  private let removedSuffix: String?
  private let slice: (from: Int, to: Int)?

  init(_ config: GrepCounterOutput.Config, hasLabel: Bool) throws(ConfigValueError) {
    let says = [config.addPrefix, config.removePrefix, config.addSuffix, config.removeSuffix, config.removeSlice].contains {
      $0 != nil
    }
    let addPrefix = config.addPrefix ?? (!says && config.tag == nil && !hasLabel ? "count" : nil)
    addedPrefix = addPrefix.map { Self.withoutLastDot($0) + "." } ?? ""
    addedSuffix = config.addSuffix.map { "." + ($0.hasPrefix(".") ? String($0.dropFirst()) : $0) } ?? ""
    removedPrefix = config.removePrefix.map { Self.withoutLastDot($0) + "." }
    removedSuffix = config.removeSuffix.map { "." + ($0.hasPrefix(".") ? String($0.dropFirst()) : $0) }
    if let text = config.removeSlice {
      let ends = text.split(separator: ".", omittingEmptySubsequences: true).map { Int($0) }
      guard text.contains(".."), ends.count == 2, let from = ends[0], let to = ends[1] else {
        throw ConfigValueError("'remove_tag_slice' must be formatted like [num]..[num]; got '\(text)'")
      }
      slice = (from, to)
    } else {
      slice = nil
    }
    fixed = says || addPrefix != nil ? nil : config.tag
  }

  /// Without anything that says otherwise (a label alone) the event's own.
  func tag(_ tag: String) -> String {
    if let fixed { return fixed }
    var text = tag
    if let slice {
      let parts = tag.split(separator: ".", omittingEmptySubsequences: false)
      let from = slice.from < 0 ? parts.count + slice.from : slice.from
      let to = min(slice.to < 0 ? parts.count + slice.to : slice.to, parts.count - 1)
      text = from >= 0 && from <= to ? parts[from...to].joined(separator: ".") : ""
    }
    if let removedPrefix, text.hasPrefix(removedPrefix) { text = String(text.dropFirst(removedPrefix.count)) }
    if let removedSuffix, text.hasSuffix(removedSuffix) { text = String(text.dropLast(removedSuffix.count)) }
    return addedPrefix + text + addedSuffix
  }

  private static func withoutLastDot(_ text: String) -> String { text.hasSuffix(".") ? String(text.dropLast()) : text }
}
