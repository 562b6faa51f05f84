import AggCore

/// Goes over the frames of a chunk file with a bounded amount of memory, whatever the file holds.
///
/// Reads frame headers only, or, to verify, every byte once; a window at a time.
struct FrameWalker: ~Copyable {
  enum Step {
    /// `isWhole`: the payload's checksum matches; true where it was not asked for.
    case frame(Frame.Fixed, at: Int, isWhole: Bool)
    /// No frame; up to the next one, or the end of the file. `lost` is what an intact header says was here.
    case damaged(Range<Int>, lost: Frame.Fixed?)
    case end
  }
  /// What a header is read with, and what is verified at once.
  private static let small = 4096
  private static let large = 256 << 10

  private let file: File
  private let nonce: UInt64
  let size: Int
  private let verifies: Bool
  private(set) var at: Int
  private var window = ByteWriter(capacity: 4096)
  private var windowStart = 0
  private(set) var bytesRead = 0

  init(_ file: File, _ header: Frame.File, size: Int, verifies: Bool) {
    self.file = file
    nonce = header.nonce
    at = header.length
    self.size = size
    self.verifies = verifies
  }

  mutating func next() throws(FileError) -> Step {
    if at >= size { return .end }
    if let fixed = try fixed(at), fixed.length <= size - at {
      let start = at
      at += fixed.length
      return .frame(fixed, at: start, isWhole: verifies ? try matches(fixed, start) : true)
    }
    let start = at
    let lost = try fixed(start)
    at = try resynchronised(after: start)
    return .damaged(start..<at, lost: lost)
  }

  private mutating func fixed(_ place: Int) throws(FileError) -> Frame.Fixed? {
    guard try load(place, Frame.header, ahead: verifies ? Self.large : Self.small) else { return nil }
    let from = place - windowStart
    return Frame.readFixed(UnsafeRawBufferPointer(rebasing: window.bytes[from..<from + Frame.header]), nonce: nonce)
  }

  private mutating func matches(_ fixed: Frame.Fixed, _ start: Int) throws(FileError) -> Bool {
    var crc: UInt32 = 0
    var place = start + Frame.header
    let end = start + fixed.length
    while place < end {
      let n = min(end - place, Self.large)
      guard try load(place, n, ahead: Self.large) else { return false }
      crc = Frame.checksum(UnsafeRawBufferPointer(rebasing: window.bytes[place - windowStart..<place - windowStart + n]), continuing: crc)
      place += n
    }
    return crc == fixed.payloadCRC
  }

  /// The next place with this file's magic and an intact header, whose frame is all there; else the end.
  private mutating func resynchronised(after start: Int) throws(FileError) -> Int {
    let magic = Frame.magic(nonce).bigEndian
    var place = start + 1
    while place + Frame.header <= size {
      let n = min(size - place, Self.large)
      guard try load(place, n, ahead: Self.large) else { return size }
      var found: Int?
      let from = place - windowStart
      for offset in 0...(n - Frame.header) where window.bytes.loadUnaligned(fromByteOffset: from + offset, as: UInt32.self) == magic {
        let bytes = UnsafeRawBufferPointer(rebasing: window.bytes[from + offset..<from + offset + Frame.header])
        if let fixed = Frame.readFixed(bytes, nonce: nonce), fixed.length <= size - place - offset {
          found = place + offset
          break
        }
      }
      if let found { return found }
      place += n - Frame.header + 1
    }
    return size
  }

  /// Has `n` bytes from `place` in the window; false when the file ends before.
  private mutating func load(_ place: Int, _ n: Int, ahead: Int) throws(FileError) -> Bool {
    if place >= windowStart, place + n <= windowStart + window.count { return true }
    windowStart = place
    window.removeAll()
    let wanted = min(max(n, ahead), size - place)
    while window.count < wanted {
      let read = try file.read(at: place + window.count, wanted - window.count, into: &window)
      if read == 0 { break }
      bytesRead += read
    }
    return window.count >= n
  }
}
