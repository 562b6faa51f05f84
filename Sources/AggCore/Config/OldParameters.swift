/// Parameters that Fluentd v0.12 had in a plugin's own section, and that belong into `<parse>`, `<buffer>` and the like now.
///
/// Source: Fluentd's plugin helper compat_parameters, and which plugins use it for what.
public struct OldParameters: Sendable {
  public enum Section: String, Sendable {
    case buffer, inject, extract, parse, format
  }
  let sections: [Section]
  /// What `<buffer>` is divided by.
  let chunkKey: String

  public init(_ sections: Section..., chunkKey: String = "") {
    self.sections = sections
    self.chunkKey = chunkKey
  }
  public static let none = OldParameters()

  /// The section with what is old in it moved to where it belongs; a section that is there already takes nothing.
  /// What the plugin declares itself stays with it too.
  public func moved(_ element: ConfigElement, declared: @autoclosure () -> [ParameterDoc]) throws(ConfigErrors) -> ConfigElement {
    var result = element
    var taken: Set<String> = []
    for section in sections where element.child(section.rawValue) == nil {
      let rows = Self.rows[section] ?? []
      guard rows.contains(where: { element.entry($0.old) != nil }) || (section == .extract && element.entry("format") != nil)
      else { continue }
      var child = ConfigElement(name: section.rawValue, at: element.at)
      for (old, new) in rows {
        guard let entry = element.entry(old) else { continue }
        taken.insert(old)
        if let new { child.set(new, entry.value, entry.at) }
      }
      do throws(ConfigValueError) { try complete(&child, section, element, &taken) } catch {
        throw ConfigErrors(at: element.at, error.message)
      }
      result.children.append(child)
    }
    if taken.isEmpty { return result }
    let own = Set(declared().filter(\.isValue).map(\.name))
    result.entries.removeAll { taken.contains($0.name) && !own.contains($0.name) }
    return result
  }

  private func complete(
    _ child: inout ConfigElement, _ section: Section, _ element: ConfigElement, _ taken: inout Set<String>
  ) throws(ConfigValueError) {
    switch section {
    case .buffer:
      if element["buffer_queue_full_action"] == "exception" { child.set("overflow_action", .text("throw_exception"), element.at) }
      child.argument = chunkKey
      if let format = element["time_slice_format"] {
        child.argument = "time"
        child.set("timekey", .text(try Self.timekey(format)), element.at)
        taken.formUnion(["utc", "localtime"])
        if let isUTC = try utc(element) { child.set("timekey_use_utc", .text(String(isUTC)), element.at) }
      } else if chunkKey == "time" {
        child.set("timekey", .text("86400"), element.at)
      }
    case .format:
      if try isTrue(element, "time_as_epoch", &taken) { child.set("time_type", .text("unixtime"), element.at) }
    case .inject:
      if try isTrue(element, "include_time_key", &taken) { child.add("time_key", "time", "time_type", "string") }
      if try isTrue(element, "time_as_epoch", &taken) {
        child.add("time_key", "time")
        child.set("time_type", .text("unixtime"), element.at)
      }
      if let isUTC = try utc(element) { child.set("localtime", .text(String(!isUTC)), element.at) }
      if try isTrue(element, "include_tag_key", &taken) { child.add("tag_key", "tag") }
    case .extract:
      if try isTrue(element, "time_as_epoch", &taken) {
        child.add("time_key", "time")
        child.set("time_type", .text("unixtime"), element.at)
      } else if Self.expression(element) != nil {
        child.add("time_key", "time", "time_type", "string")
      }
      if let isUTC = try utc(element) { child.set("localtime", .text(String(!isUTC)), element.at) }
    case .parse:
      if let format = element["format"] {
        let at = element.entry("format")?.at ?? element.at
        if let expression = Self.expression(element) {
          child.set("@type", .text("regexp"), at)
          child.set("expression", .text(expression), at)
        } else {
          child.set("@type", .text(format), at)
        }
      }
      for n in 1...20 {
        guard let entry = element.entry("format\(n)") else { continue }
        taken.insert(entry.name)
        child.set(entry.name, entry.value, entry.at)
      }
      if let types = element["types"] {
        let pairs = types.components(element["types_delimiter"] ?? ",").map {
          $0.components(element["types_label_delimiter"] ?? ":", atMost: 2)
        }
        child.set(
          "types", .text(ConfigJSON.object(pairs.map { .init($0[0], $0.count > 1 ? .string($0[1]) : .null) }).json),
          element.entry("types")?.at ?? element.at)
      }
      if let isUTC = try utc(element) { child.set("localtime", .text(String(!isUTC)), element.at) }
    }
  }

  /// `format /…/`.
  private static func expression(_ element: ConfigElement) -> String? {
    guard let format = element["format"], format.utf8.count > 1, format.hasPrefix("/"), format.hasSuffix("/") else { return nil }
    return String(format.dropFirst().dropLast())
  }

  private static func timekey(_ format: String) throws(ConfigValueError) -> String {
    for (directive, seconds) in [("%S", 1), ("%M", 60), ("%H", 3600), ("%d", 86400)] where format.contains(directive) {
      return String(seconds)
    }
    throw ConfigValueError("'time_slice_format' with %Y or %m only is too long; use at least %d")
  }

  private func isTrue(_ element: ConfigElement, _ name: String, _ taken: inout Set<String>) throws(ConfigValueError) -> Bool {
    guard let text = element[name] else { return false }
    taken.insert(name)
    return try Bool(configText: text, strict: false)
  }

  /// What `utc` and `localtime` say; nil when neither is there.
  private func utc(_ element: ConfigElement) throws(ConfigValueError) -> Bool? {
    let utc = element["utc"]
    let local = element["localtime"]
    if utc != nil, local != nil { throw ConfigValueError("'utc' and 'localtime' are both given; keep one") }
    if let utc { return try Bool(configText: utc, strict: false) }
    if let local { return try !Bool(configText: local, strict: false) }
    return nil
  }

  /// The old name, and the new one where the value is only copied.
  private static let rows: [Section: [(old: String, new: String?)]] = [
    .buffer: [
      ("buffer_type", "@type"), ("buffer_path", "path"), ("num_threads", "flush_thread_count"),
      ("flush_interval", "flush_interval"),
      ("try_flush_interval", "flush_thread_interval"), ("queued_chunk_flush_interval", "flush_thread_burst_interval"),
      ("disable_retry_limit", "retry_forever"), ("retry_limit", "retry_max_times"), ("max_retry_wait", "retry_max_interval"),
      ("buffer_chunk_limit", "chunk_limit_size"), ("buffer_queue_limit", "queue_limit_length"),
      ("buffer_queue_full_action", "overflow_action"),
      ("flush_at_shutdown", "flush_at_shutdown"), ("time_slice_format", nil), ("time_slice_wait", "timekey_wait"),
      ("timezone", "timekey_zone"),
    ],
    .parse: [
      ("format", nil), ("types", nil), ("types_delimiter", nil), ("types_label_delimiter", nil), ("keys", "keys"),
      ("time_key", "time_key"),
      ("time_format", "time_format"), ("localtime", nil), ("utc", nil), ("delimiter", "delimiter"),
      ("keep_time_key", "keep_time_key"),
      ("null_empty_string", "null_empty_string"), ("null_value_pattern", "null_value_pattern"), ("json_parser", "json_parser"),
      ("label_delimiter", "label_delimiter"), ("format_firstline", "format_firstline"), ("message_key", "message_key"),
      ("with_priority", "with_priority"), ("message_format", "message_format"), ("rfc5424_time_format", "rfc5424_time_format"),
    ],
    .inject: [
      ("include_time_key", nil), ("time_key", "time_key"), ("time_format", "time_format"), ("timezone", "timezone"),
      ("include_tag_key", nil),
      ("tag_key", "tag_key"), ("localtime", nil), ("utc", nil),
    ],
    .extract: [
      ("time_key", "time_key"), ("time_format", "time_format"), ("timezone", "timezone"), ("tag_key", "tag_key"),
      ("localtime", nil), ("utc", nil),
    ],
    .format: [
      ("format", "@type"), ("delimiter", "delimiter"), ("force_quotes", "force_quotes"), ("keys", "keys"), ("fields", "fields"),
      ("json_parser", "json_parser"), ("label_delimiter", "label_delimiter"), ("output_time", "output_time"),
      ("output_tag", "output_tag"),
      ("localtime", "localtime"), ("utc", "utc"), ("timezone", "timezone"), ("message_key", "message_key"),
      ("add_newline", "add_newline"),
      ("output_type", "output_type"),
    ],
  ]
}

extension ConfigElement {
  fileprivate mutating func set(_ name: String, _ value: Value, _ at: SourceLocation) {
    entries.removeAll { $0.name == name }
    entries.append(Entry(name: name, value: value, at: at))
  }
  /// Names and values, each where there is none yet.
  fileprivate mutating func add(_ pairs: String...) {
    for i in stride(from: 0, to: pairs.count - 1, by: 2) where entry(pairs[i]) == nil { set(pairs[i], .text(pairs[i + 1]), at) }
  }
}

extension String {
  /// As Ruby's split with a plain separator.
  fileprivate func components(_ separator: String, atMost limit: Int = .max) -> [String] {
    if separator.isEmpty { return [self] }
    var parts: [String] = []
    var rest = self[...]
    while parts.count + 1 < limit, let found = rest.firstRange(of: separator) {
      parts.append(String(rest[..<found.lowerBound]))
      rest = rest[found.upperBound...]
    }
    return parts + [String(rest)]
  }
}
