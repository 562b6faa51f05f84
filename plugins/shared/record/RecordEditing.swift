import AggCore
import Glibc

/// A path went through a value that is neither a map nor an array (Ruby's `dig` raises a TypeError there).
struct NotAContainer: Error, CustomStringConvertible {
  var path: String
  var kind: ValueView.Kind
  var description: String { "'\(path)' goes through a \(kind), which has no fields" }
}

extension RecordPath {
  /// As `find`, but tells a field that is not there from a path through a text or a number; source: Ruby's Hash#dig.
  func dig(_ record: RecordView) throws(NotAContainer) -> ValueView? {
    var value = record.value
    for (at, step) in steps.enumerated() {
      let next: ValueView?
      switch (step, value.kind) {
      case (.key(let key), .map): next = value.map?.find(key)
      case (.index(let index), .array): next = value.element(index < 0 ? value.count &+ index : index)
      case (.index, .map): next = nil
      default: throw NotAContainer(path: configText, kind: value.kind)
      }
      guard let next else { return nil }
      if next.isNull, at + 1 < steps.count { return nil }
      value = next
    }
    return value
  }
}

extension ByteWriter {
  /// Copies `value` without what `steps` leads to; a path that leads nowhere leaves the value as it is.
  mutating func put(_ value: ValueView, without steps: ArraySlice<RecordPath.Step>) {
    switch (steps.first, value.kind) {
    case (.key(let key), .map):
      guard let map = value.map, map.find(key) != nil else { return append(value.bytes) }
      let mark = beginMap()
      var count = 0
      map.forEachField { name, inner in
        if let text = name.stringBytes, text.elementsEqual(key) {
          if steps.count == 1 { return }
          append(name.bytes)
          put(inner, without: steps.dropFirst())
        } else {
          append(name.bytes)
          append(inner.bytes)
        }
        count += 1
      }
      end(mark, count: count)
    case (.index(let index), .array):
      let place = index < 0 ? value.count &+ index : index
      guard place >= 0, place < value.count else { return append(value.bytes) }
      let mark = beginArray()
      var at = 0
      var count = 0
      value.forEachElement { inner in
        defer { at += 1 }
        if at == place {
          if steps.count == 1 { return }
          put(inner, without: steps.dropFirst())
        } else {
          append(inner.bytes)
        }
        count += 1
      }
      end(mark, count: count)
    default: append(value.bytes)
    }
  }

  /// Writes `base` with every field of `other` set: a known field keeps its place, a new one comes last.
  mutating func put(_ base: RecordView, merging other: RecordView) {
    if base.fieldCount &* other.fieldCount > 4096 { return putLarge(base, merging: other) }
    let mark = beginMap()
    var count = 0
    base.forEachField { name, value in
      append(name.bytes)
      append((name.stringBytes.flatMap { other.find($0) } ?? value).bytes)
      count += 1
    }
    other.forEachField { name, value in
      if let text = name.stringBytes, base.find(text) != nil { return }
      append(name.bytes)
      append(value.bytes)
      count += 1
    }
    end(mark, count: count)
  }

  /// A peer chooses how many fields there are: no search through all of one record for each of the other.
  private mutating func putLarge(_ base: RecordView, merging other: RecordView) {
    let merged = FieldMap(FieldMap(base).fields + FieldMap(other).fields)
    Value.map(merged).encode(into: &self)
  }
}
