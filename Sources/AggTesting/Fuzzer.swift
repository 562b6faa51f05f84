import Glibc
import Synchronization

/// Feeds one target with seeded, damaged inputs: a fixed number of them, or for AGG_FUZZ_SECONDS.
///
/// AGG_FUZZ_SEED starts elsewhere. Before each input its seed is written to `.build/fuzz/NAME.seed`, so that after a crash
/// `AGG_FUZZ_SEED=$(cat .build/fuzz/NAME.seed)` meets the same input first. An input that takes over 20 s ends the process.
public struct Fuzzer: ~Copyable {
  private let name: String
  private let corpus: [[UInt8]]
  private let words: [[UInt8]]
  private let short: Int
  private let watch: Watch
  private let file: Int32

  /// `words` are tokens of the format that mutations insert; `short` inputs are tried where no time is asked for.
  public init(_ name: String, corpus: [[UInt8]], words: [String] = [], short: Int = 20_000) {
    self.name = name
    self.corpus = corpus.isEmpty ? [[]] : corpus
    self.words = words.map { Array($0.utf8) }
    self.short = short
    _ = mkdir(".build", 0o755)
    _ = mkdir(".build/fuzz", 0o755)
    file = open(".build/fuzz/\(name).seed", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o644)
    watch = Watch(name)
  }
  deinit {
    watch.isOver.store(true, ordering: .relaxed)
    if file >= 0 { close(file) }
  }

  /// Returns how many inputs were tried.
  @discardableResult public func run(_ body: ([UInt8]) throws -> Void) rethrows -> Int {
    var seeds = Seeds(short)
    while let seed = seeds.next() { try body(input(seed)) }
    return seeds.count
  }
  @discardableResult public func run(_ body: ([UInt8]) async throws -> Void) async rethrows -> Int {
    var seeds = Seeds(short)
    while let seed = seeds.next() { try await body(input(seed)) }
    return seeds.count
  }

  private func input(_ seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    var text = Array("\(seed)\n".utf8)
    text += [UInt8](repeating: 0x20, count: max(0, 24 - text.count))
    if file >= 0 { _ = pwrite(file, text, text.count, 0) }
    watch.input.add(1, ordering: .relaxed)
    var bytes = corpus[Int.random(in: 0..<corpus.count, using: &random)]
    // One in 16 is whole: the target's good path is walked too.
    if random.next() & 15 == 0 { return bytes }
    for _ in 0..<Int.random(in: 1...6, using: &random) { mutate(&bytes, &random) }
    return bytes
  }

  private func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
    let at = Int.random(in: 0...bytes.count, using: &random)
    let length = min(bytes.count - at, 1 << Int.random(in: 0...6, using: &random))
    switch Int.random(in: 0..<9, using: &random) {
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
    default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
    }
    if bytes.count > 1 << 16 { bytes.removeLast(bytes.count - 1 << 16) }
  }
}

private struct Seeds {
  private var seed: UInt64
  private let limit: Int
  private let end: Int?
  var count = 0

  init(_ short: Int) {
    seed = getenv("AGG_FUZZ_SEED").flatMap { UInt64(String(cString: $0)) } ?? 1
    let seconds = getenv("AGG_FUZZ_SECONDS").flatMap { Int(String(cString: $0)) }
    limit = seconds == nil ? short : .max
    end = seconds.map { time(nil) + $0 }
  }
  mutating func next() -> UInt64? {
    guard count < limit, end.map({ time(nil) < $0 }) ?? true else { return nil }
    defer { (seed, count) = (seed &+ 1, count + 1) }
    return seed
  }
}

/// Ends the process when one input takes too long: a hang is a failure that would otherwise wait for ever.
private final class Watch: Sendable {
  let input = Atomic<Int>(0)
  let isOver = Atomic(false)

  init(_ name: String) {
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Box(self, name))
    let failed = pthread_create(&thread, nil, { argument in
      if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().run() }
      return nil
    }, context.toOpaque())
    if failed != 0 { context.release() } else { pthread_detach(thread) }
  }
  private final class Box: Sendable {
    private let watch: Watch
    private let name: String
    init(_ watch: Watch, _ name: String) { (self.watch, self.name) = (watch, name) }
    func run() {
      var last = -1
      var still = 0
      while !watch.isOver.load(ordering: .relaxed) {
        sleep(1)
        let now = watch.input.load(ordering: .relaxed)
        still = now == last ? still + 1 : 0
        last = now
        if still == 20 {
          let text = Array("fuzz \(name): an input takes over 20 s; its seed is in .build/fuzz/\(name).seed\n".utf8)
          _ = write(STDERR_FILENO, text, text.count)
          abort()
        }
      }
    }
  }
}
