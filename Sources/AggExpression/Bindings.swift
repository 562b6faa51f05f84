public import AggCore
import CAgg

/// What the names of an expression stand for, and the room that evaluations work in.
///
/// One for a thread or a batch; not to be shared. `begin` for every event, then any number of evaluations: what one
/// changes in `record` the next sees, as in Fluentd.
public final class Bindings {
  /// What is the same for all events.
  public struct Host: Sendable {
    public var hostname: String
    public var workerID: Int?
    /// `ENV`.
    public var variables: [String: String]
    /// Where times without a zone are.
    public var zone: Zone
    public init(hostname: String, workerID: Int? = nil, variables: [String: String] = [:], zone: Zone = .utc) {
      self.hostname = hostname
      self.workerID = workerID
      self.variables = variables
      self.zone = zone
    }
  }

  /// What one evaluation may use.
  public struct Limits: Sendable {
    /// Method calls, block calls and elements worked on.
    public var steps = 100_000
    /// Bytes that an evaluation allocates, all counted together.
    public var bytes = 16 << 20
    public init() {}
  }

  public let host: Host
  public var limits = Limits()
  /// `time` is Fluentd's EventTime, as fluent-plugin-record-modifier gives it, rather than a Time.
  public var isTimeEventTime = false
  /// `@name`: what `prepare` set, frozen.
  var variables: [RubyValue] = []

  var time = EventTime(seconds: 0)
  private var view: RecordView?
  private var recordHash: RubyHash?
  private var tagBytes: [UInt8] = []
  private var parts: [RubyValue]?
  private var prefixes: [RubyValue]?
  private var suffixes: [RubyValue]?
  private let hostnameBytes: [UInt8]

  var steps = 0
  var memory = 0
  var recursion = 0
  private var stackBase = 0
  var slots: [RubyValue] = []
  var lastMatch: RubyMatch?
  /// Containers of this event: emptied at its end, so that neither cycles nor deep nesting outlive it.
  private var arrays: [RubyArray] = []
  private var hashes: [RubyHash] = []
  var regexps: [String: RubyRegexp] = [:]
  var strftimes: [[UInt8]: StrftimeProgram] = [:]
  var generator = SystemRandomNumberGenerator()

  public init(_ host: Host) {
    self.host = host
    hostnameBytes = Array(host.hostname.utf8)
  }
  deinit { release() }

  /// Sets the tag for the events that follow.
  public func setTag(_ tag: String) {
    tagBytes = Array(tag.utf8)
    parts = nil
    prefixes = nil
    suffixes = nil
  }

  /// Starts an event; the record's bytes must stay until the next `begin` or the end. Values of the event before become invalid.
  public func begin(_ time: EventTime, _ record: RecordView) {
    if !arrays.isEmpty || !hashes.isEmpty { release() }
    self.time = time
    view = record
    recordHash = nil
    lastMatch = nil
  }

  /// Ends the last event: no value of it may be used after this, and its bytes may go.
  public func end() {
    release()
    view = nil
    recordHash = nil
    lastMatch = nil
    slots = []
  }

  /// What was made so far stays beyond this event: values of `prepare_value`.
  func keepContainers() {
    arrays = []
    hashes = []
  }

  private func release() {
    recordHash = nil
    for array in arrays { array.elements = [] }
    for hash in hashes { hash.removeAll() }
    arrays = []
    hashes = []
    slots = []
  }

  /// Whether an expression set or removed a field of the record itself, not of what nests in it.
  public var isRecordChanged: Bool { recordHash?.isChanged ?? false }
  /// Whether the record was opened beyond single fields, so that something that nests in it may have changed.
  public var isRecordOpened: Bool { recordHash != nil }
  /// The record as it is now, for whoever merges fields into it. The same Hash that expressions see.
  public var record: RubyHash {
    if let recordHash { return recordHash }
    let hash = view.map { RubyHash($0) } ?? RubyHash()
    hash.isWholeRecord = true
    recordHash = hash
    return hash
  }

  /// Sets a field of the record, as `record["key"] = value` does.
  public func set(_ key: [UInt8], _ value: RubyValue) { record[RubyValue(key)] = value }
  public func set(_ key: [UInt8], text: [UInt8]) { set(key, RubyValue(text)) }
  /// `encoded` is one MessagePack value.
  public func set(_ key: [UInt8], encoded: [UInt8]) {
    encoded.withUnsafeBytes { bytes in if let base = bytes.baseAddress { set(key, RubyValue(Value(ValueView(unchecked: base)))) } }
  }

  /// The map or array that came as field `key`, or the text that was changed in place there, as expressions left it; nil
  /// when the field's bytes stand.
  ///
  /// Fluentd's record_transformer copies the record one level deep before it evaluates: a field that an expression sets in
  /// `record` is lost, a change to what nests in one is not.
  public func container(_ key: [UInt8]) -> RubyValue? { recordHash?.opened.first { $0.key == key }?.value }

  /// The record's bytes while no expression has opened it.
  var untouchedRecord: RecordView? { recordHash == nil ? view : nil }

  @inline(__always) func field(_ key: [UInt8]) -> RubyValue {
    guard recordHash == nil, let view else { return record.find(key) ?? .null }
    guard let found = view.find(key) else { return .null }
    switch found.kind {
    case .map, .array: return record.find(key) ?? .null
    default: return RubyValue(found)
    }
  }

  enum Place {
    case value(ValueView)
    case nothing
    /// Only calls can tell: the record was opened, or Ruby would raise.
    case unclear
  }

  /// Where a path of string keys leads in an untouched record.
  func walk(_ keys: [[UInt8]], isDig: Bool) -> Place {
    guard recordHash == nil, let view, let first = keys.first else { return .unclear }
    guard var value = view.find(first) else { return isDig || keys.count == 1 ? .nothing : .unclear }
    for index in keys.indices.dropFirst() {
      guard let map = value.map else { return isDig && value.isNull ? .nothing : .unclear }
      guard let next = map.find(keys[index]) else { return isDig || index == keys.count - 1 ? .nothing : .unclear }
      value = next
    }
    return .value(value)
  }

  func tagPart(_ name: BoundName, _ index: Int) -> RubyValue {
    let list =
      switch name {
      case .tagPrefix: tagPrefixes
      case .tagSuffix: tagSuffixes
      default: tagParts
      }
    let at = index < 0 ? index &+ list.count : index
    return list.indices.contains(at) ? list[at] : .null
  }

  func value(_ name: BoundName) throws(Failure) -> RubyValue {
    switch name {
    case .record: return .hash(record)
    case .tag: return .string(RubyString(tagBytes))
    case .time: return isTimeEventTime ? .ext(RubyExtension(time)) : .time(RubyTime(time, host.zone))
    case .hostname: return .string(RubyString(hostnameBytes))
    // A text, as Fluentd takes it from its environment; empty where no worker runs.
    case .workerID: return RubyValue(host.workerID.map(String.init) ?? "")
    case .tagParts:
      return try array(tagParts)
    case .tagPrefix:
      return try array(tagPrefixes)
    case .tagSuffix:
      return try array(tagSuffixes)
    }
  }

  private var tagPrefixes: [RubyValue] {
    if let prefixes { return prefixes }
    let value = tagParts.indices.map { joined(tagParts[...$0]) }
    prefixes = value
    return value
  }
  private var tagSuffixes: [RubyValue] {
    if let suffixes { return suffixes }
    let value = tagParts.indices.map { joined(tagParts[$0...]) }
    suffixes = value
    return value
  }
  private func joined(_ parts: ArraySlice<RubyValue>) -> RubyValue { RubyValue(Array(parts.map(\.displayBytes).joined(separator: [0x2e]))) }

  /// As Ruby's `split('.')`: empty parts at the end do not count.
  private var tagParts: [RubyValue] {
    if let parts { return parts }
    var cut = tagBytes.split(separator: 0x2e, omittingEmptySubsequences: false)
    while cut.last?.isEmpty == true { cut.removeLast() }
    let value = cut.map { RubyValue(Array($0)) }
    parts = value
    return value
  }

  // MARK: limits

  @inline(__always) func step(_ n: Int = 1) throws(Failure) {
    steps &-= n
    if steps < 0 { throw .limit("takes more than \(limits.steps) steps") }
  }
  /// Stops a recursion before it needs more than the smallest stack has: 512 KiB, of which callers and what is called need some.
  @inline(__always) func deeper() throws(Failure) {
    let place = Int(agg_stack_place())
    if stackBase > place, stackBase &- place > Self.stackLimit { throw .limit("is nested too deep") }
  }
  static let stackLimit = 192 << 10

  @inline(__always) func charge(_ n: Int) throws(Failure) {
    memory &-= max(0, n)
    if memory < 0 || n > limits.bytes { throw .limit("needs more than \(limits.bytes) bytes") }
  }

  /// For a number of elements that an expression chose.
  func charge(_ n: Int, each size: Int) throws(Failure) {
    let (total, overflow) = n.multipliedReportingOverflow(by: size)
    try charge(overflow ? .max : total)
  }

  // MARK: making values

  @inline(__always) func string(_ bytes: [UInt8], isBinary: Bool = false) throws(Failure) -> RubyValue {
    try charge(bytes.count &+ 32)
    return .string(RubyString(bytes, isBinary: isBinary))
  }
  func array(_ elements: [RubyValue]) throws(Failure) -> RubyValue {
    try charge(elements.count &* 24 &+ 64)
    let array = RubyArray(elements)
    arrays.append(array)
    return .array(array)
  }
  func newHash() throws(Failure) -> RubyHash {
    try charge(256)
    let hash = RubyHash()
    hashes.append(hash)
    return hash
  }
  func adopt(_ hash: RubyHash) throws(Failure) -> RubyValue {
    try charge(hash.count &* 64 &+ 256)
    hashes.append(hash)
    return .hash(hash)
  }
  func set(_ hash: RubyHash, _ key: RubyValue, _ value: RubyValue) throws(Failure) {
    try step()
    try charge(64)
    hash[key] = value
  }
  func append(_ array: RubyArray, _ value: RubyValue) throws(Failure) {
    try charge(24)
    array.elements.append(value)
  }

  // MARK: running

  func run(_ node: Node, slots count: Int) throws(EvaluationError) -> RubyValue {
    start(count)
    do throws(Failure) { return try node.evaluate(self) } catch { throw EvaluationError(error) }
  }

  /// As `run`, with the value appended as MessagePack, or nothing when it fails.
  func write(_ node: Node, slots count: Int, into out: inout ByteWriter) throws(EvaluationError) {
    let before = out.count
    start(count)
    do throws(Failure) { try node.write(self, into: &out) } catch {
      out.count = before
      throw EvaluationError(error)
    }
  }

  /// As `write`, with `to_s` of the value.
  func display(_ node: Node, slots count: Int, into out: inout ByteWriter) throws(EvaluationError) {
    let before = out.count
    start(count)
    do throws(Failure) { try node.display(self, into: &out) } catch {
      out.count = before
      throw EvaluationError(error)
    }
  }

  private func start(_ count: Int) {
    steps = limits.steps
    memory = limits.bytes
    recursion = 0
    stackBase = Int(agg_stack_place())
    if count > 0 {
      slots.removeAll(keepingCapacity: true)
      slots.append(contentsOf: repeatElement(.null, count: count))
    }
  }
}

/// Names that the event gives.
enum BoundName: String, CaseIterable {
  case record, tag, time, hostname
  case workerID = "worker_id"
  case tagParts = "tag_parts"
  case tagPrefix = "tag_prefix"
  case tagSuffix = "tag_suffix"
}
