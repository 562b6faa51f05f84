public import AggCore

/// Every plugin of agg, one line each. A test compares this list with the folders.
public let builtins = PluginSet(
  inputs: [.init(ForwardInput.self), .init(TCPInput.self), .init(TailInput.self)],
  filters: [.init(GrepFilter.self), .init(RecordTransformerFilter.self)],
  outputs: [
    .init(CopyOutput.self), .init(FileOutput.self), .init(NullOutput.self), .init(RelabelOutput.self), .init(RoundRobinOutput.self),
    .init(StdoutOutput.self),
  ],
  parsers: [.init(JSONParser.self), .init(NoneParser.self)],
  formatters: [.init(JSONLineFormatter.self), .init(OutFileFormatter.self), .init(StdoutFormatter.self)]
)
