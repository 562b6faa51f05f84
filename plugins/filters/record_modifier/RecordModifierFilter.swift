public import AggCore
import AggExpression

/// Sets, removes and keeps fields, and replaces text in them.
///
/// Source: fluent-plugin-record-modifier 2.2. Its values are Ruby, of which agg runs what docs/EXPRESSIONS.md lists.
public struct RecordModifierFilter: Filter {
  public struct Record: Configurable {
    var entries: [ConfigElement.Entry] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [.rest(\.entries, "field and its value, with ${…} expressions")]
  }
  public struct Replace: Configurable {
    var key = ""
    var expression: Regexp?
    var replace = ""
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("key", \.key, "Field whose text is changed"),
      .required("expression", \.expression, "Regular expression, /…/"),
      .required("replace", \.replace, "What each match becomes; \\\\0 is the match, \\\\1 … its groups"),
    ]
  }
  public struct Config: Configurable {
    var records: [Record] = []
    var replaces: [Replace] = []
    var removeKeys: [String]?
    var whitelistKeys: [String]?
    var charEncoding: String?
    var prepareValue: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .sections("record", \.records, "Fields to set, in order; ${…} holds Ruby: docs/EXPRESSIONS.md lists what agg runs"),
      .sections("replace", \.replaces, "Text to replace in a field"),
      .optional("remove_keys", \.removeKeys, "Fields to remove, $.nested.ones too"),
      .optional("whitelist_keys", \.whitelistKeys, "Fields to keep; those of <record> stay too"),
      .optional("char_encoding", \.charEncoding, "from:to, encodings of all texts"),
      .optional("prepare_value", \.prepareValue, "Ruby that sets @variables once, for <record> to use"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if removeKeys != nil, whitelistKeys != nil { throw ConfigValueError("'remove_keys' and 'whitelist_keys' exclude each other") }
      if let charEncoding {
        let names = charEncoding.split(separator: ":", maxSplits: 1).map(String.init)
        for name in names where !TextEncoding.isKnown(name) { throw ConfigValueError("'char_encoding' has an unknown encoding '\(name)'") }
        if names.isEmpty { throw ConfigValueError("'char_encoding' wants from:to") }
      }
    }
  }
  public static let name = "record_modifier"
  public static let summary = "Sets, removes and keeps fields."

  private struct Change: Sendable {
    var key: [UInt8]
    var expression: Regexp
    var replacement: RegexpReplacement
  }
  private let fields: [(key: [UInt8], value: RecordTemplate)]
  private let pool: BindingsPool
  /// A value depends on what those before it set, or changes the record: they are evaluated one after the other.
  private let isSequential: Bool
  private let removed: [RecordPath]
  private let kept: [[UInt8]]?
  private let changes: [Change]
  /// From and to; only where both are given does anything change in bytes.
  private let encodings: (from: String, to: String)?
  private let hostname: String

  public init(_ config: Config, _ context: PluginContext) throws {
    hostname = context.system.hostname
    let place = context.element.entry("prepare_value")?.at ?? context.element.at
    let preparation: Preparation?
    do throws(ExpressionError) {
      if let code = config.prepareValue { preparation = try Preparation(code) } else { preparation = nil }
    } catch { throw ConfigError(at: place, error.mistake("prepare_value")) }
    do throws(EvaluationError) { pool = try BindingsPool(context, preparation: preparation, isTimeEventTime: true) } catch {
      throw ConfigError(at: place, error.reason("prepare_value"))
    }
    var fields: [(key: [UInt8], value: RecordTemplate)] = []
    var errors: [ConfigError] = []
    for entry in config.records.flatMap(\.entries) {
      do throws(ExpressionError) { fields.append((Array(entry.name.utf8), try Self.template(entry, preparation))) } catch {
        errors.append(ConfigError(at: entry.at, error.mistake(entry.name)))
      }
    }
    if !errors.isEmpty { throw ConfigErrors(errors) }
    self.fields = fields
    isSequential = Self.isSequential(fields)
    removed = try (config.removeKeys ?? []).map { try RecordPath($0) }
    var kept = config.whitelistKeys.map { $0.map { Array($0.utf8) } }
    for field in fields where !(kept?.contains(field.key) ?? true) { kept?.append(field.key) }
    self.kept = kept
    changes = config.replaces.compactMap { change in
      change.expression.map { Change(key: Array(change.key.utf8), expression: $0, replacement: RegexpReplacement(change.replace)) }
    }
    let names = config.charEncoding.map { $0.split(separator: ":", maxSplits: 1).map(String.init) } ?? []
    encodings = names.count == 2 ? (names[0], names[1]) : nil
  }

  /// A value without `${` is taken as it is.
  private static func template(_ entry: ConfigElement.Entry, _ preparation: Preparation?) throws(ExpressionError) -> RecordTemplate {
    guard case .text(let text) = entry.value else { return .constant([0xc0]) }
    if text.contains("${") { return try RecordTemplate(ruby: text, preparation: preparation) }
    return .text([.literal(Array(text.utf8))])
  }

  private static func isSequential(_ fields: [(key: [UInt8], value: RecordTemplate)]) -> Bool {
    var set: Set<[UInt8]> = []
    for field in fields {
      if case .expression(let template) = field.value {
        if template.traits.changesRecord { return true }
        if !set.isEmpty, template.traits.fields.map({ !$0.isDisjoint(with: set) }) ?? true { return true }
      }
      set.insert(field.key)
    }
    return false
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    var failures = Failures()
    // The fields come first, as they are set; what is kept is chosen from the result.
    var result = pool.with(batch.tag) { isSequential ? assigned(batch, $0, &failures) : edited(batch, $0, &failures) }
    failures.report(batch.tag, &sink)
    if let kept {
      let keeper = RecordPlan(fields: [], removed: [], kept: kept, timeKey: nil)
      var writer = RecordWriter(keeper)
      result = result.rewritten { time, record, out in
        out.begin(room: 256)
        writer.write(record, time, &out.writer)
        out.commit(time: time)
      }
    }
    for change in changes { result = replaced(result, change) }
    if let encodings { result = try converted(result, encodings) }
    return result
  }

  /// Sets the fields in the record's bytes.
  private func edited(_ batch: EventBatch, _ bindings: Bindings, _ failures: inout Failures) -> EventBatch {
    let scope = RecordValue.Scope(tag: batch.tag, hostname: hostname, typecast: true, bindings: bindings)
    let plan = RecordPlan(fields: fields.map { ($0.key, RecordValue($0.value, scope)) }, removed: removed, kept: nil, timeKey: nil)
    var writer = RecordWriter(plan, bindings)
    return batch.rewritten { time, record, out in
      do throws(RecordFailure) { try writer.evaluate(record, time) } catch { return failures.add(time, record, error.reason) }
      out.begin(room: 256)
      writer.write(record, time, &out.writer)
      out.commit(time: time)
    }
  }

  /// Sets one field after the other in the record that expressions see, and removes what is to be removed from the result.
  private func assigned(_ batch: EventBatch, _ bindings: Bindings, _ failures: inout Failures) -> EventBatch {
    var writer = RecordWriter(RecordPlan(fields: [], removed: removed, kept: nil, timeKey: nil))
    var whole = ByteWriter(capacity: 1024)
    return batch.rewritten { time, record, out in
      bindings.begin(time, record)
      whole.removeAll()
      for field in fields {
        do throws(EvaluationError) {
          switch field.value {
          case .expression(let template): bindings.set(field.key, try template.evaluate(bindings))
          case .constant(let bytes): bindings.set(field.key, encoded: bytes)
          case .text(let pieces): if case .literal(let bytes)? = pieces.first { bindings.set(field.key, text: bytes) } else { bindings.set(field.key, text: []) }
          case .array, .map: break
          }
        } catch {
          if case .expression(let template) = field.value { failures.add(time, record, error.reason(template.source)) }
          return
        }
      }
      do throws(EvaluationError) { try RubyValue.hash(bindings.record).write(into: &whole) } catch { return failures.add(time, record, error.message) }
      guard let base = whole.bytes.baseAddress else { return }
      out.begin(room: whole.count)
      if removed.isEmpty { out.writer.append(whole.bytes) } else { writer.write(RecordView(unchecked: ValueView(unchecked: base)), time, &out.writer) }
      out.commit(time: time)
    }
  }

  private func replaced(_ batch: EventBatch, _ change: Change) -> EventBatch {
    var matcher = change.expression.matcher()
    var text = ByteWriter(capacity: 256)
    return batch.rewritten { time, record, out in
      out.begin(room: record.bytes.count)
      guard let value = record.find(change.key), let old = value.textBytes else {
        out.writer.append(record.bytes)
        return out.commit(time: time)
      }
      text.removeAll()
      change.replacement.replaceAll(old, &matcher, into: &text)
      out.writer.putMapHeader(record.fieldCount)
      record.forEachField { name, value in
        out.writer.append(name.bytes)
        if name.stringBytes?.elementsEqual(change.key) ?? false { out.writer.putString(text.bytes) } else { out.writer.append(value.bytes) }
      }
      out.commit(time: time)
    }
  }

  private func converted(_ batch: EventBatch, _ encodings: (from: String, to: String)) throws(FilterError) -> EventBatch {
    do {
      var encoding = try TextEncoding(from: encodings.from, to: encodings.to)
      var text = ByteWriter(capacity: 256)
      return batch.rewritten { time, record, out in
        out.begin(room: record.bytes.count * 2)
        Self.convert(record.value, &encoding, &text, &out.writer)
        out.commit(time: time)
      }
    } catch { throw FilterError("char_encoding: \(error)") }
  }
  private static func convert(_ value: ValueView, _ encoding: inout TextEncoding, _ text: inout ByteWriter, _ out: inout ByteWriter) {
    if let bytes = value.textBytes {
      text.removeAll()
      encoding.convert(bytes, into: &text)
      return out.putString(text.bytes)
    }
    switch value.kind {
    case .map:
      out.putMapHeader(value.count)
      value.map?.forEachField { name, inner in
        out.append(name.bytes)
        convert(inner, &encoding, &text, &out)
      }
    case .array:
      out.putArrayHeader(value.count)
      value.forEachElement { convert($0, &encoding, &text, &out) }
    default: out.append(value.bytes)
    }
  }
}

/// A replacement as Ruby's `gsub` reads it: `\0` is the match, `\1` … `\9` its groups, `\\` a backslash.
struct RegexpReplacement: Sendable {
  private enum Piece: Sendable {
    case literal([UInt8])
    case group(Int)
  }
  private let pieces: [Piece]

  init(_ text: String) {
    var pieces: [Piece] = []
    var literal: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let next = rest.first, (0x30...0x39).contains(next) || next == byte else {
        literal.append(byte)
        continue
      }
      rest = rest.dropFirst()
      if next == byte { literal.append(byte) } else {
        pieces += [.literal(literal), .group(Int(next) - 48)]
        literal = []
      }
    }
    self.pieces = pieces + [.literal(literal)]
  }

  func replaceAll(_ text: UnsafeRawBufferPointer, _ matcher: inout RegexpMatcher, into out: inout ByteWriter) {
    var from = 0
    var copied = 0
    while from <= text.count, matcher.match(text, from: from), let range = matcher.range(of: 0) {
      out.append(UnsafeRawBufferPointer(rebasing: text[copied..<max(copied, range.lowerBound)]))
      for piece in pieces {
        switch piece {
        case .literal(let bytes): out.append(bytes)
        case .group(let n): if let group = matcher.range(of: n) { out.append(UnsafeRawBufferPointer(rebasing: text[group])) }
        }
      }
      copied = max(copied, range.upperBound)
      if range.isEmpty {
        // An empty match: one character stays and is passed.
        var next = copied + 1
        while next < text.count, text[next] & 0xc0 == 0x80 { next += 1 }
        from = next
        let end = min(next, text.count)
        if copied < end { out.append(UnsafeRawBufferPointer(rebasing: text[copied..<end])) }
        copied = end
      } else {
        from = range.upperBound
      }
    }
    if copied < text.count { out.append(UnsafeRawBufferPointer(rebasing: text[copied...])) }
  }
}
