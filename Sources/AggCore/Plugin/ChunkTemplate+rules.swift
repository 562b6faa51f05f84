extension ChunkTemplate {
  /// What a parameter's placeholders and the buffer's chunk keys must have in common.
  ///
  /// Fluentd's outputs that write to a place of their own for each chunk check all of it (placeholder_validate!), since two
  /// chunks of different keys would meet in one place; others only replace.
  public struct Rules: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    /// A tag or field placeholder needs its chunk key.
    public static let known = Rules(rawValue: 1)
    /// The chunk key tag, and each field that is one, needs a placeholder.
    public static let complete = Rules(rawValue: 2)
    /// A strftime directive needs the chunk key time.
    public static let timeKnown = Rules(rawValue: 4)
    /// The chunk key time needs a directive as fine as `timekey`.
    public static let timeComplete = Rules(rawValue: 8)
    public static let all: Rules = [.known, .complete, .timeKnown, .timeComplete]
  }

  /// What is wrong, one sentence each, with what would be right; time first, then tag, then fields.
  public static func problems(in source: String, parameter: String, keys: ChunkKeys, rules: Rules) -> [String] {
    var problems: [String] = []
    let (pieces, leftovers) = cut(source)
    var hasTag = false
    var fields: [String] = []
    for piece in pieces {
      switch piece {
      case .tag, .tagPart: hasTag = true
      case .field(let name): if !fields.contains(name) { fields.append(name) }
      case .text, .time, .chunkID: break
      }
    }
    let step = granularity(source)
    if rules.contains(.timeKnown), !keys.time, let step {
      problems.append("'\(parameter)' has a time placeholder such as \(step.example), but time is not a chunk key; write <buffer \(keys.with("time"))> with 'timekey'")
    }
    if rules.contains(.timeComplete), keys.time, let timekey = keys.timekey {
      if let step, timekey < step.seconds {
        problems.append(
          "'\(parameter)' tells slices apart by the \(step.name) (\(step.example)), but timekey is \(timekey) seconds; add \(Self.needed(timekey)) to '\(source)', or make timekey \(step.seconds)")
      } else if step == nil {
        problems.append("'\(parameter)' has no time placeholder for timekey \(timekey); add \(Self.needed(timekey)) to '\(source)', or remove time from <buffer \(keys.list)>")
      }
    }
    if hasTag, !keys.tag, rules.contains(.known) {
      problems.append("'\(parameter)' has ${tag}, but tag is not a chunk key; write <buffer \(keys.with("tag"))>")
    }
    if !hasTag, keys.tag, rules.contains(.complete) {
      let near = leftovers.first { $0.hasPrefix("${tag") }.map { "; '\($0)' is no placeholder" } ?? ""
      problems.append("'\(parameter)' has no tag placeholder\(near); add ${tag} or ${tag[0]} to '\(source)', or remove tag from <buffer \(keys.list)>")
    }
    let unknown = fields.filter { !keys.fields.contains($0) }
    if !unknown.isEmpty, rules.contains(.known) {
      problems.append(
        "'\(parameter)' has \(unknown.map { "${\($0)}" }.joined(separator: ", ")), but the chunk keys are <buffer \(keys.list)>; write <buffer \(keys.with(unknown.joined(separator: ",")))>"
      )
    }
    let missing = keys.fields.filter { !fields.contains($0) }
    if !missing.isEmpty, rules.contains(.complete) {
      problems.append("'\(parameter)' has no placeholder for \(missing.joined(separator: ", ")); add \(missing.map { "${\($0)}" }.joined()) to '\(source)', or remove it from <buffer \(keys.list)>")
    }
    return problems
  }

  /// Whether strftime changes the text at all: at what step of time it does first; source: get_placeholders_time.
  private static func granularity(_ source: String) -> (seconds: Int64, name: String, example: String)? {
    guard source.utf8.contains(UInt8(ascii: "%")) else { return nil }
    let program = StrftimeProgram(source)
    let base: Int64 = 1_451_606_400  // 2016-01-01T00:00:00Z
    let text = program.string(EventTime(seconds: base), zone: .utc)
    let steps: [(seconds: Int64, name: String, example: String)] = [(1, "second", "%S"), (60, "minute", "%M"), (3600, "hour", "%H"), (86400, "day", "%d")]
    return steps.first { program.string(EventTime(seconds: base + $0.seconds), zone: .utc) != text }
  }

  private static func needed(_ timekey: Int64) -> String {
    timekey < 60 ? "%Y%m%d%H%M%S" : timekey < 3600 ? "%Y%m%d%H%M" : timekey < 86400 ? "%Y%m%d%H" : "%Y%m%d"
  }
}

extension ChunkKeys {
  /// As a `<buffer>` section lists them; `[]` when there are none.
  fileprivate var list: String {
    let all = (tag ? ["tag"] : []) + (time ? ["time"] : []) + fields
    return all.isEmpty ? "[]" : all.joined(separator: ",")
  }
  fileprivate func with(_ name: String) -> String { list == "[]" ? name : list + "," + name }
}
