import AggCore
import AggEngine
import AggPlugins

/// docs/COMPATIBILITY.md, made of Fluentd's declarations, agg's, and the list of foreign plugins.
struct CompatibilityPage {
  enum Standing: Equatable {
    case supported
    case ignored(String)
    case unsupported(String)
    case missing
  }
  let fluentd: FluentdParameters
  let agg = AggParameters()
  private(set) var text = ""
  /// Rows of Fluentd that agg says nothing about.
  private(set) var missing: [String] = []
  private var counts = (supported: 0, ignored: 0, unsupported: 0)

  /// Rows that a plugin hands to another one, which has a table of its own.
  private static let handedOn = ["@type", "(argument)"]
  /// What stands in Fluentd's declarations of every plugin with that section.
  private static let common: [(section: String, words: String)] = [
    ("buffer", "`<buffer>`"), ("secondary", "`<secondary>`"), ("inject", "`<inject>`"), ("extract", "`<extract>`"),
    ("transport", "`<transport>`"),
    ("parse", "`<parse>`, every parser"), ("format", "`<format>`, every formatter"),
  ]
  /// Tables whose rows are one sentence.
  private static let asAWhole = [
    "section secondary":
      "`@type` (by default the output's own); `<buffer>` and `<secondary>` inside it are refused, as in Fluentd.",
    "metrics local": "Ignored: agg's counters are always on, see `/metrics` and `/ledger.json` of monitor_agent.",
  ]

  init() throws {
    fluentd = try FluentdParameters()
    var tables = ""
    for title in fluentd.titles { tables += table(title) }
    text = head + tables + foreign
  }

  // MARK: Tables

  private mutating func table(_ title: String) -> String {
    let heading = "\n### \(Self.heading(title))\n\n"
    if let words = Self.asAWhole[title] { return heading + words + "\n" }
    let theirs = fluentd.rows[title] ?? []
    guard let ours = agg.rows(title) else {
      let words = title.split(separator: " ").map(String.init)
      guard
        let fate = builtins.foreign.first(where: { $0.kind == words.first && $0.type == words.last && $0.gem == "fluentd" })?.fate
      else {
        missing.append(title)
        return heading + "missing\n"
      }
      counts.unsupported += theirs.count
      return heading + "Not here: \(Self.words(fate)).\n"
    }
    var lines: [String] = []
    var covered: Set<String> = []
    for row in theirs {
      guard let line = line(row, ours, title, &covered) else { continue }
      lines.append(line)
    }
    var out = heading
    if lines.isEmpty {
      out += "No parameters of its own.\n"
    } else {
      out += "| parameter | Fluentd | agg | |\n|---|---|---|---|\n" + lines.joined(separator: "\n") + "\n"
    }
    let own = ours.filter { !covered.contains($0.name) && isOwn($0, title, theirs) }
    if !own.isEmpty {
      out += "\nOnly in agg, or in older versions of Fluentd: \(own.map { "`\($0.name)`" }.joined(separator: ", ")).\n"
    }
    return out
  }

  private mutating func line(
    _ row: FluentdParameters.Row, _ ours: [AggParameters.Row], _ title: String, _ covered: inout Set<String>
  ) -> String? {
    let found = find(row.name, ours)
    if let found { covered.insert(found.name) }
    let fluentdText = row.defaultText.isEmpty ? "" : Self.code(row.defaultText)
    guard let found else {
      // A section that agg leaves out, or hands on, says it for all that is in it.
      if let outer = row.sections.last, let section = ours.first(where: { $0.name == path(of: row, to: outer) }),
        section.doc.kind != .section || section.isOpen
      {
        count(section.doc)
        return nil
      }
      missing.append("\(title): \(row.name)")
      return "| \(row.name) | \(fluentdText) | missing | |"
    }
    count(found.doc)
    let name =
      "`\(row.name)`\(row.notes.contains("deprecated") ? " (deprecated)" : row.notes.contains("obsoleted") ? " (obsolete)" : "")"
    switch found.doc.kind {
    case .ignored: return "| \(Self.cell(name)) | \(fluentdText) | ignored | \(Self.cell(found.doc.text)) |"
    case .unsupported: return "| \(Self.cell(name)) | \(fluentdText) | **not supported** | \(Self.cell(found.doc.text)) |"
    default:
      let value = Self.value(found.doc)
      let differs = Self.differs(row, value)
      var note = differs ? found.doc.text : ""
      if found.name != row.name, found.doc.kind != .rest { note = "the same as `\(found.name)`" }
      if found.doc.kind == .rest { note = found.doc.text }
      let shown = value.isEmpty ? "yes" : Self.code(value)
      return "| \(Self.cell(name)) | \(fluentdText) | \(differs ? "**\(shown)**" : shown) | \(Self.cell(note)) |"
    }
  }

  private func find(_ name: String, _ ours: [AggParameters.Row]) -> AggParameters.Row? {
    if let exact = ours.first(where: { $0.name == name }) { return exact }
    let words = name.components(separatedBy: " ")
    let prefix = words.dropLast().map { $0 + " " }.joined()
    if let alias = ours.first(where: { $0.doc.alias.map { prefix + $0 } == name }) { return alias }
    // grep's numbered rules and the like.
    return name.hasSuffix("N") ? ours.first { $0.name == prefix + "*" } : nil
  }
  private func path(of row: FluentdParameters.Row, to section: String) -> String {
    row.name.components(separatedBy: section).dropLast().joined(separator: section) + section
  }

  /// Rows to list as agg's own: not those of a common section, which has its table.
  private func isOwn(_ row: AggParameters.Row, _ title: String, _ theirs: [FluentdParameters.Row]) -> Bool {
    if row.doc.kind == .rest || row.doc.kind == .argument { return false }
    let kind = title.split(separator: " ").first.map(String.init) ?? ""
    if kind == "storage" || kind == "buffer" && title != "buffer memory" { return false }
    for (section, _) in Self.common where title != "section \(section)" {
      if row.name.hasPrefix("<\(section)> ") { return false }
      let isShared =
        section == "parse" && kind == "parser" || section == "format" && kind == "formatter"
        || section == "buffer" && kind == "buffer"
      if isShared, fluentd.rows["section \(section)"]?.contains(where: { $0.name == row.name }) ?? false { return false }
    }
    if title == "section buffer", fluentd.rows["buffer file"]?.contains(where: { $0.name == row.name }) ?? false { return false }
    if title == "section buffer",
      ["buffer memory", "buffer file_single"].contains(where: { fluentd.rows[$0]?.contains { $0.name == row.name } ?? false })
    {
      return false
    }
    return true
  }

  private mutating func count(_ doc: ParameterDoc) {
    switch doc.kind {
    case .ignored: counts.ignored += 1
    case .unsupported: counts.unsupported += 1
    default: counts.supported += 1
    }
  }

  // MARK: Text

  private static func heading(_ title: String) -> String {
    let words = title.split(separator: " ").map(String.init)
    switch words[0] {
    case "system": return "`<system>`"
    case "section": return common.first { $0.section == words[1] }?.words ?? title
    case "sd": return "service discovery \(words[1])"
    default: return title
    }
  }
  private static func value(_ doc: ParameterDoc) -> String {
    switch doc.kind {
    case .required: "required"
    case .section: doc.isRequiredSection ? "required" : ""
    case .rest: ""
    default: doc.defaultText.map { $0.isEmpty ? "\"\"" : $0 } ?? ""
    }
  }
  /// Whether a user sees another default; a bool that is nil is off.
  private static func differs(_ row: FluentdParameters.Row, _ value: String) -> Bool {
    if value == row.defaultText || value == escaped(row.defaultText) || escaped(value) == row.defaultText { return false }
    if value.isEmpty || row.name.hasSuffix(">") || row.name.hasSuffix("(argument)") && value == "nil" { return false }
    if row.type == "bool", row.defaultText == "nil", value == "false" { return false }
    if ["nil", "[]", "{}", "\"\""].contains(row.defaultText), ["nil", "[]", "{}", "\"\""].contains(value) { return false }
    if row.defaultText.filter({ $0 != " " && $0 != "[" && $0 != "]" }) == value.filter({ $0 != " " && $0 != "[" && $0 != "]" }) {
      return false
    }
    return true
  }
  private static func escaped(_ text: String) -> String {
    text.replacing("\n", with: "\\n").replacing("\t", with: "\\t").replacing("\r", with: "\\r")
  }
  private static func code(_ text: String) -> String {
    let text = text.replacing("|", with: "\\|")
    return text == "required" ? text : "`\(escaped(text))`"
  }
  private static func cell(_ text: String) -> String { escaped(text.replacing("|", with: "\\|")) }
  private static func words(_ fate: ForeignPlugin.Fate) -> String {
    switch fate {
    case .planned(let text): text.isEmpty ? "planned" : "planned; \(text)"
    case .replaced(let text): text
    case .notPlanned(let text): "not planned: \(text)"
    }
  }

  private var head: String {
    """
    # Compatibility with Fluentd

    Made from the declarations in the source; do not edit. `AGG_WRITE_PAGES=1 swift test --filter CompatibilityTests` writes it anew, and
    a test fails while it differs. Fluentd's side is \(Self.code("Tests/compatibility/fluentd.tsv")): the parameters and defaults of Fluentd 1.19.3.

    Of \(counts.supported + counts.ignored + counts.unsupported) parameters of Fluentd's own plugins agg supports \(counts.supported), reads and ignores \
    \(counts.ignored) that it has no use for, and does not support \(counts.unsupported). Of \(builtins.foreign.count) further plugins that people use, \
    \(builtins.foreign.filter(Self.isHere).count) are here.

    - `agg check FILE` reports what a file says that is unknown or not supported, each with its line, and then where events go.
    - Where agg behaves differently under the same parameters: [DIFFERENCES.md](DIFFERENCES.md).
    - What `${…}` may hold with `enable_ruby`: [EXPRESSIONS.md](EXPRESSIONS.md).
    - Every plugin takes `@type`, `@id`, `@label` and `@log_level`; the older `type`, `id` and `log_level` too.

    ## Parameters of Fluentd's own plugins

    A default in **bold** is not Fluentd's. "ignored" is accepted and has no effect here; "not supported" is reported. Parameters of a section that
    many plugins share stand once, under the section; a plugin lists those whose default is its own.

    """
  }

  private static func isHere(_ plugin: ForeignPlugin) -> Bool {
    switch plugin.kind {
    case "input": builtins.inputs.contains { $0.name == plugin.type }
    case "filter": builtins.filters.contains { $0.name == plugin.type }
    case "output": builtins.outputs.contains { $0.name == plugin.type }
    case "parser": builtins.parsers.contains { $0.name == plugin.type }
    default: builtins.formatters.contains { $0.name == plugin.type }
    }
  }

  private var foreign: String {
    var out = """

      ## Other plugins

      What agg has, will have, and will not have of the plugins that people use with Fluentd. A `@type` that is not here is an error that
      says the same.

      | plugin | `@type` | kind | here | |
      |---|---|---|---|---|

      """
    for plugin in builtins.foreign.sorted(by: { ($0.gem, $0.kind, $0.type) < ($1.gem, $1.kind, $1.type) }) {
      var row: (String, String)
      switch plugin.fate {
      case .planned(let text): row = ("planned", text)
      case .replaced(let text): row = ("replaced", text)
      case .notPlanned(let text): row = ("not planned", text)
      }
      if Self.isHere(plugin) { row = ("**yes**", "") }
      out += "| \(plugin.gem) | `\(plugin.type)` | \(plugin.kind) | \(row.0) | \(Self.cell(row.1)) |\n"
    }
    return out
  }
}
