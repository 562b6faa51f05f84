import Glibc

/// The seeds of one run, and when it ends.
struct FuzzRun: ~Copyable {
  let first: UInt64
  private(set) var count = 0
  private var seed: UInt64
  private let limit: Int
  private let end: Double

  init(_ short: Int) {
    // Another place every time, unless one is asked for: what fails is saved, so nothing is lost with the seed.
    first = Self.environment("AGG_FUZZ_SEED").flatMap { UInt64($0) } ?? UInt64.random(in: 0..<1 << 40)
    seed = first
    let seconds = Self.environment("AGG_FUZZ_SECONDS").flatMap { Double($0) }
    limit = short == 0 ? 0 : seconds == nil ? short : .max
    end = Self.now + (seconds ?? 2)
  }
  mutating func next() -> UInt64? {
    guard count < limit, Self.now < end else { return nil }
    defer { (seed, count) = (seed &+ 1, count + 1) }
    return seed
  }

  static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
  /// nil when it is not set, or empty.
  static func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
  }
}

/// The inputs that are kept: small seeds, and whatever once failed.
enum FuzzCorpus {
  static func files(_ target: String, source: String = #filePath) -> [(name: String, bytes: [UInt8])] {
    let root = source.split(separator: "/").dropLast(3).joined(separator: "/")
    let directory = "/\(root)/Tests/fixtures/fuzz/\(target)"
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted().compactMap { name in read("\(directory)/\(name)").map { (name, $0) } }
  }

  static func read(_ path: String) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: FuzzInput.limit)
    var count = 0
    while count < bytes.count {
      let n = bytes.withUnsafeMutableBytes { pread(file, $0.baseAddress.map { $0 + count }, $0.count - count, off_t(count)) }
      if n <= 0 { break }
      count += n
    }
    return Array(bytes.prefix(count))
  }
}
