public import AggCore

/// Every plugin of agg, one line each. A test compares this list with the folders.
public let builtins = PluginSet(
  inputs: [
    .init(DummyInput.self),
    .init(ForwardInput.self),
    .init(HTTPInput.self),
    .init(SampleInput.self),
    .init(SyslogInput.self),
    .init(TCPInput.self),
    .init(TailInput.self),
    .init(UDPInput.self),
    .init(UnixInput.self),
  ],
  filters: [
    .init(GrepFilter.self),
    .init(ParserFilter.self),
    .init(RecordTransformerFilter.self),
    .init(StdoutFilter.self),
  ],
  outputs: [
    .init(CopyOutput.self),
    .init(FileOutput.self),
    .init(ForwardOutput.self),
    .init(HTTPOutput.self),
    .init(NullOutput.self),
    .init(RelabelOutput.self),
    .init(RoundRobinOutput.self),
    .init(SecondaryFileOutput.self),
    .init(StdoutOutput.self),
  ],
  parsers: [
    .init(Apache2Parser.self),
    .init(ApacheErrorParser.self),
    .init(ApacheParser.self),
    .init(CSVParser.self),
    .init(JSONParser.self),
    .init(LTSVParser.self),
    .init(MessagePackParser.self),
    .init(MultilineTextParser.self),
    .init(NginxParser.self),
    .init(NoneParser.self),
    .init(RegexpParser.self),
    .init(SyslogParser.self),
    .init(TSVParser.self),
  ],
  formatters: [
    .init(CSVFormatter.self),
    .init(HashFormatter.self),
    .init(JSONLineFormatter.self),
    .init(LTSVFormatter.self),
    .init(MessagePackFormatter.self),
    .init(OutFileFormatter.self),
    .init(SingleValueFormatter.self),
    .init(StdoutFormatter.self),
    .init(TSVFormatter.self),
  ]
)
