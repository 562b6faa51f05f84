package import AggCore
import Glibc

/// A directory of dead letters from outside, as `agg dlq` sees it. Reading takes no lock: a daemon may be writing.
package struct DeadLetterDirectory: Sendable {
  package var path: String
  /// The chunks that they come from; nil for a memory buffer.
  package var chunkDirectory: String?

  package init(path: String, chunkDirectory: String?) {
    self.path = path
    self.chunkDirectory = chunkDirectory
  }

  package var exists: Bool { File.status(path)?.isDirectory ?? false }
  package var bytes: Int { DeadLetterStore.segments(in: path).reduce(0) { $0 + (File.status($1.path)?.size ?? 0) } }

  /// Whether a daemon has these dead letters now.
  package var isLive: Bool {
    guard let file = try? File(path + "/lock", .read) else { return false }
    return !file.tryLock()
  }

  /// Directories of dead letters at or under a path, at most four levels deep.
  package static func find(under path: String) -> [DeadLetterDirectory] {
    func look(_ path: String, _ depth: Int) -> [DeadLetterDirectory] {
      guard let names = try? File.list(path) else { return [] }
      if names.contains(where: { $0.hasPrefix("letters.") && $0.hasSuffix(".agg") }) {
        // Beside the chunks of a file buffer, or in a directory of its output's.
        return [.init(path: path, chunkDirectory: File.directory(of: path))]
      }
      if depth == 0 { return [] }
      return names.flatMap { name in
        let inner = path + "/" + name
        guard File.status(inner, followingLinks: false)?.isDirectory ?? false else { return [DeadLetterDirectory]() }
        return look(inner, depth - 1)
      }
    }
    return look(path, 4)
  }

  /// One segment at a time: its letters in their order, each with its event (nil for formatted text) and its bytes. `problem` is
  /// told what cannot be read.
  package func forEach(
    problem: (String) -> Void, _ body: (DeadLetter, EventBatch?, UnsafeRawBufferPointer) throws -> Void
  ) rethrows {
    for (_, path) in DeadLetterStore.segments(in: path) {
      let segment: DeadLetterSegment
      do throws(FileError) { segment = try DeadLetterSegment(path: path) } catch {
        // Removed meanwhile by the daemon that has it.
        if !error.isMissing { problem(error.description) }
        continue
      }
      switch segment.header {
      case .known: break
      case .otherVersion(let version):
        problem("\(path): of format version \(version), which this agg does not know; left alone")
        continue
      case .damaged:
        problem("\(path): not a readable segment of dead letters")
        continue
      }
      for range in segment.damaged where range.upperBound <= segment.wholeEnd {
        problem("\(path): bytes \(range.lowerBound)..<\(range.upperBound) are damaged and skipped")
      }
      for group in segment.groups {
        for (letter, _) in group.letters { try body(letter, segment.event(letter), segment.bytes(letter.payload)) }
      }
    }
  }

  /// Drops letters where no daemon has them; nil where one has.
  package func drop(_ request: DeadLetterRequest) throws -> DeadLetterResult? {
    let lock: File
    do throws(FileError) { lock = try File(path + "/lock", .read) } catch {
      if !error.isMissing { throw error }
      lock = try File(path + "/lock", [.readWrite, .create], permission: 0o600)
    }
    guard lock.tryLock() else { return nil }
    let present = chunkDirectory.map { DeadLetterStore.chunks(in: $0) } ?? []
    var done = 0
    for (_, path) in DeadLetterStore.segments(in: path) {
      done += try DeadLetterStore.rewrite(path, keeping: present, sync: true) { request.selects($1) }
    }
    withExtendedLifetime(lock) {}
    return DeadLetterResult(done: done)
  }

  /// Leaves a request for the daemon that has these letters, or will have them; returns its file.
  package func leave(_ request: DeadLetterRequest) throws -> String {
    var random = SystemRandomNumberGenerator()
    let number = random.next() as UInt32
    let name =
      "\(path)/\(Self.digits(UInt64(clamping: request.before)))-\(Self.digits(UInt64(number)))\(DeadLetterRequest.suffix)"
    let bytes = Array(request.text.utf8)
    try bytes.withUnsafeBytes { try File.replace(name, with: $0) }
    return name
  }
  private static func digits(_ value: UInt64) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: 16 - text.utf8.count) + text
  }

  /// The answer to a request, taken away; nil while there is none.
  package static func takeResult(of request: String) -> DeadLetterResult? {
    let path = String(request.dropLast(DeadLetterRequest.suffix.utf8.count)) + DeadLetterRequest.resultSuffix
    guard let text = try? File.contents(path, limit: 1 << 20).string, let result = DeadLetterResult(text: text) else {
      return nil
    }
    try? File.remove(path)
    return result
  }
}
