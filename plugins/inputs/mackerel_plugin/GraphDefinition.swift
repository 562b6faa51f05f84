package import AggCore

/// What a metric plugin says of its graphs when it runs with `MACKEREL_AGENT_PLUGIN_META=1`.
///
/// A line `# mackerel-agent-plugin`, perhaps with `version=1`, then `{"graphs":{KEY:{"label","unit","metrics":[…]}}}`.
/// Source: mackerel-agent's protocol of metric plugins.
package struct GraphDefinition: Sendable {
  static let mostGraphs = 1000
  static let mostMetrics = 1000

  struct Metric: Sendable, Equatable {
    var name: String
    var label: String?
    var isStacked: Bool
  }
  /// With `custom.` before it.
  var name: String
  var label: String?
  var unit: String
  var metrics: [Metric]

  /// Throws what is wrong with the text as a whole; graphs that cannot be are left out and told in `problems`.
  package static func read(_ output: [UInt8], problems: inout [String]) throws(ConfigValueError) -> [GraphDefinition] {
    guard let end = output.firstIndex(of: 0x0a) else { throw ConfigValueError("it printed no graph definitions") }
    let head = String(decoding: output[..<end], as: UTF8.self)
    var words = head.drop { $0 == "#" }.split { $0 == " " || $0 == "\t" || $0 == "\r" }
    guard head.hasPrefix("#"), words.first == "mackerel-agent-plugin" else {
      throw ConfigValueError("its first line is not '# mackerel-agent-plugin': '\(head.prefix(100))'")
    }
    words.removeFirst()
    for word in words where word.hasPrefix("version=") && word != "version=1" {
      throw ConfigValueError("its graph definitions are of \(word.prefix(40)); only version=1 is known")
    }
    let text = String(decoding: output[(end + 1)...], as: UTF8.self)
    guard let graphs = JSONTranscoder.decode(text)?["graphs"]?.map else {
      throw ConfigValueError("its graph definitions are not JSON with an object 'graphs'")
    }
    if graphs.count > mostGraphs { throw ConfigValueError("it defines \(graphs.count) graphs; at most \(mostGraphs) are taken") }
    var definitions: [GraphDefinition] = []
    for field in graphs.fields {
      let key = field.key.text ?? ""
      do throws(ConfigValueError) { definitions.append(try GraphDefinition(key, field.value)) } catch {
        problems.append("graph '\(key.prefix(100))' \(error.message)")
      }
    }
    return definitions
  }

  private init(_ key: String, _ value: Value) throws(ConfigValueError) {
    name = "custom." + key
    guard MackerelName.isGraph(name) else { throw ConfigValueError("has a name that a graph cannot have") }
    label = value["label"]?.text
    let unit = value["unit"]?.text ?? ""
    self.unit = unit.isEmpty ? "float" : unit
    guard MackerelName.units.contains(self.unit) else {
      throw ConfigValueError("has the unit '\(unit)'; known: \(MackerelName.units.joined(separator: ", "))")
    }
    let list = value["metrics"]?.array ?? []
    if list.count > Self.mostMetrics {
      throw ConfigValueError("has \(list.count) metrics; at most \(Self.mostMetrics) are taken")
    }
    metrics = []
    for metric in list {
      let full = name + "." + (metric["name"]?.text ?? "")
      guard MackerelName.isGraph(full) else {
        throw ConfigValueError("has a metric with a name that cannot be: '\(full.prefix(100))'")
      }
      metrics.append(Metric(name: full, label: metric["label"]?.text, isStacked: metric["stacked"] == .bool(true)))
    }
  }

  /// The event's record: see `MackerelRecord`.
  package func encode(into out: inout ByteWriter) {
    var record = FieldMap()
    record["graph_def"] = Value(name)
    if let label { record["display_name"] = Value(label) }
    record["unit"] = Value(unit)
    record["metrics"] = .array(
      metrics.map { metric in
        var fields = FieldMap()
        fields["name"] = Value(metric.name)
        if let label = metric.label { fields["display_name"] = Value(label) }
        fields["is_stacked"] = .bool(metric.isStacked)
        return .map(fields)
      })
    record.encode(into: &out)
  }
}
