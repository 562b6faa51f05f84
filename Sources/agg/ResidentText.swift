import AggCore
import Glibc

/// Gives back the pages of code that the start touched and rest does not need.
///
/// They stay in the page cache and come back with a minor fault each 64 KiB: less than a millisecond of CPU when work begins.
enum ResidentText {
  /// Of this program and its libraries; code that was made at run time (PCRE2's) has no file and is left alone.
  static func release() {
    guard let maps = try? File.contents("/proc/self/maps", limit: 4 << 20) else { return }
    forEachLine(maps.bytes) { line, _ in
      // 7f0000000000-7f0000100000 r-xp 00000000 08:01 1234  /path: private, executable and never written.
      let fields = line.split(separator: 0x20, maxSplits: 5)
      guard fields.count == 6, fields[1].elementsEqual("r-xp".utf8), !fields[4].elementsEqual("0".utf8),
        let dash = fields[0].firstIndex(of: 0x2d),
        let from = address(fields[0][..<dash]), let to = address(fields[0][(dash + 1)...]), from < to
      else { return }
      madvise(UnsafeMutableRawPointer(bitPattern: from), Int(to - from), MADV_DONTNEED)
    }
  }

  private static func address(_ hex: Slice<UnsafeRawBufferPointer>) -> UInt? {
    UInt(String(decoding: hex, as: UTF8.self), radix: 16)
  }
}
