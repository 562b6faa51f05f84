import AggCore
import AggTesting
import Testing

@Suite struct MessagePackScannerTests {
  private func scan(_ bytes: [UInt8], maxDepth: Int = MessagePack.maximumDepth) -> MessagePackScanner.Scan {
    // The bytes after the end must not matter: every scan is made with different ones there.
    let first = (bytes + [UInt8](repeating: 0, count: 64)).withUnsafeBytes {
      MessagePackScanner.skip(UnsafeRawBufferPointer(rebasing: $0[..<bytes.count]), maxDepth: maxDepth)
    }
    let second = (bytes + [UInt8](repeating: 0xdd, count: 64)).withUnsafeBytes {
      MessagePackScanner.skip(UnsafeRawBufferPointer(rebasing: $0[..<bytes.count]), maxDepth: maxDepth)
    }
    #expect(first == second)
    return first
  }

  @Test func `every cut of a value needs more`() {
    var writer = ByteWriter()
    let value: Value = [
      "list": [1, 300, 70_000, -1, -200, 1.5, nil, true], "s": .string([UInt8](repeating: 65, count: 300)), "b": .binary([1]),
      "e": .ext(type: 0, [1, 2, 3]), "m": ["deep": ["er": []]],
    ]
    value.encode(into: &writer)
    let bytes = writer.array
    #expect(scan(bytes) == .complete(end: bytes.count))
    #expect(scan(bytes + [0]) == .complete(end: bytes.count))
    for n in 0..<bytes.count {
      guard case .needMore(let atLeast) = scan(Array(bytes[..<n])) else { Issue.record("cut at \(n)"); continue }
      #expect(atLeast > n && atLeast <= bytes.count)
    }
  }

  @Test func `a declared length allocates nothing and says how much is missing`() {
    #expect(scan([0xdb, 0xff, 0xff, 0xff, 0xff]) == .needMore(atLeast: 5 + 0xffff_ffff))
    #expect(scan([0xdf, 0xff, 0xff, 0xff, 0xff]) == .needMore(atLeast: 5 + 2 * 0xffff_ffff))
    #expect(scan([0xdd, 0xff, 0xff, 0xff, 0xff]) == .needMore(atLeast: 5 + 0xffff_ffff))
    #expect(scan([0xc6, 0xff]) == .needMore(atLeast: 5))
    #expect(scan([]) == .needMore(atLeast: 1))
  }

  @Test func `what is no MessagePack and what nests too deep is invalid`() {
    guard case .invalid = scan([0x91, 0xc1]) else { Issue.record("0xc1"); return }
    let deep = [UInt8](repeating: 0x91, count: 128) + [0xc0]
    #expect(scan(deep) == .complete(end: deep.count))
    guard case .invalid = scan(deep, maxDepth: 127) else { Issue.record("depth"); return }
    guard case .invalid = scan([UInt8](repeating: 0x91, count: 100_000)) else { Issue.record("depth"); return }
  }

  @Test func `random bytes are scanned within their bounds`() {
    var random = SeededRandom(seed: 1)
    for _ in 0..<30_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      switch scan(bytes) {
      case .complete(let end):
        #expect(end <= bytes.count)
        _ = bytes.withUnsafeBytes { Value(ValueView(unchecked: $0.baseAddress!)) }
      case .needMore(let atLeast): #expect(atLeast > bytes.count)
      case .invalid: break
      }
    }
  }
}
