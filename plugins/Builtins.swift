public import AggCore

/// Every plugin of agg, one line each. A test compares this list with the folders.
public let builtins = PluginSet(
  inputs: [.init(TailInput.self)],
  filters: [],
  outputs: [.init(FileOutput.self), .init(NullOutput.self), .init(StdoutOutput.self)],
  parsers: [.init(JSONParser.self), .init(NoneParser.self)],
  formatters: [.init(JSONLineFormatter.self), .init(OutFileFormatter.self), .init(StdoutFormatter.self)]
)
