extension RubyRegexpTranslator {
  /// `[:alpha:]` and `[:^alpha:]` inside a class; nil when it is no such bracket.
  mutating func posixBracket() throws(ConfigValueError) -> ClassSet.Node? {
    guard peek(1) == ":" else { return nil }
    var j = i + 2
    var isNegated = false
    if j < scalars.count, scalars[j] == "^" {
      isNegated = true
      j += 1
    }
    var name = ""
    while j < scalars.count, scalars[j].properties.isAlphabetic, name.utf8.count < 16 {
      name.unicodeScalars.append(scalars[j])
      j += 1
    }
    guard j + 1 < scalars.count, scalars[j] == ":", scalars[j + 1] == "]", let node = posix(name) else { return nil }
    i = j + 2
    return isNegated ? .set(ClassSet(negating: node)) : node
  }

  /// `{Name}` or `{^Name}` after `\p`.
  mutating func property(isNegated: Bool) throws(ConfigValueError) -> ClassSet.Node {
    guard peek() == "{" else { throw error("invalid character property name") }
    i += 1
    var isNegated = isNegated
    if peek() == "^" {
      isNegated.toggle()
      i += 1
    }
    var name = ""
    while let c = peek(), c != "}", name.utf8.count < 64 {
      if c != " ", c != "_", c != "-" { name.unicodeScalars.append(c) }
      i += 1
    }
    guard peek() == "}", !name.isEmpty, name.utf8.allSatisfy({ $0 < 0x80 && ($0 | 0x20 >= 97 || (48...57).contains($0)) }) else {
      throw error("invalid character property name {\(name)}")
    }
    i += 1
    var node: ClassSet.Node
    let folded = name.lowercased()
    if let posix = posix(folded) {
      node = posix
    } else {
      needsUTF = true
      if folded == "any" {
        node = .item("\\x{0}-\\x{10ffff}")
      } else if folded == "assigned" {
        node = .set(ClassSet(negating: .item("\\p{Cn}")))
      } else if folded.utf8.count <= 2 {
        node = .item("\\p{\(folded.prefix(1).uppercased())\(folded.dropFirst())}")
      } else if let category = categories[folded] {
        node = .item("\\p{\(category)}")
      } else if binaryProperties.contains(folded) {
        node = .item("\\p{\(folded)}")
      } else {
        node = .item("\\p{sc:\(folded)}")
      }
    }
    return isNegated ? .set(ClassSet(negating: node)) : node
  }

  /// Unicode's sets for text that is UTF-8 (Ruby's brackets are), ASCII's for bytes.
  private func posix(_ name: String) -> ClassSet.Node? {
    if !utf {
      guard posixNames.contains(name) else { return nil }
      return .item("[:\(name):]")
    }
    switch name {
    case "alnum": return .item("\\p{Alphabetic}\\p{Nd}")
    case "alpha": return .item("\\p{Alphabetic}")
    case "ascii": return .item("\\x00-\\x7f")
    case "blank": return .item("\\t\\p{Zs}")
    case "cntrl": return .item("\\p{Cc}")
    case "digit": return .item("\\p{Nd}")
    case "graph": return .set(ClassSet(negating: .item("\\p{White_Space}\\p{Cc}\\p{Cn}\\p{Cs}")))
    case "lower": return .item("\\p{Lowercase}")
    case "print": return .set(ClassSet(negating: .item("\\p{Zl}\\p{Zp}\\p{Cc}\\p{Cn}\\p{Cs}")))
    case "punct": return .item("\\p{P}$+<=>\\^`|~")
    case "space": return .item("\\p{White_Space}")
    case "upper": return .item("\\p{Uppercase}")
    case "word": return .item("\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}")
    case "xdigit": return .item("0-9a-fA-F")
    default: return nil
    }
  }
}

private let posixNames: Set<String> = [
  "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit",
]

/// Ruby's long names of general categories; PCRE2 knows the short ones.
private let categories: [String: String] = [
  "letter": "L", "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt", "casedletter": "L&",
  "modifierletter": "Lm",
  "otherletter": "Lo", "mark": "M", "nonspacingmark": "Mn", "spacingmark": "Mc", "enclosingmark": "Me", "number": "N",
  "decimalnumber": "Nd", "letternumber": "Nl", "othernumber": "No", "punctuation": "P", "connectorpunctuation": "Pc",
  "dashpunctuation": "Pd", "openpunctuation": "Ps", "closepunctuation": "Pe", "initialpunctuation": "Pi",
  "finalpunctuation": "Pf",
  "otherpunctuation": "Po", "symbol": "S", "mathsymbol": "Sm", "currencysymbol": "Sc", "modifiersymbol": "Sk",
  "othersymbol": "So",
  "separator": "Z", "spaceseparator": "Zs", "lineseparator": "Zl", "paragraphseparator": "Zp", "other": "C", "control": "Cc",
  "format": "Cf", "surrogate": "Cs", "privateuse": "Co", "unassigned": "Cn",
]

private let binaryProperties: Set<String> = [
  "alphabetic", "lowercase", "uppercase", "whitespace", "emoji", "emojipresentation", "emojimodifier", "ideographic", "math",
  "dash",
  "diacritic", "hexdigit", "asciihexdigit", "idstart", "idcontinue", "xidstart", "xidcontinue", "cased", "extendedpictographic",
]
