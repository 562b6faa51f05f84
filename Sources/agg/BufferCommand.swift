import AggCore
import AggEngine
import ArgumentParser
import Glibc

/// `agg buffer`: what file buffers hold.
struct BufferCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "buffer",
    abstract: "The chunks of file buffers: list, show, verify or export them.",
    discussion: """
      Reads chunks of agg and of Fluentd, while agg runs or not, and changes nothing. The newest frames of a running agg's
      staged chunks may belong to batches that are not committed yet.
      """,
    subcommands: [BufferList.self, BufferShow.self, BufferVerify.self, BufferExport.self])
}

/// Which chunks of the buffers.
struct ChunkFilter: ParsableArguments {
  @OptionGroup var places: StoragePlaces
  @Option(help: ArgumentHelp("Only this chunk; may be given again.", valueName: "id"))
  var chunk: [String] = []

  struct Found {
    var output: String
    var chunk: ChunkFile
  }
  /// By buffer, oldest first. Ends the program for an id that is none or is not there.
  func find() -> [Found] {
    let ids = chunk.map { text in
      guard let id = ChunkID(text) else {
        exitWithError("'\(SafeText.line(text))' is no chunk: 32 digits, as `agg buffer list` prints them")
      }
      return id
    }
    var found: [Found] = []
    for place in places.buffers() {
      do throws(FileError) {
        found += try ChunkFile.find(in: place.directory, prefix: place.prefix).map { Found(output: place.name, chunk: $0) }
      } catch {
        // A buffer that was never used.
        if !error.isMissing { exitWithError(SafeText.line(error.description)) }
      }
    }
    if ids.isEmpty { return found }
    for id in ids where !found.contains(where: { $0.chunk.id == id }) { exitWithError("no chunk \(id) is there") }
    return found.filter { ids.contains($0.chunk.id) }
  }
}

/// `agg buffer list`: a line for each chunk.
struct BufferList: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List chunks: state, key, events, bytes, age.")
  @OptionGroup var filter: ChunkFilter
  @Flag(help: "JSON lines, for machines.")
  var json = false

  mutating func run() throws {
    let now = SafeText.now()
    var out = Printer()
    var (chunks, events, bytes) = (0, 0, 0)
    for found in filter.find() {
      let chunk = found.chunk
      let count = chunk.count()
      // Delivered meanwhile.
      if File.status(chunk.path) == nil { continue }
      chunks += 1
      events += count ?? 0
      bytes += chunk.size
      let kind = chunk.isFluentd ? "fluentd" : "agg"
      if json {
        out.line(
          json: .object([
            .init("output", .string(found.output)), .init("chunk", .string("\(chunk.id)")),
            .init("state", .string(chunk.state.rawValue)),
            .init("format", .string(kind)), .init("key", .string(chunk.key)),
            .init("tag", chunk.metadata.tag.map { .string($0.description) } ?? .null),
            .init("timekey", chunk.metadata.timekey.map { .int(Int($0)) } ?? .null),
            .init("events", count.map { .int($0) } ?? .null),
            .init("bytes", .int(chunk.size)), .init("created", .string(SafeText.time(chunk.created))),
            .init("path", .string(chunk.path)),
          ]))
      } else {
        out.line(
          "\(SafeText.line(found.output))  \(chunk.id)  \(chunk.state.rawValue)\(chunk.isFluentd ? " (Fluentd's)" : "")  "
            + "\(count.map(String.init) ?? "damaged:?") events, \(chunk.size) bytes  age \(SafeText.age(now &- chunk.created))"
            + "\(chunk.key.isEmpty ? "" : "  " + SafeText.line(chunk.key))  \(SafeText.line(chunk.path))")
      }
    }
    if !json { out.line("\(chunks) chunk\(chunks == 1 ? "" : "s"), \(events) event\(events == 1 ? "" : "s"), \(bytes) bytes") }
    out.flush()
  }
}

/// `agg buffer show`: events as JSON lines, with the chunk they are in.
struct BufferShow: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show the events of chunks as JSON lines.")
  @OptionGroup var filter: ChunkFilter
  @Option(name: [.short, .long], help: "At most so many events.")
  var number: Int?

  mutating func run() throws {
    var left = number ?? .max
    var out = Printer()
    var failed = false
    for found in filter.find() where left > 0 {
      let chunk = found.chunk
      guard let content = BufferExport.read(chunk, &failed) else { continue }
      let head = Array("{\"chunk\":\"\(chunk.id)\",".utf8)
      for batch in content.batches where left > 0 {
        let part = batch.count > left ? batch.prefix(left) : batch
        left -= part.count
        EventLines.write(part) { out.put(head + $0.dropFirst()) }
      }
      if let formatted = content.formatted {
        let text = formatted.withBytes { String(decoding: $0, as: UTF8.self) }
        out.line(
          json: .object([
            .init("chunk", .string("\(chunk.id)")), .init("events", .int(formatted.count)), .init("formatted", .string(text)),
          ]))
      }
    }
    out.flush()
    if failed { throw ExitCode(1) }
  }
}
