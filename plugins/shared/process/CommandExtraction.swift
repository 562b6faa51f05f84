import AggCore

/// `<extract>`: takes tag and time of an event out of its record.
struct CommandExtraction: Sendable {
  struct Config: Configurable {
    var tagKey: String?
    var keepTagKey = false
    var timeKey: String?
    var keepTimeKey = false
    var timeType: TimeParameters.TimeType?
    var time = TimeParameters(timeType: .float)
    init() {}
    static let parameters: [Parameter<Self>] = [
      .optional("tag_key", \.tagKey, "Field that holds the tag"),
      .optional("keep_tag_key", \.keepTagKey, "Leave it in the record"),
      .optional("time_key", \.timeKey, "Field that holds the time"),
      .optional("keep_time_key", \.keepTimeKey, "Leave it in the record"),
      .optional("time_type", \.timeType, "float, unixtime or string; default float, with time_format string"),
      .optional("time_format", \.time.timeFormat, "strftime format of the time, or %iso8601"),
      .optional("localtime", \.time.localtime, "Times without a zone are the machine's"),
      .optional("utc", \.time.utc, "Times without a zone are UTC"),
      .optional("timezone", \.time.timezone, "Zone of times without one: +HH:MM or Region/Zone"),
    ]
    mutating func validate(_ context: ConfigContext) throws {
      time.timeType = timeType ?? (time.timeFormat == nil ? .float : .string)
      if timeKey != nil { _ = try TimeParser(time) }
    }
  }

  private let tagKey: [UInt8]?
  private let timeKey: [UInt8]?
  private let keepsTag: Bool
  private let keepsTime: Bool
  private let timeParser: TimeParser?
  private let fallback: Tag?
  private let prefix: String
  /// Events that the parser gave a time keep it.
  private let parserHasTime: Bool

  var givesTag: Bool { tagKey != nil }

  /// `prefix` goes before tags from records; `tag` is for records without one.
  init(_ config: Config?, tag: String?, prefix: String = "", parserHasTime: Bool) throws {
    tagKey = config?.tagKey.map { Array($0.utf8) }
    timeKey = config?.timeKey.map { Array($0.utf8) }
    keepsTag = config?.keepTagKey ?? false
    keepsTime = config?.keepTimeKey ?? false
    timeParser = try config?.timeKey == nil ? nil : config.map { try TimeParser($0.time) }
    fallback = tag.map { Tag($0) }
    self.prefix = prefix
    self.parserHasTime = parserHasTime
  }

  struct Result {
    var batches: [EventBatch] = []
    var rejected = 0
    var reason = ""
  }

  /// Batches by tag, in the order in which the tags came first. `now` is the time that the parser gave events without one.
  func apply(_ batch: EventBatch, now: EventTime) -> Result {
    var result = Result()
    if tagKey == nil, timeKey == nil {
      result.batches = [batch]
      return result
    }
    var tags: [Tag] = []
    var numbers: [Tag: Int] = [:]
    var choice: [Int] = []
    choice.reserveCapacity(batch.count)
    var last: (text: String, number: Int)?
    batch.forEachEvent { _, record in
      guard let text = tagText(record) else { return choice.append(-1) }
      if let last, last.text == text { return choice.append(last.number) }
      var bytes = text
      guard let tag = bytes.withUTF8({ Tag(validating: UnsafeRawBufferPointer($0)) }) else { return choice.append(-1) }
      let number = numbers[tag] ?? tags.count
      if number == tags.count {
        tags.append(tag)
        numbers[tag] = number
      }
      last = (text, number)
      choice.append(number)
    }
    let untagged = choice.reduce(0) { $0 + ($1 < 0 ? 1 : 0) }
    if untagged > 0 { note(untagged, "no tag, or one that cannot be a tag", &result) }
    for (number, tag) in tags.enumerated() {
      var index = -1
      let part = batch.rewritten { time, record, out in
        index += 1
        guard choice[index] == number else { return }
        guard let time = self.time(record, time, now) else { return note(1, "its time cannot be read", &result) }
        write(record, at: time.0, tookTime: time.1, &out)
      }
      if !part.isEmpty { result.batches.append(part.tagged(tag)) }
    }
    return result
  }

  private func note(_ n: Int, _ reason: String, _ result: inout Result) {
    result.rejected += n
    if result.reason.isEmpty { result.reason = reason }
  }

  private func tagText(_ record: RecordView) -> String? {
    guard let tagKey, let value = record.find(tagKey) else { return fallback?.description }
    if let text = value.string { return prefix + text }
    var out = ByteWriter(capacity: 64)
    guard JSONFormatter.write(value, into: &out) else { return nil }
    return value.isNull ? prefix : prefix + out.string
  }

  /// The event's time and whether it came from the field; nil when the field is no time.
  private func time(_ record: RecordView, _ time: EventTime, _ now: EventTime) -> (EventTime, Bool)? {
    guard let timeKey, let timeParser, !parserHasTime || time == now, let value = record.find(timeKey) else { return (time, false) }
    let found: EventTime?
    if let text = value.stringBytes { found = timeParser.parse(text) } else if let int = value.int64 { found = timeParser.parse(int: int) } else {
      found = value.double.flatMap { timeParser.parse(double: $0) }
    }
    return found.map { ($0, true) }
  }

  private func write(_ record: RecordView, at time: EventTime, tookTime: Bool, _ out: inout BatchBuilder) {
    var left = 0
    record.forEachField { name, _ in if stays(name, tookTime) { left += 1 } }
    out.begin(room: record.bytes.count + 8)
    out.writer.putMapHeader(left)
    record.forEachField { name, value in
      if stays(name, tookTime) {
        out.writer.append(name.bytes)
        out.writer.append(value.bytes)
      }
    }
    out.commit(time: time)
  }
  private func stays(_ name: ValueView, _ tookTime: Bool) -> Bool {
    guard let name = name.stringBytes else { return true }
    if !keepsTag, let tagKey, name.elementsEqual(tagKey) { return false }
    if !keepsTime, tookTime, let timeKey, name.elementsEqual(timeKey) { return false }
    return true
  }
}
