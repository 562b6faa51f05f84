import AggCore

/// What one section of the configuration made, with all that is in it: a reload whose file has the same section goes on with it.
struct Component: Sendable {
  enum Made: Sendable {
    case input(Topology.InputEntry)
    case filter(any Filter, Counters)
    case output(any Sink)
  }
  var made: Made
  /// For sections without `@id`: the numbers given to each kind and type in it. Other numbers are another identity.
  var numbers: [String: Range<Int>]
  var counters: [Counters] = []
  var plugins: [Topology.PluginEntry] = []
  var runners: [OutputRunner] = []
  var secondaries: [Topology.SecondaryEntry] = []
  var holding: [Topology.HoldingEntry] = []
  var timed: [Topology.TimedEntry] = []
  var fileBuffers: [Topology.FileBuffer] = []
  var places: [Topology.StoragePlace] = []
  var labelEdges: [Topology.LabelEdge] = []
  var outputs: [Topology.OutputEntry] = []
  var bufferPaths: [String] = []
  /// Of the sections in it, with their places: they may outlive it.
  var nested: [(place: String, component: Component)] = []

  /// Of everything in it, secondaries included.
  var ids: [String] { plugins.map(\.id) + secondaries.map(\.id) }
}

extension ConfigElement {
  /// The section as text, whole, with the stamps of the files that it names and a plugin reads once (patterns, tokens).
  ///
  /// Not of logs and positions, which change all the time, and not of certificates, which are watched where they are used.
  var fingerprint: String {
    var text = text { _, _ in false }
    for path in namedFiles {
      if let status = File.status(path), status.isRegular {
        text += "\(path) \(status.inode) \(status.size) \(status.modified)\n"
      }
    }
    return text
  }

  private var namedFiles: [String] {
    let own = entries.compactMap { entry -> String? in
      guard case .text(let text) = entry.value, text.hasPrefix("/"),
        entry.name.hasSuffix("_path") || entry.name.hasSuffix("_file")
      else { return nil }
      let name = entry.name
      if ["pos_file", "symlink_path"].contains(name) || name.contains("cert") || name.contains("key_path") || name.contains("ca_")
      {
        return nil
      }
      return text
    }
    return own + children.flatMap(\.namedFiles)
  }
}
