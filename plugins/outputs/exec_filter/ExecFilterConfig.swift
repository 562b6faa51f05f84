public import AggCore

extension ExecFilterOutput {
  public struct Config: Configurable {
    var command = ""
    var tag: String?
    var removePrefix: String?
    var addPrefix: String?
    var children = 1
    var childRespawn: String?
    var readBlockSize = ByteSize(bytes: 10240)
    var errorLogInterval = TimeSpan(seconds: 0)
    var format: ConfigElement?
    var parse: ConfigElement?
    var inject: InjectSection?
    var extract: ExtractSection?
    var tagKey: String?
    var timeKey: String?
    var timeFormat: String?
    var older = Older()
    /// Where a command is asked for more than once the number that is left; nil: for ever.
    var respawns: Int? = 0

    /// Fluentd's parameters from before there were sections.
    struct Older: Sendable {
      var inFormat: String?
      var inKeys: String?
      var inTagKey: String?
      var inTimeKey: String?
      var inTimeFormat: String?
      var outFormat: String?
      var outKeys: String?
      var outTagKey: String?
      var outTimeKey: String?
      var outTimeFormat: String?
    }
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("command", \.command, "What /bin/sh runs; it reads events and prints events until its input ends"),
      .optional("tag", \.tag, "Tag of what it prints; needed unless <extract> has tag_key"),
      .optional("remove_prefix", \.removePrefix, "Left out of the tag before <inject>", deprecated: "use @label instead for event routing"),
      .optional("add_prefix", \.addPrefix, "Put before a tag from <extract>", deprecated: "use @label instead for event routing"),
      .optional("num_children", \.children, "How many commands run beside each other; chunks take turns"),
      .optional("child_respawn", \.childRespawn, "none, inf, or how often a command that ended is started again; default none"),
      .optional("read_block_size", \.readBlockSize, "Most bytes that are read at once"),
      .optional("suppress_error_log_interval", \.errorLogInterval, "At most one line about rejected output in this time"),
      .element("format", \.format, "How an event is given to the command; default tsv"),
      .element("parse", \.parse, "How what it prints becomes events; default tsv"),
      .section("inject", \.inject, "Fields that are added to records; times as unixtime by default"),
      .section("extract", \.extract, "Fields that give tag and time of what it prints"),
      .optional("tag_key", \.tagKey, "tag_key of <inject> and <extract>", deprecated: "use 'tag_key' in <inject>/<extract> instead"),
      .optional("time_key", \.timeKey, "time_key of <inject> and <extract>", deprecated: "use 'time_key' in <inject>/<extract> instead"),
      .optional("time_format", \.timeFormat, "time_format of <inject> and <extract>", deprecated: "use 'time_format' in <inject>/<extract> instead"),
      .optional("in_format", \.older.inFormat, "@type of <format>", deprecated: "write <format>"),
      .optional("in_keys", \.older.inKeys, "keys of <format>", deprecated: "write <format>"),
      .optional("in_tag_key", \.older.inTagKey, "tag_key of <inject>", deprecated: "write <inject>"),
      .optional("in_time_key", \.older.inTimeKey, "time_key of <inject>", deprecated: "write <inject>"),
      .optional("in_time_format", \.older.inTimeFormat, "time_format of <inject>", deprecated: "write <inject>"),
      .optional("out_format", \.older.outFormat, "@type of <parse>", deprecated: "write <parse>"),
      .optional("out_keys", \.older.outKeys, "keys of <parse>", deprecated: "write <parse>"),
      .optional("out_tag_key", \.older.outTagKey, "tag_key of <extract>", deprecated: "write <extract>"),
      .optional("out_time_key", \.older.outTimeKey, "time_key of <extract>", deprecated: "write <extract>"),
      .optional("out_time_format", \.older.outTimeFormat, "time_format of <extract>", deprecated: "write <extract>"),
      .ignored("out_stream_buffer_size", "Blocks are as large as what was read"),
    ]

    public mutating func validate(_ context: ConfigContext) throws {
      if !(1...1024).contains(children) { throw ConfigValueError("'num_children' must be from 1 to 1024; got \(children)") }
      if readBlockSize.bytes < 1 { throw ConfigValueError("'read_block_size' must be at least 1 byte") }
      switch childRespawn {
      case nil, "none", "0": respawns = 0
      case "inf", "-1": respawns = nil
      case let text?:
        guard let n = Int(text), n > 0 else {
          throw ConfigValueError("child_respawn option argument invalid: none(or 0), inf(or -1) or positive number; got '\(text)'")
        }
        respawns = n
      }
    }

    /// `<inject>`, or what older parameters make of it.
    func injector(_ context: PluginContext) throws -> Injector? {
      let flat = CommandSections.flat(
        "inject",
        [("tag_key", older.inTagKey ?? tagKey), ("time_key", older.inTimeKey ?? timeKey), ("time_format", older.inTimeFormat ?? timeFormat)],
        at: context.element.at)
      let section = try inject ?? flat.map { try InjectSection.load($0, context.config) }
      return try CommandSections.inject(
        section, context.element.child("inject") ?? flat, timeType: section?.time.timeFormat == nil ? .unixtime : .string, localtime: true, context)
    }
    /// `<extract>` likewise, and whether it gives tags.
    func extractor(_ context: PluginContext) throws -> (extractor: Extractor?, givesTag: Bool) {
      let flat = CommandSections.flat(
        "extract",
        [("tag_key", older.outTagKey ?? tagKey), ("time_key", older.outTimeKey ?? timeKey), ("time_format", older.outTimeFormat ?? timeFormat)],
        at: context.element.at)
      let section = try extract ?? flat.map { try ExtractSection.load($0, context.config) }
      return (try CommandSections.extract(section, context.element.child("extract") ?? flat, context), section?.tagKey != nil)
    }
    func formatSection(at: SourceLocation) -> ConfigElement {
      CommandSections.format(format ?? CommandSections.flat("format", [("@type", older.inFormat), ("keys", older.inKeys)], at: at), at: at)
    }
    func parseSection(at: SourceLocation) -> ConfigElement {
      CommandSections.parse(parse ?? CommandSections.flat("parse", [("@type", older.outFormat), ("keys", older.outKeys)], at: at), at: at)
    }
  }
}
