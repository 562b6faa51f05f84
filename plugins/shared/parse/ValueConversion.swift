import AggCore
import Glibc

/// One `types` entry, compiled: what a field's text (or value) becomes.
struct ValueConversion: Sendable {
  enum Kind: UInt8, Sendable { case string, integer, float, bool, time, array }
  let kind: Kind
  let time: TimeParser?
  let delimiter: [UInt8]

  /// Reads `type` or `type:option`; `zones` are the section's own time parameters, which hold where the option names none.
  init(_ text: String, field: String, _ parameters: TimeParameters) throws {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let option = parts.count > 1 ? parts[1] : nil
    var time: TimeParser?
    var delimiter: [UInt8] = []
    switch parts[0] {
    case "string": kind = .string
    case "integer": kind = .integer
    case "float": kind = .float
    case "bool": kind = .bool
    case "array":
      kind = .array
      delimiter = Array((option ?? ",").utf8)
    case "time":
      kind = .time
      time = try Self.timeParser(option, parameters)
    default: throw ConfigValueError("unknown value conversion for key:'\(field)', type:'\(parts[0])'")
    }
    self.time = time
    self.delimiter = delimiter
  }

  /// `[timezone:]format`, where the format may be a time type.
  private static func timeParser(_ option: String?, _ parameters: TimeParameters) throws -> TimeParser {
    var own = parameters
    own.timeType = .string
    own.timeFormat = nil
    own.timezone = nil
    guard let option else { return try TimeParser(own) }
    let parts = option.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    var format: String? = option
    if (try? Zone(configText: parts[0])) != nil {
      own.timezone = parts[0]
      format = parts.count > 1 ? parts[1] : nil
    }
    if let name = format, ["string", "unixtime", "float", "mixed"].contains(name), let type = TimeParameters.TimeType(rawValue: name) {
      own.timeType = type
      format = nil
    }
    own.timeFormat = format
    if own.timeType == .mixed { own.fallbacks = parameters.fallbacks }
    return try TimeParser(own)
  }

  /// Puts the converted text.
  func put(_ text: UnsafeRawBufferPointer, _ out: inout ByteWriter) {
    switch kind {
    case .string: out.putString(text)
    case .integer: out.putRubyInteger(text)
    case .float: out.putRubyFloat(text)
    case .bool: out.putBool(Self.isTrue(text))
    case .time: if let time = time?.parse(text) { out.putEventTime(time) } else { out.putNil() }
    case .array:
      let mark = out.beginArray()
      var count = 0
      RubySplit.split(text, delimiter, limit: 0) { piece in
        out.putString(piece)
        count += 1
      }
      out.end(mark, count: count)
    }
  }

  /// Puts the converted value of a field that is no text.
  func put(_ value: ValueView, _ out: inout ByteWriter) {
    switch (kind, value.kind) {
    case (.integer, .int), (.integer, .uint), (.float, .double): out.append(value.bytes)
    case (.integer, .double):
      let number = value.double ?? 0
      if let whole = Int64(exactly: number.rounded(.towardZero)) { out.putInt(whole) } else { out.putInt(0) }
    case (.float, .int): out.putDouble(Double(value.int64 ?? 0))
    case (.float, .uint): out.putDouble(Double(value.uint64 ?? 0))
    case (.time, .int): put(time?.parse(int: value.int64 ?? 0), &out)
    case (.time, .double): put(time?.parse(double: value.double ?? 0), &out)
    case (.time, _): out.putNil()
    default:
      var text = ByteWriter(capacity: 64)
      RubyText.write(value, into: &text)
      put(text.bytes, &out)
    }
  }

  private func put(_ time: EventTime?, _ out: inout ByteWriter) {
    if let time { out.putEventTime(time) } else { out.putNil() }
  }

  private static func isTrue(_ text: UnsafeRawBufferPointer) -> Bool {
    func equals(_ word: StaticString) -> Bool {
      guard text.count == word.utf8CodeUnitCount else { return false }
      for i in 0..<text.count where text[i] | 0x20 != word.utf8Start[i] { return false }
      return true
    }
    return equals("true") || equals("yes") || (text.count == 1 && text[0] == UInt8(ascii: "1"))
  }
}
