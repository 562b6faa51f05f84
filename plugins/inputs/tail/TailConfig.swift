public import AggCore

extension TailInput {
  /// Which characters make a path a glob.
  public enum GlobPolicy: String, ConfigEnum {
    /// Only `*`; once it is one, `?`, `[…]` and `{…}` count too.
    case backwardCompatible = "backward_compatible"
    /// `*`, `?` and `[…]`.
    case extended
    /// Those and `{…}`, which needs another path_delimiter.
    case always
  }

  /// Parameters of in_tail, with Fluentd's names and defaults.
  public struct Config: Configurable {
    var path = ""
    var excludePath: [String] = []
    var tag = ""
    var posFile: String?
    var readFromHead = false
    var followInodes = false
    var refreshInterval = TimeSpan(seconds: 60)
    var rotateWait = TimeSpan(seconds: 5)
    var pathKey: String?
    var encoding: String?
    var fromEncoding: String?
    var maxLineSize: ByteSize?
    var emitUnmatchedLines = false
    var multilineFlushInterval: TimeSpan?
    var limitRecentlyModified: TimeSpan?
    var readBytesLimitPerSecond: ByteSize?
    var pathDelimiter = ","
    var pathTimezone: String?
    var skipRefreshOnStartup = false
    var openOnEveryUpdate = false
    var globPolicy = GlobPolicy.backwardCompatible
    var group: GroupSection?
    var parse: ConfigElement?
    public init() {}

    public static let parameters: [Parameter<Self>] = [
      .required("path", \.path, "Files to follow: paths and globs, separated by commas; %Y%m%d and the like are the date"),
      .required("tag", \.tag, "Tag of the events; `*` becomes the file's path with dots for slashes"),
      .optional("exclude_path", \.excludePath, "Paths and globs that are left out"),
      .optional("pos_file", \.posFile, "Where reading positions are kept over a restart (Fluentd's format)"),
      .optional("read_from_head", \.readFromHead, "Begin at the head of files that are new to agg, not at their end"),
      .optional("follow_inodes", \.followInodes, "A file keeps its position when it is renamed within the paths"),
      .optional("refresh_interval", \.refreshInterval, "How often the paths are listed again"),
      .optional("rotate_wait", \.rotateWait, "How long a rotated file is still followed after its last byte"),
      .optional("path_key", \.pathKey, "Field that gets the file's path"),
      .optional("encoding", \.encoding, "Encoding of the events"),
      .optional("from_encoding", \.fromEncoding, "Encoding of the file, converted to `encoding`"),
      .optional("max_line_size", \.maxLineSize, "Longer lines are skipped and counted"),
      .optional("emit_unmatched_lines", \.emitUnmatchedLines, "Lines the parser refuses become {\"unmatched_line\": …}"),
      .optional("multiline_flush_interval", \.multilineFlushInterval, "A last multi-line event counts as complete after this silence"),
      .optional("limit_recently_modified", \.limitRecentlyModified, "Only files changed within this time"),
      .optional("read_bytes_limit_per_second", \.readBytesLimitPerSecond, "Most bytes read from one file in a second, at least 8k; -1 is no limit"),
      .optional("path_delimiter", \.pathDelimiter, "What separates paths"),
      .optional("path_timezone", \.pathTimezone, "Time zone of the date in paths"),
      .optional("skip_refresh_on_startup", \.skipRefreshOnStartup, "The paths are listed for the first time after refresh_interval, not at the start"),
      .optional("open_on_every_update", \.openOnEveryUpdate, "Open a file for each look at it, so that others may remove it; what a rotated one still holds then is not read"),
      .optional("glob_policy", \.globPolicy, "What makes a path a glob: * alone, ? and [] too (extended), or {} as well (always)"),
      .section("group", \.group, "Limits lines by groups of files"),
      .element("parse", \.parse, "How a line becomes an event", required: true),
      .ignored("format", "Use <parse>"),
      .ignored("read_lines_limit", "Lines are read by the block"),
      .ignored("enable_watch_timer", "inotify is a hint only; files are checked by time too"),
      .ignored("enable_stat_watcher", "inotify is a hint only; files are checked by time too"),
      .ignored("pos_file_compaction_interval", "The file is rewritten as needed"),
      .ignored("ignore_repeated_permission_error", "Errors are logged once a state change"),
    ]

    public mutating func validate(_ context: ConfigContext) throws {
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
      if encoding == nil, fromEncoding != nil { throw ConfigValueError("'from_encoding' needs 'encoding': what to convert to") }
      let reserved = ["*", "?", "[", "]"]
      if reserved.contains(pathDelimiter) || pathDelimiter.count != 1 {
        throw ConfigValueError("'path_delimiter' must be one character other than \(reserved.joined(separator: " ")); got '\(pathDelimiter)'")
      }
      if globPolicy == .always, pathDelimiter == "," {
        throw ConfigValueError("'glob_policy' always needs another 'path_delimiter' than the comma, which stands in braces too")
      }
      if followInodes, posFile == nil { throw ConfigValueError("'follow_inodes' needs 'pos_file': where the inodes are kept") }
    }
  }
}
