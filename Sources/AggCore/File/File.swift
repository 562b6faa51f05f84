import CAgg
public import Glibc

/// Why a system call on a file failed: `path: what (errno text)`.
public struct FileError: Error, Sendable, CustomStringConvertible {
  public var path: String
  public var operation: String
  public var code: Int32
  public init(_ path: String, _ operation: String, _ code: Int32 = errno) {
    self.path = path
    self.operation = operation
    self.code = code
  }
  public var description: String { "\(path): cannot \(operation): \(String(cString: strerror(code)))" }
  /// No room: a state that ends by itself.
  public var isFull: Bool { code == ENOSPC || code == EDQUOT }
  public var isMissing: Bool { code == ENOENT }
}

/// An open file. Blocking calls: only on a `BlockingPool` thread. Closed when the last reference goes.
public final class File: Sendable {
  public let descriptor: Int32
  public let path: String

  public struct Mode: OptionSet, Sendable {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }
    public static let read = Mode(rawValue: O_RDONLY)
    public static let write = Mode(rawValue: O_WRONLY)
    public static let readWrite = Mode(rawValue: O_RDWR)
    public static let create = Mode(rawValue: O_CREAT)
    public static let append = Mode(rawValue: O_APPEND)
    public static let exclusive = Mode(rawValue: O_EXCL)
    public static let truncate = Mode(rawValue: O_TRUNC)
    public static let nonBlocking = Mode(rawValue: O_NONBLOCK)
    public static let directory = Mode(rawValue: O_DIRECTORY)
    public static let noFollow = Mode(rawValue: O_NOFOLLOW)
  }

  public init(_ path: String, _ mode: Mode, permission: Int = 0o644) throws(FileError) {
    let failure = Faults.failure(mode.intersection([.write, .readWrite]).isEmpty ? .read : .open, path)
    let flags = mode.rawValue | O_CLOEXEC
    let fd = failure != 0 ? -failure : flags & (O_CREAT | O_TRUNC) != 0 ? PowerJournal.open(path, flags, UInt32(permission)) : agg_open(path, flags, UInt32(permission))
    if fd < 0 { throw FileError(path, "open", -fd) }
    descriptor = fd
    self.path = path
  }
  /// Takes over a descriptor.
  public init(descriptor: Int32, path: String) {
    self.descriptor = descriptor
    self.path = path
  }
  deinit { close(descriptor) }

  /// Writes everything, or throws; a part may have been written then.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    try PowerJournal.around(.write(descriptor, at: nil, count: bytes.count)) { () throws(FileError) in try writeAll(bytes) }
  }
  private func writeAll(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    var done = 0
    try failWrite { _ = Glibc.write(descriptor, bytes.baseAddress, bytes.count / 2) }
    while done < bytes.count {
      let n = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, writable(bytes.count - done))
      if n < 0 {
        if errno == EINTR { continue }
        throw FileError(path, "write")
      }
      done += n
    }
  }
  public func write(at offset: Int, _ bytes: UnsafeRawBufferPointer) throws(FileError) {
    try PowerJournal.around(.write(descriptor, at: offset, count: bytes.count)) { () throws(FileError) in try writeAll(bytes, at: offset) }
  }
  private func writeAll(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
    var done = 0
    try failWrite { _ = pwrite(descriptor, bytes.baseAddress, bytes.count / 2, offset) }
    while done < bytes.count {
      let n = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, writable(bytes.count - done), offset + done)
      if n < 0 {
        if errno == EINTR { continue }
        throw FileError(path, "write")
      }
      done += n
    }
  }
  /// Where a test wants a write to fail, half of it is written, as on a disk that gets full.
  @inline(__always) private func failWrite(_ half: () -> Void) throws(FileError) {
    let code = Faults.failure(.write, path)
    if code == 0 { return }
    half()
    throw FileError(path, "write", code)
  }
  /// How much the next call is given: less where a test wants a short write.
  @inline(__always) private func writable(_ count: Int) -> Int { Faults.failure(.short, path) == 0 ? count : (count + 1) / 2 }
  /// Reads at most `count` bytes from `offset` onto the end of `out`; 0 at the end of the file.
  public func read(at offset: Int, _ count: Int, into out: inout ByteWriter) throws(FileError) -> Int {
    out.reserve(count)
    let failure = Faults.failure(.read, path)
    if failure != 0 { throw FileError(path, "read", failure) }
    while true {
      let n = pread(descriptor, out.end, count, offset)
      if n < 0 {
        if errno == EINTR { continue }
        throw FileError(path, "read")
      }
      out.count += n
      return n
    }
  }
  public struct Status: Sendable {
    public var device: UInt64
    public var inode: UInt64
    public var size: Int
    public var modified: EventTime
    public var isRegular: Bool
    public var isDirectory: Bool
    public var links: Int
  }
  public func status() throws(FileError) -> Status {
    var s = Glibc.stat()
    guard fstat(descriptor, &s) == 0 else { throw FileError(path, "stat") }
    return Status(s)
  }
  /// Makes the content survive power loss. After an error nothing that was written before may be taken for stored, and the descriptor
  /// not be synced again: the kernel may have dropped what it could not write.
  public func sync() throws(FileError) {
    let failure = Faults.failure(.sync, path)
    if failure != 0 { throw FileError(path, "sync", failure) }
    if PowerJournal.synced(descriptor) { return }
    if fdatasync(descriptor) != 0 { throw FileError(path, "sync") }
  }
  public func truncate(to size: Int) throws(FileError) {
    let failure = Faults.failure(.truncate, path)
    if failure != 0 { throw FileError(path, "truncate", failure) }
    try PowerJournal.around(.truncate(descriptor, to: size)) { () throws(FileError) in
      if ftruncate(descriptor, size) != 0 { throw FileError(path, "truncate") }
    }
  }
  /// Takes the exclusive lock, or says false when another process (or descriptor) holds it.
  public func tryLock() -> Bool { agg_flock(descriptor, LOCK_EX | LOCK_NB) == 0 }
  public func lock() { _ = agg_flock(descriptor, LOCK_EX) }
  public func unlock() { _ = agg_flock(descriptor, LOCK_UN) }

  // MARK: By path

  /// The whole file; throws `FileError` with EFBIG above `limit`.
  public static func contents(_ path: String, limit: Int = 1 << 30) throws(FileError) -> ByteWriter {
    let file = try File(path, .read)
    let size = try file.status().size
    if size > limit { throw FileError(path, "read", EFBIG) }
    var out = ByteWriter(capacity: size + 4096)
    while try file.read(at: out.count, max(4096, size - out.count), into: &out) > 0 {
      if out.count > limit { throw FileError(path, "read", EFBIG) }
    }
    return out
  }
  public static func status(_ path: String, followingLinks: Bool = true) -> Status? {
    var s = Glibc.stat()
    guard fstatat(AT_FDCWD, path, &s, followingLinks ? 0 : AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
    return Status(s)
  }
  /// Makes a directory and the ones above it; one that exists is fine. `sync`: it survives power loss.
  public static func makeDirectories(_ path: String, permission: Int = 0o755, sync: Bool = false) throws(FileError) {
    if path.isEmpty || path == "/" { return }
    var code = make(path, permission)
    if code == ENOENT {
      try makeDirectories(directory(of: path), permission: permission, sync: sync)
      code = make(path, permission)
    }
    guard code == 0 || code == EEXIST else { throw FileError(path, "make directory", code) }
    guard sync else { return }
    // One that is there may have been made just before a kill. Who may not read what is above it has not made it either.
    do throws(FileError) { try syncDirectory(directory(of: path)) } catch { if code == 0 { throw error } }
  }
  private static func make(_ path: String, _ permission: Int) -> Int32 {
    if PowerJournal.isOn, status(path) != nil { return EEXIST }
    return PowerJournal.around(.makeDirectory(path)) { mkdir(path, mode_t(truncatingIfNeeded: permission)) == 0 ? 0 : errno }
  }
  /// Everything before the last slash; "." without one.
  public static func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
  public static func name(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
  }
  /// Names in a directory, sorted, without `.` and `..`; of a directory that may hold very many, only those that are `wanted`.
  public static func list(_ path: String, where wanted: (String) -> Bool = { _ in true }) throws(FileError) -> [String] {
    var names: [String] = []
    try forEachName(in: path) { if wanted($0) { names.append($0) } }
    return names.sorted()
  }
  /// The same one by one, in no order: a directory may hold very many.
  public static func forEachName(in path: String, _ body: (String) throws(FileError) -> Void) throws(FileError) {
    guard let directory = opendir(path) else { throw FileError(path, "list") }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
      if name != ".", name != ".." { try body(name) }
    }
  }
  public static func rename(_ from: String, to: String) throws(FileError) {
    let failure = Faults.failure(.rename, from)
    if failure != 0 { throw FileError(from, "rename to \(to)", failure) }
    try PowerJournal.around(.rename(from, to)) { () throws(FileError) in
      if Glibc.rename(from, to) != 0 { throw FileError(from, "rename to \(to)") }
    }
  }
  public static func remove(_ path: String) throws(FileError) {
    let failure = Faults.failure(.remove, path)
    if failure != 0 { throw FileError(path, "remove", failure) }
    try PowerJournal.around(.remove(path)) { () throws(FileError) in
      if unlink(path) != 0, errno != ENOENT { throw FileError(path, "remove") }
    }
  }
  /// Gives a file a second name; throws `FileError` with EEXIST where there is one.
  public static func link(_ from: String, to: String) throws(FileError) {
    try PowerJournal.around(.link(from, to)) { () throws(FileError) in
      if Glibc.link(from, to) != 0 { throw FileError(to, "link") }
    }
  }
  /// Makes names in a directory survive power loss.
  public static func syncDirectory(_ path: String) throws(FileError) {
    let failure = Faults.failure(.sync, path)
    if failure != 0 { throw FileError(path, "sync", failure) }
    if PowerJournal.syncedDirectory(path) { return }
    let file = try File(path, [.read, .directory])
    if fsync(file.descriptor) != 0 { throw FileError(path, "sync") }
  }
  /// Replaces a file by writing beside it and renaming: a reader sees the old or the new whole.
  public static func replace(_ path: String, with bytes: UnsafeRawBufferPointer, permission: Int = 0o644, sync: Bool = false) throws(FileError) {
    let temporary = path + ".tmp"
    let file = try File(temporary, [.write, .create, .truncate], permission: permission)
    do {
      try file.write(bytes)
      if sync { try file.sync() }
      try rename(temporary, to: path)
    } catch {
      // Half a file would keep a full disk full.
      unlink(temporary)
      throw error
    }
    if sync { try syncDirectory(directory(of: path)) }
  }
  /// Paths that match a glob pattern, sorted.
  public static func glob(_ pattern: String) -> [String] {
    var result = glob_t()
    defer { globfree(&result) }
    guard Glibc.glob(pattern, GLOB_BRACE, nil, &result) == 0, let paths = result.gl_pathv else { return [] }
    return (0..<Int(result.gl_pathc)).compactMap { paths[$0].map { String(cString: $0) } }
  }
}

extension File.Status {
  init(_ s: Glibc.stat) {
    self.init(
      device: UInt64(s.st_dev), inode: UInt64(s.st_ino), size: Int(s.st_size),
      modified: EventTime(seconds: Int64(s.st_mtim.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: s.st_mtim.tv_nsec)),
      isRegular: s.st_mode & S_IFMT == S_IFREG, isDirectory: s.st_mode & S_IFMT == S_IFDIR, links: Int(s.st_nlink))
  }
}
