import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct MetricRecordTests {
  static func read(_ batch: EventBatch) -> (lines: [String], rejections: [Rejection]) {
    var lines: [String] = []
    let rejections = batch.forEachMetric { time, metric in
      let labels = metric.labelTexts.map { "\($0.name)=\($0.value)" }.joined(separator: ",")
      let text = { (bytes: UnsafeRawBufferPointer?) in bytes.map { String(decoding: $0, as: UTF8.self) } ?? "-" }
      lines.append(
        "\(time.seconds) \(metric.nameText) \(metric.number) \(metric.kind) {\(labels)} \(text(metric.host)) \(text(metric.service))"
      )
    }
    return (lines, rejections)
  }

  @Test func `what is written is a map in the documented order, and is read back`() {
    let time = EventTime(seconds: 1_700_000_000)
    var writer = MetricWriter(host: "web1")
    writer.add("up", Int64(1), .gauge, at: time)
    writer.add("t_bucket", 2.5, .histogram, MetricLabels([("zone", "a"), ("le", "+Inf")]), at: time)
    writer.add("n", UInt64.max, .counter, at: EventTime(seconds: 2))
    let batch = writer.finish(tag: Tag("m"))
    #expect(
      batch.jsonRecords == [
        #"{"name":"up","value":1,"kind":"gauge","labels":{},"host":"web1"}"#,
        #"{"name":"t_bucket","value":2.5,"kind":"histogram","labels":{"zone":"a","le":"+Inf"},"host":"web1"}"#,
        #"{"name":"n","value":18446744073709551615,"kind":"counter","labels":{},"host":"web1"}"#,
      ])
    #expect(
      Self.read(batch).lines == [
        "1700000000 up 1.0 gauge {} web1 -", "1700000000 t_bucket 2.5 histogram {le=+Inf,zone=a} web1 -",
        "2 n 1.8446744073709552e+19 counter {} web1 -",
      ])
  }

  @Test func `any order, other fields, numbers as labels and unknown kinds are taken`() throws {
    let batch = try EventBatch.json([
      #"{"labels":{"b":2,"a":null,"c":true},"extra":[1],"kind":"stateset","value":3,"service":"s","name":"x"}"#,
      #"{"name":"y","value":-0.5}"#, #"{"name":"z","value":1,"labels":{"a":"1","a":"2"}}"#,
    ])
    #expect(
      Self.read(batch).lines == [
        "1700000000 x 3.0 untyped {a=,b=2,c=true} - s", "1700000000 y -0.5 untyped {} - -", "1700000000 z 1.0 untyped {a=2} - -",
      ])
  }

  @Test func `what is no metric is told by its index`() throws {
    let batch = try EventBatch.json([
      #"{"value":1}"#, #"{"name":"a","value":1}"#, #"{"name":"b","value":"1"}"#, #"{"name":"","value":1}"#,
    ])
    let (lines, rejections) = Self.read(batch)
    #expect(lines.count == 1)
    #expect(rejections.map(\.index) == [0, 2, 3])
    #expect(rejections[1].reason == "not a metric: 'value' of b is no number")
  }

  @Test func `a series key tells names, labels, hosts and services apart`() throws {
    let batch = try EventBatch.json([
      #"{"name":"a","value":1}"#, #"{"name":"a","value":2,"labels":{}}"#, #"{"name":"a","value":1,"labels":{"l":"1"}}"#,
      #"{"name":"a","value":1,"host":"h"}"#, #"{"name":"a","value":1,"service":"h"}"#,
    ])
    var keys: [[UInt8]] = []
    _ = batch.forEachMetric { _, metric in
      var out = ByteWriter()
      metric.appendSeriesKey(to: &out)
      keys.append(out.array)
    }
    #expect(keys[0] == keys[1])
    #expect(Set(keys).count == 4)
  }
}
