public import AggCore

/// `<storage>`: that a plugin's own state outlives a restart. agg keeps it in the commit log, with the events that it belongs to.
public struct StorageSection: Configurable {
  enum Kind: String, ConfigEnum { case local }
  var usage = ""
  var kind = Kind.local
  var path: String?
  var isPersistent = false
  public init() {}
  public static let parameters: [Parameter<Self>] = [
    .argument(\.usage, "What it is for; the plugin has one"),
    .optional("@type", \.kind, "local"),
    .optional("path", \.path, "State is kept over a restart where there is one; the file itself is not written"),
    .optional("persistent", \.isPersistent, "As path, without one"),
    .ignored("autosave", "State is stored with every commit"),
    .ignored("autosave_interval", "State is stored with every commit"),
    .ignored("save_at_shutdown", "State is stored with every commit"),
    .ignored("mode", "There is no file"),
    .ignored("dir_mode", "There is no file"),
    .ignored("pretty_print", "There is no file"),
  ]
}
