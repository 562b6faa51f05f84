public import AggCore

extension ConcatFilter {
  public struct Config: Configurable {
    public enum MetadataFormat: String, ConfigEnum {
      case fluentd = "docker-fluentd"
      case journald = "docker-journald"
      case lowercase = "docker-journald-lowercase"
    }
    public enum Overflow: String, ConfigEnum { case ignore, truncate, drop, new }
    var key = ""
    var separator = "\n"
    var lines: Int?
    var startRegexp: Regexp?
    var endRegexp: Regexp?
    var continuousRegexp: Regexp?
    var streamIdentityKey: String?
    var flushInterval = TimeSpan(seconds: 60)
    var timeoutLabel: String?
    var useFirstTimestamp = false
    var partialKey: String?
    var partialValue: String?
    var keepPartialKey = false
    var usePartialMetadata = false
    var partialMetadataFormat = MetadataFormat.fluentd
    var keepPartialMetadata = false
    var usePartialCRI = false
    var criLogtagKey: String?
    var criStreamKey = "stream"
    var bufferLimit = ByteSize(bytes: 500 * 1024)
    var overflow = Overflow.ignore
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("key", \.key, "Field whose texts are joined"),
      .optional("separator", \.separator, "Stands between the texts"),
      .optional("n_lines", \.lines, "So many events are one"),
      .optional("multiline_start_regexp", \.startRegexp, "/…/ that the first text of an event matches"),
      .optional("multiline_end_regexp", \.endRegexp, "/…/ that the last text of an event matches"),
      .optional("continuous_line_regexp", \.continuousRegexp, "/…/ that texts between must match"),
      .optional("stream_identity_key", \.streamIdentityKey, "Field that tells streams of one tag apart"),
      .optional("flush_interval", \.flushInterval, "What has got nothing more for this time is let go; 0: never"),
      .optional("timeout_label", \.timeoutLabel, "Label that gets what was let go by time or at the end; @ERROR without it"),
      .optional("use_first_timestamp", \.useFirstTimestamp, "The joined event has the time of its first part, not of its last"),
      .optional("partial_key", \.partialKey, "Field that says whether more follows"),
      .optional("partial_value", \.partialValue, "Its value where more follows"),
      .optional("keep_partial_key", \.keepPartialKey, "Leave that field (partial_cri_logtag_key too) in the joined event"),
      .optional("use_partial_metadata", \.usePartialMetadata, "Join by the fields that Docker's log drivers add"),
      .optional("partial_metadata_format", \.partialMetadataFormat, "How those fields are named"),
      .optional("keep_partial_metadata", \.keepPartialMetadata, "Leave those fields in the joined event"),
      .optional("use_partial_cri_logtag", \.usePartialCRI, "Join by the P and F of CRI log lines"),
      .optional("partial_cri_logtag_key", \.criLogtagKey, "Field that holds P or F"),
      .optional("partial_cri_stream_key", \.criStreamKey, "Field that names the stream; left out of the joined event"),
      .optional("buffer_limit_size", \.bufferLimit, "With partial_key: most bytes of the parts of one event"),
      .optional(
        "buffer_overflow_method", \.overflow,
        "What a part beyond that does: joins all the same, is dropped and ends the event, is dropped with it, or begins a new one"
      ),
    ]

    /// Source: fluent-plugin-concat 2.6, `configure`.
    public mutating func validate(_ context: ConfigContext) throws {
      if key.isEmpty { throw ConfigValueError("'key' must not be empty") }
      let hasRegexp = startRegexp != nil || endRegexp != nil
      if lines == nil, !hasRegexp, partialKey == nil, !usePartialMetadata, !usePartialCRI {
        throw ConfigValueError(
          "Either n_lines, multiline_start_regexp, multiline_end_regexp, partial_key, use_partial_metadata or use_partial_cri_logtag is required"
        )
      }
      let modes: [(name: String, isOn: Bool)] = [
        ("use_partial_cri_logtag", usePartialCRI), ("use_partial_metadata", usePartialMetadata),
        ("partial_key", partialKey != nil),
        ("n_lines", lines != nil), ("multiline_start_regexp/multiline_end_regexp", hasRegexp),
      ]
      let chosen = modes.filter(\.isOn)
      if chosen.count > 1 { throw ConfigValueError("\(chosen[0].name) and \(chosen[1].name) are exclusive") }
      if partialKey != nil, partialValue == nil {
        throw ConfigValueError("partial_value is required when partial_key is specified")
      }
      if usePartialCRI, criLogtagKey == nil {
        throw ConfigValueError("partial_cri_logtag_key is required when use_partial_cri_logtag is specified")
      }
      if let lines, lines < 1 { throw ConfigValueError("'n_lines' must be at least 1; got \(lines)") }
      if flushInterval.nanoseconds < 0 { throw ConfigValueError("'flush_interval' must not be negative") }
      if bufferLimit.bytes < 1 { throw ConfigValueError("'buffer_limit_size' must be at least 1 byte") }
    }
  }
}
