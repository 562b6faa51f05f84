import AggCore
import AggTesting
import Foundation
import Testing

/// What Ruby 3.1.7 answers: zone, instant, its offset and abbreviation, and `Time.local` of its civil time.
private let recorded: [(zone: String, seconds: Int64, offset: Int, name: String, back: Int64)] = [
  ("America/New_York", 1531964110, -14400, "EDT", 1531964110),
  ("America/New_York", 4865493181, -18000, "EST", 4865493181),
  ("America/New_York", -1437761930, -14400, "EDT", -1437761930),
  ("America/New_York", 1206684233, -14400, "EDT", 1206684233),
  ("America/New_York", -2614221596, -18000, "EST", -2614221596),
  ("America/New_York", 2998938046, -18000, "EST", 2998938046),
  ("America/New_York", 2815978608, -14400, "EDT", 2815978608),
  ("America/New_York", -909905712, -18000, "EST", -909905712),
  ("America/New_York", 4766510705, -18000, "EST", 4766510705),
  ("America/New_York", 4084371943, -14400, "EDT", 4084371943),
  ("America/New_York", 519608859, -14400, "EDT", 519608859),
  ("America/New_York", -1958296883, -18000, "EST", -1958296883),
  ("Europe/London", 4577922625, 0, "GMT", 4577922625),
  ("Europe/London", 1771282462, 0, "GMT", 1771282462),
  ("Europe/London", -2123162026, 0, "GMT", -2123162026),
  ("Europe/London", 1806477970, 3600, "BST", 1806477970),
  ("Europe/London", 770564985, 3600, "BST", 770564985),
  ("Europe/London", 3544135530, 3600, "BST", 3544135530),
  ("Europe/London", 3408675305, 0, "GMT", 3408675305),
  ("Europe/London", 143362433, 3600, "BST", 143362433),
  ("Europe/London", -2937376153, 0, "GMT", -2937376153),
  ("Europe/London", -2599008818, 0, "GMT", -2599008818),
  ("Europe/London", 4844990778, 3600, "BST", 4844990778),
  ("Europe/London", 579824080, 3600, "BST", 579824080),
  ("Asia/Tokyo", 832876142, 32400, "JST", 832876142),
  ("Asia/Tokyo", 1114636649, 32400, "JST", 1114636649),
  ("Asia/Tokyo", 3705891867, 32400, "JST", 3705891867),
  ("Asia/Tokyo", 1683870978, 32400, "JST", 1683870978),
  ("Asia/Tokyo", 1277739814, 32400, "JST", 1277739814),
  ("Asia/Tokyo", 3345392083, 32400, "JST", 3345392083),
  ("Asia/Tokyo", 4236657426, 32400, "JST", 4236657426),
  ("Asia/Tokyo", 4917236469, 32400, "JST", 4917236469),
  ("Asia/Tokyo", 3941203300, 32400, "JST", 3941203300),
  ("Asia/Tokyo", -581128083, 36000, "JDT", -581128083),
  ("Asia/Tokyo", -1418755394, 32400, "JST", -1418755394),
  ("Asia/Tokyo", 4262494187, 32400, "JST", 4262494187),
  ("Australia/Lord_Howe", 4800380796, 39600, "+11", 4800380796),
  ("Australia/Lord_Howe", 1319599195, 39600, "+11", 1319599195),
  ("Australia/Lord_Howe", 94779803, 36000, "AEST", 94779803),
  ("Australia/Lord_Howe", 4159964449, 39600, "+11", 4159964449),
  ("Australia/Lord_Howe", 2152953173, 39600, "+11", 2152953173),
  ("Australia/Lord_Howe", 4287120400, 39600, "+11", 4287120400),
  ("Australia/Lord_Howe", -528616946, 36000, "AEST", -528616946),
  ("Australia/Lord_Howe", -510115553, 36000, "AEST", -510115553),
  ("Australia/Lord_Howe", 1572022310, 39600, "+11", 1572022310),
  ("Australia/Lord_Howe", 2056233616, 39600, "+11", 2056233616),
  ("Australia/Lord_Howe", 2761814946, 37800, "+1030", 2761814946),
  ("Australia/Lord_Howe", 3909324987, 39600, "+11", 3909324987),
  ("America/Sao_Paulo", -2160441459, -11188, "LMT", -2160441459),
  ("America/Sao_Paulo", -2477953301, -11188, "LMT", -2477953301),
  ("America/Sao_Paulo", 1014417951, -10800, "-03", 1014417951),
  ("America/Sao_Paulo", -1664351412, -10800, "-03", -1664351412),
  ("America/Sao_Paulo", -962825851, -10800, "-03", -962825851),
  ("America/Sao_Paulo", -2732803409, -11188, "LMT", -2732803409),
  ("America/Sao_Paulo", -1817406126, -11188, "LMT", -1817406126),
  ("America/Sao_Paulo", -2029387289, -11188, "LMT", -2029387289),
  ("America/Sao_Paulo", 2915349520, -10800, "-03", 2915349520),
  ("America/Sao_Paulo", -1351150840, -10800, "-03", -1351150840),
  ("America/Sao_Paulo", -1702911444, -10800, "-03", -1702911444),
  ("America/Sao_Paulo", -2161918811, -11188, "LMT", -2161918811),
  ("Africa/Casablanca", 162447307, 0, "+00", 162447307),
  ("Africa/Casablanca", -61242700, 0, "+00", -61242700),
  ("Africa/Casablanca", 3116916946, 3600, "+01", 3116916946),
  ("Africa/Casablanca", -567539365, 0, "+00", -567539365),
  ("Africa/Casablanca", 2218296024, 3600, "+01", 2218296024),
  ("Africa/Casablanca", -2325556511, -1820, "LMT", -2325556511),
  ("Africa/Casablanca", 589794511, 0, "+00", 589794511),
  ("Africa/Casablanca", 629484579, 0, "+00", 629484579),
  ("Africa/Casablanca", 4059560724, 3600, "+01", 4059560724),
  ("Africa/Casablanca", 1871526911, 3600, "+01", 1871526911),
  ("Africa/Casablanca", -2240982880, -1820, "LMT", -2240982880),
  ("Africa/Casablanca", -1630472691, 0, "+00", -1630472691),
  ("Europe/Dublin", 1106197499, 0, "GMT", 1106197499),
  ("Europe/Dublin", 2268143250, 0, "GMT", 2268143250),
  ("Europe/Dublin", 825476945, 0, "GMT", 825476945),
  ("Europe/Dublin", 1005463866, 0, "GMT", 1005463866),
  ("Europe/Dublin", 1660490612, 3600, "IST", 1660490612),
  ("Europe/Dublin", 4779836764, 3600, "IST", 4779836764),
  ("Europe/Dublin", -1485065646, 0, "GMT", -1485065646),
  ("Europe/Dublin", 3373990436, 0, "GMT", 3373990436),
  ("Europe/Dublin", 4482391828, 0, "GMT", 4482391828),
  ("Europe/Dublin", -1398946550, 3600, "IST", -1398946550),
  ("Europe/Dublin", 1445967631, 0, "GMT", 1445967631),
  ("Europe/Dublin", -2344316906, -1521, "DMT", -2344316906),
  ("Pacific/Apia", -1618322551, -41400, "-1130", -1618322551),
  ("Pacific/Apia", 1799659614, 46800, "+13", 1799659614),
  ("Pacific/Apia", -1455165246, -41400, "-1130", -1455165246),
  ("Pacific/Apia", -3837895, -39600, "-11", -3837895),
  ("Pacific/Apia", 4697617856, 46800, "+13", 4697617856),
  ("Pacific/Apia", -1083713912, -41400, "-1130", -1083713912),
  ("Pacific/Apia", 3488465164, 46800, "+13", 3488465164),
  ("Pacific/Apia", -912220869, -41400, "-1130", -912220869),
  ("Pacific/Apia", -2770594102, 45184, "LMT", -2770594102),
  ("Pacific/Apia", -1942008324, -41216, "LMT", -1942008324),
  ("Pacific/Apia", 246679712, -39600, "-11", 246679712),
  ("Pacific/Apia", 3990045294, 46800, "+13", 3990045294),
  ("Antarctica/Troll", 4507712547, 0, "+00", 4507712547),
  ("Antarctica/Troll", 1242123243, 7200, "+02", 1242123243),
  ("Antarctica/Troll", 3828726372, 7200, "+02", 3828726372),
  ("Antarctica/Troll", -825132414, 0, "-00", -825132414),
  ("Antarctica/Troll", -2066777103, 0, "-00", -2066777103),
  ("Antarctica/Troll", 3760594113, 0, "+00", 3760594113),
  ("Antarctica/Troll", 4653266135, 7200, "+02", 4653266135),
  ("Antarctica/Troll", 4860715777, 0, "+00", 4860715777),
  ("Antarctica/Troll", 2330357938, 0, "+00", 2330357938),
  ("Antarctica/Troll", 672040979, 0, "-00", 672040979),
  ("Antarctica/Troll", -2387466856, 0, "-00", -2387466856),
  ("Antarctica/Troll", 263689805, 0, "-00", 263689805),
]
/// Civil times that do not exist or exist twice, and what Ruby's `Time.local` makes of them.
private let changes: [(zone: String, civil: [Int], seconds: Int64)] = [
  ("America/New_York", [2024, 3, 10, 2, 30], 1710055800),
  ("America/New_York", [2024, 11, 3, 1, 30], 1730615400),
  ("America/New_York", [2040, 3, 11, 2, 15], 2215062900),
  ("Europe/London", [2024, 3, 31, 1, 30], 1711848600),
  ("Europe/London", [2024, 10, 27, 1, 30], 1729992600),
  ("Australia/Lord_Howe", [2024, 10, 6, 2, 15], 1728143100),
  ("Australia/Lord_Howe", [2024, 4, 7, 1, 45], 1712416500),
  ("Pacific/Apia", [2011, 12, 30, 12, 0], 1325282400),
]

@Suite struct ZoneTests {
  @Test func `a named zone has the offsets that libc has`() throws {
    // Asked of libc now: governments change zones, and the system's tzdata with them.
    let now = try libcOffsets(recorded.map { ($0.zone, $0.seconds) })
    try #require(now.count == recorded.count)
    for (c, libc) in zip(recorded, now) {
      let zone = try #require(Zone(named: c.zone))
      #expect(zone.offset(at: c.seconds) == libc.offset, "\(c.zone) \(c.seconds)")
      #expect(zone.abbreviation(at: c.seconds) == libc.name, "\(c.zone) \(c.seconds)")
      // The way back was recorded with the offset of its day.
      if libc.offset == c.offset { #expect(zone.instant(of: zone.civil(at: c.seconds)) == c.back, "\(c.zone) \(c.seconds)") }
    }
    #expect(zip(recorded, now).filter { $0.offset == $1.offset }.count > recorded.count / 2)
  }

  private func libcOffsets(_ rows: [(zone: String, seconds: Int64)]) throws -> [(offset: Int, name: String)] {
    let script = """
      import os, sys, time
      for line in sys.argv[1].split():
          zone, seconds = line.split(",")
          os.environ["TZ"] = zone
          time.tzset()
          local = time.localtime(int(seconds))
          print(local.tm_gmtoff, local.tm_zone)
      """
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "-c", script, rows.map { "\($0.zone),\($0.seconds)" }.joined(separator: " ")]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return text.split(separator: "\n").compactMap { line in
      let parts = line.split(separator: " ")
      return parts.count == 2 ? Int(parts[0]).map { ($0, String(parts[1])) } : nil
    }
  }

  @Test func `civil times in gaps and folds are Ruby's`() throws {
    for c in changes {
      let zone = try #require(Zone(named: c.zone))
      let civil = CivilTime(year: Int64(c.civil[0]), month: c.civil[1], day: c.civil[2], hour: c.civil[3], minute: c.civil[4])
      #expect(zone.instant(of: civil) == c.seconds, "\(c.zone) \(c.civil)")
    }
  }

  @Test func `configuration takes offsets and names with a slash`() throws {
    for (text, offset) in [("+09:00", 32400), ("-0930", -34200), ("+09", 32400), ("Asia/Tokyo", 32400), ("America/Argentina/Buenos_Aires", -10800)] {
      #expect(try Zone(configText: text).offset(at: 0) == offset)
    }
    for text in ["JST", "UTC", "", "+9", "+09:0", "Asia/Nowhere", "../etc/passwd", "Asia/../Asia/Tokyo", "/etc/localtime", "+99:00"] {
      #expect(throws: ConfigValueError.self) { try Zone(configText: text) }
    }
  }

  @Test func `TZ is a name, a rule or nothing`() {
    #expect(Zone.local(environment: "Asia/Tokyo").offset(at: 0) == 32400)
    #expect(Zone.local(environment: ":America/New_York").abbreviation(at: 1_720_000_000) == "EDT")
    #expect(Zone.local(environment: "EST5EDT,M3.2.0,M11.1.0").offset(at: 1_720_000_000) == -14400)
    #expect(Zone.local(environment: "<-03>3").abbreviation(at: 0) == "-03")
    #expect(Zone.local(environment: "UTC").abbreviation(at: 0) == "UTC")
    #expect(Zone.local(environment: "nonsense/zone").offset(at: 0) == 0)
  }

  @Test func `extreme instants neither trap nor lose the day`() throws {
    let zone = try #require(Zone(named: "America/New_York"))
    for seconds in [Int64.min, Int64.min + 1, -1 << 40, 1 << 40, Int64.max - 1, Int64.max] { _ = zone.instant(of: zone.civil(at: seconds)) }
    for day in stride(from: Int64(-800_000), to: 3_000_000, by: 997) {
      #expect(CivilTime(epochSeconds: day * 86400 + 86399).epochSeconds == day * 86400 + 86399)
    }
  }

  @Test func `damaged zone files are refused or read, and never trap`() throws {
    let name = try #require(FileBytes.read("/usr/share/zoneinfo/America/New_York"))
    #expect(name.withUnsafeBytes { Zone(tzif: $0) } != nil)
    var random = SeededRandom(state: 5)
    for _ in 0..<3000 {
      var bytes = name
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        bytes[Int.random(in: 0..<min(bytes.count, 200), using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
      guard let zone = bytes.withUnsafeBytes({ Zone(tzif: $0) }) else { continue }
      for seconds in [Int64.min, 0, 1_700_000_000, Int64.max] { _ = zone.instant(of: zone.civil(at: seconds)) }
    }
  }

  @Test func `random rules are refused or read, and never trap`() {
    let pieces = ["EST", "<+03>", "5", "-", "+", ":30", ",", "M3.2.0", "J60", "/", "167", "0", ".", "EDT"]
    var random = SeededRandom(state: 6)
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 1...9, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
      guard let zone = Zone(posix: text) else { continue }
      for seconds in [Int64.min, 0, 1_720_000_000, Int64.max] { _ = zone.instant(of: zone.civil(at: seconds)) }
    }
  }
}
