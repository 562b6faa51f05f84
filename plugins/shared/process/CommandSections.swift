import AggCore

/// The nested sections of the exec plugins with Fluentd's defaults for them.
enum CommandSections {
  /// `<parse>`: tsv where no type is given; a JSON record's `time` field is nothing special, and an event without a time is left to
  /// `<extract>`.
  static func parse(_ section: ConfigElement?, at: SourceLocation) -> ConfigElement {
    var section = section ?? ConfigElement(name: "parse", at: at)
    if section.type == nil { section.add("@type", "tsv") }
    if section.entry("estimate_current_event") == nil { section.add("estimate_current_event", "false") }
    if section.entry("time_key") == nil {
      section.entries.append(.init(name: "time_key", value: .useNil, at: section.at))
    } else if section.entry("time_type") == nil {
      section.add("time_type", section.entry("time_format") == nil ? "float" : "string")
    }
    return section
  }

  /// `<format>`: tsv where no type is given; each line ends with exactly one newline, whatever the formatter's own parameters say.
  static func format(_ section: ConfigElement?, at: SourceLocation) -> ConfigElement {
    var section = section ?? ConfigElement(name: "format", at: at)
    if section.type == nil { section.add("@type", "tsv") }
    if ["json", "csv", "tsv", "ltsv", "hash", "out_file", "single_value"].contains(section.type) {
      section.entries.removeAll { $0.name == "add_newline" || $0.name == "newline" }
    }
    return section
  }

  /// `<inject>` with a plugin's own defaults for what it does not say.
  static func inject(
    _ section: InjectSection?, _ element: ConfigElement?, timeType: TimeParameters.TimeType, localtime: Bool, _ context: PluginContext
  ) throws -> Injector? {
    guard var section else { return nil }
    if element?.entry("time_type") == nil { section.time.timeType = timeType }
    if !["localtime", "utc", "timezone"].contains(where: { element?.entry($0) != nil }) { section.time.localtime = TimeFlag(localtime) }
    return try Injector(section, context)
  }

  /// `<extract>`: a format makes the time a string where no type is given.
  static func extract(_ section: ExtractSection?, _ element: ConfigElement?, _ context: PluginContext) throws -> Extractor? {
    guard var section else { return nil }
    if element?.entry("time_type") == nil, section.time.timeFormat != nil { section.time.timeType = .string }
    return try Extractor(section, context)
  }

  /// A section made of an older configuration's flat parameters, where it is not given itself; nil when none of them is.
  static func flat(_ name: String, _ parameters: [(name: String, value: String?)], at: SourceLocation) -> ConfigElement? {
    let entries = parameters.compactMap { pair in pair.value.map { ConfigElement.Entry(name: pair.name, text: $0, at: at) } }
    return entries.isEmpty ? nil : ConfigElement(name: name, entries: entries, at: at)
  }
}

extension ConfigElement {
  mutating func add(_ name: String, _ text: String) { entries.append(Entry(name: name, text: text, at: at)) }
}

/// The services that running a command takes.
struct CommandServices: Sendable {
  let pool: BlockingPool
  let timers: TimerQueue
  init(_ context: PluginContext) throws(ProcessError) {
    guard let pool = context.shared(BlockingPool.self), let timers = context.shared(TimerQueue.self) else {
      throw ProcessError(description: "commands need the daemon's threads and timers")
    }
    self.pool = pool
    self.timers = timers
  }
}
