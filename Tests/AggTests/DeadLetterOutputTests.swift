import AggCore
import AggNet
import AggTesting
import Foundation
import Synchronization
import Testing

import AggEngine

/// Which events an engine gives up, and where they go then.
@Suite struct DeadLetterOutputTests {
  private func run(
    _ folder: String, _ more: String = "", buffer: String = "", secondary: String = "", answers: [HTTPResponse],
    _ body: @escaping @Sendable (RunningEngine, HTTPOutputTests.Stub) async throws -> Void
  ) async throws {
    try await HTTPOutputTests().run(
      "endpoint http://127.0.0.1:PORT/\n\(more)",
      buffer: """
        <buffer tag>
          @type file
          path \(folder)/buffer
          flush_mode immediate
          retry_wait 0.01
          retry_type periodic
          \(buffer)
        </buffer>
        \(secondary)
        """, answers: answers, body)
  }
  private func letters(_ folder: String) -> [(letter: DeadLetter, record: String)] {
    var all: [(DeadLetter, String)] = []
    for found in DeadLetterDirectory.find(under: folder) {
      found.forEach(problem: { Issue.record("\($0)") }) { letter, event, _ in all.append((letter, event?.jsonRecords.first ?? ""))
      }
    }
    return all
  }
  private func balance(_ c: Counters.Snapshot) -> Int {
    c[.offered] + c[.recovered] - c[.delivered] - c[.buffered] - c.droppedTotal - c[.deadLettered]
  }

  @Test func `an event that cannot be formatted is a dead letter, and the others are delivered`() async throws {
    try await withFolder { folder in
      try await run(folder, answers: [HTTPResponse(200)]) { agg, stub in
        var builder = BatchBuilder(capacity: 256)
        for value in [1.5, .nan, 2.5] {
          builder.begin()
          builder.writer.putMapHeader(1)
          builder.writer.putString("v" as StaticString)
          builder.writer.putDouble(value)
          builder.commit(time: EventTime(seconds: 1_700_000_000))
        }
        try await agg.feed.send(builder.finish(tag: Tag("t")))
        try await soon("all is done") { try agg.counters("out")[.deadLettered] == 1 }
        let counters = try agg.counters("out")
        #expect(counters[.delivered] == 2)
        #expect(balance(counters) == 0)
        #expect(stub.all.count == 1)
      }
      let all = letters(folder)
      #expect(all.map(\.letter.index) == [1])
      #expect(all.map(\.letter.tag) == ["t"])
      #expect(all.first?.letter.reason == "holds a value that JSON cannot" || all.first?.letter.reason.isEmpty == false)
    }
  }

  @Test func `a secondary comes first, and dead letters are what it cannot take either`() async throws {
    let directory = "<secondary>\n@type secondary_file\ndirectory FOLDER/second\n</secondary>"
    try await withFolder { folder in
      try await run(folder, secondary: directory.replacing("FOLDER", with: folder), answers: [HTTPResponse(400)]) { agg, _ in
        try await agg.feed.send([#"{"n":1}"#], tag: "t")
        try await soon("it is delivered") { try agg.counters("out")[.delivered] == 1 }
        #expect(try agg.counters("out")[.deadLettered] == 0)
      }
      #expect(letters(folder).isEmpty)
      // One where nobody listens.
      let nobody = "<secondary>\n@type http\nendpoint http://127.0.0.1:1/\n</secondary>"
      try await run(
        folder, secondary: nobody, answers: [HTTPResponse(400)]
      ) { agg, _ in
        try await agg.feed.send([#"{"n":2}"#], tag: "t")
        try await soon("it is given up") { try agg.counters("out")[.deadLettered] == 1 }
      }
      #expect(letters(folder).map(\.record) == [#"{"n":2}"#])
    }
  }

  @Test func `retries that end give up their chunk and no other`() async throws {
    try await withFolder { folder in
      // Three attempts fail, and it is the first chunk that they were of.
      let answers = [HTTPResponse(503), HTTPResponse(503), HTTPResponse(503), HTTPResponse(200)]
      try await run(folder, buffer: "retry_max_times 2", answers: answers) { agg, stub in
        try await agg.feed.send([#"{"n":1}"#], tag: "a")
        try await soon("the first attempt was made") { !stub.all.isEmpty }
        try await agg.feed.send([#"{"n":2}"#], tag: "b")
        try await agg.feed.send([#"{"n":3}"#], tag: "c")
        try await soon("all is done") {
          let counters = try agg.counters("out")
          return counters[.buffered] == 0 && counters[.offered] == 3
        }
        let counters = try agg.counters("out")
        #expect(counters[.deadLettered] == 1)
        #expect(counters[.delivered] == 2)
        #expect(balance(counters) == 0)
      }
      let all = letters(folder)
      #expect(all.map(\.letter.reason) == ["retry_exhausted"])
      #expect(all.map(\.letter.status) == [503])
    }
  }

  @Test func `a chunk that is finished and still there is not delivered again`() async throws {
    try await withFolder { folder in
      let kept = Mutex<[String: Data]>([:])
      // It waits, and its file is kept.
      try await run(folder, buffer: "retry_forever true", answers: [HTTPResponse(503)]) { agg, stub in
        try await agg.feed.send([#"{"n":1}"#, #"{"n":2}"#], tag: "t")
        try await soon("it was tried") { !stub.all.isEmpty }
        for name in try FileManager.default.contentsOfDirectory(atPath: "\(folder)/buffer") where name.contains(".q") {
          let path = "\(folder)/buffer/\(name)"
          let data = try Data(contentsOf: URL(filePath: path))
          kept.withLock { $0[path] = data }
        }
      }
      #expect(kept.withLock { $0.count } == 1)
      try await run(folder, answers: [HTTPResponse(400)]) { agg, _ in
        try await soon("it is given up") { try agg.counters("out")[.deadLettered] == 2 }
      }
      for (path, data) in kept.withLock({ $0 }) { try data.write(to: URL(filePath: path)) }
      try await run(folder, answers: [HTTPResponse(200)]) { agg, stub in
        try await agg.feed.send([#"{"n":3}"#], tag: "t")
        try await soon("the next is delivered") { try agg.counters("out")[.delivered] == 1 }
        let counters = try agg.counters("out")
        #expect(counters[.recovered] == 2)
        #expect(counters[.deadLettered] == 2)
        #expect(balance(counters) == 0)
        #expect(stub.all.count == 1)
      }
      #expect(letters(folder).count == 2)
      #expect(kept.withLock { $0.keys.allSatisfy { !FileManager.default.fileExists(atPath: $0) } })
    }
  }

  @Test func `what is refused of a delivered chunk waits for room over a restart, and the rest is not sent again`() async throws {
    try await withFolder { folder in
      let full = "dead_letter_limit_size 40"
      try await run(folder, "error_response_as_unrecoverable false", buffer: full, answers: [HTTPResponse(400)]) { agg, stub in
        try await agg.feed.send([#"{"n":1}"#, #"{"n":2}"#], tag: "t")
        try await soon("it waits") { try agg.counters("out")[.deadLettersRefused] == 1 }
        #expect(try agg.counters("out")[.buffered] == 2)
        #expect(balance(try agg.counters("out")) == 0)
        #expect(stub.all.count == 1)
      }
      try await run(folder, "error_response_as_unrecoverable false", answers: [HTTPResponse(200)]) { agg, stub in
        try await soon("there is room") { try agg.counters("out")[.deadLettered] == 2 }
        #expect(stub.all.isEmpty)
        #expect(balance(try agg.counters("out")) == 0)
      }
      #expect(letters(folder).map(\.letter.reason) == ["http_400", "http_400"])
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: "\(folder)/buffer/buffer.dead_letters").filter {
          $0.hasSuffix(".refused")
        }.isEmpty)
    }
  }

  @Test func `a replay that was interrupted goes on before one with an earlier name`() async throws {
    try await withFolder { folder in
      let events = (0..<5000).map { "{\"n\":\($0 + 1000)}" }
      try await run(folder, answers: [HTTPResponse(400)]) { agg, _ in
        try await agg.feed.send(events, tag: "t")
        try await soon("they are given up") { try agg.counters("out")[.deadLettered] == 5000 }
      }
      let found = try #require(DeadLetterDirectory.find(under: folder).first)
      let begun = try found.leave(DeadLetterRequest(.replay, before: .max))
      // Room for the first batch, which nobody takes.
      try await run(folder, buffer: "retry_forever true\ntotal_limit_size 64k", answers: [HTTPResponse(503)]) { agg, _ in
        try await soon("the first batch is stored") { try agg.counters("out")[.replayed] == 4096 }
      }
      let other = try found.leave(DeadLetterRequest(.replay, before: .max - 1))
      try await run(folder, answers: [HTTPResponse(200)]) { agg, _ in
        try await soon("both are answered") { [begun, other].allSatisfy { !FileManager.default.fileExists(atPath: $0) } }
        try await soon("all are delivered") { try agg.counters("out")[.delivered] >= 5000 && agg.counters("out")[.buffered] == 0 }
        let counters = try agg.counters("out")
        #expect(counters[.replayed] == 904 && counters[.delivered] == 5000)
        #expect(balance(counters) == 0)
      }
      #expect(letters(folder).isEmpty)
    }
  }

  @Test func `a request is answered, and one that is none is said to be none`() async throws {
    try await withFolder { folder in
      try await run(folder, answers: [HTTPResponse(400), HTTPResponse(200)]) { agg, stub in
        try await agg.feed.send([#"{"n":1}"#], tag: "t")
        try await soon("it is given up") { try agg.counters("out")[.deadLettered] == 1 }
        let found = try #require(DeadLetterDirectory.find(under: folder).first)
        #expect(found.isLive)
        #expect(try found.drop(DeadLetterRequest(.drop, before: .max)) == nil)
        let bad = "\(found.path)/0.request"
        try "burn it".write(toFile: bad, atomically: true, encoding: .utf8)
        try await soon("the bad one is answered") { DeadLetterDirectory.takeResult(of: bad)?.error != nil }
        let path = try found.leave(DeadLetterRequest(.replay, before: .max))
        try await soon("it is answered") { DeadLetterDirectory.takeResult(of: path) == DeadLetterResult(done: 1) }
        try await soon("and delivered") { try agg.counters("out")[.delivered] == 1 }
        let counters = try agg.counters("out")
        #expect(counters[.replayed] == 1)
        #expect(counters[.offered] == 2)
        #expect(balance(counters) == 0)
      }
      #expect(letters(folder).isEmpty)
    }
  }
}
