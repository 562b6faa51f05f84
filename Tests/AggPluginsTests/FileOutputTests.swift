import AggCore
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct FileOutputTests {
  static func keys(tag: Bool = false, timekey: Int64? = nil, _ fields: [String] = []) -> ChunkKeys {
    var keys = ChunkKeys()
    keys.tag = tag
    keys.time = timekey != nil
    keys.timekey = timekey
    keys.timekeyUTC = true
    keys.fields = fields
    return keys
  }
  /// A fresh directory, removed when the test ends.
  final class Directory {
    let path = FileManager.default.temporaryDirectory.appending(path: "agg-file-\(UUID().uuidString)").path
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    func files() throws -> [String] {
      try FileManager.default.subpathsOfDirectory(atPath: path).filter { !$0.hasPrefix("buf") }.filter {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path + "/" + $0, isDirectory: &isDirectory) && !isDirectory.boolValue
      }.sorted()
    }
    func text(_ name: String) throws -> String { try String(contentsOfFile: path + "/" + name, encoding: .utf8) }
  }
  static let plugins = PluginSet(formatters: [.init(JSONLineFormatter.self), .init(OutFileFormatter.self)])
  static func output(_ config: String, _ keys: ChunkKeys, _ directory: Directory, buffer: String = "") throws -> FileOutput {
    var driver = PluginDriver(plugins)
    driver.chunkKeys = keys
    return try driver.make(FileOutput.self, config.replacing("DIR", with: directory.path) + "\n<format>\n@type json\n</format>\n<buffer>\npath \(directory.path)/buf\n\(buffer)\n</buffer>")
  }
  static func chunk(_ records: [String], id: ChunkID = .random(), tag: String? = nil, timekey: Int64? = nil, fields: [ChunkMetadata.Variable] = []) throws -> ChunkView {
    ChunkView(id: id, metadata: ChunkMetadata(tag: tag.map { Tag($0) }, timekey: timekey, variables: fields), batches: [try .json(records)])
  }

  @Test(arguments: [
    ("path DIR/a", keys(), "a_0.log"), ("path DIR/a\nappend true", keys(), "a.log"), ("path DIR/a\nadd_path_suffix false\nappend true", keys(), "a"),
    ("path DIR/a\npath_suffix .txt", keys(), "a_0.txt"), ("path DIR/a\ncompress gzip", keys(), "a_0.log.gz"), ("path DIR/a\ncompress zstd", keys(), "a_0.log.zstd"),
    ("path DIR/a", keys(timekey: 86400), "a.20231114_0.log"), ("path DIR/a\nappend true", keys(timekey: 3600), "a.2023111422.log"),
    ("path DIR/a", keys(timekey: 60), "a.202311142213_0.log"), ("path DIR/a", keys(timekey: 1), "a.20231114221320_0.log"),
    ("path DIR/a.*", keys(timekey: 86400), "a.20231114_0"), ("path DIR/a.*.data\nappend true\ncompress gz", keys(timekey: 3600), "a.2023111422.data.gz"),
    ("path DIR/a\ntime_slice_format %Y-%m", keys(timekey: 3600), nil), ("path DIR/a\ntime_slice_format %Y-%m-%d_%H", keys(timekey: 3600), "a.2023-11-14_22_0.log"),
    ("path DIR/%Y/%m%d/a", keys(timekey: 86400), "2023/1114/a_0.log"), ("path DIR/%Y/%m/a", keys(timekey: 86400), nil), ("path DIR/a.*", keys(), nil),
    ("path DIR/${tag}/${tag[1]}.${k}", keys(tag: true, ["k"]), "t.x/x.v_0.log"), ("path DIR/a", keys(tag: true), nil), ("path DIR/${k}", keys(), nil),
    ("path DIR\nadd_path_suffix false\nappend true", keys(), nil),
  ] as [(String, ChunkKeys, String?)])
  func `files are named as Fluentd names them`(config: String, keys: ChunkKeys, name: String?) async throws {
    let directory = try Directory()
    guard let name else {
      #expect(throws: ConfigErrors.self) { try Self.output(config, keys, directory) }
      return
    }
    let output = try Self.output(config, keys, directory)
    try await output.write(Self.chunk(["{}"], tag: keys.tag ? "t.x" : nil, timekey: keys.time ? 1_700_000_000 : nil, fields: keys.fields.map { .init(name: $0, value: "v") }))
    #expect(try directory.files() == [name])
  }

  @Test func `append adds to a file, else each chunk gets the next free number`() async throws {
    let directory = try Directory()
    let appending = try Self.output("path DIR/a\nappend true", Self.keys(), directory)
    let numbered = try Self.output("path DIR/n", Self.keys(), directory)
    for i in 0..<3 {
      try await appending.write(Self.chunk([#"{"i":\#(i)}"#]))
      try await numbered.write(Self.chunk([#"{"i":\#(i)}"#]))
    }
    #expect(try directory.files() == ["a.log", "n_0.log", "n_1.log", "n_2.log"])
    #expect(try directory.text("a.log") == "{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n")
    #expect(try directory.text("n_1.log") == "{\"i\":1}\n")
  }

  @Test func `several flush tasks share a file without mixing`() async throws {
    let directory = try Directory()
    let outputs = try (0..<2).map { _ in try Self.output("path DIR/a\nappend true", Self.keys(), directory) }
    let record = #"{"x":"\#(String(repeating: "y", count: 1000))"}"#
    try await withThrowingTaskGroup(of: Void.self) { group in
      for n in 0..<40 { group.addTask { try await outputs[n % 2].write(Self.chunk(Array(repeating: record, count: 50))) } }
      try await group.waitForAll()
    }
    let lines = try directory.text("a.log").split(separator: "\n")
    #expect(lines.count == 2000 && lines.allSatisfy { $0 == record })
  }

  static func inode(_ path: String) throws -> (device: UInt64, inode: UInt64) {
    let status = try #require(File.status(path))
    return (status.device, status.inode)
  }

  @Test(arguments: [
    ("", ""), ("{\"i\":1}\n{\"i", ""), ("{\"i\":1}\n{\"i\":2}\n", ""), ("other\n", "other\n"), ("{\"i\":1}\n{\"i\":2}\nlater\n", "later\n"),
  ])
  func `after a kill within an append the chunk is in the file once`(there: String, other: String) async throws {
    let directory = try Directory()
    let file = directory.path + "/a.log"
    try "before\n".write(toFile: file, atomically: false, encoding: .utf8)
    let id = ChunkID.random()
    let (device, inode) = try Self.inode(file)
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    try "A \(id) \(device) \(inode) 7 \(file)\nA cut of".write(toFile: directory.path + "/buf/.buffer.notes-3", atomically: false, encoding: .utf8)
    try ("before\n" + there).write(toFile: directory.path + "/new", atomically: false, encoding: .utf8)
    try Data(contentsOf: URL(filePath: directory.path + "/new")).write(to: URL(filePath: file))  // in place: the same inode
    try FileManager.default.removeItem(atPath: directory.path + "/new")
    let output = try Self.output("path DIR/a\nappend true", Self.keys(), directory)
    for _ in 0..<2 { try await output.write(Self.chunk([#"{"i":1}"#, #"{"i":2}"#], id: id)) }
    let chunk = "{\"i\":1}\n{\"i\":2}\n"
    #expect(try directory.text("a.log") == "before\n" + (other == "other\n" ? other + chunk : chunk + other))
  }

  @Test func `sectors of a chunk that power loss kept are written over`() async throws {
    let directory = try Directory()
    let file = directory.path + "/a.log"
    let records = (0..<200).map { "{\"i\":\($0)}" }
    let chunk = records.map { $0 + "\n" }.joined()
    var torn = Data("before\n".utf8) + Data(chunk.utf8)
    for n in 512..<1024 { torn[n] = 0 }
    try torn.dropLast(300).write(to: URL(filePath: file))
    let (device, inode) = try Self.inode(file)
    let id = ChunkID.random()
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    try "A \(id) \(device) \(inode) 7 \(file)\n".write(toFile: directory.path + "/buf/.buffer.notes-1", atomically: false, encoding: .utf8)
    let output = try Self.output("path DIR/a\nappend true", Self.keys(), directory, buffer: "durability fsync")
    for _ in 0..<2 { try await output.write(Self.chunk(records, id: id)) }
    #expect(try directory.text("a.log") == "before\n" + chunk)
  }

  @Test func `after a kill a rotated file is completed where it is`() async throws {
    let directory = try Directory()
    try "{\"i\":".write(toFile: directory.path + "/a.log.1", atomically: false, encoding: .utf8)
    let id = ChunkID.random()
    let (device, inode) = try Self.inode(directory.path + "/a.log.1")
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    try "A \(id) \(device) \(inode) 0 \(directory.path)/a.log\n".write(toFile: directory.path + "/buf/.buffer.notes-1", atomically: false, encoding: .utf8)
    try await Self.output("path DIR/a\nappend true", Self.keys(), directory).write(Self.chunk([#"{"i":1}"#], id: id))
    #expect(try directory.text("a.log.1") == "{\"i\":1}\n")
    #expect(try directory.text("a.log") == "")
  }

  /// `isAside`: killed, or refused by the file, between the putting aside and the cut.
  @Test(arguments: ["", "foreign\n"], [false, true]) func `a chunk that comes before the one that was cut off does not make it come twice`(
    foreign: String, isAside: Bool
  ) async throws {
    let directory = try Directory()
    let (id, other) = (ChunkID.random(), ChunkID.random())
    // Killed in the middle of {"i":1}\n; somebody else may have written after that.
    try ("{\"i\":0}\n" + "{\"i\":" + foreign).write(toFile: directory.path + "/a.log", atomically: false, encoding: .utf8)
    let (device, inode) = try Self.inode(directory.path + "/a.log")
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    try "A \(id) \(device) \(inode) 8 \(directory.path)/a.log\n".write(toFile: directory.path + "/buf/.buffer.notes-1", atomically: false, encoding: .utf8)
    try Data().write(to: URL(filePath: directory.path + "/buf/buffer.q\(id).agg"))
    if isAside { try ("{\"i\":" + foreign).write(toFile: directory.path + "/buf/.buffer.aside-\(id)", atomically: false, encoding: .utf8) }
    let output = try Self.output("path DIR/a\nappend true", Self.keys(), directory)
    try await output.write(Self.chunk([#"{"i":2}"#], id: other))
    try await output.write(Self.chunk([#"{"i":1}"#], id: id))
    let kept = foreign.isEmpty ? "" : "{\"i\":" + foreign
    #expect(try directory.text("a.log") == "{\"i\":0}\n{\"i\":2}\n{\"i\":1}\n" + kept)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/buf").filter { $0.contains("aside") } == [])
  }

  /// Killed while both went back: the file has none, a part or all of them. `otherFirst`: and another chunk comes before that one again, so
  /// that a part is put aside once more; the lines are in what was put aside first alone.
  @Test(arguments: 0...16, [false, true]) func `what was put aside with somebody else's lines behind it comes once, whenever agg is killed`(
    there: Int, otherFirst: Bool
  ) async throws {
    let directory = try Directory()
    let id = ChunkID.random()
    let part = "{\"i\":1}\nforeign\n"
    try ("{\"i\":0}\n" + part.prefix(there)).write(toFile: directory.path + "/a.log", atomically: false, encoding: .utf8)
    let (device, inode) = try Self.inode(directory.path + "/a.log")
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    try "A \(id) \(device) \(inode) 8 \(directory.path)/a.log\n".write(toFile: directory.path + "/buf/.buffer.notes-1", atomically: false, encoding: .utf8)
    try Data().write(to: URL(filePath: directory.path + "/buf/buffer.q\(id).agg"))
    try part.write(toFile: directory.path + "/buf/.buffer.aside-\(id)", atomically: false, encoding: .utf8)
    var output = try Self.output("path DIR/a\nappend true", Self.keys(), directory)
    if otherFirst {
      try await output.write(Self.chunk([#"{"i":2}"#]))
      // Perhaps in another run.
      if there % 2 == 0 { output = try Self.output("path DIR/a\nappend true", Self.keys(), directory) }
    }
    for _ in 0..<2 { try await output.write(Self.chunk([#"{"i":1}"#], id: id)) }
    #expect(try directory.text("a.log") == "{\"i\":0}\n" + (otherFirst ? "{\"i\":2}\n" : "") + part)
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/buf").filter { $0.contains("aside") } == [])
  }

  @Test func `what follows a delivered chunk stays, though the note of its end was lost`() async throws {
    let directory = try Directory()
    let id = ChunkID.random()
    let there = "{\"i\":0}\n{\"i\":1}\n{\"later\":1}\n"
    try there.write(toFile: directory.path + "/a.log", atomically: false, encoding: .utf8)
    let (device, inode) = try Self.inode(directory.path + "/a.log")
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    try "A \(id) \(device) \(inode) 8 \(directory.path)/a.log\n".write(toFile: directory.path + "/buf/.buffer.notes-1", atomically: false, encoding: .utf8)
    let output = try Self.output("path DIR/a\nappend true", Self.keys(), directory)
    try await output.write(Self.chunk([#"{"i":2}"#]))
    #expect(try directory.text("a.log") == there + "{\"i\":2}\n")
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/buf").filter { $0.contains("aside") } == [])
  }

  /// Written, and killed before it was removed from the buffer; its turn comes only in the last of several runs.
  @Test(arguments: [true, false]) func `what a note says is known until its chunk's turn comes`(isOrderly: Bool) async throws {
    let directory = try Directory()
    let id = ChunkID.random()
    try "{\"i\":1}\n".write(toFile: directory.path + "/a.log", atomically: false, encoding: .utf8)
    let (device, inode) = try Self.inode(directory.path + "/a.log")
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    try "A \(id) \(device) \(inode) 0 \(directory.path)/a.log\nD \(id)\n".write(
      toFile: directory.path + "/buf/.buffer.notes-1", atomically: false, encoding: .utf8)
    try Data().write(to: URL(filePath: directory.path + "/buf/buffer.q\(id).agg"))
    for _ in 0..<4 {
      let output = try Self.output("path DIR/a\nappend true", Self.keys(), directory)
      try await output.write(Self.chunk([#"{"i":2}"#]))
      if isOrderly { await output.close() }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/buf").filter { $0.contains("notes") }.count <= 2)
    let last = try Self.output("path DIR/a\nappend true", Self.keys(), directory)
    try await last.write(Self.chunk([#"{"i":1}"#], id: id))
    #expect(try directory.text("a.log") == "{\"i\":1}\n" + String(repeating: "{\"i\":2}\n", count: 4))
    try FileManager.default.removeItem(atPath: directory.path + "/buf/buffer.q\(id).agg")
    await last.close()
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/buf").filter { $0.contains("notes") } == [])
  }

  /// Its turn comes late: chunks that are older stand before it, and their notes are newer.
  @Test func `a note is known however many others came after it`() async throws {
    let directory = try Directory()
    let id = ChunkID.random()
    try "{\"i\":1}\n".write(toFile: directory.path + "/a.log", atomically: false, encoding: .utf8)
    let (device, inode) = try Self.inode(directory.path + "/a.log")
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    let notes = (0..<5000).map { _ in ChunkID.random() }.map { "A \($0) \(device) \(inode) 8 \(directory.path)/a.log\nD \($0)\n" }.joined()
    try "A \(id) \(device) \(inode) 0 \(directory.path)/a.log\nD \(id)\n\(notes)".write(
      toFile: directory.path + "/buf/.buffer.notes-1", atomically: false, encoding: .utf8)
    try Data().write(to: URL(filePath: directory.path + "/buf/buffer.q\(id).agg"))
    let output = try Self.output("path DIR/a\nappend true", Self.keys(), directory)
    for i in 0..<5000 { try await output.write(Self.chunk(["{\"i\":\(i + 2)}"])) }
    try await output.write(Self.chunk([#"{"i":1}"#], id: id))
    let text = try directory.text("a.log")
    #expect(text.hasPrefix("{\"i\":1}\n{\"i\":2}\n") && text.hasSuffix("{\"i\":5001}\n"))
  }

  @Test func `the first flush threads of a run all know what its notes say`() async throws {
    let directory = try Directory()
    let ids = (0..<2000).map { _ in ChunkID.random() }
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    try ids.map { "A \($0) 1 2 3 /a\nD \($0)\n" }.joined().write(toFile: directory.path + "/buf/.buffer.notes-1", atomically: false, encoding: .utf8)
    let driver = PluginDriver()
    let context = driver.context(try driver.element(""))
    for _ in 0..<20 {
      let notes = OutputNotes(prefix: directory.path + "/buf/.buffer.", context)
      let known = await withTaskGroup(of: Bool.self) { group in
        for id in ids.suffix(4) { group.addTask { notes.find(id) != nil } }
        return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(known == 4)
    }
  }

  @Test func `a chunk whose file cannot get its name is not taken for written`() async throws {
    let directory = try Directory()
    // The temporary name is short; the final one is too long.
    let output = try Self.output("path DIR/\(String(repeating: "n", count: 260))", Self.keys(), directory)
    let id = ChunkID.random()
    for _ in 0..<3 {
      await #expect(throws: WriteError.self) { try await output.write(Self.chunk([#"{"i":1}"#], id: id)) }
    }
  }

  @Test func `notes that a full disk refused are written before the next ones`() async throws {
    let directory = try Directory()
    let long = String(repeating: "p", count: 200)
    let output = try Self.output("path DIR/\(long)\nappend true", Self.keys(), directory)
    try await output.write(Self.chunk(["{}"]))
    // The second file of notes is on a full disk, and the third is not. A chunk takes some 400 bytes of notes.
    try FileManager.default.createSymbolicLink(atPath: directory.path + "/buf/.buffer.notes-2", withDestinationPath: "/dev/full")
    var ids: [ChunkID] = []
    while !FileManager.default.fileExists(atPath: directory.path + "/buf/.buffer.notes-3"), ids.count < 5000 {
      ids.append(.random())
      try await output.write(Self.chunk(["{}"], id: ids[ids.count - 1]))
    }
    try await output.write(Self.chunk(["{}"]))
    // The first file is gone by now: its last chunk is where the third begins.
    let kept = try directory.text("buf/.buffer.notes-3")
    #expect(!FileManager.default.fileExists(atPath: directory.path + "/buf/.buffer.notes-1"))
    for id in ids.suffix(10) { #expect(kept.contains("A \(id) ") && kept.contains("D \(id)\n")) }
  }

  @Test(arguments: [true, false]) func `after a kill a whole file is there once`(hasName: Bool) async throws {
    let directory = try Directory()
    let id = ChunkID.random()
    let temporary = directory.path + "/.agg-\(id)"
    try "{\"i\":1}\n".write(toFile: temporary, atomically: false, encoding: .utf8)
    let (device, inode) = try Self.inode(temporary)
    if hasName { try FileManager.default.linkItem(atPath: temporary, toPath: directory.path + "/a_0.log") }
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    try "L \(id) \(device) \(inode) \(directory.path)/a_\0.log\n".write(toFile: directory.path + "/buf/.buffer.notes-1", atomically: false, encoding: .utf8)
    let output = try Self.output("path DIR/a", Self.keys(), directory)
    for _ in 0..<2 { try await output.write(Self.chunk([#"{"i":1}"#], id: id)) }
    #expect(try directory.files() == ["a_0.log"])
    #expect(try directory.text("a_0.log") == "{\"i\":1}\n")
  }

  @Test func `compressed chunks are whole members one after the other`() async throws {
    let directory = try Directory()
    let output = try Self.output("path DIR/a\nappend true\ncompress gzip", Self.keys(), directory)
    for i in 0..<2 { try await output.write(Self.chunk([#"{"i":\#(i)}"#])) }
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(filePath: "/bin/gzip")
    process.arguments = ["-dc", directory.path + "/a.log.gz"]
    process.standardOutput = pipe
    try process.run()
    #expect(String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) == "{\"i\":0}\n{\"i\":1}\n")
    process.waitUntilExit()
  }

  @Test(arguments: [false, true]) func `symlink_path shows staged events, then the file`(isRelative: Bool) async throws {
    let directory = try Directory()
    try FileManager.default.createDirectory(atPath: directory.path + "/buf", withIntermediateDirectories: true)
    let output = try Self.output("path DIR/a\nappend true\nsymlink_path DIR/cur/now\nsymlink_path_use_relative \(isRelative)", Self.keys(timekey: 86400), directory)
    let observer = try #require(output.stagingObserver)
    let chunk = try Self.chunk([#"{"i":1}"#, #"{"i":2}"#], timekey: 1_700_000_000)
    for n in 0..<2 { observer.staged(chunk.batches[0].dropFirst(n).prefix(1), in: chunk.id, chunk.metadata) }
    // Older slices do not take the link over.
    let older = try Self.chunk([#"{"i":0}"#], timekey: 1_600_000_000)
    observer.staged(older.batches[0], in: older.id, older.metadata)
    #expect(try directory.text("cur/now") == "{\"i\":1}\n{\"i\":2}\n")
    try await output.write(older)
    try await output.write(chunk)
    let link = try FileManager.default.destinationOfSymbolicLink(atPath: directory.path + "/cur/now")
    #expect(link == (isRelative ? "../a.20231114.log" : directory.path + "/a.20231114.log"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path + "/buf").filter { $0.contains("copy") } == [])
  }
}

@Suite struct SecondaryFileOutputTests {
  static func output(_ config: String, _ keys: ChunkKeys, name: String = "secondary") throws -> SecondaryFileOutput {
    var driver = PluginDriver(FileOutputTests.plugins)
    driver.chunkKeys = keys
    let element = try driver.element(config, name: name)
    let context = driver.context(element)
    return try SecondaryFileOutput(.load(element, context.config), context)
  }

  @Test func `chunks are kept as the first output would have written them`() async throws {
    let directory = try FileOutputTests.Directory()
    let output = try Self.output("directory \(directory.path)/d\nbasename x.${tag}", FileOutputTests.keys(tag: true))
    var chunk = try FileOutputTests.chunk([#"{"i":1}"#], tag: "a.b")
    try await output.write(chunk)
    chunk.primaryFormatter = try FileOutputTests.output("path DIR/a", FileOutputTests.keys(), directory).chunkFormatter
    try await output.write(chunk)
    #expect(try directory.files() == ["d/x.a.b.0", "d/x.a.b.1"])
    #expect(try directory.text("d/x.a.b.1") == "{\"i\":1}\n")
    #expect(try Array(Data(contentsOf: URL(filePath: directory.path + "/d/x.a.b.0"))) == chunk.batches[0].withBytes { Array($0) })
  }

  @Test func `append and gzip`() async throws {
    let directory = try FileOutputTests.Directory()
    let output = try Self.output("directory \(directory.path)\nappend true\ncompress gzip", FileOutputTests.keys())
    for _ in 0..<2 { try await output.write(FileOutputTests.chunk(["{}"])) }
    #expect(try directory.files() == ["dump.bin.gz"])
  }

  @Test(arguments: [
    ("directory /tmp/x\nbasename a/b", "secondary"), ("directory /tmp/${tag}", "secondary"), ("directory /tmp/${k}", "secondary"),
    ("directory /tmp/%Y", "secondary"), ("directory /tmp/x", "match"), ("basename x", "secondary"),
  ])
  func `what the chunk keys do not give is an error`(config: String, name: String) {
    #expect(throws: (any Error).self) { try Self.output(config, FileOutputTests.keys(), name: name) }
  }
}
