import AggCore
import Glibc

/// One batch on its way to new tags: events of one tag and label are collected together.
struct RewriteRun {
  private final class Part {
    let label: Int
    let tag: Tag
    var events: BatchBuilder?
    init(label: Int, tag: Tag) {
      self.label = label
      self.tag = tag
      events = BatchBuilder(capacity: 4096)
    }
    func finish() -> EventBatch? { events.take()?.finish(tag: tag) }
  }
  private struct Key: Hashable {
    var label: Int
    var tag: [UInt8]
  }
  private let steps: [RewriteTagFilterOutput.Step]
  private let scope: RewriteTemplate.Scope
  private let capitalize: Bool
  private let keepsOrder: Bool
  private let source: Tag
  private let oldTag: [UInt8]
  private var parts: [Part] = []
  private var places: [Key: Int] = [:]
  private var last: (key: Key, place: Int)?
  private var unmatched = 0
  private var unusable: Part?
  /// Why a field could not be looked at.
  private(set) var failure: String?

  init(_ steps: [RewriteTagFilterOutput.Step], _ tag: Tag, _ scope: RewriteTemplate.Scope, capitalize: Bool, keepsOrder: Bool) {
    self.steps = steps
    self.scope = scope
    self.capitalize = capitalize
    self.keepsOrder = keepsOrder
    source = tag
    oldTag = Array(tag.description.utf8)
  }

  mutating func add(_ event: EventView) {
    guard let key = rewrite(event.record), key.label != 0 || key.tag != oldTag else {
      unmatched += 1
      return
    }
    part(key).events?.append(events: event.bytes, count: 1)
  }

  private mutating func rewrite(_ record: RecordView) -> Key? {
    for step in steps {
      var text = ByteWriter(capacity: 64)
      var value = UnsafeRawBufferPointer(start: nil, count: 0)
      do throws(NotAContainer) {
        if let found = try step.key.dig(record) {
          if let bytes = found.textBytes { value = bytes } else {
            RubyText.write(found, into: &text)
            value = text.bytes
          }
        }
      } catch {
        if failure == nil { failure = error.description }
        continue
      }
      if value.isEmpty, !step.invert { continue }
      var matcher = step.pattern.matcher()
      let matches = matcher.match(value)
      if matches == step.invert { continue }
      var tag = ByteWriter(capacity: 128)
      step.tag.write(scope, capitalize: capitalize, into: &tag) { n in
        guard matches, n < 1000, let range = matcher.range(of: n) else { return nil }
        return UnsafeRawBufferPointer(rebasing: value[range])
      }
      withExtendedLifetime(text.count) {}
      return Key(label: step.label, tag: tag.array)
    }
    return nil
  }

  private mutating func part(_ key: Key) -> Part {
    if let last, last.key == key { return parts[last.place] }
    let place: Int
    if let known = places[key], !keepsOrder { place = known } else {
      guard let tag = key.tag.withUnsafeBytes({ Tag(validating: $0) }) else {
        let part = unusable ?? Part(label: 0, tag: source)
        unusable = part
        return part
      }
      place = parts.count
      parts.append(Part(label: key.label, tag: tag))
      places[key] = place
    }
    last = (key, place)
    return parts[place]
  }

  /// The batches in the order that their tags came, how many events no rule took, and those whose new tag is none.
  mutating func finish() -> (ready: [(label: Int, batch: EventBatch)], unmatched: Int, unusable: EventBatch?) {
    let ready = parts.compactMap { part in part.finish().map { (part.label, $0) } }
    return (ready, unmatched, unusable?.finish())
  }
}
