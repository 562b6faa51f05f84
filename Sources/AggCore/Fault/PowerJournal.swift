import CAgg
import Glibc

/// For a test that cuts the power: a log of every change to files and names, and of every sync, from which the driver takes back what a
/// machine might have lost (Tests/crash/power.py). On when AGG_FAULT_POWER names a directory beside an AGG_FAULT_FD.
///
/// In the release binary as the fault points are, so that what is tested is what is shipped; without a driver each call costs a branch.
/// Nothing is really synced then: the journal says what would have been.
///
///     record  length:u32 (of all) kind:u8 inode:u64 a:u64 b:u64 pathLength:u32 path pathLength:u32 path bytes; little endian
///     'c' path       before a file is opened that may be new     'C' inode path       it is
///     'W' inode offset count, the bytes that were there          'T' inode size, the bytes that were behind it
///     'S' inode size: synced so far                              'D' path: a directory is synced
///     'N' from to   'L' from to   'R' path   'M' path            renamed, linked, removed, made; before it is done
///
/// A file that loses its last name gets one in the directory, `i<inode>`, from which the driver can bring it back.
enum PowerJournal {
  enum Change {
    case write(Int32, at: Int?, count: Int)
    case truncate(Int32, to: Int)
    case rename(String, String)
    case link(String, String)
    case remove(String)
    case makeDirectory(String)
  }
  /// Protected by `mutex`, which is held from a record until its change is done.
  private struct Journal: @unchecked Sendable {
    var descriptor: Int32
    var directory: String
    let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  }
  private static let journal: Journal? = {
    guard Faults.isDriven, let text = getenv("AGG_FAULT_POWER") else { return nil }
    let directory = String(cString: text)
    let descriptor = agg_open(directory + "/journal", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return nil }
    let journal = Journal(descriptor: descriptor, directory: directory)
    pthread_mutex_init(journal.mutex, nil)
    return journal
  }()
  static var isOn: Bool { journal != nil }

  @inline(__always) static func around<R, E: Error>(_ change: @autoclosure () -> Change, _ body: () throws(E) -> R) throws(E) -> R {
    guard let journal else { return try body() }
    pthread_mutex_lock(journal.mutex)
    defer { pthread_mutex_unlock(journal.mutex) }
    note(change(), journal)
    return try body()
  }
  /// Opens a file that may be made or emptied.
  static func open(_ path: String, _ flags: Int32, _ permission: UInt32) -> Int32 {
    guard let journal else { return agg_open(path, flags, permission) }
    pthread_mutex_lock(journal.mutex)
    defer { pthread_mutex_unlock(journal.mutex) }
    let old = File.status(path, followingLinks: false)
    if old == nil { write(journal, "c", path: path) } else if flags & O_TRUNC != 0 {
      let descriptor = agg_open(path, O_RDONLY | O_CLOEXEC, 0)
      if descriptor >= 0 {
        noteTruncation(descriptor, to: 0, journal)
        close(descriptor)
      }
    }
    let descriptor = agg_open(path, flags, permission)
    if old == nil, descriptor >= 0, let status = File.status(path) { write(journal, "C", inode: status.inode, path: path) }
    return descriptor
  }
  /// Instead of a sync; false when there is no journal.
  @inline(__always) static func synced(_ descriptor: Int32) -> Bool {
    guard let journal else { return false }
    pthread_mutex_lock(journal.mutex)
    defer { pthread_mutex_unlock(journal.mutex) }
    var s = stat()
    if fstat(descriptor, &s) == 0 { write(journal, "S", inode: UInt64(s.st_ino), a: UInt64(clamping: s.st_size)) }
    return true
  }
  static func syncedDirectory(_ path: String) -> Bool {
    guard let journal else { return false }
    pthread_mutex_lock(journal.mutex)
    defer { pthread_mutex_unlock(journal.mutex) }
    write(journal, "D", path: path)
    return true
  }

  private static func note(_ change: Change, _ journal: Journal) {
    switch change {
    case .write(let descriptor, let at, let count):
      var s = stat()
      guard fstat(descriptor, &s) == 0, s.st_mode & S_IFMT == S_IFREG else { return }
      let appends = agg_fcntl_int(descriptor, F_GETFL, 0) & O_APPEND != 0
      let offset = at ?? (appends ? Int(s.st_size) : lseek(descriptor, 0, SEEK_CUR))
      let old = bytes(descriptor, offset, min(count, Int(s.st_size) - offset))
      write(journal, "W", inode: UInt64(s.st_ino), a: UInt64(clamping: offset), b: UInt64(clamping: count), bytes: old)
    case .truncate(let descriptor, let size): noteTruncation(descriptor, to: size, journal)
    case .rename(let from, let to):
      keep(to, journal)
      write(journal, "N", path: from, other: to)
    case .link(let from, let to): if File.status(to, followingLinks: false) == nil { write(journal, "L", path: from, other: to) }
    case .remove(let path):
      keep(path, journal)
      write(journal, "R", path: path)
    case .makeDirectory(let path): write(journal, "M", path: path)
    }
  }
  private static func noteTruncation(_ descriptor: Int32, to size: Int, _ journal: Journal) {
    var s = stat()
    guard fstat(descriptor, &s) == 0, s.st_mode & S_IFMT == S_IFREG else { return }
    write(journal, "T", inode: UInt64(s.st_ino), a: UInt64(clamping: size), bytes: bytes(descriptor, size, Int(s.st_size) - size))
  }
  /// Through a descriptor of its own: the file's may be for writing only.
  private static func bytes(_ descriptor: Int32, _ offset: Int, _ count: Int) -> [UInt8] {
    guard count > 0, offset >= 0 else { return [] }
    let reader = agg_open("/proc/self/fd/\(descriptor)", O_RDONLY | O_CLOEXEC, 0)
    guard reader >= 0 else { return [] }
    defer { close(reader) }
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, n in n = max(0, pread(reader, buffer.baseAddress, count, offset)) }
  }
  private static func keep(_ path: String, _ journal: Journal) {
    guard let status = File.status(path, followingLinks: false), status.isRegular, status.links == 1 else { return }
    _ = Glibc.link(path, "\(journal.directory)/i\(status.inode)")
  }

  private static func write(
    _ journal: Journal, _ kind: Unicode.Scalar, inode: UInt64 = 0, a: UInt64 = 0, b: UInt64 = 0, path: String = "", other: String = "", bytes: [UInt8] = []
  ) {
    var out: [UInt8] = []
    func number<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
    number(UInt32(truncatingIfNeeded: 4 + 1 + 24 + 8 + path.utf8.count + other.utf8.count + bytes.count))
    out.append(UInt8(ascii: kind))
    for value in [inode, a, b] { number(value) }
    for text in [path, other] {
      number(UInt32(truncatingIfNeeded: text.utf8.count))
      out.append(contentsOf: text.utf8)
    }
    out.append(contentsOf: bytes)
    _ = Glibc.write(journal.descriptor, out, out.count)
  }
}
