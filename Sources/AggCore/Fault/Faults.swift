import CAgg
import Glibc

/// A place where a test's driver can have the daemon killed: between two steps of something that must survive it.
///
/// In the release binary; without a driver each costs one branch a batch. `torn…`: in the middle of a write.
public enum FaultPoint: Int, CaseIterable, Sendable {
  /// A frame of a chunk: before, in the middle of and after its write.
  case append, tornAppend, appended
  /// All frames of a batch are there; its commit record is not, is half there, is there, and the source knows.
  case commit, tornCommit, committed, finished
  /// The commit log is written anew: before and after the new file takes the name.
  case checkpoint, checkpointed
  /// A chunk gets the name that says it is whole.
  case seal, sealed
  /// A delivered chunk goes.
  case delete, deleted
  /// Before a source writes its position.
  case position
  /// A file output: the note is there; in the middle of the chunk; the chunk is there; the note says so.
  case note, tornOutput, outputWritten, outputDone
  /// A whole file gets its name.
  case publish, published
  /// Forward: events are stored and not acknowledged; acknowledged; sent and not acknowledged; the acknowledgement came.
  case acknowledge, acknowledged, sent, taken
  /// HTTP: events are stored and not answered; a request was answered.
  case answer, answered
  /// Dead letters: in the middle of their write; they are there and their chunk too; they are stored again and still there.
  case tornLetter, dlq, replayed
}

/// What a test's driver switched on: a page of memory shared over the descriptor that AGG_FAULT_FD names.
///
/// Words (64 bits): 0 magic, 1 armed point + 1, 2 how many hits until the kill, 8… gauges, 16…19 a failing call, 20 a limit, 24…39 a part of
/// the paths whose calls fail, 40 how many did, 48 what is switched off (`Protection`), 64… hits by point.
public enum Faults {
  private static let magic: UInt64 = 0x4147_4746_4155_4c54
  nonisolated(unsafe) static let page: UnsafeMutablePointer<UInt64>? = open()

  private static func open() -> UnsafeMutablePointer<UInt64>? {
    guard let text = getenv("AGG_FAULT_FD"), let descriptor = Int32(String(cString: text)) else { return nil }
    _ = agg_fcntl_int(descriptor, F_SETFD, FD_CLOEXEC)
    guard let map = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), map != MAP_FAILED else { return nil }
    let words = map.bindMemory(to: UInt64.self, capacity: 512)
    return words[0] == magic ? words : nil
  }

  static var isDriven: Bool { page != nil }

  /// Dies here when the driver says so.
  @inline(__always) public static func hit(_ point: FaultPoint) {
    if let page { reach(page, point) }
  }
  @inline(never) private static func reach(_ page: UnsafeMutablePointer<UInt64>, _ point: FaultPoint) {
    if agg_fault_hit(page, Int32(point.rawValue)) != 0 { kill(getpid(), SIGKILL) }
  }
  /// Whether the next hit of `point` is where the process dies: half of the write is made before it.
  @inline(__always) public static func isArmed(_ point: FaultPoint) -> Bool {
    guard let page else { return false }
    return agg_fault_armed(page, Int32(point.rawValue)) != 0
  }

  /// How busy the daemon is, for the driver's report.
  public enum Gauge: Int32, Sendable { case staged = 8, uncommitted, inFlight }
  @inline(__always) public static func add(_ gauge: Gauge, _ n: Int) {
    if let page { agg_fault_add(page, gauge.rawValue, Int64(n)) }
  }

  /// The commit log's size at which it is written anew, in place of `usual`: else a test would not see it happen.
  public static func commitLogLimit(_ usual: Int) -> Int {
    guard let page, page[20] > 0 else { return usual }
    return Int(truncatingIfNeeded: page[20])
  }

  /// System calls that can be made to fail.
  ///
  /// `write` fails after half of it is written, as on a disk that gets full; `short` is a write that the kernel cuts and that goes on;
  /// `open` is for writing, `read` is opening for reading and reading.
  public enum Call: Int32, Sendable { case write, sync, rename, remove, open, truncate, read, short }
  /// The errno that the driver wants here, or 0.
  @inline(__always) static func failure(_ call: Call, _ path: @autoclosure () -> String) -> Int32 {
    guard let page else { return 0 }
    return failure(page, call, path())
  }
  @inline(never) private static func failure(_ page: UnsafeMutablePointer<UInt64>, _ call: Call, _ path: String) -> Int32 {
    let code = agg_fault_error(page, call.rawValue, path)
    if code != 0 { agg_fault_add(page, 40, 1) }
    return code
  }
}
