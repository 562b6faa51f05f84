/// Fluentd's YAML form of a configuration: `system:` and `config:`, a list of sections; `$type`, `$tag` … stand for
/// what the classic form writes with `@` or as the section's argument.
struct YAMLConfig {
  private let session: ConfigSession
  private let file: String

  /// The root's sections; mistakes go to the session.
  static func read(_ bytes: [UInt8], file: String, _ session: ConfigSession) -> [ConfigElement] {
    let reader = YAMLConfig(session: session, file: file)
    guard let root = reader.document(bytes, file) else { return [] }
    guard case .map(let pairs) = root.content else {
      reader.report(root.at, "a YAML configuration is a map with 'system' and 'config', and this is \(root.kind)")
      return []
    }
    var system: [ConfigElement] = []
    var sections: [ConfigElement] = []
    for pair in pairs {
      switch pair.key {
      case "system": if let element = reader.section("system", pair.value, argument: nil, depth: 0) { system.append(element) }
      case "config": sections += reader.sections(pair.value, depth: 0)
      default: session.warnings.add(pair.at, "'\(pair.key)' has no effect here; known: system, config")
      }
    }
    return system + sections
  }

  private func report(_ at: SourceLocation, _ message: String) { session.report(ConfigError(at: at, message)) }

  private func document(_ bytes: [UInt8], _ path: String) -> YAMLNode? {
    var result: YAMLNode?
    do throws(ConfigError) { result = try YAMLReader.read(bytes, file: path) } catch { session.report(error) }
    return result
  }

  // MARK: Sections

  private static let top = ["source", "match", "filter", "label", "worker"]

  /// The entries of a `config` list; included lists stand in it as lists.
  private func sections(_ node: YAMLNode, depth: Int) -> [ConfigElement] {
    guard depth < YAMLReader.depthLimit else {
      report(node.at, "is nested too deep")
      return []
    }
    if let included = include(node) { return included.flatMap { sections($0, depth: depth + 1) } }
    switch node.content {
    case .list(let items): return items.flatMap { sections($0, depth: depth + 1) }
    case .map(let pairs):
      // Fluentd takes the sections of one map in this order, whatever the text's is.
      let order = ["label", "source", "filter", "match", "worker"]
      for pair in pairs where !order.contains(pair.key) {
        let near = nearest(pair.key, Self.top).map { "did you mean '\($0)'?" } ?? "known: \(Self.top.joined(separator: ", "))"
        report(pair.at, "'\(pair.key)' is no section of 'config'; \(near)")
      }
      return order.compactMap { name in
        guard let pair = pairs.first(where: { $0.key == name }) else { return nil }
        var element = topSection(pair, depth: depth)
        element?.at = pair.at
        return element
      }
    case .scalar(let text, _):
      if !text.isEmpty { report(node.at, "'config' is a list of sections such as '- source:', and this is '\(text)'") }
      return []
    }
  }

  private func topSection(_ pair: YAMLNode.Pair, depth: Int) -> ConfigElement? {
    guard let pairs = map(pair.value, "<\(pair.key)>") else { return nil }
    let argumentName = pair.key == "label" ? "$name" : pair.key == "worker" ? "$arg" : "$tag"
    if pair.key == "source" { return section(pair.key, pair.value, argument: nil, depth: depth + 1) }
    let argument = pairs.first { $0.key == argumentName }.map { self.argument($0.value) }
    guard pair.key == "label" || pair.key == "worker" else {
      return section(pair.key, pair.value, argument: argument, without: argumentName, depth: depth + 1)
    }
    var element = ConfigElement(name: pair.key, argument: argument ?? "", at: pair.at)
    for inner in pairs where inner.key != argumentName {
      if inner.key == "config" { element.children += sections(inner.value, depth: depth + 1) } else {
        report(inner.at, "'\(inner.key)' has no place in <\(pair.key)>; known: \(argumentName), config")
      }
    }
    return element
  }

  private func map(_ node: YAMLNode, _ what: String) -> [YAMLNode.Pair]? {
    if case .map(let pairs) = node.content { return pairs.contains { $0.key == "<<" } ? merged(pairs) : pairs }
    if case .scalar("", _) = node.content { return [] }
    report(node.at, "\(what) takes a map of parameters, and this is \(node.kind)")
    return nil
  }

  /// `<<: !include FILE`: the file's parameters stand where it does; what comes later wins.
  private func merged(_ pairs: [YAMLNode.Pair]) -> [YAMLNode.Pair] {
    var result: [YAMLNode.Pair] = []
    func set(_ pair: YAMLNode.Pair) {
      if let at = result.firstIndex(where: { $0.key == pair.key }) { result[at] = pair } else { result.append(pair) }
    }
    for pair in pairs {
      guard pair.key == "<<", case .scalar(let pattern, _) = pair.value.content else {
        set(pair)
        continue
      }
      session.include(pattern, at: pair.at) { path, bytes in
        guard let document = document(bytes, path) else { return }
        guard case .map(let included) = document.content else {
          return report(document.at, "a file that '<<' includes is a map of parameters, and this is \(document.kind)")
        }
        for pair in included.contains(where: { $0.key == "<<" }) ? merged(included) : included { set(pair) }
      }
    }
    return result
  }

  private func section(_ name: String, _ node: YAMLNode, argument: String?, without: String = "$arg", depth: Int) -> ConfigElement? {
    guard depth < YAMLReader.depthLimit, let pairs = map(node, "<\(name)>") else { return nil }
    var element = ConfigElement(name: name, argument: argument ?? "", at: node.at)
    let special = [("$type", "@type"), ("$label", "@label"), ("$id", "@id"), ("$log_level", "@log_level")]
    for (key, reserved) in special {
      if let pair = pairs.first(where: { $0.key == key }), let entry = entry(reserved, pair) { element.entries.append(entry) }
    }
    for pair in pairs where pair.key != without && !special.contains(where: { $0.0 == pair.key }) {
      parameter(pair, &element, depth)
    }
    return element
  }

  /// A map is a section, a list of maps is several of them; anything else, or what has a tag, is a value.
  private func parameter(_ pair: YAMLNode.Pair, _ element: inout ConfigElement, _ depth: Int) {
    var node = pair.value
    if let included = include(node) { node = YAMLNode(content: .list(included), at: node.at) }
    let isValue = node.tag.map { $0 != "tag:yaml.org,2002:map" && $0 != "tag:yaml.org,2002:seq" } ?? false
    switch node.content {
    case .map(let inner) where !isValue:
      let argument = inner.first { $0.key == "$arg" }.map { self.argument($0.value) }
      if var child = section(pair.key, node, argument: argument, depth: depth + 1) {
        child.at = pair.at
        element.children.append(child)
      }
    case .list(let items) where !isValue:
      guard let first = items.first, first.tag == nil, case .map = first.content else { fallthrough }
      for item in items {
        var argument: String?
        if case .map(let inner) = item.content { argument = inner.first { $0.key == "$arg" }.map { self.argument($0.value) } }
        if let child = section(pair.key, item, argument: argument, depth: depth + 1) { element.children.append(child) }
      }
    default:
      if let entry = entry(pair.key, .init(key: pair.key, value: node, at: pair.at)) { element.entries.append(entry) }
    }
  }

  /// The files of `!include`, each of which is a list; nil when the node is something else.
  private func include(_ node: YAMLNode) -> [YAMLNode]? {
    guard node.tag == "!include" else { return nil }
    guard case .scalar(let pattern, _) = node.content, !pattern.isEmpty else {
      report(node.at, "!include takes a path")
      return []
    }
    var nodes: [YAMLNode] = []
    session.include(pattern, at: node.at) { path, bytes in
      guard let document = document(bytes, path) else { return }
      guard case .list(let items) = document.content else {
        return report(document.at, "an included YAML file is a list of sections such as '- source:', and this is \(document.kind)")
      }
      // Nested includes are read while this file counts as open, so that a cycle is seen.
      nodes += items.flatMap { include($0) ?? [$0] }
    }
    return nodes
  }

  // MARK: Values

  private func argument(_ node: YAMLNode) -> String {
    if case .list(let items) = node.content, node.tag == nil { return items.map { argument($0) }.joined(separator: ",") }
    guard case .text(let text)? = value(node)?.value else { return "" }
    return text
  }

  private func entry(_ name: String, _ pair: YAMLNode.Pair) -> ConfigElement.Entry? {
    guard let (value, typed) = value(pair.value) else { return nil }
    var entry = ConfigElement.Entry(name: name, value: value, at: pair.at)
    entry.typed = typed
    return entry
  }

  /// The text that the classic form would have, and the value as YAML typed it.
  private func value(_ node: YAMLNode) -> (value: ConfigElement.Value, typed: ConfigJSON?)? {
    if node.tag == "!fluent/s" { return embedded(node).map { ($0, nil) } }
    if node.tag == "!fluent/json" { return json(node, ignoringTag: true).map { (.text($0.json), nil) } }
    guard let json = json(node) else { return nil }
    switch json {
    case .null: return (.useNil, json)
    case .string(let text): return (.text(text), nil)
    case .int:
      // `0644` keeps its digits, which is what a permission means by it.
      if case .scalar(let text, _) = node.content, text.hasPrefix("0"), text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) { return (.text(text), json) }
      return (.text(json.text), json)
    default: return (.text(json.text), json)
    }
  }

  private func json(_ node: YAMLNode, ignoringTag: Bool = false) -> ConfigJSON? {
    if let tag = node.tag, !ignoringTag {
      switch tag {
      case "!fluent/s":
        guard case .text(let text)? = embedded(node) else { return .null }
        return .string(text)
      case "!fluent/json": return json(node, ignoringTag: true).map { .string($0.json) }
      case "!include": return .array((include(node) ?? []).compactMap { json($0) })
      case "!", "!str", "tag:yaml.org,2002:str":
        if case .scalar(let text, _) = node.content { return .string(text) }
      case "!float", "tag:yaml.org,2002:float":
        if case .scalar(let text, _) = node.content { return .double(RubyNumber.doublePrefix(text)) }
      case _ where tag.hasPrefix("tag:yaml.org,2002:"): break
      default:
        report(node.at, "the tag \(tag) is not known; known: !include, !fluent/json, !fluent/s")
        return nil
      }
    }
    switch node.content {
    case .scalar(let text, let isPlain): return isPlain ? YAMLScalar.value(text) : .string(text)
    case .list(let items): return .array(items.compactMap { json($0) })
    case .map(let pairs):
      return .object(pairs.compactMap { pair in json(pair.value).map { .init(pair.key, $0) } })
    }
  }

  /// `!fluent/s`: the text is read as the inside of a double-quoted string. Fluentd gives ":default" for use_default; agg gives the default.
  private func embedded(_ node: YAMLNode) -> ConfigElement.Value? {
    guard case .scalar(let text, _) = node.content else {
      report(node.at, "!fluent/s takes a text, and this is \(node.kind)")
      return nil
    }
    return EmbeddedText.read(text, at: node.at, session)
  }
}
