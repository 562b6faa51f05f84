/// Why bytes could not be decompressed; what was written before is taken back.
public struct CompressionError: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Code: Hashable, Sendable {
    /// The bytes are not of this format, or their checksum differs.
    case corrupt
    /// The bytes end before the format does.
    case truncated
    /// More than the allowed bytes would come out, or more than the allowed ratio.
    case tooLarge
  }
  public var code: Code
  public var description: String

  init(_ code: Code, _ description: String) {
    self.code = code
    self.description = description
  }
}

/// How much may come out of compressed bytes.
public struct DecompressionLimit: Hashable, Sendable {
  /// Outputs up to this many bytes are not held against the ratio.
  static let ratioFreeBytes = 64 * 1024

  public var bytes: Int
  /// Output bytes for one byte of input; deflate itself cannot pass 1032.
  public var ratio: Int

  public init(bytes: Int, ratio: Int = 1100) {
    self.bytes = bytes
    self.ratio = ratio
  }

  /// The most that may come out of `input` bytes.
  func maximum(for input: Int) -> Int {
    let (scaled, overflow) = max(input, 0).multipliedReportingOverflow(by: max(ratio, 1))
    return max(0, min(bytes, overflow ? bytes : max(scaled, Self.ratioFreeBytes)))
  }
}
