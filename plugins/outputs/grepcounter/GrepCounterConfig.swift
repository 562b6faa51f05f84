public import AggCore

extension GrepCounterOutput {
  static let maximumRules = 20
  public struct Config: Configurable {
    public enum Aggregate: String, ConfigEnum {
      case all
      case inTag = "in_tag"
      case outTag = "out_tag"
      case tag
    }
    public enum Comparator: String, ConfigEnum {
      case least = ">="
      case most = "<="
    }
    var inputKey: String?
    var regexp: String?
    var exclude: String?
    var regexps = [String?](repeating: nil, count: GrepCounterOutput.maximumRules)
    var excludes = [String?](repeating: nil, count: GrepCounterOutput.maximumRules)
    var interval = TimeSpan(seconds: 5)
    var threshold: Int?
    var comparator = Comparator.least
    var lessThan: Double?
    var lessEqual: Double?
    var greaterThan: Double?
    var greaterEqual: Double?
    var tag: String?
    var addPrefix: String?
    var removePrefix: String?
    var addSuffix: String?
    var removeSuffix: String?
    var removeSlice: String?
    var delimiter: String?
    var aggregate = Aggregate.inTag
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("input_key", \.inputKey, "Field that is looked at, and whose texts are reported"),
        .optional("regexp", \.regexp, "With input_key: expression (no slashes) that the text must match"),
        .optional("exclude", \.exclude, "With input_key: expression that it must not match"),
      ]
      + (0..<GrepCounterOutput.maximumRules).map { i in
        .optional(
          "regexp\(i + 1)", \Self.regexps[i],
          i == 0 ? "Without input_key: a field and an expression that it must match" : "Likewise")
      }
      + (0..<GrepCounterOutput.maximumRules).map { i in
        .optional(
          "exclude\(i + 1)", \Self.excludes[i],
          i == 0 ? "Without input_key: a field and an expression that it must not match" : "Likewise")
      } + [
        .optional("count_interval", \.interval, "How often is reported"),
        .optional("threshold", \.threshold, "Report a count of at least this; 1 where no other bound is given"),
        .optional("comparator", \.comparator, "What threshold is", deprecated: "use less_equal or greater_equal"),
        .optional("less_than", \.lessThan, "Report a count below this"),
        .optional("less_equal", \.lessEqual, "Report a count of at most this"),
        .optional("greater_than", \.greaterThan, "Report a count above this"),
        .optional("greater_equal", \.greaterEqual, "Report a count of at least this"),
        .optional("tag", \.tag, "Tag of the report; required with aggregate all", alias: "output_tag"),
        .optional(
          "add_tag_prefix", \.addPrefix, "Put before the event's tag; count where nothing says what the tag of the report is"),
        .optional("remove_tag_prefix", \.removePrefix, "Taken off the front of the event's tag"),
        .optional("add_tag_suffix", \.addSuffix, "Put behind the event's tag"),
        .optional("remove_tag_suffix", \.removeSuffix, "Taken off the end of the event's tag"),
        .optional(
          "remove_tag_slice", \.removeSlice,
          "Parts of the event's tag that are used: from..to, from 0, negative ones from the end"),
        .optional(
          "delimiter", \.delimiter, "Join the texts by this, instead of an array of them", alias: "output_with_joined_delimiter"),
        .optional("aggregate", \.aggregate, "What is counted by itself: each tag (in_tag), each tag of a report, or all"),
        .ignored("replace_invalid_sequence", "Text that is not UTF-8 is matched by bytes"),
        .ignored("store_file", "What was counted since the last report is reported when the daemon stops"),
      ]

    /// Source: fluent-plugin-grepcounter 0.6, `configure`.
    public mutating func validate(_ context: ConfigContext) throws {
      if aggregate == .tag { aggregate = .inTag }
      if inputKey != nil, (regexps + excludes).contains(where: { $0 != nil }) {
        throw ConfigValueError("Classic style `input_key`, and new style `regexpN`, `excludeN` can not be used together")
      }
      if aggregate == .all, tag == nil { throw ConfigValueError("grepcounter: `tag` must be specified with aggregate all") }
      if interval.nanoseconds < 1_000_000_000 { throw ConfigValueError("'count_interval' must be at least 1 second") }
      if threshold == nil, lessThan == nil, lessEqual == nil, greaterThan == nil, greaterEqual == nil { threshold = 1 }
      if let threshold {
        if comparator == .least { greaterEqual = Double(threshold) } else { lessEqual = Double(threshold) }
      }
    }
  }
}
