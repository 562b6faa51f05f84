import CYAML

/// Reads one YAML document with libyaml's events, within limits of depth and size.
struct YAMLReader {
  static let depthLimit = 64
  /// Bounds what aliases of aliases can blow up to.
  static let nodeLimit = 200_000

  /// A list or map that is still open; its content is put together when it closes.
  private struct Open {
    var node: YAMLNode
    var anchor: String?
    let isMap: Bool
    var items: [YAMLNode] = []
    var pairs: [YAMLNode.Pair] = []
    var key: (text: String, at: SourceLocation)?
    var index: [String: Int] = [:]
  }

  private let file: String
  private var open: [Open] = []
  private var anchors: [String: YAMLNode] = [:]
  private var root: YAMLNode?
  private var nodes = 0

  static func read(_ bytes: [UInt8], file: String) throws(ConfigError) -> YAMLNode? {
    var reader = YAMLReader(file: file)
    try reader.run(bytes)
    return reader.root
  }

  private init(file: String) { self.file = file }

  private mutating func run(_ bytes: [UInt8]) throws(ConfigError) {
    var parser = yaml_parser_t()
    guard yaml_parser_initialize(&parser) == 1 else { throw ConfigError(at: SourceLocation(file: file, line: 1), "libyaml has no memory left") }
    defer { yaml_parser_delete(&parser) }
    // An owned copy, since libyaml keeps the pointer between calls.
    let input = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, bytes.count))
    defer { input.deallocate() }
    input.initialize(from: bytes, count: bytes.count)
    yaml_parser_set_input_string(&parser, input, bytes.count)
    while true {
      var event = yaml_event_t()
      guard yaml_parser_parse(&parser, &event) == 1 else { throw mistake(parser) }
      defer { yaml_event_delete(&event) }
      if event.type == YAML_STREAM_END_EVENT { return }
      if event.type == YAML_DOCUMENT_END_EVENT { return }  // Fluentd reads the first document
      try take(event)
    }
  }

  private func mistake(_ parser: yaml_parser_t) -> ConfigError {
    let problem = parser.problem.map { String(cString: $0) } ?? "cannot be read"
    let context = parser.context.map { String(cString: $0) + ": " } ?? ""
    let isReader = parser.error == YAML_READER_ERROR
    return ConfigError(
      at: SourceLocation(file: file, line: Int(clamping: parser.problem_mark.line) + 1),
      "is not valid YAML: \(context)\(problem)\(isReader ? "; save the file as UTF-8 text" : "; check the indentation and quotes")")
  }

  private mutating func take(_ event: yaml_event_t) throws(ConfigError) {
    let at = SourceLocation(file: file, line: Int(clamping: event.start_mark.line) + 1)
    switch event.type {
    case YAML_ALIAS_EVENT:
      let name = Self.text(event.data.alias.anchor) ?? ""
      guard let node = anchors[name] else { throw ConfigError(at: at, "*\(name) names no anchor above it; write &\(name) where it is defined") }
      try add(node, at: at)
    case YAML_SCALAR_EVENT:
      let scalar = event.data.scalar
      let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
      let isPlain = scalar.style == YAML_PLAIN_SCALAR_STYLE
      let node = YAMLNode(content: .scalar(text, isPlain: isPlain), tag: Self.text(scalar.tag), at: at)
      if let anchor = Self.text(scalar.anchor) { anchors[anchor] = node }
      try add(node, at: at)
    case YAML_SEQUENCE_START_EVENT:
      let start = event.data.sequence_start
      try push(isMap: false, tag: start.tag, anchor: start.anchor, at)
    case YAML_MAPPING_START_EVENT:
      let start = event.data.mapping_start
      try push(isMap: true, tag: start.tag, anchor: start.anchor, at)
    case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
      guard var closed = open.popLast() else { return }
      closed.node.content = closed.isMap ? .map(closed.pairs) : .list(closed.items)
      if let anchor = closed.anchor { anchors[anchor] = closed.node }
      try add(closed.node, at: closed.node.at, isNew: false)
    default: break
    }
  }

  private mutating func push(
    isMap: Bool, tag: UnsafeMutablePointer<UInt8>?, anchor: UnsafeMutablePointer<UInt8>?, _ at: SourceLocation
  ) throws(ConfigError) {
    guard open.count < Self.depthLimit else { throw ConfigError(at: at, "is nested more than \(Self.depthLimit) levels deep") }
    open.append(Open(node: YAMLNode(content: .list([]), tag: Self.text(tag), at: at), anchor: Self.text(anchor), isMap: isMap))
  }

  private mutating func add(_ node: YAMLNode, at: SourceLocation, isNew: Bool = true) throws(ConfigError) {
    nodes += isNew ? node.weight : 1
    guard nodes <= Self.nodeLimit else { throw ConfigError(at: at, "stands for more than \(Self.nodeLimit) values; are aliases nested in aliases?") }
    guard !open.isEmpty else {
      root = root ?? node
      return
    }
    let last = open.count - 1
    open[last].node.weight += node.weight
    open[last].node.height = max(open[last].node.height, node.height + 1)
    guard open[last].node.height <= Self.depthLimit else { throw ConfigError(at: at, "is nested more than \(Self.depthLimit) levels deep") }
    if !open[last].isMap {
      open[last].items.append(node)
    } else if let key = open[last].key {
      open[last].key = nil
      if key.text == "<<" { try merge(node, last) } else { set(.init(key: key.text, value: node, at: key.at), last) }
    } else {
      guard case .scalar(let text, _) = node.content else { throw ConfigError(at: at, "\(node.kind) cannot be a key; write key: value") }
      open[last].key = (text, at)
    }
  }

  /// `<<: *base`: what stands later wins, as in Ruby's YAML.
  private mutating func merge(_ node: YAMLNode, _ map: Int) throws(ConfigError) {
    switch node.content {
    case .map(let merged): for pair in merged { set(pair, map) }
    case .list(let nodes):
      // The first of several bases wins.
      for node in nodes.reversed() {
        guard case .map(let merged) = node.content else { throw ConfigError(at: node.at, "'<<' takes a map or a list of maps, and this is \(node.kind)") }
        for pair in merged { set(pair, map) }
      }
    // A file's map: read when the tree is, which knows where files are.
    case .scalar where node.tag == "!include": set(.init(key: "<<", value: node, at: node.at), map)
    case .scalar: throw ConfigError(at: node.at, "'<<' takes a map or a list of maps, and this is \(node.kind)")
    }
  }

  private mutating func set(_ pair: YAMLNode.Pair, _ map: Int) {
    if let i = open[map].index[pair.key] { open[map].pairs[i] = pair } else {
      open[map].index[pair.key] = open[map].pairs.count
      open[map].pairs.append(pair)
    }
  }

  private static func text(_ pointer: UnsafeMutablePointer<UInt8>?) -> String? { pointer.map { String(cString: $0) } }
}
