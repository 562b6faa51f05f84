/// What Fluentd calls an array of strings.
public typealias StringList = [String]

extension Array: ConfigReadable where Element: ConfigReadable {
  public static var configType: String { Element.self == ConfigJSON.self ? "array" : "array of \(Element.configType)" }

  /// A JSON array, or texts with commas between them (blanks around them go, empty ones at the end too).
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    self = []
    if configText.hasPrefix("[") {
      guard case .array(let items) = try ConfigJSON(parsing: configText) else { return }
      for item in items { append(try Element(configJSON: item, strict: strict)) }
    } else {
      for item in CommaText.items(configText) { append(try Element(configText: item, strict: strict)) }
    }
  }

  public var configText: String { ConfigJSON.array(map { .string($0.configText) }).json }
}

/// `a, b,c` as Ruby's `strip.split(/\s*,\s*/)` takes it apart.
enum CommaText {
  static func items(_ text: String) -> [String] {
    var items = RubyNumber.strip(text).split(separator: ",", omittingEmptySubsequences: false).map { RubyNumber.strip(String($0)) }
    while items.last == "" { items.removeLast() }
    return items
  }
}
