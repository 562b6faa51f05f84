/// What keeps events from being lost or doubled by a kill, and can be switched off by a test's driver, to show that the driver notices.
public enum Protection: UInt64, CaseIterable, Sendable {
  /// Frames whose batch has no commit record are left out at the next start.
  case commit
  /// A file output notes where a chunk is being written.
  case notes
  /// A chunk or request that comes a second time is known.
  case duplicates
}

extension Faults {
  /// Word 48 of the driver's page has a bit a protection.
  @inline(__always) public static func lacks(_ protection: Protection) -> Bool {
    guard let page else { return false }
    return page[48] >> protection.rawValue & 1 != 0
  }
}
