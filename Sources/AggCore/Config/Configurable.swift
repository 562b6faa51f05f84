/// A typed configuration section: stored properties with defaults, and one row for each.
public protocol Configurable: Sendable {
  init()
  static var parameters: [Parameter<Self>] { get }
  /// Rules between parameters; a thrown `ConfigValueError` is reported at the section's own line.
  mutating func validate(_ context: ConfigContext) throws
}

extension Configurable {
  public mutating func validate(_ context: ConfigContext) throws {}

  /// Reads a section, collecting every mistake in it. Names in `known` belong to someone else (the engine) and are passed over.
  public static func load(_ element: ConfigElement, _ context: ConfigContext, known: Set<String> = []) throws -> Self {
    var config = Self()
    var errors: [ConfigError] = []
    let parameters = Self.parameters
    var seen: Set<String> = []

    if let argument = parameters.first(where: { $0.doc.kind == .argument }), !element.argument.isEmpty {
      do throws(ConfigValueError) {
        try argument.set(&config, .init(name: "", text: element.argument, at: element.at), context.strict)
      } catch { errors.append(ConfigError(at: element.at, "<\(element.name)> argument \(error.message)")) }
    }
    for entry in element.entries where !known.contains(entry.name) {
      if let p = parameters.first(where: { ($0.name == entry.name || $0.doc.alias == entry.name) && $0.doc.isValue }) {
        seen.insert(p.name)
        if p.doc.kind == .unsupported { context.warnings.add(entry.at, "'\(entry.name)' is not supported: \(p.doc.text)") }
        if let note = p.doc.deprecated { context.warnings.add(entry.at, "'\(entry.name)' is deprecated: \(note)") }
        do throws(ConfigValueError) {
          try p.set(&config, entry, context.strict)
          if !context.strict, case .text(let text) = entry.value, let caution = p.caution(text) {
            context.warnings.add(entry.at, "'\(entry.name)' \(caution)")
          }
        } catch {
          errors.append(ConfigError(at: entry.at, "'\(entry.name)' \(error.message)"))
        }
      } else if entry.name.hasPrefix("@") || entry.name == "type" || entry.name == "id" || entry.name == "log_level" {
        continue
      } else if let rest = parameters.first(where: { $0.doc.kind == .rest }) {
        try? rest.set(&config, entry, context.strict)
      } else {
        let names = parameters.filter { $0.doc.isValue }.map(\.name)
        context.warnings.add(entry.at, unknown("parameter", entry.name, names))
      }
    }
    for child in element.children where !known.contains(child.name) {
      if let p = parameters.first(where: { $0.name == "<\(child.name)>" }) {
        if p.doc.kind == .unsupported { context.warnings.add(child.at, "<\(child.name)> is not supported: \(p.doc.text)") }
        continue
      }
      guard let p = parameters.first(where: { $0.name == child.name && $0.doc.kind == .section }) else {
        context.warnings.add(child.at, unknown("section", child.name, parameters.filter { $0.doc.kind == .section }.map(\.name)))
        continue
      }
      if seen.contains("<\(p.name)>"), !p.doc.isRepeated {
        errors.append(ConfigError(at: child.at, "<\(child.name)> is given twice; keep one"))
        continue
      }
      seen.insert("<\(p.name)>")
      do { try p.setSection(&config, child, context) } catch let nested as ConfigErrors {
        errors += nested.errors
      } catch { errors.append(ConfigError(at: child.at, "\(error)")) }
    }
    for p in parameters {
      if p.doc.kind == .required, !seen.contains(p.name) {
        errors.append(ConfigError(at: element.at, "'\(p.name)' parameter is required: \(p.doc.text)"))
      } else if p.doc.isRequiredSection, !seen.contains("<\(p.name)>") {
        errors.append(ConfigError(at: element.at, "<\(p.name)> section is required: \(p.doc.text)"))
      }
    }
    if errors.isEmpty {
      do { try config.validate(context) } catch let error as ConfigValueError {
        errors.append(ConfigError(at: element.at, error.message))
      } catch let error as ConfigError {
        errors.append(error)
      } catch let nested as ConfigErrors { errors += nested.errors }
    }
    if !errors.isEmpty { throw ConfigErrors(errors) }
    return config
  }

  /// The rows with their defaults, for `agg plugins NAME` and the READMEs.
  public static var docs: [ParameterDoc] {
    let defaults = Self()
    return parameters.map { p in
      var doc = p.doc
      if doc.kind == .optional { doc.defaultText = p.defaultText(defaults) }
      return doc
    }
  }
}

extension ParameterDoc {
  var isValue: Bool { [.required, .optional, .ignored, .unsupported].contains(kind) && !name.hasPrefix("<") }
}

private func unknown(_ what: String, _ name: String, _ known: [String]) -> String {
  if let near = nearest(name, known) { return "unknown \(what) '\(name)'; did you mean '\(near)'?" }
  return known.isEmpty ? "unknown \(what) '\(name)'; none is known here" : "unknown \(what) '\(name)'; known: \(known.joined(separator: ", "))"
}

/// The known name within two edits (half of its length at most), if any.
public func nearest(_ name: String, _ known: [String]) -> String? {
  var best: (name: String, distance: Int)?
  for candidate in known {
    let d = editDistance(Array(name.utf8), Array(candidate.utf8))
    if d <= max(1, min(2, candidate.utf8.count / 2)), d < (best?.distance ?? .max) { best = (candidate, d) }
  }
  return best?.name
}

/// Edits between two short configuration words; two neighbours in each other's place are one (Damerau's distance, each letter edited once).
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
  let a = Array(a.prefix(64))
  var previous: [Int] = []
  var row = Array(0...b.count)
  for (i, x) in a.enumerated() {
    var next = [i + 1]
    for (j, y) in b.enumerated() {
      var edits = min(row[j] + (x == y ? 0 : 1), row[j + 1] + 1, next[j] + 1)
      if i > 0, j > 0, x == b[j - 1], y == a[i - 1] { edits = min(edits, previous[j - 1] + 1) }
      next.append(edits)
    }
    (previous, row) = (row, next)
  }
  return row[b.count]
}
