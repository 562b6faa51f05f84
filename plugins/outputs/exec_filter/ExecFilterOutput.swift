public import AggCore
import Glibc
import Synchronization

/// Gives events to a command that runs all the time, and takes what it prints as new events.
public struct ExecFilterOutput: Output {
  public static let name = "exec_filter"
  public static let oldParameters = OldParameters(.buffer)
  public static let summary = "Events through a command and back."
  public static let buffering = BufferDefaults(flushInterval: 1)

  private let config: Config
  private let context: PluginContext
  private let formatter: any Formatter
  private let extractor: Extractor?
  private let parser: any Parser
  private let parserType: String
  private let removedPrefix: String?
  private let emitter: Emitter
  private let children: RunningChildren

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    let at = context.element.at
    formatter = try context.formatter(config.formatSection(at: at)).injecting(try config.injector(context))
    let parse = config.parseSection(at: at)
    parser = try context.parser(parse)
    parserType = parse.type ?? "tsv"
    let givesTag: Bool
    (extractor, givesTag) = try config.extractor(context)
    if config.tag == nil, !givesTag {
      throw ConfigValueError("'tag' or '<extract> tag_key </extract>' option is required on exec_filter output")
    }
    removedPrefix = config.removePrefix.map { $0 + "." }
    if let label = context.element["@label"] { _ = context.label(label, at: context.element.entry("@label")?.at ?? at) }
    emitter = context.emitter()
    children = RunningChildren(config.children, context.shared(BlockingPool.self) ?? BlockingPool())
  }

  public var chunkFormatter: (any Formatter)? { formatter }
  public static var takesFormatted: Bool { true }

  // MARK: Events to the command

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    var out = ByteWriter(capacity: chunk.byteCount + chunk.byteCount / 2 + 256)
    var rejects: [Rejection] = []
    var first = 0
    if let formatted = chunk.formatted { formatted.withBytes { out.append($0) } }
    for batch in chunk.batches {
      var own: [Rejection] = []
      formatter.format(unprefixed(batch), into: &out, &own)
      for reject in own { rejects.append(Rejection(index: first &+ reject.index, reason: reject.reason)) }
      first += batch.count
    }
    let block = Block(out)
    if block.count > 0 { try await WriteError.mapping { try await children.write(block) } }
    if !rejects.isEmpty { throw WriteError(.partial(rejected: rejects), "\(rejects.count) events could not be formatted") }
  }

  private func unprefixed(_ batch: EventBatch) -> EventBatch {
    guard let removedPrefix else { return batch }
    let tag = batch.tag.description
    return tag.hasPrefix(removedPrefix) ? batch.tagged(Tag(String(tag.dropFirst(removedPrefix.count)))) : batch
  }

  // MARK: The command

  public func run() async {
    do {
      let services = try CommandServices(context)
      await withTaskGroup(of: Void.self) { group in
        for index in 0..<config.children { group.addTask { await keepRunning(index, services) } }
      }
    } catch { context.log.error("\(error)") }
  }

  private func keepRunning(_ index: Int, _ services: CommandServices) async {
    let events = CommandEvents(
      parser: parser, parserType: parserType, extractor: extractor, tag: config.tag,
      prefix: config.addPrefix.map { $0 + "." } ?? "", blockSize: config.readBlockSize.bytes,
      logInterval: Int64(config.errorLogInterval.nanoseconds), countsCommitted: true, context: context, services: services)
    let waker = Waker(services.timers)
    var left = config.respawns
    var pause: Int64 = 200_000_000
    while true {
      let begun = MonotonicTime.now()
      await once(index, events, services)
      if Task.isCancelled || left == 0 { break }
      left = left.map { $0 - 1 }
      // A command that cannot even start is not tried without end at full speed.
      pause = MonotonicTime.now().since(begun) > 10_000_000_000 ? 200_000_000 : min(pause * 2, 10_000_000_000)
      context.log.info("respawning child process num=\(index) respawns_left=\(left.map { "\($0)" } ?? "inf")")
      await waker.wait(until: .now().adding(nanoseconds: pause / 2))
      if Task.isCancelled { break }
    }
    children.end(index)
  }

  private func once(_ index: Int, _ events: CommandEvents, _ services: CommandServices) async {
    do {
      let child = try ChildProcess.start(config.command, input: true, output: true, errors: .logged, pool: services.pool, timers: services.timers)
      children.set(index, child)
      let result = try await child.supervise(finishesFirst: true) {
        await events.read(child, emitter)
        children.set(index, nil)
      }
      if !Task.isCancelled { context.log.warn("child process num=\(index) \(result.ending)") }
    } catch {
      children.set(index, nil)
      context.log.error("\(error)")
    }
  }
}

/// The commands that run now; chunks go to them in turn, one at a time to each.
private final class RunningChildren: Sendable {
  private struct Slot {
    var child: ChildProcess?
    var hasStarted = false
    var isOver = false
  }
  private struct State {
    var slots: [Slot]
    var turn = 0
  }
  private let state: Mutex<State>
  private let lanes: [Lane]

  init(_ count: Int, _ pool: BlockingPool) {
    state = Mutex(State(slots: Array(repeating: Slot(), count: count)))
    lanes = (0..<count).map { _ in Lane(pool) }
  }

  func set(_ index: Int, _ child: ChildProcess?) {
    state.withLock {
      $0.slots[index].child = child
      $0.slots[index].hasStarted = true
    }
  }
  func end(_ index: Int) { state.withLock { $0.slots[index].isOver = true } }

  func write(_ block: Block) async throws {
    for _ in 0..<500 where state.withLock({ s in !s.slots.contains { $0.hasStarted } }) { try await Task.sleep(for: .milliseconds(10)) }
    let next = state.withLock { s -> (Int, ChildProcess)? in
      for _ in s.slots.indices {
        s.turn = (s.turn + 1) % s.slots.count
        if let child = s.slots[s.turn].child { return (s.turn, child) }
      }
      return nil
    }
    guard let (index, child) = next else { throw ProcessError(description: "no healthy child processes exist") }
    try await lanes[index].run { try child.write(block.bytes) }
  }
}
