/// The constants that an expression may name: classes, modules and errors.
public enum RubyModule: String, CaseIterable, Sendable {
  case object = "Object"
  case basicObject = "BasicObject"
  case nilClass = "NilClass"
  case trueClass = "TrueClass"
  case falseClass = "FalseClass"
  case numeric = "Numeric"
  case comparable = "Comparable"
  case enumerable = "Enumerable"
  case integer = "Integer"
  case float = "Float"
  case string = "String"
  case symbol = "Symbol"
  case array = "Array"
  case hash = "Hash"
  case range = "Range"
  case regexp = "Regexp"
  case matchData = "MatchData"
  case moduleClass = "Class"
  case time = "Time"
  case date = "Date"
  case dateTime = "DateTime"
  case json = "JSON"
  case env = "ENV"
  case socket = "Socket"
  case process = "Process"
  case file = "File"
  case math = "Math"
  case kernel = "Kernel"
  case uri = "URI"
  case cgi = "CGI"
  case base64 = "Base64"
  case secureRandom = "SecureRandom"
  case encodingUTF8 = "Encoding::UTF_8"
  case encodingBinary = "Encoding::ASCII_8BIT"
  case encodingASCII = "Encoding::US_ASCII"
  case encodingLatin1 = "Encoding::ISO_8859_1"
  case eventTime = "Fluent::EventTime"
  case engine = "Fluent::Engine"
  case exception = "Exception"
  case standardError = "StandardError"
  case runtimeError = "RuntimeError"
  case argumentError = "ArgumentError"
  case typeError = "TypeError"
  case nameError = "NameError"
  case noMethodError = "NoMethodError"
  case zeroDivisionError = "ZeroDivisionError"
  case rangeError = "RangeError"
  case floatDomainError = "FloatDomainError"
  case frozenError = "FrozenError"
  case indexError = "IndexError"
  case keyError = "KeyError"
  case regexpError = "RegexpError"
  case parserError = "JSON::ParserError"
  case generatorError = "JSON::GeneratorError"
  case encodingError = "EncodingError"
  case uriError = "URI::InvalidURIError"
  case dateError = "Date::Error"

  static let byName: [String: RubyModule] = {
    var names = Dictionary(uniqueKeysWithValues: allCases.map { ($0.rawValue, $0) })
    names["Encoding::BINARY"] = .encodingBinary
    names["JSON::JSONError"] = .parserError
    names["Encoding::UndefinedConversionError"] = .encodingError
    names["Encoding::InvalidByteSequenceError"] = .encodingError
    return names
  }()

  var parent: RubyModule? {
    switch self {
    case .basicObject: nil
    case .object: .basicObject
    case .integer, .float: .numeric
    case .dateTime: .date
    case .standardError: .exception
    case .runtimeError, .argumentError, .typeError, .nameError, .zeroDivisionError, .rangeError, .indexError, .regexpError, .encodingError,
      .parserError, .generatorError, .uriError:
      .standardError
    case .noMethodError: .nameError
    case .floatDomainError: .rangeError
    case .keyError: .indexError
    case .dateError: .argumentError
    default: .object
    }
  }

  /// An encoding's own name; for all others the constant's.
  var displayName: String {
    switch self {
    case .encodingUTF8: "UTF-8"
    case .encodingBinary: "ASCII-8BIT"
    case .encodingASCII: "US-ASCII"
    case .encodingLatin1: "ISO-8859-1"
    default: rawValue
    }
  }

  func inherits(_ other: RubyModule) -> Bool {
    var next: RubyModule? = self
    while let module = next {
      if module == other { return true }
      switch (module, other) {
      case (.array, .enumerable), (.hash, .enumerable), (.range, .enumerable): return true
      case (.string, .comparable), (.numeric, .comparable), (.time, .comparable): return true
      case (.object, .kernel): return true
      default: next = module.parent
      }
    }
    return false
  }
}
