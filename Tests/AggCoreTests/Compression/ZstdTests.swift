import AggCore
import AggTesting
import Testing

@Suite struct ZstdTests {
  private func compress(_ bytes: [UInt8]) -> [UInt8] { bytes.withUnsafeBytes { b in written { Zstd.compress(b, into: &$0) } } }
  private func decompress(_ bytes: [UInt8], _ limit: DecompressionLimit = DecompressionLimit(bytes: 1 << 30, ratio: 100_000))
    throws -> [UInt8]
  {
    try bytes.withUnsafeBytes { b in try written { try Zstd.decompress(b, into: &$0, limit: limit) } }
  }

  @Test(arguments: [0, 1, 100, 131_072, 3_000_000]) func `what is compressed comes back, frame after frame`(_ count: Int) throws {
    let text = sampleText(count)
    let frame = compress(text)
    #expect(try decompress(frame) == text)
    #expect(try decompress(frame + compress([1, 2]) + frame) == text + [1, 2] + text)
  }

  @Test func `every frame that is cut short is refused`() {
    let bytes = compress(sampleText(3000))
    for count in 0..<bytes.count { #expect(throws: CompressionError.self) { try decompress(Array(bytes.prefix(count))) } }
    #expect(throws: CompressionError.self) { try decompress(bytes + [1, 2, 3, 4, 5]) }
  }

  @Test func `more than the limit is refused`() throws {
    let bomb = compress([UInt8](repeating: 0, count: 10_000_000))
    #expect(throws: CompressionError.self) { try decompress(bomb, DecompressionLimit(bytes: 9_999_999, ratio: 1 << 30)) }
    #expect(throws: CompressionError.self) { try decompress(bomb, DecompressionLimit(bytes: 1 << 30)) }
    #expect(try decompress(bomb, DecompressionLimit(bytes: 10_000_000, ratio: 1 << 30)).count == 10_000_000)
  }

  @Test func `damaged bytes are refused or read, and never trap`() {
    let bytes = compress(sampleText(20_000))
    var random = SeededRandom(state: 8)
    for _ in 0..<3000 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...5, using: &random) {
        damaged[Int.random(in: 0..<damaged.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      #expect(((try? decompress(damaged, DecompressionLimit(bytes: 100_000))) ?? []).count <= 100_000)
    }
  }

  /// A stream declares the window of its level (2 MiB here) before anybody knows how short it will be.
  @Test func `a short frame of a streaming writer is read`() throws {
    // Written by zstd-ruby's StreamWriter, as Fluentd does: one literal block of "agg".
    let frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x19, 0x00, 0x00, 0x61, 0x67, 0x67]
    #expect(try decompress(frame, DecompressionLimit(bytes: 1 << 28)) == Array("agg".utf8))
  }
}
