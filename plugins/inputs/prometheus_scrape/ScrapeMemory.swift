import AggCore
import Synchronization

/// The series that a page had last time, so that those which are gone can be told as ended. Used by its target's one task.
///
/// Source of the value: remote write 2.0, "stale markers MUST be signalled by the special NaN value 0x7ff0000000000002".
final class ScrapeMemory: Sendable {
  private let last = Mutex<EventBatch?>(nil)

  /// What had a series at the reading before and has none in `page` (nil: there is no page), as metrics with the stale value at
  /// `time`; keeps `page` for the next time. Samples with a time of their own (before or after `time`) are left out, as in Prometheus.
  func ended(_ page: EventBatch?, at time: EventTime, tag: Tag) -> EventBatch? {
    let before = last.withLock { last in
      defer { last = page }
      return last
    }
    guard let before else { return nil }
    var keys = ByteKeyTable()
    var key = ByteWriter(capacity: 512)
    _ = page?.forEachMetric { _, metric in
      key.removeAll()
      metric.appendSeriesKey(to: &key)
      _ = keys.insert(key.bytes)
    }
    var writer = MetricWriter()
    // All samples without a time of their own have the time of their reading.
    var times: [EventTime: Int] = [:]
    before.forEachEvent { time, _ in times[time, default: 0] += 1 }
    guard let reading = times.max(by: { $0.value < $1.value })?.key else { return nil }
    _ = before.forEachMetric { at, metric in
      key.removeAll()
      metric.appendSeriesKey(to: &key)
      guard at == reading, keys.find(key.bytes) == nil, let labels = metric.labels else { return }
      writer.add(metric.name, Double(bitPattern: Double.staleMarkerBits), metric.kind, labels: labels.bytes, at: time)
    }
    let batch = writer.finish(tag: tag)
    return batch.isEmpty ? nil : batch
  }
}
