import CPCRE2
import Synchronization

/// Matches one expression again and again without allocating; holds the last match's ranges.
///
///     var matcher = regexp.matcher()
///     if matcher.match(line), let host = matcher.range(ofName: 0) { … }
public struct RegexpMatcher: ~Copyable {
  private let program: RegexpProgram
  private let state: MatchState
  /// Groups that the last match set, the whole match counted; 0 when it failed.
  private var matched = 0

  init(_ program: RegexpProgram) {
    self.program = program
    state = program.take()
  }

  deinit { program.giveBack(state) }

  /// Looks for the first match at or after `from`; anchors see the whole subject.
  public mutating func match(_ subject: UnsafeRawBufferPointer, from start: Int = 0) -> Bool {
    matched = 0
    guard start >= 0, start <= subject.count else { return false }
    let code: RegexpProgram.Code
    if UTF8Text.isASCII(subject) {
      code = program.ascii
    } else if UTF8Text.isValid(subject) {
      code = program.utf
    } else {
      guard let bytes = program.bytes else { return false }
      code = bytes
    }
    let text = subject.baseAddress.map { $0.assumingMemoryBound(to: UInt8.self) } ?? emptyText.utf8Start
    let result =
      code.isJIT
      ? pcre2_jit_match_8(code.pointer, text, subject.count, start, 0, state.data, state.context)
      : pcre2_match_8(code.pointer, text, subject.count, start, UInt32(PCRE2_NO_UTF_CHECK), state.data, state.context)
    if result > 0 {
      matched = Int(result)
      return true
    }
    if result != PCRE2_ERROR_NOMATCH { program.limitHits.add(1, ordering: .relaxed) }
    return false
  }

  /// Where group `group` of the last match lies; 0 is the whole match, nil a group that took no part.
  @inline(__always) public func range(of group: Int) -> Range<Int>? {
    guard group >= 0, group < matched else { return nil }
    let start = state.offsets[2 &* group]
    let end = state.offsets[2 &* group &+ 1]
    guard start >= 0 else { return nil }  // PCRE2_UNSET is all ones
    return start..<max(start, end)  // \K may put the start behind the end
  }

  /// Where the name at `index` of `names` matched; of several groups with that name the last that took part.
  public func range(ofName index: Int) -> Range<Int>? {
    guard index >= 0, index < program.groups.count else { return nil }
    let groups = program.groups[index]
    if groups.count == 1 { return range(of: groups[0]) }
    for group in groups.reversed() {
      if let range = range(of: group) { return range }
    }
    return nil
  }
}

/// A subject for the empty buffer, which may have no address.
private let emptyText: StaticString = ""
