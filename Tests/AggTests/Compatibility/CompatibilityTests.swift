import AggCore
import AggEngine
import AggPlugins
import Foundation
import Testing

@Suite struct CompatibilityTests {
  private static let file = CatalogueTests.root.appending(path: "docs/COMPATIBILITY.md")

  @Test func `docs COMPATIBILITY.md is what the declarations say`() throws {
    let page = try CompatibilityPage().text
    if ProcessInfo.processInfo.environment["AGG_WRITE_PAGES"] == "1" {
      try page.write(to: Self.file, atomically: true, encoding: .utf8)
    }
    let written = try String(contentsOf: Self.file, encoding: .utf8)
    let difference = zip(page.split(separator: "\n"), written.split(separator: "\n")).first { $0 != $1 }
    #expect(
      page == written,
      "write it anew with AGG_WRITE_PAGES=1; first difference: \(difference.map { "\($0.0) / \($0.1)" } ?? "its length")")
  }

  @Test func `every parameter of Fluentd has a row`() throws {
    #expect(try CompatibilityPage().missing == [])
  }

  @Test(arguments: ["inject", "extract", "transport"])
  func `a plugin with a common section takes all of its parameters`(section: String) throws {
    let fluentd = try FluentdParameters()
    let agg = AggParameters()
    let common = try #require(fluentd.rows["section \(section)"])
    for title in fluentd.titles where fluentd.rows[title]?.contains(where: { $0.name == "<\(section)>" }) ?? false {
      guard let rows = agg.rows(title), rows.contains(where: { $0.name == "<\(section)>" && $0.doc.kind == .section }) else {
        continue
      }
      for row in common { #expect(rows.contains { $0.name == "<\(section)> \(row.name)" }, "\(title): <\(section)> \(row.name)") }
    }
  }

  @Test func `every parser and every formatter takes the parameters of them all`() throws {
    let fluentd = try FluentdParameters()
    let agg = AggParameters()
    for (kind, section) in [("parser", "parse"), ("formatter", "format")] {
      for title in fluentd.titles where title.hasPrefix(kind + " ") {
        let rows = try #require(agg.rows(title), "\(title)")
        if rows.contains(where: { $0.doc.kind == .rest }) { continue }
        for row in fluentd.rows["section \(section)"] ?? [] {
          #expect(rows.contains { $0.name == row.name || $0.doc.alias == row.name }, "\(title): \(row.name)")
        }
      }
    }
  }

  @Test func `a foreign plugin stands in the list once, with a reason`() {
    var seen: Set<String> = []
    for plugin in builtins.foreign {
      #expect(seen.insert("\(plugin.kind) \(plugin.type)").inserted, "\(plugin.kind) \(plugin.type)")
      #expect(["input", "filter", "output", "parser", "formatter"].contains(plugin.kind))
      switch plugin.fate {
      case .replaced(let text), .notPlanned(let text): #expect(!text.isEmpty)
      case .planned: continue
      }
    }
    #expect(Set(builtins.foreign.map(\.gem)).count >= 60)
  }

  @Test func `what is not supported is reported with its reason, and what is ignored is not`() throws {
    let warnings = try CatalogueTests.topology(
      """
      <source>
        @type tcp
        tag t
        blocking_timeout 0.5
        <parse>
          @type nginx
          ignorecase true
        </parse>
      </source>
      <match **>
        @type relabel
        @label @ROOT
        <secondary>
          @type file
        </secondary>
      </match>
      """, "a.conf")
    #expect(
      warnings.map(\.description) == [
        "a.conf:13: <secondary> is not supported: events go on at once, in Fluentd too",
        "a.conf:7: 'ignorecase' is not supported: write (?i) in the expression",
      ])
  }
}
