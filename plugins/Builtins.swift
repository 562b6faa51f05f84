public import AggCore

/// Every plugin of agg, one line each. A test compares this list with the folders.
public let builtins = PluginSet(
  inputs: [.init(TailInput.self)],
  filters: [],
  outputs: [],
  parsers: [],
  formatters: []
)
