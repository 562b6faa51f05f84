public import AggCore

/// Which lines of a configuration are shown as `xxxxxx`: what a plugin declares secret, what is named like it, and values with credentials in them.
public struct SecretMask: Sendable {
  private let names: Set<String>

  public init(_ plugins: PluginSet) {
    var names: Set<String> = []
    func collect(_ docs: [ParameterDoc]) {
      for doc in docs {
        if doc.isSecret { names.formUnion([doc.name, doc.alias ?? doc.name]) }
        if let nested = doc.nested { collect(nested()) }
      }
    }
    for plugin in plugins.inputs { collect(plugin.parameters()) }
    for plugin in plugins.filters { collect(plugin.parameters()) }
    for plugin in plugins.outputs { collect(plugin.parameters()) }
    for plugin in plugins.parsers { collect(plugin.parameters()) }
    for plugin in plugins.formatters { collect(plugin.parameters()) }
    self.names = names
  }

  public func isSecret(_ entry: ConfigElement.Entry) -> Bool {
    if names.contains(entry.name) || ConfigElement.looksSecret(entry.name) { return true }
    guard case .text(let text) = entry.value else { return false }
    return Topology.PluginEntry.holdsSecret(text) || Topology.PluginEntry.withoutCredentials(text) != text
  }
  /// The section as text, in the classic form.
  public func text(_ element: ConfigElement) -> String { element.text { isSecret($1) } }
}
