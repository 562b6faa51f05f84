import AggCore
import Synchronization
import Testing

import AggEngine

/// The gauge counts for the whole process, other tests included: what is compared is far larger than theirs.
@Suite struct MemoryBudgetTests {
  private final class Lines: LogWriter {
    let kept = Mutex<[String]>([])
    func write(_ level: LogLevel, _ source: String, _ message: String) { kept.withLock { $0.append("\(level.name): \(message)") } }
  }

  @Test func `what writers and blocks hold is counted until it is freed`() {
    let before = HeldMemory.current
    do {
      var writer = ByteWriter(capacity: 256 << 20)
      writer.append(1 as UInt8)
      #expect(HeldMemory.current - before > 192 << 20)
      writer.trim(to: 4096)
      #expect(HeldMemory.current - before < 64 << 20)
      for _ in 0..<2 { writer.reserve(200 << 20); writer.advance(to: writer.end + (100 << 20)) }
      #expect(HeldMemory.current - before > 192 << 20)
      let block = Block(writer)
      #expect(HeldMemory.current - before > 192 << 20)
      withExtendedLifetime(block) {}
    }
    #expect(HeldMemory.current - before < 64 << 20)
  }

  @Test func `over the limit inputs wait, once told, until there is room`() async throws {
    let lines = Lines()
    let budget = MemoryBudget(TimerQueue())
    #expect(budget.admits())
    budget.setLimit(1, log: Log(writer: lines))
    let kept = Block(copying: UnsafeRawBufferPointer(start: nil, count: 0))
    #expect(!budget.admits())
    #expect(!budget.admits())
    #expect(budget.isSuspended)
    #expect(budget.suspensionCount == 1)
    budget.setLimit(.max, log: Log(writer: lines))
    await budget.wait(ObjectIdentifier(lines))
    #expect(budget.admits())
    #expect(lines.kept.withLock { $0.count } == 2)
    withExtendedLifetime(kept) {}
  }

  @Test func `when all stands still one reader at a time goes on, and goes on until it rests`() async {
    let budget = MemoryBudget(TimerQueue())
    budget.setLimit(1, log: Log(writer: Lines()))
    let kept = Block(copying: UnsafeRawBufferPointer(start: nil, count: 0))
    let reader = Lines()
    for _ in 0..<5 { await budget.wait(ObjectIdentifier(reader)) }
    #expect(budget.isSuspended)
    // Another one's turn comes when the first does not read any more.
    let other = Lines()
    await budget.wait(ObjectIdentifier(other))
    #expect(budget.isSuspended)
    withExtendedLifetime((kept, reader, other)) {}
  }

  @Test func `a reader that is told to stop waits no longer`() async {
    let budget = MemoryBudget(TimerQueue())
    budget.setLimit(1, log: Log(writer: Lines()))
    let kept = Block(copying: UnsafeRawBufferPointer(start: nil, count: 0))
    let task = Task { await budget.wait(ObjectIdentifier(budget)) }
    task.cancel()
    await task.value
    withExtendedLifetime(kept) {}
  }

  @Test func `each memory buffer has a part that no other one can take`() {
    let pool = MemoryPool(limit: 800)
    let (one, other) = (pool.share(), pool.share())
    // 100 each are sure, 200 are for whoever comes first.
    one.add(299)
    #expect(one.hasRoom)
    one.add(1)
    #expect(!one.hasRoom)
    #expect(other.hasRoom)
    other.add(99)
    #expect(other.hasRoom)
    other.add(1)
    #expect(!other.hasRoom)
    one.add(-250)
    #expect(one.hasRoom)
    #expect(other.hasRoom)
    other.add(200)
    #expect(!other.hasRoom)
    #expect(one.hasRoom)
  }
}
