import Glibc
import Synchronization

/// The input that is being tried, where a dying process still finds it.
final class FuzzInput: @unchecked Sendable {
  static let limit = 1 << 16
  /// Of the one target that runs; read by the signal handler.
  private static let inUse = Atomic<UInt>(0)
  private static let signals = [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT]

  let name: String
  private let path: String
  /// A length, a path that ends in zero, and bytes: nothing that the handler has to allocate for.
  private let memory: UnsafeMutableRawPointer
  private static let pathAt = 8
  private static let adviceAt = 1032
  private static let bytesAt = 3072

  init(_ name: String) {
    self.name = name
    _ = mkdir(".build", 0o755)
    _ = mkdir(".build/fuzz", 0o755)
    path = ".build/fuzz/\(name)-\(getpid())"
    memory = .allocate(byteCount: Self.bytesAt + Self.limit, alignment: 16)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.bytesAt)
    put(path, at: Self.pathAt, 1000)
    put("\n\(advice(path))\n", at: Self.adviceAt, 2000)
    Self.inUse.store(UInt(bitPattern: memory), ordering: .releasing)
    for number in Self.signals {
      var action = sigaction()
      action.__sigaction_handler.sa_handler = { FuzzInput.died($0) }
      action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND)) | SA_ONSTACK
      sigaction(number, &action, nil)
    }
  }
  deinit { memory.deallocate() }

  /// The target is over.
  func forget() { Self.inUse.store(0, ordering: .releasing) }

  private func put(_ text: String, at: Int, _ limit: Int) {
    for (index, byte) in text.utf8.prefix(limit).enumerated() {
      memory.storeBytes(of: byte, toByteOffset: at + index, as: UInt8.self)
    }
  }
  private func advice(_ path: String) -> String {
    "fuzz \(name): the input is saved in \(path); again with: make fuzz TARGET=\(name) INPUT=\(path). Mended, it belongs into Tests/fixtures/fuzz/\(name)"
  }

  func set(_ bytes: [UInt8]) {
    let count = min(bytes.count, Self.limit)
    memory.storeBytes(of: count, as: Int.self)
    bytes.withUnsafeBytes {
      if count > 0, let base = $0.baseAddress { (memory + Self.bytesAt).copyMemory(from: base, byteCount: count) }
    }
  }

  /// Saves the input, says so, and returns what the test throws.
  func failed(_ error: any Error, _ kept: String?) -> FuzzFailure {
    if let kept { return FuzzFailure("fuzz \(name): the kept input \(kept): \(error)") }
    Self.save(memory)
    return FuzzFailure("\(error)\n\(advice(path))")
  }
  /// A limit was passed.
  func exceeded(_ what: String) -> Never {
    print("fuzz \(name): an input takes \(what)")
    abort()
  }

  private static func died(_ signal: Int32) {
    // The action is the default one again: what comes next ends the process.
    if let memory = UnsafeMutableRawPointer(bitPattern: inUse.exchange(0, ordering: .acquiring)) { save(memory) }
    kill(getpid(), signal)
  }
  /// Async-signal-safe.
  private static func save(_ memory: UnsafeMutableRawPointer) {
    let file = open((memory + pathAt).assumingMemoryBound(to: CChar.self), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o644)
    if file >= 0 {
      _ = write(file, memory + bytesAt, memory.load(as: Int.self))
      close(file)
    }
    let advice = memory + adviceAt
    _ = write(STDERR_FILENO, advice, strlen(advice.assumingMemoryBound(to: CChar.self)))
  }
}

/// Ends the process when one input takes too long or too much: a hang is a failure that would otherwise wait for ever.
final class FuzzWatch: Sendable {
  private static let secondsLimit = 20.0
  private static let memoryLimit = 2 << 30

  private let input: FuzzInput
  private let count = Atomic<Int>(0)
  private let isOver = Atomic(false)

  init(_ input: FuzzInput) {
    self.input = input
    var thread = pthread_t()
    let context = Unmanaged.passRetained(self)
    let failed = pthread_create(
      &thread, nil,
      { argument in
        if let argument { Unmanaged<FuzzWatch>.fromOpaque(argument).takeRetainedValue().watch() }
        return nil
      }, context.toOpaque())
    if failed != 0 { context.release() } else { pthread_detach(thread) }
  }
  func next() { count.add(1, ordering: .relaxed) }
  func stop() { isOver.store(true, ordering: .relaxed) }

  private func watch() {
    let atStart = Self.residentBytes()
    var last = -1
    var since = FuzzRun.now
    while !isOver.load(ordering: .relaxed) {
      usleep(100_000)
      let now = count.load(ordering: .relaxed)
      if now != last { (last, since) = (now, FuzzRun.now) }
      if FuzzRun.now - since > Self.secondsLimit, !isOver.load(ordering: .relaxed) {
        input.exceeded("over \(Int(Self.secondsLimit)) s")
      }
      if Self.residentBytes() - atStart > Self.memoryLimit { input.exceeded("over \(Self.memoryLimit >> 20) MiB of memory") }
    }
  }
  private static func residentBytes() -> Int {
    let fields = (FuzzCorpus.read("/proc/self/statm") ?? []).split(separator: 0x20)
    return fields.count > 1 ? (Int(String(decoding: fields[1], as: UTF8.self)) ?? 0) * 4096 : 0
  }
}
