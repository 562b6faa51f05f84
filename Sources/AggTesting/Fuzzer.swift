import Glibc
import Synchronization

/// What a fuzz target says when an input shows that something is wrong.
public struct FuzzFailure: Error, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }

  /// Throws `what` when `holds` is false.
  @inline(__always)
  public static func unless(_ holds: Bool, _ what: @autoclosure () -> String) throws(FuzzFailure) {
    if !holds { throw FuzzFailure(what()) }
  }
}

/// Feeds one target: first every kept input in `Tests/fixtures/fuzz/NAME`, then seeded, damaged ones.
///
/// The damaged ones are a fixed number, at most for two seconds, or as many as AGG_FUZZ_SECONDS allows. AGG_FUZZ_SEED starts where an earlier run
/// did; AGG_FUZZ_INPUT=FILE tries that file alone. An input that fails, traps, takes over 20 s or 2 GiB of memory is saved in
/// `.build/fuzz` with a line that says how to meet it again. One target at a time in a process.
public struct Fuzzer: ~Copyable {
  private let name: String
  private let kept: [(name: String, bytes: [UInt8])]
  private let corpus: [[UInt8]]
  private let words: [[UInt8]]
  private let short: Int
  private let current: FuzzInput
  private let watch: FuzzWatch

  /// `words` are tokens of the format that mutations insert; `short` inputs are tried where no time is asked for.
  public init(_ name: String, corpus: [[UInt8]] = [], words: [String] = [], short: Int = 20_000) {
    self.name = name
    if let path = FuzzRun.environment("AGG_FUZZ_INPUT") {
      kept = FuzzCorpus.read(path).map { [(path, $0)] } ?? []
      self.corpus = []
    } else {
      kept = FuzzCorpus.files(name)
      let all = corpus + kept.map(\.bytes)
      self.corpus = all.isEmpty ? [[]] : all
    }
    self.words = words.map { Array($0.utf8) }
    self.short = short
    current = FuzzInput(name)
    watch = FuzzWatch(current)
  }
  deinit {
    watch.stop()
    current.forget()
  }

  /// Returns how many inputs were tried; throws what the target threw, after the input is saved.
  @discardableResult public func run(_ body: ([UInt8]) throws -> Void) throws -> Int {
    for entry in kept {
      current.set(entry.bytes)
      watch.next()
      do { try body(entry.bytes) } catch { throw current.failed(error, entry.name) }
    }
    var seeds = FuzzRun(corpus.isEmpty ? 0 : short)
    while let seed = seeds.next() {
      let bytes = input(seed)
      do { try body(bytes) } catch { throw current.failed(error, nil) }
    }
    return report(seeds)
  }
  @discardableResult public func run(_ body: ([UInt8]) async throws -> Void) async throws -> Int {
    for entry in kept {
      current.set(entry.bytes)
      watch.next()
      do { try await body(entry.bytes) } catch { throw current.failed(error, entry.name) }
    }
    var seeds = FuzzRun(corpus.isEmpty ? 0 : short)
    while let seed = seeds.next() {
      let bytes = input(seed)
      do { try await body(bytes) } catch { throw current.failed(error, nil) }
    }
    return report(seeds)
  }

  private func report(_ run: borrowing FuzzRun) -> Int {
    print("fuzz \(name): \(kept.count) kept inputs, \(run.count) damaged ones, AGG_FUZZ_SEED=\(run.first)")
    return kept.count + run.count
  }

  private func input(_ seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    var bytes = corpus[Int.random(in: 0..<corpus.count, using: &random)]
    // One in 16 is whole: the target's good path is walked too.
    if random.next() & 15 != 0 { for _ in 0..<Int.random(in: 1...6, using: &random) { mutate(&bytes, &random) } }
    current.set(bytes)
    watch.next()
    return bytes
  }

  private func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
    let at = Int.random(in: 0...bytes.count, using: &random)
    let length = min(bytes.count - at, 1 << Int.random(in: 0...6, using: &random))
    switch Int.random(in: 0..<11, using: &random) {
    case 0 where at < bytes.count: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 1 where at < bytes.count: bytes[at] = UInt8.random(in: 0...255, using: &random)
    case 2: bytes.removeSubrange(at..<at + length)
    case 3: bytes.insert(contentsOf: bytes[at..<at + length], at: at)
    case 4: bytes.removeLast(bytes.count - at)
    case 5:  // a part of another one
      let other = corpus[Int.random(in: 0..<corpus.count, using: &random)]
      let from = Int.random(in: 0...other.count, using: &random)
      bytes.insert(contentsOf: other[from..<min(other.count, from + 64)], at: at)
    case 6 where !words.isEmpty: bytes.insert(contentsOf: words[Int.random(in: 0..<words.count, using: &random)], at: at)
    case 7:  // lengths and signs at their edges
      let edge = [0, 0x7f, 0x80, 0xff, 0xc1, 0x5c, 0x22, 0x0a][Int.random(in: 0..<8, using: &random)] as UInt8
      bytes.insert(contentsOf: [UInt8](repeating: edge, count: max(1, length)), at: at)
    case 8 where at < bytes.count:  // a number becomes one at the edge of what a machine holds
      let digits = 0x30...0x39 as ClosedRange<UInt8>
      guard let from = bytes[at...].firstIndex(where: { digits.contains($0) }) else { return }
      let end = bytes[from...].firstIndex { !digits.contains($0) } ?? bytes.count
      bytes.replaceSubrange(from..<end, with: Self.numbers[Int.random(in: 0..<Self.numbers.count, using: &random)].utf8)
    case 9 where at + 8 <= bytes.count:  // and in binary
      let value = Self.words64[Int.random(in: 0..<Self.words64.count, using: &random)]
      let size = 1 << Int.random(in: 0...3, using: &random)
      for k in 0..<size { bytes[at + k] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (size - 1 - k))) }
    default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
    }
    if bytes.count > FuzzInput.limit { bytes.removeLast(bytes.count - FuzzInput.limit) }
  }

  private static let numbers = [
    "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "2147483647", "2147483648",
    "4294967295",
    "4294967296", "99999999999999999999999999", "0", "-1", "-9223372036854775808", "1e308", "1e-308", "1e999999999", "65535",
    "65536", "1e19",
  ]
  private static let words64: [UInt64] = [
    0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, UInt64(Int64.max), 1 << 63, .max,
    .max - 7,
  ]
}
