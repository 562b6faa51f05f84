/// A plugin that people use with Fluentd and that agg does not build, with what became of it here.
///
/// `plugins/ForeignPlugins.swift` lists them: an unknown `@type` is explained from that list, and docs/COMPATIBILITY.md shows it.
/// A name that a plugin of agg has is here, whatever the list says.
public struct ForeignPlugin: Sendable {
  public enum Fate: Sendable {
    /// agg will have it; what to do until then, where there is something.
    case planned(String)
    /// Something that agg has does the same: what to write instead.
    case replaced(String)
    /// agg will not have it, and why.
    case notPlanned(String)
  }
  /// "input", "filter", "output", "parser", "formatter".
  public var kind: String
  /// Its `@type`.
  public var type: String
  /// The package that has it, "fluentd" for Fluentd's own.
  public var gem: String
  public var fate: Fate
  public init(_ kind: String, _ type: String, _ gem: String, _ fate: Fate) {
    self.kind = kind
    self.type = type
    self.gem = gem
    self.fate = fate
  }

  /// For an error: what it is, and what to do.
  public var explanation: String {
    let what = "the \(kind) plugin '\(type)' (\(gem))"
    switch fate {
    case .planned(let meanwhile): return "\(what) is planned and not here yet\(meanwhile.isEmpty ? "" : "; \(meanwhile)")"
    case .replaced(let other): return "\(what) is not here: \(other)"
    case .notPlanned(let why): return "\(what) is not planned: \(why)"
    }
  }
}

extension PluginSet {
  /// Why there is no plugin of that name, for `at`: a misspelt name, a plugin of Fluentd's world, or neither.
  public func unknownType(_ type: String, _ kind: String, known names: [String]) -> String {
    if let foreign = foreign.first(where: { $0.type == type && $0.kind == kind }) { return "\(foreign.explanation); see docs/COMPATIBILITY.md" }
    if let near = nearest(type, names) { return "unknown \(kind) plugin '\(type)'; did you mean '\(near)'?" }
    if let foreign = foreign.first(where: { $0.type == type }) { return "'\(type)' is no \(kind) plugin: \(foreign.explanation); see docs/COMPATIBILITY.md" }
    return "unknown \(kind) plugin '\(type)': neither agg nor its list of Fluentd's plugins has it; see docs/COMPATIBILITY.md and `agg plugins`"
  }
}
