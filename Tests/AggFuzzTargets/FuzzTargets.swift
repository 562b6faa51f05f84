public import AggTesting

/// Every decoder that reads what came from outside.
public enum FuzzTargets {
  public static var all: [FuzzTarget] {
    var all =
      CodecTargets.all + TextTargets.all + ConfigTargets.all + TimeTargets.all + BufferTargets.all + ParserTargets.all
      + StateTargets.all
    #if AGG_NET
      all += ForwardTargets.all + MetricsTargets.all + StreamTargets.all + TopologyTargets.all
    #endif
    return all
  }
}

typealias Failure = FuzzFailure
