import AggCore

/// The nested sections of the exec plugins with Fluentd's defaults for them.
enum CommandSections {
  /// `<parse>`: tsv where no type is given; a JSON record's `time` field is nothing special here.
  static func parse(_ section: ConfigElement?, at: SourceLocation) -> ConfigElement {
    var section = section ?? ConfigElement(name: "parse", at: at)
    if section.type == nil { section.add("@type", "tsv") }
    if section.entry("time_key") == nil {
      // The JSON parser would take `time`: no field has this name.
      if section.type == "json" { section.add("time_key", noField) }
    } else if section.entry("time_type") == nil, section.entry("time_format") == nil {
      section.add("time_type", "float")
    }
    return section
  }

  /// Whether such a section lets the parser find an event's time.
  static func hasTime(_ section: ConfigElement) -> Bool { section["time_key"].map { $0 != noField } ?? false }
  private static let noField = "\u{1}"

  /// `<format>`: tsv where no type is given; each line ends with exactly one newline, whatever the formatter's own parameters say.
  static func format(_ section: ConfigElement?, at: SourceLocation) -> ConfigElement {
    var section = section ?? ConfigElement(name: "format", at: at)
    if section.type == nil { section.add("@type", "tsv") }
    if ["json", "csv", "tsv", "ltsv", "hash", "out_file", "single_value"].contains(section.type) {
      section.entries.removeAll { $0.name == "add_newline" || $0.name == "newline" }
    }
    return section
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
