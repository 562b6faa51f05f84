public import AggCore
import Glibc

/// Labelled values: `label:value TAB label:value`.
public struct LTSVParser: Parser {
  public struct Config: ParseConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters(timeKey: "time")
    var delimiter = "\t"
    var delimiterPattern: Regexp?
    var labelDelimiter = ":"
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("delimiter", \.delimiter, "Between the fields"),
        .optional("delimiter_pattern", \.delimiterPattern, "As an expression; wins over delimiter"),
        .optional("label_delimiter", \.labelDelimiter, "Between a field's label and its value"),
      ] + parseRows
  }
  public static let name = "ltsv"
  public static let summary = "Labelled values between tabs."
  private let rules: ParseRules
  private let delimiter: [UInt8]
  private let labelDelimiter: [UInt8]
  private let pattern: Regexp?

  public init(_ config: Config, _ context: PluginContext) throws {
    rules = try ParseRules(config.parse, config.time)
    delimiter = Array(config.delimiter.utf8)
    labelDelimiter = Array(config.labelDelimiter.utf8)
    pattern = config.delimiterPattern
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var writer = FieldWriter(rules)
    var pairs = LabelPairs()
    return parse(text, &pairs, &writer, into: &batch, &context)
  }

  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    var writer = FieldWriter(rules)
    var pairs = LabelPairs()
    forEachLine(block) { line, offset in
      if case .rejected(let reason) = parse(line, &pairs, &writer, into: &batch, &context) {
        context.rejects.append((offset..<offset + line.count, reason))
      }
    }
  }

  @inline(__always)
  private func parse(
    _ line: UnsafeRawBufferPointer, _ pairs: inout LabelPairs, _ writer: inout FieldWriter, into batch: inout BatchBuilder,
    _ context: inout ParseContext
  ) -> ParseOutcome {
    pairs.removeAll()
    if pattern == nil, delimiter.count == 1, labelDelimiter.count == 1, delimiter[0] != 0x20, labelDelimiter[0] != 0x20 {
      scan(line, &pairs)
    } else {
      split(line, &pairs)
    }
    writer.begin(&batch, room: line.count, fields: pairs.count)
    for i in 0..<pairs.count {
      let pair = pairs[i]
      let key = UnsafeRawBufferPointer(start: pair.key, count: pair.keyLength)
      writer.put(key: key, UnsafeRawBufferPointer(start: pair.value, count: pair.valueLength), &batch)
    }
    return writer.finish(&batch, &context)
  }

  /// One pass for delimiters of one byte.
  @inline(__always) private func scan(_ line: UnsafeRawBufferPointer, _ pairs: inout LabelPairs) {
    guard let base = line.baseAddress else { return }
    let (between, within) = (delimiter[0], labelDelimiter[0])
    var at = 0
    while at < line.count {
      let end = ByteScan.find(base, at, line.count, between)
      let label = ByteScan.find(base, at, end, within)
      if label < end { pairs.add(base + at, label &- at, base + (label &+ 1), end &- label &- 1) }
      at = end &+ 1
    }
  }

  private func split(_ line: UnsafeRawBufferPointer, _ pairs: inout LabelPairs) {
    if let pattern { pattern.split(line) { add($0, &pairs) } } else { RubySplit.split(line, delimiter, limit: 0) { add($0, &pairs) } }
  }

  private func add(_ piece: UnsafeRawBufferPointer, _ pairs: inout LabelPairs) {
    var key: UnsafeRawBufferPointer?
    RubySplit.split(piece, labelDelimiter, limit: 2) { part in
      if let name = key {
        if let key = name.baseAddress ?? piece.baseAddress, let value = part.baseAddress ?? piece.baseAddress {
          pairs.add(key, name.count, value, part.count)
        }
      } else {
        key = part
      }
    }
  }
}

/// The pairs of one line; a label that comes again changes the first one's value, as in a Ruby Hash.
private struct LabelPairs {
  struct Pair {
    var key: UnsafeRawPointer
    var keyLength: Int
    var value: UnsafeRawPointer
    var valueLength: Int
  }
  private var pairs: ContiguousArray<Pair> = []
  /// A bit for each label's hash: only a bit that is set already makes it look through the labels.
  private var seen: UInt64 = 0

  var count: Int { pairs.count }
  subscript(_ index: Int) -> Pair { pairs[index] }

  mutating func removeAll() {
    pairs.removeAll(keepingCapacity: true)
    seen = 0
  }

  @inline(__always) mutating func add(_ key: UnsafeRawPointer, _ keyLength: Int, _ value: UnsafeRawPointer, _ valueLength: Int) {
    var word: UInt64 = UInt64(truncatingIfNeeded: keyLength)
    if keyLength > 0 {
      word |= UInt64(ByteScan.byte(key, 0)) << 8 | UInt64(ByteScan.byte(key, keyLength &- 1)) << 16
        | UInt64(ByteScan.byte(key, keyLength / 2)) << 24
    }
    let bit: UInt64 = 1 << ((word &* 0x9e37_79b9_7f4a_7c15) >> 58)
    if seen & bit != 0 {
      for i in pairs.indices where pairs[i].keyLength == keyLength && memcmp(pairs[i].key, key, keyLength) == 0 {
        pairs[i].value = value
        pairs[i].valueLength = valueLength
        return
      }
    }
    seen |= bit
    pairs.append(Pair(key: key, keyLength: keyLength, value: value, valueLength: valueLength))
  }
}
