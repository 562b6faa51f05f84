extension String {
  /// As it may be shown on a terminal: control characters (of both sets, C0 and C1) other than tabs and line ends are written as `\x1b`.
  public var shown: String {
    guard unicodeScalars.contains(where: \.isControl) else { return self }
    var out = ""
    for scalar in unicodeScalars {
      if scalar.isControl { out += scalar.escaped } else { out.unicodeScalars.append(scalar) }
    }
    return out
  }

  /// `shown` as one line: what ends a line is escaped too.
  public var shownInLine: String {
    guard unicodeScalars.contains(where: { $0.isControl || $0 == "\n" }) else { return self }
    var out = ""
    for scalar in unicodeScalars {
      if scalar.isControl || scalar == "\n" { out += scalar.escaped } else { out.unicodeScalars.append(scalar) }
    }
    return out
  }
}

extension UnicodeScalar {
  /// A carriage return lets a line be written over another one.
  fileprivate var isControl: Bool { value < 0x20 && value != 0x09 && value != 0x0a || (0x7f...0x9f).contains(value) }
  fileprivate var escaped: String { "\\x" + (value < 16 ? "0" : "") + String(value, radix: 16) }
}
