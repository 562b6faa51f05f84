import AggCore
import Glibc

extension Bindings {
  private struct Directive {
    var isLeft = false, isZero = false, hasSign = false, hasSpace = false, isAlternate = false
    var width = 0
    var precision: Int?
  }

  /// `format("%05.1f %-8s %<name>s %{name}", …)`.
  func format(_ format: [UInt8], _ a: [RubyValue]) throws(Failure) -> [UInt8] {
    var out: [UInt8] = []
    var next = 0
    func argument() throws(Failure) -> RubyValue {
      guard next < a.count else { throw .argument("too few arguments") }
      next += 1
      return a[next - 1]
    }
    func named(_ name: ArraySlice<UInt8>) throws(Failure) -> RubyValue {
      guard case .hash(let hash)? = a.first else { throw .argument("one hash required") }
      guard let value = hash[.symbol(Array(name))] else { throw .raise(.keyError, "key<\(String(decoding: name, as: UTF8.self))> not found") }
      return value
    }
    var i = 0
    while i < format.count {
      guard format[i] == UInt8(ascii: "%") else {
        out.append(format[i])
        i += 1
        continue
      }
      i += 1
      var directive = Directive()
      var value: RubyValue?
      var isDone = false
      while i < format.count, !isDone {
        try step()
        let c = format[i]
        i += 1
        switch c {
        case UInt8(ascii: "-"): directive.isLeft = true
        case UInt8(ascii: "0"): directive.isZero = true
        case UInt8(ascii: "+"): directive.hasSign = true
        case UInt8(ascii: " "): directive.hasSpace = true
        case UInt8(ascii: "#"): directive.isAlternate = true
        case UInt8(ascii: "1")...UInt8(ascii: "9"):
          directive.width = Int(c) - 48
          while i < format.count, format[i] >= 48, format[i] <= 57 {
            directive.width = min(directive.width * 10 + Int(format[i]) - 48, 1 << 30)
            i += 1
          }
        case UInt8(ascii: "*"):
          directive.width = min(max(try integer(argument()), -(1 << 30)), 1 << 30)
          if directive.width < 0 {
            directive.isLeft = true
            directive.width = 0 &- directive.width
          }
        case UInt8(ascii: "."):
          var precision = 0
          while i < format.count, format[i] >= 48, format[i] <= 57 {
            precision = min(precision * 10 + Int(format[i]) - 48, 1 << 20)
            i += 1
          }
          directive.precision = precision
        case UInt8(ascii: "<"), UInt8(ascii: "{"):
          let close = c == UInt8(ascii: "<") ? UInt8(ascii: ">") : UInt8(ascii: "}")
          guard let end = format[i...].firstIndex(of: close) else { throw .argument("malformed name - unmatched parenthesis") }
          value = try named(format[i..<end])
          i = end + 1
          if c == UInt8(ascii: "{") {
            try pad(value?.displayBytes ?? [], directive, &out)
            isDone = true
          }
        case UInt8(ascii: "%"):
          out.append(c)
          isDone = true
        default:
          if value == nil { value = try argument() }
          try conversion(c, directive, value ?? .null, &out)
          isDone = true
        }
      }
      if !isDone { throw .argument("incomplete format specifier; use %% (double %) instead") }
    }
    return out
  }

  private func pad(_ text: [UInt8], _ directive: Directive, _ out: inout [UInt8], zeroAfter: Int? = nil) throws(Failure) {
    let missing = max(0, directive.width - RubyText.count(RubyString(text)))
    try charge(missing &+ text.count)
    if directive.isLeft {
      out += text
      out += repeatElement(0x20, count: missing)
    } else if let zeroAfter, directive.isZero {
      out += text[..<min(zeroAfter, text.count)]
      out += repeatElement(0x30, count: missing)
      out += text[min(zeroAfter, text.count)...]
    } else {
      out += repeatElement(0x20, count: missing)
      out += text
    }
  }

  private func conversion(_ c: UInt8, _ directive: Directive, _ value: RubyValue, _ out: inout [UInt8]) throws(Failure) {
    switch c {
    case UInt8(ascii: "s"), UInt8(ascii: "p"):
      var text = c == UInt8(ascii: "s") ? value.displayBytes : value.inspected
      if let precision = directive.precision { text = RubyText.slice(RubyString(text), 0, precision)?.bytes ?? text }
      try pad(text, directive, &out)
    case UInt8(ascii: "c"):
      if case .int(let code) = value, let scalar = UInt32(exactly: code).flatMap({ UnicodeScalar($0) }) {
        try pad(Array(String(Character(scalar)).utf8), directive, &out)
      } else {
        try pad(RubyText.slice(RubyString(value.displayBytes), 0, 1)?.bytes ?? [], directive, &out)
      }
    case UInt8(ascii: "d"), UInt8(ascii: "i"), UInt8(ascii: "u"), UInt8(ascii: "x"), UInt8(ascii: "X"), UInt8(ascii: "o"), UInt8(ascii: "b"),
      UInt8(ascii: "B"):
      var number: Int64 = 0
      switch value {
      case .double(let float): number = Int64(try integer(.double(float.rounded(.down))))
      default: if case .int(let whole)? = try kernel(.kernelInteger, [value]) { number = whole } else { throw Failure.overflow }
      }
      let radix =
        switch c {
        case UInt8(ascii: "x"), UInt8(ascii: "X"): 16
        case UInt8(ascii: "o"): 8
        case UInt8(ascii: "b"), UInt8(ascii: "B"): 2
        default: 10
        }
      var digits = String(number.magnitude, radix: radix, uppercase: c == UInt8(ascii: "X"))
      if let precision = directive.precision, digits.utf8.count < precision {
        try charge(precision)
        digits = String(repeating: "0", count: precision - digits.utf8.count) + digits
      }
      var sign = number < 0 ? "-" : directive.hasSign ? "+" : directive.hasSpace ? " " : ""
      if directive.isAlternate, radix != 10 { sign += radix == 16 ? (c == UInt8(ascii: "X") ? "0X" : "0x") : radix == 2 ? "0b" : "0" }
      try pad(Array((sign + digits).utf8), directive, &out, zeroAfter: directive.precision == nil ? sign.utf8.count : nil)
    case UInt8(ascii: "f"), UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "g"), UInt8(ascii: "G"), UInt8(ascii: "a"):
      guard case .double(let number)? = try kernel(.kernelFloat, [value]) else { throw .type("can't convert \(value.describedClass) into Float") }
      var text: [UInt8]
      if !number.isFinite {
        text = Array((number.isNaN ? "NaN" : number < 0 ? "-Inf" : "Inf").utf8)
      } else {
        let precision = min(directive.precision ?? 6, 1000)
        var buffer = [CChar](repeating: 0, count: 1500)
        let letter = UnicodeScalar(c)
        let written = withVaList([Int32(precision), number]) {
          vsnprintf(&buffer, buffer.count, "%\(directive.isAlternate ? "#" : "").*\(letter)", $0)
        }
        text = buffer.prefix(max(0, min(Int(written), buffer.count - 1))).map { UInt8(bitPattern: $0) }
      }
      if text.first != UInt8(ascii: "-"), directive.hasSign || directive.hasSpace { text.insert(directive.hasSign ? UInt8(ascii: "+") : 0x20, at: 0) }
      let signs = text.first.map { "+- ".utf8.contains($0) } ?? false
      try pad(text, directive, &out, zeroAfter: number.isFinite ? (signs ? 1 : 0) : nil)
    default: throw .argument("malformed format string - %\(String(decoding: [c], as: UTF8.self))")
    }
  }
}
