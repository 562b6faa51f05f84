extension ConfigJSON: ConfigReadable {
  public static var configType: String { "JSON" }
  /// JSON where the text starts with `[` or `{`, else a string.
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    self = configText.hasPrefix("[") || configText.hasPrefix("{") ? try ConfigJSON(parsing: configText) : .string(configText)
  }
  public init(configJSON: ConfigJSON, strict: Bool) throws(ConfigValueError) { self = configJSON }
  public var configText: String { text }
}

/// A hash parameter with values of any kind, in the text's order: a JSON object or `key:value,key:value`.
public struct ConfigHash: ConfigReadable, Hashable {
  public var pairs: [ConfigJSON.Pair]
  public init(_ pairs: [ConfigJSON.Pair] = []) { self.pairs = pairs }

  public subscript(_ key: String) -> ConfigJSON? { pairs.last { $0.key == key }?.value }
  public var isEmpty: Bool { pairs.isEmpty }

  public static var configType: String { "hash" }

  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    pairs = []
    if configText.hasPrefix("{") {
      guard case .object(let object) = try ConfigJSON(parsing: configText) else { return }
      pairs = object
      return
    }
    for item in CommaText.items(configText) {
      let parts = item.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      let key = String(parts.first ?? "")
      let value: ConfigJSON = parts.count == 2 ? .string(String(parts[1])) : .null
      if parts.count < 2, strict { throw ConfigValueError("must be a JSON object or key:value pairs with commas between them; got '\(item)'") }
      if let i = pairs.firstIndex(where: { $0.key == key }) { pairs[i].value = value } else { pairs.append(.init(key, value)) }
    }
  }

  public var configText: String { ConfigJSON.object(pairs).json }
}

/// A hash parameter whose values are texts, in the text's order.
public struct StringMap: ConfigReadable, Hashable {
  public struct Pair: Sendable, Hashable {
    public var key: String
    public var value: String
    public init(_ key: String, _ value: String) {
      self.key = key
      self.value = value
    }
  }
  public var pairs: [Pair]
  public init(_ pairs: [Pair] = []) { self.pairs = pairs }

  public subscript(_ key: String) -> String? { pairs.last { $0.key == key }?.value }
  public var isEmpty: Bool { pairs.isEmpty }

  public static var configType: String { "hash of string" }

  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    pairs = try ConfigHash(configText: configText, strict: strict).pairs.map { Pair($0.key, $0.value.text) }
  }

  public var configText: String { ConfigJSON.object(pairs.map { .init($0.key, .string($0.value)) }).json }
}
