import AggCore
import AggPlugins
import AggTesting
import CAgg
import Glibc

/// The floors of the rows with a network: one thread that reads with read(2) into room of 256 KiB and writes with write(2).
///
/// IN is `port:N`, where it listens for one connection and reads it to its end, or a file; OUT is a file or `port:N`, where it connects.
enum SocketFloor {
  static let rows = [
    "tail-json-forward", "tail-json-forward-gzip", "forward-file", "forward-forward", "tcp-json-file", "syslog-tcp-file",
    "http-json-file", "http-single-file",
    "syslog-udp-file",
  ]
  private static let readSize = 256 << 10
  /// Events of one message over forward, and bytes of one write to a file.
  private static let writeSize = 1 << 20

  static func main(_ row: String, from input: String, to output: String) throws {
    let output = try output.hasPrefix("port:") ? connected(to: output) : File(output, [.readWrite, .create, .truncate])
    let input =
      try row == "syslog-udp-file" ? datagrams(at: input) : input.hasPrefix("port:") ? accepted(at: input) : File(input, .read)
    let begun = Floor.cpu()
    let events =
      switch row {
      case "tail-json-forward": try lines(input, try PluginDriver().make(JSONParser.self, ""), ForwardEnd(output, gzip: false))
      case "tail-json-forward-gzip":
        try lines(input, try PluginDriver().make(JSONParser.self, ""), ForwardEnd(output, gzip: true))
      case "forward-file": try messages(input, FileEnd(output))
      case "forward-forward": try messages(input, ForwardEnd(output, gzip: false))
      case "tcp-json-file": try lines(input, try PluginDriver().make(JSONParser.self, ""), FileEnd(output))
      case "syslog-udp-file":
        try messages(of: input, try PluginDriver().make(SyslogParser.self, "with_priority true"), FileEnd(output))
      case "syslog-tcp-file": try lines(input, try PluginDriver().make(SyslogParser.self, "with_priority true"), FileEnd(output))
      default: try requests(input, FileEnd(output))
      }
    Floor.report(row, events, Floor.cpu() - begun)
  }

  // MARK: Inputs

  /// Whole lines of what each read brings. Returns how many events there were.
  private static func lines(_ input: File, _ parser: some Parser, _ end: consuming some End & ~Copyable) throws -> Int {
    var buffer = ByteWriter(capacity: 2 * readSize)
    var events = 0
    while try read(input, into: &buffer) {
      guard let base = buffer.bytes.baseAddress, let last = memrchr(base, 0x0a, buffer.count) else { continue }
      let complete = UnsafeRawPointer(last) - base + 1
      var builder = BatchBuilder(capacity: complete + complete / 8 + 1024)
      var context = ParseContext()
      let text = UnsafeRawBufferPointer(start: base, count: complete)
      if let syslog = parser as? SyslogParser {
        syslog.parseLines(text, into: &builder, &context, omitsPriority: true)
      } else {
        parser.parseLines(text, into: &builder, &context)
      }
      buffer.removeFirst(complete)
      let batch = builder.finish(tag: Tag("bench.tail"))
      events += batch.count
      try end.take(batch)
    }
    try end.close()
    return events
  }

  /// Datagrams, one read each, parsed when nothing waits or 256 KiB are there; ends when none has come for two seconds.
  private static func messages(of input: File, _ parser: SyslogParser, _ end: consuming some End & ~Copyable) throws -> Int {
    var buffer = ByteWriter(capacity: 2 * readSize)
    var events = 0
    while true {
      buffer.removeAll()
      var isFirst = true
      while buffer.count < readSize {
        buffer.reserve(2048)
        let n = recv(input.descriptor, buffer.end, 2047, isFirst ? 0 : Int32(MSG_DONTWAIT))
        if n <= 0 { break }
        isFirst = false
        buffer.count += n
        buffer.append(0x0a as UInt8)
      }
      if isFirst { break }
      var builder = BatchBuilder(capacity: buffer.count + buffer.count / 2 + 4096)
      var context = ParseContext()
      parser.parseLines(buffer.bytes, into: &builder, &context, omitsPriority: true)
      let batch = builder.finish(tag: Tag("bench.udp"))
      events += batch.count
      try end.take(batch)
    }
    try end.close()
    return events
  }

  /// PackedForward messages: the entries are scanned once where they lie.
  private static func messages(_ input: File, _ end: consuming some End & ~Copyable) throws -> Int {
    var buffer = ByteWriter(capacity: 4 * readSize)
    var events = 0
    while try read(input, into: &buffer) {
      var whole: [Range<Int>] = []
      var start = 0
      while case .complete(let next) = MessagePackScanner.skip(buffer.bytes, at: start) {
        whole.append(start..<next)
        start = next
      }
      guard start > 0 else { continue }
      var rest = ByteWriter(capacity: 4 * readSize)
      rest.append(UnsafeRawBufferPointer(rebasing: buffer.bytes[start...]))
      swap(&buffer, &rest)
      let block = Block(rest)
      for range in whole {
        guard let entries = ValueView(unchecked: block.base + range.lowerBound).element(1)?.textBytes,
          let first = entries.baseAddress
        else { continue }
        let at = first - block.base
        let batch = EventBatch.validating(block, range: at..<at + entries.count, tag: Tag("bench.fwd")).batch
        events += batch.count
        try end.take(batch)
      }
    }
    try end.close()
    return events
  }

  /// Requests with a JSON array each, answered when their events are written.
  private static func requests(_ input: File, _ end: consuming some End & ~Copyable) throws -> Int {
    let answer: StaticString =
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"
    let blank: StaticString = "\r\n\r\n"
    let length: StaticString = "Content-Length: "
    var buffer = ByteWriter(capacity: 2 * readSize)
    var events = 0
    while try read(input, into: &buffer) {
      guard let base = buffer.bytes.baseAddress, let head = memmem(base, buffer.count, blank.utf8Start, blank.utf8CodeUnitCount)
      else { continue }
      let body = UnsafeRawPointer(head) - base + blank.utf8CodeUnitCount
      guard let field = memmem(base, body, length.utf8Start, length.utf8CodeUnitCount) else {
        throw ConfigValueError("a request has no length")
      }
      var count = 0
      var digit = UnsafeRawPointer(field) - base + length.utf8CodeUnitCount
      while buffer.bytes[digit] &- 0x30 < 10, count < 1 << 30 {
        count = count * 10 + Int(buffer.bytes[digit] &- 0x30)
        digit += 1
      }
      guard buffer.count >= body + count else { continue }
      var builder = BatchBuilder(capacity: count + count / 8 + 256)
      var transcoder = JSONTranscoder()
      let now = EventTime.now()
      transcoder.transcodeLines(
        UnsafeRawBufferPointer(start: base + body, count: count), into: &builder, timeKey: Array("time".utf8), keepTimeKey: false,
        time: { _ in now },
        rejects: { _, _ in })
      buffer.removeFirst(body + count)
      let batch = builder.finish(tag: Tag("bench.http"))
      events += batch.count
      try end.take(batch)
      try input.write(UnsafeRawBufferPointer(start: answer.utf8Start, count: answer.utf8CodeUnitCount))
    }
    try end.close()
    return events
  }

  // MARK: System calls

  /// False at the end.
  private static func read(_ input: File, into buffer: inout ByteWriter) throws -> Bool {
    buffer.reserve(readSize)
    while true {
      let n = Glibc.read(input.descriptor, buffer.end, readSize)
      if n < 0, errno == EINTR { continue }
      // A client that ends with answers unread resets the connection.
      if n < 0, errno == ECONNRESET { return false }
      if n < 0 { throw FileError(input.path, "read") }
      buffer.count += n
      return n > 0
    }
  }

  private static func address(_ text: String) throws -> sockaddr_in {
    guard let port = UInt16(text.dropFirst("port:".count)) else { throw ConfigValueError("'\(text)' is not port:N") }
    return sockaddr_in(
      sin_family: sa_family_t(AF_INET), sin_port: port.bigEndian, sin_addr: in_addr(s_addr: UInt32(0x7f00_0001).bigEndian),
      sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
  }
  private static func connected(to text: String) throws -> File {
    try socket(text, "connect") { connect($0, $1, $2) }
  }
  private static func accepted(at text: String) throws -> File {
    let listening = try socket(text, "listen") { descriptor, address, size in
      var yes: Int32 = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
      return bind(descriptor, address, size) == 0 ? listen(descriptor, 1) : -1
    }
    while true {
      let descriptor = accept(listening.descriptor, nil, nil)
      guard descriptor >= 0 else { throw FileError(text, "accept") }
      let connection = File(descriptor: descriptor, path: text)
      // A client that only tried whether somebody listens, as wrk does first.
      var byte: UInt8 = 0
      if recv(descriptor, &byte, 1, Int32(MSG_PEEK)) > 0 { return connection }
    }
  }
  private static func datagrams(at text: String) throws -> File {
    try socket(text, "bind", type: SOCK_DGRAM) { descriptor, address, size in
      var wait = timeval(tv_sec: 2, tv_usec: 0)
      setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
      var room: Int32 = 8 << 20
      setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &room, socklen_t(MemoryLayout<Int32>.size))
      return bind(descriptor, address, size)
    }
  }
  private static func socket(
    _ text: String, _ what: String, type: __socket_type = SOCK_STREAM,
    _ body: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) throws -> File {
    var address = try address(text)
    let descriptor = Glibc.socket(AF_INET, Int32(type.rawValue), 0)
    guard descriptor >= 0 else { throw FileError(text, "open a socket") }
    let file = File(descriptor: descriptor, path: text)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard result == 0 else { throw FileError(text, what) }
    return file
  }

  // MARK: Outputs

  private protocol End: ~Copyable {
    mutating func take(_ batch: EventBatch) throws
    mutating func close() throws
  }

  /// JSON lines, a MiB at a time.
  private struct FileEnd: End, ~Copyable {
    let file: File
    var out = ByteWriter(capacity: 2 * writeSize)
    init(_ file: File) { self.file = file }
    mutating func take(_ batch: EventBatch) throws {
      JSONFormatter.writeLines(batch, into: &out) { _ in }
      if out.count >= writeSize { try close() }
    }
    mutating func close() throws {
      try file.write(out.bytes)
      out.removeAll()
    }
  }

  /// PackedForward messages of about a MiB of events, without a question for an acknowledgement.
  private struct ForwardEnd: End, ~Copyable {
    let file: File
    let gzip: Bool
    var batches: [EventBatch] = []
    var size = 0
    init(_ file: File, gzip: Bool) {
      self.file = file
      self.gzip = gzip
    }
    mutating func take(_ batch: EventBatch) throws {
      batches.append(batch)
      size += batch.byteCount
      if size >= writeSize { try close() }
    }
    mutating func close() throws {
      guard let tag = batches.first?.tag else { return }
      var packed = ByteWriter(capacity: 4096)
      if gzip { for batch in batches { batch.withBytes { Gzip.compress($0, into: &packed) } } }
      var out = ByteWriter(capacity: 256)
      out.putArrayHeader(3)
      out.putString(tag.description)
      out.append(0xc6 as UInt8)
      out.reserve(4)
      out.uncheckedBigEndian(UInt32(gzip ? packed.count : size))
      try file.write(out.bytes)
      if gzip { try file.write(packed.bytes) } else { for batch in batches { try file.write(batch.bytes) } }
      out.removeAll()
      out.putMapHeader(2)
      out.putString("size" as StaticString)
      out.putInt(Int64(batches.reduce(0) { $0 + $1.count }))
      out.putString("compressed" as StaticString)
      out.putString(gzip ? "gzip" : "text")
      try file.write(out.bytes)
      batches.removeAll()
      size = 0
    }
  }
}
