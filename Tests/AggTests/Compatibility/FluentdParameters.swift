import Foundation
import Testing

/// What Fluentd's own classes declare, from Tests/compatibility/fluentd.tsv.
struct FluentdParameters {
  struct Row {
    /// With the sections before it: `<buffer> timekey`.
    var name: String
    var type: String
    var defaultText: String
    var notes: String
    /// The sections it stands in, outermost first.
    var sections: [String] { name.components(separatedBy: " ").dropLast().filter { $0.hasPrefix("<") } }
  }
  /// "system", "section NAME", "KIND NAME".
  var titles: [String] = []
  var rows: [String: [Row]] = [:]

  init() throws {
    let path = CatalogueTests.root.appending(path: "Tests/compatibility/fluentd.tsv")
    for line in try String(contentsOf: path, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#") {
      if line.hasPrefix("["), line.hasSuffix("]") {
        titles.append(String(line.dropFirst().dropLast()))
        rows[titles[titles.count - 1]] = []
        continue
      }
      let fields = line.components(separatedBy: "\t")
      let title = try #require(titles.last)
      try #require((2...4).contains(fields.count), "\(line)")
      rows[title, default: []].append(
        Row(
          name: fields[0], type: fields[1], defaultText: fields.count > 2 ? fields[2] : "",
          notes: fields.count > 3 ? fields[3] : ""))
    }
  }
}
