import AggCore

/// Whose something is, before ids are known.
enum HostReference: Hashable, Sendable {
  /// This machine, or the configured `hostid`.
  case own
  case id(String)
  /// A custom identifier, or else an id: what a record's `host` says.
  case named(String)
}

/// What a chunk becomes: requests in a fixed order, made of its events alone, so that a retry makes the same ones.
struct MackerelPlan {
  enum Target: Hashable {
    case checks(HostReference)
    case graphs
    case metadata(HostReference, String)
    case host(HostReference)
    case service(String)

    /// What is waited for least comes first.
    fileprivate var rank: Int {
      switch self {
      case .checks: 0
      case .graphs: 1
      case .metadata: 2
      case .host: 3
      case .service: 4
      }
    }
    /// How many items one request holds. Checks: the API's own limit.
    fileprivate var limit: Int {
      switch self {
      case .checks: 100
      case .graphs: 100
      case .metadata: 1
      case .host, .service: 1000
      }
    }
  }
  struct Item {
    /// The event's index in the chunk.
    var event: Int
    /// JSON in `text`. A host's items lack their beginning, which has the host's id: see `MackerelRequest`.
    var json: Range<Int>
  }
  struct Request {
    var target: Target
    var items: [Item]
  }

  private(set) var requests: [Request] = []
  private(set) var rejections: [Rejection] = []
  private(set) var text: [UInt8] = []
  /// The latest time of a host's metric, in seconds; nil where there is none.
  private(set) var newestMetric: Int64?
  /// The earliest time of any metric.
  private(set) var oldestMetric: Int64?
  /// The checks that have reports here, with their notes.
  private(set) var checks: [String: String] = [:]

  init(_ chunk: ChunkView, _ rules: MackerelRules) {
    var builder = Builder(rules)
    for batch in chunk.batches { builder.add(batch) }
    builder.finish()
    text = builder.out.array
    rejections = builder.rejections
    (newestMetric, oldestMetric, checks) = (builder.newest, builder.oldest, builder.checks)
    for (_, group) in builder.groups.enumerated().sorted(by: {
      ($0.element.target.rank, $0.offset) < ($1.element.target.rank, $1.offset)
    }) {
      var rest = group.items[...]
      while !rest.isEmpty {
        requests.append(Request(target: group.target, items: Array(rest.prefix(group.target.limit))))
        rest = rest.dropFirst(group.target.limit)
      }
    }
  }

  private struct Builder: ~Copyable {
    let rules: MackerelRules
    var out = ByteWriter(capacity: 16 * 1024)
    var groups: [(target: Target, items: [Item])] = []
    var places: [Target: Int] = [:]
    var rejections: [Rejection] = []
    var newest: Int64?
    var oldest: Int64?
    var checks: [String: String] = [:]
    var seen = FieldMetrics.Seen()
    var event = 0

    init(_ rules: MackerelRules) { self.rules = rules }

    mutating func add(_ batch: EventBatch) {
      let target = rules.target(batch.tag)
      batch.forEachEvent { time, record in
        if rules.fields != nil {
          ordinary(record, batch.tag, time.seconds, target)
        } else {
          shaped(record, batch.tag, time.seconds, target)
        }
        event += 1
      }
    }

    mutating func finish() {
      guard let fields = rules.fields else { return }
      var zeros: [(String, Tag, Int64, Int)] = []
      fields.zeros(seen) { zeros.append(($0, $1, $2, $3)) }
      for (name, tag, time, index) in zeros {
        event = index
        metric(name, 0, time, rules.target(tag))
      }
    }

    mutating func refuse(_ reason: String) {
      if rejections.last?.index != event { rejections.append(Rejection(index: event, reason: reason)) }
    }

    private mutating func place(_ target: Target, _ start: Int) {
      let item = Item(event: event, json: start..<out.count)
      if let place = places[target] {
        groups[place].items.append(item)
      } else {
        places[target] = groups.count
        groups.append((target, [item]))
      }
    }

    private mutating func ordinary(_ record: RecordView, _ tag: Tag, _ time: Int64, _ target: Target?) {
      guard let fields = rules.fields else { return }
      guard let target else { return refuse("the tag has no such part for 'hostid'") }
      var found: [(String, Double)] = []
      var problem: String?
      fields.read(record, event, tag, time, &seen) {
        found.append(($0, $1))
      } refuse: {
        problem = problem ?? $0
      }
      if let problem { refuse(problem) }
      for (name, value) in found { metric(name, value, time, target) }
    }

    private mutating func shaped(_ record: RecordView, _ tag: Tag, _ time: Int64, _ target: Target?) {
      if record.find("check") != nil { return check(record, time) }
      if record.find("graph_def") != nil { return graph(record) }
      if record.find("metadata") != nil { return metadata(record) }
      let view: MetricView
      do throws(NotAMetric) { view = try MetricView(record) } catch { return refuse("not a metric: \(error)") }
      var name = MackerelName.cleaned(view.nameText, keepingDots: true)
      for label in view.labelTexts where !label.value.isEmpty {
        name += "." + MackerelName.cleaned(label.value, keepingDots: false)
      }
      if let service = view.service.map({ String(decoding: $0, as: UTF8.self) }) {
        guard MackerelName.isService(service) else { return refuse("'\(service.prefix(70))' cannot be a service's name") }
        return metric(name, view.value, time, .service(service))
      }
      let own = view.host.map { Target.host(.named(String(decoding: $0, as: UTF8.self))) } ?? target
      guard let own else { return refuse("the tag has no such part for 'hostid'") }
      if case .host = own, !MackerelName.isSystem(name) { name = "custom." + name }
      metric(name, view.value, time, own)
    }

    /// The rest of a point: what follows its host's id.
    private mutating func metric(_ name: String, _ time: Int64, _ target: Target, _ value: (inout ByteWriter) -> Void) {
      guard MackerelName.isMetric(name.utf8) else {
        return refuse("'\(name.prefix(100))' cannot be a metric's name; letters, digits, '.', '_' and '-' can, 255 of them")
      }
      let start = out.count
      out.append("\"name\":\"")
      out.append(name)
      out.append("\",\"time\":")
      out.putDecimal(time)
      out.append(",\"value\":")
      value(&out)
      out.append(0x7d as UInt8)
      if case .host = target { newest = max(newest ?? time, time) }
      oldest = min(oldest ?? time, time)
      place(target, start)
    }
    private mutating func metric(_ name: String, _ value: Double, _ time: Int64, _ target: Target?) {
      guard let target else { return }
      guard value.isFinite else { return refuse("the value of \(name.prefix(100)) is \(value)") }
      metric(name, time, target) { $0.putRubyDouble(value) }
    }
    private mutating func metric(_ name: String, _ value: ValueView, _ time: Int64, _ target: Target) {
      if let whole = value.int64 { return metric(name, time, target) { $0.putDecimal(whole) } }
      if let whole = value.uint64 { return metric(name, time, target) { $0.putDecimal(whole) } }
      metric(name, value.double ?? .nan, time, target)
    }

    private mutating func check(_ record: RecordView, _ time: Int64) {
      let report: CheckReport
      do throws(ConfigValueError) { report = try CheckReport(Value(record)) } catch { return refuse(error.message) }
      guard let host = rules.reference(report.host) else {
        return refuse("a check is of a host, and this output is for a service")
      }
      var fields = FieldMap()
      fields["name"] = Value(report.name)
      fields["status"] = Value(report.status.rawValue)
      fields["message"] = Value(report.message)
      fields["occurredAt"] = .int(time)
      if let minutes = report.notificationInterval { fields["notificationInterval"] = .int(minutes) }
      if let attempts = report.maxCheckAttempts { fields["maxCheckAttempts"] = .int(attempts) }
      guard let json = Value.map(fields).json else { return refuse("its message is no text") }
      if host == .own { checks[report.name] = report.memo ?? "" }
      let start = out.count
      out.append(Array(json.dropFirst()))
      place(.checks(host), start)
    }

    private mutating func graph(_ record: RecordView) {
      let value = Value(record)
      guard let name = value["graph_def"]?.text, MackerelName.isGraph(name) else {
        return refuse("'graph_def' cannot be a graph's name: custom.NAME…")
      }
      var fields = FieldMap()
      fields["name"] = Value(name)
      if let label = value["display_name"] { fields["displayName"] = label }
      if let unit = value["unit"] { fields["unit"] = unit }
      fields["metrics"] = .array(
        (value["metrics"]?.array ?? []).map { metric in
          var one = FieldMap()
          one["name"] = metric["name"]
          if let label = metric["display_name"] { one["displayName"] = label }
          one["isStacked"] = metric["is_stacked"] ?? .bool(false)
          return .map(one)
        })
      guard let json = Value.map(fields).json else { return refuse("the graph definition holds what JSON cannot") }
      let start = out.count
      out.append(json)
      place(.graphs, start)
    }

    private mutating func metadata(_ record: RecordView) {
      let value = Value(record)
      guard let namespace = value["metadata"]?.text, MackerelName.isPlain(namespace) else {
        return refuse("'metadata' cannot be a namespace")
      }
      guard let host = rules.reference(value["host"]?.text) else {
        return refuse("metadata is of a host, and this output is for a service")
      }
      guard let json = (value["value"] ?? .null).json else { return refuse("the metadata holds what JSON cannot") }
      let start = out.count
      out.append(json)
      place(.metadata(host, namespace), start)
    }
  }
}
