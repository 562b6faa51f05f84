/// Writes event times as `time_type` and `time_format` say; keeps the text of the last second.
///
/// One formatter a task: `format` changes what it keeps.
public struct TimeFormatter: Sendable {
  enum Kind: Sendable {
    case program(StrftimeProgram)
    case unixtime
    case float
    /// Units in one second.
    case units(Int64)
  }
  let kind: Kind
  let zone: Zone
  private var lastSecond: Int64?
  private var lastText: [UInt8] = []
  /// Where digits of the fraction stand in `lastText`.
  private var holes: [(at: Int, width: Int)] = []

  public init(_ parameters: TimeParameters) throws(ConfigValueError) {
    try parameters.validate()
    zone = try parameters.zone()
    switch parameters.timeType {
    case .string, .mixed:
      // Ruby's Time#iso8601 writes Z for UTC only, not for an offset of zero.
      kind = .program(StrftimeProgram(parameters.timeFormat ?? (zone.isUTC ? "%Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%dT%H:%M:%S%:z")))
    case .unixtime: kind = .unixtime
    case .float: kind = .float
    case .unixtimeMillis: kind = .units(1000)
    case .unixtimeMicros: kind = .units(1_000_000)
    case .unixtimeNanos: kind = .units(1_000_000_000)
    }
  }

  public init(format: String, zone: Zone) {
    kind = .program(StrftimeProgram(format))
    self.zone = zone
  }

  /// Whether the result is a number: inject writes it as one.
  public var isNumeric: Bool { if case .program = kind { false } else { true } }

  public mutating func format(_ time: EventTime, into out: inout ByteWriter) {
    switch kind {
    case .unixtime: StrftimeProgram.pad(time.seconds, 0, 48, &out)
    case .float:
      StrftimeProgram.pad(time.seconds, 0, 48, &out)
      out.append(UInt8(ascii: "."))
      StrftimeProgram.fraction(time.nanoseconds, 9, &out)
    case .units(let units):
      let (scaled, overflow) = time.seconds.multipliedReportingOverflow(by: units)
      let value =
        overflow ? (time.seconds < 0 ? Int64.min : .max) : scaled.addingClamped(Int64(time.nanoseconds) / (1_000_000_000 / units))
      StrftimeProgram.pad(value, 0, 48, &out)
    case .program(let program):
      if lastSecond != time.seconds { fill(program, time) }
      let start = out.count
      out.append(lastText)
      for hole in holes {
        var unit: UInt32 = 100_000_000
        for k in 0..<hole.width {
          out.mutableBytes[start + hole.at + k] = unit == 0 ? 48 : 48 + UInt8(truncatingIfNeeded: time.nanoseconds / unit % 10)
          unit /= 10
        }
      }
    }
  }

  private mutating func fill(_ program: StrftimeProgram, _ time: EventTime) {
    var text = ByteWriter(capacity: 64)
    holes = []
    let offset = zone.offset(at: time.seconds)
    let civil = CivilTime(epochSeconds: time.seconds.addingClamped(Int64(offset)))
    for op in program.ops {
      switch op {
      case .literal(let bytes): text.append(bytes)
      case .directive(let d):
        let start = text.count
        program.write(d, time, civil, offset, zone, &text)
        if d.letter == UInt8(ascii: "N") || d.letter == UInt8(ascii: "L") { holes.append((start, text.count - start)) }
      }
    }
    lastText = text.array
    lastSecond = time.seconds
  }
}
