/// A YAML document as a tree, aliases and merges resolved; each node knows its line.
struct YAMLNode {
  indirect enum Content {
    case scalar(String, isPlain: Bool)
    case list([YAMLNode])
    case map([Pair])
  }
  struct Pair {
    var key: String
    var value: YAMLNode
    var at: SourceLocation
  }

  var content: Content
  /// As written after its expansion: `!include`, `!fluent/json`, `tag:yaml.org,2002:str`.
  var tag: String?
  var at: SourceLocation
  /// How many nodes this one stands for, aliases counted each time.
  var weight = 1
  /// How many levels are nested in it, itself included; aliases add theirs.
  var height = 1

  var kind: String {
    switch content {
    case .scalar: "a single value"
    case .list: "a list"
    case .map: "a map"
    }
  }
}
