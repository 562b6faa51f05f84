/// One parameter or section of a plugin, declared once: reading, validation, messages, `agg plugins NAME` and the
/// README's table all come from this row; the default is the stored property's own.
public struct Parameter<Config>: Sendable {
  public let doc: ParameterDoc
  let set: @Sendable (inout Config, ConfigElement.Entry, Bool) throws(ConfigValueError) -> Void
  let setSection: @Sendable (inout Config, ConfigElement, ConfigContext) throws -> Void
  let defaultText: @Sendable (Config) -> String?
  /// What is surprising about a text that was read without strictness.
  let caution: @Sendable (String) -> String?
  public var name: String { doc.name }

  private init(
    _ doc: ParameterDoc,
    set: @escaping @Sendable (inout Config, ConfigElement.Entry, Bool) throws(ConfigValueError) -> Void = { _, _, _ throws(ConfigValueError) in },
    setSection: @escaping @Sendable (inout Config, ConfigElement, ConfigContext) throws -> Void = { _, _, _ in },
    defaultText: @escaping @Sendable (Config) -> String? = { _ in nil },
    caution: @escaping @Sendable (String) -> String? = { _ in nil }
  ) {
    self.doc = doc
    self.set = set
    self.setSection = setSection
    self.defaultText = defaultText
    self.caution = caution
  }

  /// A line that must be there.
  public static func required<V: ConfigReadable>(
    _ name: String, _ field: any WritableKeyPath<Config, V> & Sendable, _ text: String, alias: String? = nil, secret: Bool = false
  ) -> Self {
    value(ParameterDoc(name: name, type: V.configType, text: text, kind: .required, alias: alias, isSecret: secret), field)
  }

  /// A line that may be there; the default is what `Config.init()` stores.
  public static func optional<V: ConfigReadable>(
    _ name: String, _ field: any WritableKeyPath<Config, V> & Sendable, _ text: String, alias: String? = nil, secret: Bool = false,
    deprecated: String? = nil
  ) -> Self {
    value(ParameterDoc(name: name, type: V.configType, text: text, kind: .optional, alias: alias, isSecret: secret, deprecated: deprecated), field)
  }

  /// Read and ignored, because agg has no use for it: `why` is shown by `agg plugins` and in COMPATIBILITY.md.
  public static func ignored(_ name: String, _ why: String) -> Self {
    Self(ParameterDoc(name: name, type: "any", text: why, kind: .ignored))
  }

  /// Known from Fluentd and without effect here: a warning when running, a mistake under `agg check`, with `why` in both.
  ///
  /// For what a user would miss; what nobody misses is `.ignored`. A name in `<>` is a section's.
  public static func unsupported(_ name: String, _ why: String) -> Self {
    Self(ParameterDoc(name: name, type: "any", text: why, kind: .unsupported))
  }

  private static func value<V: ConfigReadable>(_ doc: ParameterDoc, _ field: any WritableKeyPath<Config, V> & Sendable) -> Self {
    Self(
      doc,
      set: { config, entry, strict throws(ConfigValueError) in
        switch entry.value {
        case .text(let text): config[keyPath: field] = try V(configText: text, strict: strict)
        case .useDefault: break
        case .useNil:
          guard let none = V.self as? any OptionalValue.Type, let value = none.noValue as? V else { return }
          config[keyPath: field] = value
        }
      },
      defaultText: { $0[keyPath: field].configText }, caution: { V.configCaution($0) })
  }

  /// A section that is decoded by its own `Configurable`, at most once.
  public static func section<S: Configurable>(
    _ name: String, _ field: any WritableKeyPath<Config, S> & Sendable, _ text: String, required: Bool = false
  ) -> Self {
    Self(
      ParameterDoc(name: name, type: "section", text: text, kind: .section, nested: { S.docs }, isRequiredSection: required),
      setSection: { config, element, context in config[keyPath: field] = try S.load(element, context) })
  }
  public static func section<S: Configurable>(
    _ name: String, _ field: any WritableKeyPath<Config, S?> & Sendable, _ text: String
  ) -> Self {
    Self(
      ParameterDoc(name: name, type: "section", text: text, kind: .section, nested: { S.docs }),
      setSection: { config, element, context in config[keyPath: field] = try S.load(element, context) })
  }
  /// A section that may come several times.
  public static func sections<S: Configurable>(
    _ name: String, _ field: any WritableKeyPath<Config, [S]> & Sendable, _ text: String, required: Bool = false
  ) -> Self {
    Self(
      ParameterDoc(name: name, type: "section", text: text, kind: .section, nested: { S.docs }, isRequiredSection: required, isRepeated: true),
      setSection: { config, element, context in config[keyPath: field].append(try S.load(element, context)) })
  }
  /// A section kept as it is: a nested plugin (`<parse>`, `<format>`, `<store>`), or free-form entries (`<record>`).
  public static func elements(
    _ name: String, _ field: any WritableKeyPath<Config, [ConfigElement]> & Sendable, _ text: String, required: Bool = false
  ) -> Self {
    Self(
      ParameterDoc(name: name, type: "section", text: text, kind: .section, isRequiredSection: required, isRepeated: true),
      setSection: { config, element, _ in config[keyPath: field].append(element) })
  }
  public static func element(
    _ name: String, _ field: any WritableKeyPath<Config, ConfigElement?> & Sendable, _ text: String, required: Bool = false
  ) -> Self {
    Self(
      ParameterDoc(name: name, type: "section", text: text, kind: .section, isRequiredSection: required),
      setSection: { config, element, _ in config[keyPath: field] = element })
  }
  /// The section's own argument (`<buffer tag,time>`, `<match pattern>`) as a value.
  public static func argument<V: ConfigReadable>(_ field: any WritableKeyPath<Config, V> & Sendable, _ text: String) -> Self {
    value(ParameterDoc(name: "", type: V.configType, text: text, kind: .argument), field)
  }
  /// Every entry that no other row names (`<record>`, `<system>` extensions), as they stand.
  public static func rest(_ field: any WritableKeyPath<Config, [ConfigElement.Entry]> & Sendable, _ text: String) -> Self {
    Self(
      ParameterDoc(name: "*", type: "any", text: text, kind: .rest),
      set: { config, entry, _ throws(ConfigValueError) in config[keyPath: field].append(entry) })
  }
}

private protocol OptionalValue { static var noValue: Any { get } }
extension Optional: OptionalValue { fileprivate static var noValue: Any { Optional<Wrapped>.none as Any } }

/// What is known of a parameter without an instance.
public struct ParameterDoc: Sendable {
  public enum Kind: Sendable { case required, optional, ignored, unsupported, section, argument, rest }
  public var name: String
  public var type: String
  public var text: String
  public var kind: Kind
  /// An older or shorter name that reads the same.
  public var alias: String?
  /// Never printed by `check`, monitor or logs.
  public var isSecret = false
  public var deprecated: String?
  public var nested: (@Sendable () -> [ParameterDoc])?
  public var isRequiredSection = false
  public var isRepeated = false
  public var defaultText: String?
}

extension ParameterDoc {
  public init(named name: String, type: String, text: String, kind: Kind) { self.init(name: name, type: type, text: text, kind: kind) }
}
