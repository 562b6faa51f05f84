import AggCore

/// Tests a batch, test by test: one matcher serves all events.
struct GrepRun: ~Copyable {
  private enum Verdict { case undecided, dropped, kept }
  private var verdicts: [Verdict]
  private var text = ByteWriter(capacity: 256)
  /// Why an event could not be tested: a path through what has no fields. It is kept, as Fluentd keeps it.
  private(set) var failure: String?

  init(count: Int) { verdicts = [Verdict](repeating: .undecided, count: count) }

  func keeps(_ index: Int) -> Bool { verdicts[index] != .dropped }

  mutating func decide(_ group: GrepFilter.TestGroup, _ batch: EventBatch) {
    // Whether the tests so far have settled the group for the event: `any` by a match, `all` by a mismatch.
    var settled = [Bool](repeating: false, count: verdicts.count)
    for test in group.tests {
      var matcher = test.regexp.matcher()
      var index = 0
      batch.forEachEvent { _, record in
        defer { index += 1 }
        if settled[index] || verdicts[index] != .undecided { return }
        do throws(NotAContainer) {
          settled[index] = try matches(test, record, &matcher) == group.any
        } catch {
          verdicts[index] = .kept
          if failure == nil { failure = error.description }
        }
      }
    }
    for index in verdicts.indices where verdicts[index] == .undecided {
      if (settled[index] == group.any) == group.dropsMatching { verdicts[index] = .dropped }
    }
  }

  private mutating func matches(_ test: GrepFilter.Test, _ record: RecordView, _ matcher: inout RegexpMatcher) throws(NotAContainer) -> Bool {
    let found: ValueView?
    if let key = test.path.topLevelKey { found = record.find(key) } else { found = try test.path.dig(record) }
    if let bytes = found?.textBytes { return matcher.match(bytes) }
    text.removeAll()
    if let found { RubyText.write(found, into: &text) }
    return matcher.match(text.bytes)
  }
}
