import AggCore

/// What datacounter and numeric_counter report: for each pattern its count, rate and percentage.
///
/// A row's counts are of what matched nothing, then of each pattern. Source: fluent-plugin-datacounter 1.0, `generate_fields`.
struct PatternReport: Sendable {
  /// Of the patterns, "unmatched" first.
  var names: [String]
  var countsAll: Bool
  var outputPerTag: Bool
  var tag: String
  /// Put before the tag of each report with `outputPerTag`, its dot included.
  var tagPrefix: String
  var removePrefix: String?
  var outcastUnmatched: Bool
  var outputMessages: Bool

  /// Reports until cancelled. A tag that nothing came from in a whole interval is forgotten.
  func run(_ timer: ReportTimer, _ tally: Tally<[Int]>) async {
    let zero = [Int](repeating: 0, count: names.count)
    if countsAll { tally.add("all", events: 0, zero: zero) { _ in } }
    await timer.run { moment in
      let rows = tally.takeAll { row in countsAll || row.count.contains { $0 > 0 } ? zero : nil }
      if moment.isLast, !rows.contains(where: { $0.count.contains { $0 > 0 } }) { return [] }
      return report(rows, moment)
    }
  }

  private func report(_ rows: [Tally<[Int]>.Row], _ moment: ReportTimer.Moment) -> [EventBatch] {
    if outputPerTag {
      return rows.map { row in
        var record = FieldMap()
        put(row.count, "", moment.step, &record)
        return .report(tagPrefix + shown(row.name), moment.time, record)
      }
    }
    var fields: [FieldMap.Field] = []
    for row in rows {
      var record = FieldMap()
      put(row.count, countsAll ? "" : shown(row.name) + "_", moment.step, &record)
      fields += record.fields
    }
    return fields.isEmpty ? [] : [.report(tag, moment.time, FieldMap(fields))]
  }

  private func shown(_ tag: String) -> String { countsAll ? tag : TagPrefix.removing(removePrefix, from: tag) }

  private func put(_ counts: [Int], _ prefix: String, _ step: Double, _ record: inout FieldMap) {
    let messages = counts.reduce(0, +)
    let sum = outcastUnmatched ? messages - (counts.first ?? 0) : messages
    for (index, name) in names.enumerated() where counts.indices.contains(index) {
      record[prefix + name + "_count"] = .int(Int64(counts[index]))
      record[prefix + name + "_rate"] = .double(Rate.perSecond(counts[index], step))
      if sum > 0, !(index == 0 && outcastUnmatched) {
        record[prefix + name + "_percentage"] = .double(Double(counts[index]) * 100 / Double(sum))
      }
      if outputMessages { record[prefix + "messages"] = .int(Int64(messages)) }
    }
  }
}

/// `pattern1` … `pattern20`, without a gap.
enum PatternList {
  static let maximum = 20
  static func check(_ patterns: [String?], _ what: String) throws(ConfigValueError) {
    if patterns.first ?? nil == nil { throw ConfigValueError("'pattern1' parameter is required: \(what)") }
    let given = patterns.prefix { $0 != nil }.count
    if let late = patterns.lastIndex(where: { $0 != nil }), late >= given {
      throw ConfigValueError("jump of pattern index found: pattern\(given + 1) is missing")
    }
  }
}
