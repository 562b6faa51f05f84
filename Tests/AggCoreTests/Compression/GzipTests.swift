import AggCore
import AggTesting
import Testing

func written(_ body: (inout ByteWriter) throws -> Void) rethrows -> [UInt8] {
  var out = ByteWriter(capacity: 64)
  try body(&out)
  return out.array
}

func sampleText(_ count: Int) -> [UInt8] {
  var random = SeededRandom(state: 1)
  var bytes: [UInt8] = []
  while bytes.count < count {
    bytes += Array("{\"n\":\(UInt16.random(in: 0...999, using: &random)),\"message\":\"request served\"}\n".utf8)
  }
  return Array(bytes.prefix(count))
}

@Suite struct GzipTests {
  private let limit = DecompressionLimit(bytes: 1 << 30)
  private func gzip(_ bytes: [UInt8]) -> [UInt8] { bytes.withUnsafeBytes { b in written { Gzip.compress(b, into: &$0) } } }
  private func gunzip(_ bytes: [UInt8], _ limit: DecompressionLimit? = nil) throws -> [UInt8] {
    try bytes.withUnsafeBytes { b in try written { try Gzip.decompress(b, into: &$0, limit: limit ?? self.limit) } }
  }
  private func inflate(_ bytes: [UInt8], _ format: Inflater.Format) throws -> [UInt8] {
    var inflater = Inflater()
    var out = ByteWriter()
    try bytes.withUnsafeBytes { b in try inflater.decompress(b, format, into: &out, limit: limit) }
    return out.array
  }

  @Test(arguments: [0, 1, 2, 100, 65_535, 65_536, 300_000, 3_000_000]) func `what is compressed comes back`(_ count: Int) throws {
    let text = sampleText(count)
    #expect(try gunzip(gzip(text)) == text)
    var random = SeededRandom(state: 2)
    let noise = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
    #expect(try gunzip(gzip(noise)) == noise)
  }

  @Test func `the header names neither time nor machine`() {
    let bytes = gzip(Array("hello".utf8))
    #expect(Array(bytes.prefix(10)) == [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])
    #expect(bytes == gzip(Array("hello".utf8)))
  }

  /// Written by Ruby's zlib: "hello " ten times.
  @Test func `what others wrote is read`() throws {
    let text = Array(String(repeating: "hello ", count: 10).utf8)
    let raw: [UInt8] = [203, 72, 205, 201, 201, 87, 200, 32, 139, 4, 0]
    let member: [UInt8] = [31, 139, 8, 0, 182, 239, 4, 107, 0, 3] + raw + [228, 77, 208, 89, 60, 0, 0, 0]
    let zlib: [UInt8] = [120, 156] + raw + [166, 192, 22, 9]
    #expect(try gunzip(member) == text)
    #expect(try gunzip(member + member + gzip(text)) == text + text + text)
    #expect(try inflate(zlib, .zlib) == text)
    #expect(try inflate(raw, .raw) == text)
    #expect(try inflate(zlib, .httpDeflate) == text)
    #expect(try inflate(raw, .httpDeflate) == text)
    #expect(throws: CompressionError.self) { try inflate(raw, .zlib) }
    #expect(throws: CompressionError.self) { try inflate(zlib + [0], .zlib) }
  }

  @Test func `every member that is cut short is refused`() {
    let bytes = gzip(sampleText(5000))
    for count in 0..<bytes.count { #expect(throws: CompressionError.self) { try gunzip(Array(bytes.prefix(count))) } }
    #expect(throws: CompressionError.self) { try gunzip(bytes + [1, 2, 3]) }
  }

  @Test func `a wrong checksum or length is refused`() {
    let bytes = gzip(sampleText(5000))
    for index in (bytes.count - 8)..<bytes.count {
      var damaged = bytes
      damaged[index] ^= 1
      #expect(throws: CompressionError.self) { try gunzip(damaged) }
    }
  }

  @Test func `more than the limit is refused and leaves nothing`() throws {
    let bomb = gzip([UInt8](repeating: 0, count: 10_000_000))
    for limit in [
      DecompressionLimit(bytes: 9_999_999), DecompressionLimit(bytes: 1 << 30, ratio: 10), DecompressionLimit(bytes: 0),
    ] {
      var out = ByteWriter()
      out.append("kept")
      let error = #expect(throws: CompressionError.self) {
        try bomb.withUnsafeBytes { try Gzip.decompress($0, into: &out, limit: limit) }
      }
      #expect(error?.code == .tooLarge)
      #expect(out.count == 4)
    }
    #expect(try gunzip(bomb, DecompressionLimit(bytes: 10_000_000)).count == 10_000_000)
  }

  @Test func `damaged bytes are refused or read, and never trap`() {
    let bytes = gzip(sampleText(20_000))
    var random = SeededRandom(state: 4)
    var inflater = Inflater()
    for round in 0..<3000 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...5, using: &random) {
        damaged[Int.random(in: 0..<damaged.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      var out = ByteWriter()
      let format: Inflater.Format = [.gzip, .zlib, .raw, .httpDeflate][round % 4]
      damaged.withUnsafeBytes { b in
        _ = try? inflater.decompress(
          format == .raw ? UnsafeRawBufferPointer(rebasing: b[10...]) : b, format, into: &out,
          limit: DecompressionLimit(bytes: 100_000))
      }
      #expect(out.count <= 100_000)
    }
  }
}
