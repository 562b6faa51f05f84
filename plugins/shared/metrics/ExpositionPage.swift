import AggCore

/// A page of metrics in Prometheus' text format 0.0.4 or in OpenMetrics 1.0; every producer adds to families by name.
///
/// A family is told once, with all its samples together, however many producers know some of it. What two producers type
/// differently keeps the first type, and the second's samples are left out: a page with both would be refused whole.
struct ExpositionPage: ~Copyable {
  enum Format: Sendable {
    case text, openMetrics
    var contentType: String {
      switch self {
      case .text: "text/plain; version=0.0.4; charset=utf-8"
      case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
      }
    }
    /// OpenMetrics where the client's `Accept` names it.
    init(accept: String?) { self = accept?.contains("application/openmetrics-text") ?? false ? .openMetrics : .text }
  }

  struct Family {
    let name: String
    let kind: MetricKind
    let help: String
    var samples: [UInt8] = []
  }

  let format: Format
  /// Written as a label of every sample that does not have one of that name: which worker the page is of.
  private let worker: [UInt8]
  private var families: [Family] = []
  private var places: [String: Int] = [:]

  /// `system`: of a daemon with several workers, whose pages are shown together.
  init(_ format: Format = .text, of system: SystemInfo? = nil) {
    self.format = format
    worker = system.flatMap { $0.workers > 1 ? Array("worker_id=\"\($0.workerID)\"".utf8) : nil } ?? []
  }

  /// Adds samples of one family; `name` is the text format's (`…_total` for a counter). Without samples it is left out.
  mutating func family(_ name: String, _ kind: MetricKind, _ help: String, _ body: (inout ExpositionSamples) -> Void) {
    let place: Int
    if let known = places[name] {
      if families[known].kind != kind { return }
      place = known
    } else {
      place = families.count
      places[name] = place
      families.append(Family(name: name, kind: kind, help: help))
    }
    var samples = ExpositionSamples(name: name, format: format, worker: worker, bytes: families[place].samples)
    families[place].samples = []
    body(&samples)
    families[place].samples = samples.bytes
  }

  consuming func finish() -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(families.reduce(64) { $0 + $1.samples.count + $1.help.utf8.count + 80 })
    for family in families where !family.samples.isEmpty {
      let (name, type) = Self.title(family, format)
      out += "# HELP \(name) ".utf8
      ExpositionText.append(escaped: family.help.utf8, quotes: format == .openMetrics, to: &out)
      out += "\n# TYPE \(name) \(type)\n".utf8
      out += family.samples
    }
    if format == .openMetrics { out += "# EOF\n".utf8 }
    return out
  }

  /// In OpenMetrics a counter's family is named without `_total`. One whose samples have no such ending would have to be
  /// renamed; series keep their names in both formats instead, and it is of unknown type there.
  private static func title(_ family: Family, _ format: Format) -> (String, String) {
    switch (format, family.kind) {
    case (.text, let kind): return (family.name, kind.rawValue)
    case (.openMetrics, .counter):
      return family.name.hasSuffix("_total") ? (String(family.name.dropLast(6)), "counter") : (family.name, "unknown")
    case (.openMetrics, .untyped): return (family.name, "unknown")
    case (.openMetrics, let kind): return (family.name, kind.rawValue)
    }
  }
}

/// The samples of one family while they are written.
struct ExpositionSamples {
  let name: String
  let format: ExpositionPage.Format
  fileprivate let worker: [UInt8]
  fileprivate(set) var bytes: [UInt8]

  /// Adds `NAME SUFFIX {labels} value`; suffix and labels may be empty. `time` only where the value is not of now.
  mutating func add(_ labels: [(String, String)], _ value: Double, suffix: String = "", time: EventTime? = nil) {
    var text: [UInt8] = []
    for (name, value) in labels { ExpositionText.append(label: name.utf8, value.utf8, to: &text) }
    add(labels: text, value, suffix: suffix, time: time)
  }

  /// As above, with labels that `ExpositionText.append(label:…)` wrote.
  mutating func add(labels: [UInt8], _ value: Double, suffix: String = "", time: EventTime? = nil) {
    bytes += name.utf8
    bytes += suffix.utf8
    let isOwn = worker.isEmpty || Self.hasWorker(labels)
    if !labels.isEmpty || !isOwn {
      bytes.append(UInt8(ascii: "{"))
      bytes += labels
      if !isOwn {
        if !labels.isEmpty { bytes.append(UInt8(ascii: ",")) }
        bytes += worker
      }
      bytes.append(UInt8(ascii: "}"))
    }
    bytes.append(UInt8(ascii: " "))
    bytes += ExpositionText.number(value).utf8
    if let time {
      let milliseconds = Int64(time.nanoseconds / 1_000_000)
      switch format {
      case .text: bytes += " \(time.seconds &* 1000 &+ milliseconds)".utf8
      case .openMetrics: bytes += " \(time.seconds).\(String(milliseconds + 1000).dropFirst())".utf8
      }
    }
    bytes.append(UInt8(ascii: "\n"))
  }
}

extension ExpositionSamples {
  /// Whether one of the labels is worker_id; inside a value a quote would be escaped.
  private static func hasWorker(_ labels: [UInt8]) -> Bool {
    let name = Array("worker_id=\"".utf8)
    return labels.indices.contains { at in (at == 0 || labels[at - 1] == UInt8(ascii: ",")) && labels[at...].starts(with: name) }
  }
}

/// How names, labels and numbers look in both formats.
enum ExpositionText {
  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    return value == value.rounded() && value.magnitude < 1e15 ? String(Int64(value)) : "\(value)"
  }

  /// The bound of a bucket, as Prometheus writes it in both formats: `1.0`, `0.25`.
  static func bound(_ value: Double) -> String { value.magnitude < 1e15 ? "\(value)" : number(value) }

  /// Appends `name="value"`, after a comma where it is not the first. Bytes that are no UTF-8 become U+FFFD.
  static func append(label name: some Sequence<UInt8>, _ value: some Sequence<UInt8>, to out: inout [UInt8]) {
    if !out.isEmpty { out.append(UInt8(ascii: ",")) }
    out.append(contentsOf: name)
    out += [UInt8(ascii: "="), UInt8(ascii: "\"")]
    append(escaped: value, quotes: true, to: &out)
    out.append(UInt8(ascii: "\""))
  }

  static func append(escaped text: some Sequence<UInt8>, quotes: Bool, to out: inout [UInt8]) {
    for byte in text {
      switch byte {
      case UInt8(ascii: "\\"): out += [0x5c, 0x5c]
      case UInt8(ascii: "\n"): out += [0x5c, UInt8(ascii: "n")]
      case UInt8(ascii: "\"") where quotes: out += [0x5c, 0x22]
      default: out.append(byte)
      }
    }
  }

  /// `[a-zA-Z_:][a-zA-Z0-9_:]*`.
  static func isMetricName(_ name: some Collection<UInt8>) -> Bool { isName(name, colons: true) }
  /// `[a-zA-Z_][a-zA-Z0-9_]*`.
  static func isLabelName(_ name: some Collection<UInt8>) -> Bool { isName(name, colons: false) }

  private static func isName(_ name: some Collection<UInt8>, colons: Bool) -> Bool {
    guard let first = name.first, !(0x30...0x39).contains(first) else { return false }
    return name.allSatisfy { isNameByte($0, colons) }
  }
  private static func isNameByte(_ byte: UInt8, _ colons: Bool) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "_"): true
    case UInt8(ascii: ":"): colons
    default: false
    }
  }

  /// The name with `_` for what may not stand in one (and before a digit at the start): `cpu.user` is `cpu_user`.
  static func name(_ text: String, colons: Bool) -> String {
    if isName(text.utf8, colons: colons) { return text }
    var bytes: [UInt8] = []
    for scalar in text.unicodeScalars {
      bytes.append(scalar.isASCII && isNameByte(UInt8(scalar.value), colons) ? UInt8(scalar.value) : 0x5f)
    }
    if bytes.first.map({ (0x30...0x39).contains($0) }) ?? true { bytes.insert(0x5f, at: 0) }
    return String(decoding: bytes, as: UTF8.self)
  }
}
