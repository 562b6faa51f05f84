import Glibc

/// A time zone: UTC, a fixed offset, or the rules of a TZif file.
public struct Zone: Sendable {
  enum Kind: Sendable {
    case utc
    case fixed(Int)
    case rules(ZoneRules)
  }
  let kind: Kind

  /// Prints as `UTC` (`%Z`), and as `Z` in ISO 8601; `fixed(0)` prints as `+00:00`.
  public static let utc = Zone(kind: .utc)
  /// Seconds east of Greenwich.
  public static func fixed(_ seconds: Int) -> Zone { Zone(kind: .fixed(max(-86399, min(86399, seconds)))) }

  init(kind: Kind) { self.kind = kind }

  /// `Asia/Tokyo`, from the system's database; nil when it is not there.
  public init?(named name: String, directory: String = "/usr/share/zoneinfo") {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard !name.isEmpty, name.utf8.count < 256, parts.allSatisfy({ !$0.isEmpty && $0 != ".." && $0 != "." }),
      !name.utf8.contains(0), let rules = ZoneRules(file: directory + "/" + name)
    else { return nil }
    kind = .rules(rules)
  }

  /// The content of a TZif file.
  public init?(tzif bytes: UnsafeRawBufferPointer) {
    guard let rules = ZoneRules(tzif: bytes) else { return nil }
    kind = .rules(rules)
  }

  /// A POSIX rule such as `EST5EDT,M3.2.0,M11.1.0`.
  public init?(posix text: String) {
    guard let rule = PosixZone(text) else { return nil }
    kind = .rules(ZoneRules(rule))
  }

  /// What Fluentd's `timezone` takes: `+09:00`, `+0900`, `+09`, `Region/Zone`, `Region/Zone/Zone`.
  public init(configText text: String) throws(ConfigValueError) {
    if let offset = Self.numericOffset(text) {
      kind = .fixed(offset)
      return
    }
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).count
    guard parts == 2 || parts == 3, let zone = Zone(named: text) else {
      throw ConfigValueError("Unsupported timezone '\(text)'; use +HH:MM or Region/Zone")
    }
    self = zone
  }

  /// The machine's zone as libc finds it: `TZ`, else /etc/localtime, else UTC. Reads files: keep the result.
  public static func local() -> Zone { local(environment: getenv("TZ").map { String(cString: $0) }) }

  /// The zone that a value of `TZ` means.
  public static func local(environment: String?) -> Zone {
    guard let name = environment else { return Zone(kind: ZoneRules(file: "/etc/localtime").map { .rules($0) } ?? .utc) }
    let text = name.hasPrefix(":") ? String(name.dropFirst()) : name
    if text.isEmpty || text == "UTC" || text == "UTC0" {
      return Zone(kind: ZoneRules(PosixZone("UTC0")).map { .rules($0) } ?? .utc)
    }
    if text.hasPrefix("/") { return Zone(kind: ZoneRules(file: text).map { .rules($0) } ?? .utc) }
    return Zone(named: text) ?? Zone(posix: text) ?? Zone(kind: ZoneRules(PosixZone("UTC0")).map { .rules($0) } ?? .utc)
  }

  public var isUTC: Bool { if case .utc = kind { true } else { false } }

  /// Seconds east of Greenwich at an instant.
  @inline(__always) public func offset(at seconds: Int64) -> Int {
    switch kind {
    case .utc: 0
    case .fixed(let offset): offset
    case .rules(let rules): rules.type(at: seconds).offset
    }
  }

  /// `JST`; empty for a fixed offset, as Ruby's `%Z` has it.
  public func abbreviation(at seconds: Int64) -> String {
    switch kind {
    case .utc: "UTC"
    case .fixed: ""
    case .rules(let rules): rules.type(at: seconds).name
    }
  }

  public func civil(at seconds: Int64) -> CivilTime { CivilTime(epochSeconds: seconds.addingClamped(Int64(offset(at: seconds)))) }

  /// The instant of a civil time. Where clocks were put forward the time counts on from before the gap;
  /// where they were put back the later instant is meant, as Ruby's `Time.local` has it.
  public func instant(of civil: CivilTime) -> Int64 { instant(ofCivilSeconds: civil.epochSeconds) }

  func instant(ofCivilSeconds civil: Int64) -> Int64 {
    switch kind {
    case .utc: return civil
    case .fixed(let offset): return civil.addingClamped(Int64(-offset))
    case .rules(let rules):
      // No offset is more than a day, so the offsets a day before and after are all there can be but for double changes.
      let before = Int64(rules.type(at: civil.addingClamped(-86400)).offset)
      let after = Int64(rules.type(at: civil.addingClamped(86400)).offset)
      let early = civil.addingClamped(-before)
      if before == after { return early }
      let late = civil.addingClamped(-after)
      return Int64(rules.type(at: late).offset) == after ? late : early
    }
  }

  /// `+09:00`, `+0900`, `+09`.
  static func numericOffset(_ text: String) -> Int? {
    var bytes = Array(text.utf8)
    guard bytes.count >= 3, bytes[0] == UInt8(ascii: "+") || bytes[0] == UInt8(ascii: "-") else { return nil }
    if bytes.count == 6, bytes[3] == UInt8(ascii: ":") { bytes.remove(at: 3) }
    guard bytes.count == 3 || bytes.count == 5, bytes.dropFirst().allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
    let digits = bytes.dropFirst().map { Int($0) - 48 }
    let seconds = (digits[0] * 10 + digits[1]) * 3600 + (digits.count == 4 ? (digits[2] * 10 + digits[3]) * 60 : 0)
    guard seconds < 86400 else { return nil }
    return bytes[0] == UInt8(ascii: "-") ? -seconds : seconds
  }
}

extension Int64 {
  func addingClamped(_ other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? (other < 0 ? .min : .max) : sum
  }
}
