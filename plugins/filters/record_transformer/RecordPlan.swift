import AggCore
import Glibc

/// How the records of one batch are rewritten: which fields are set, removed or left, by name, without decoding a record.
struct RecordPlan: Sendable {
  struct Field: Sendable {
    /// The name as text, and as MessagePack.
    var key: [UInt8]
    var header: [UInt8]
    var value: RecordValue
    /// Name and value, where the value is the same for the batch.
    var constant: [UInt8]?
    var isRemoved = false
    /// Paths below this field that are removed from its value.
    var pruned: [RecordPath] = []

    init(key: [UInt8], value: RecordValue) {
      self.key = key
      self.value = value
      var out = ByteWriter(capacity: 64)
      out.putString(key)
      header = out.array
      if case .constant(let bytes) = value { constant = header + bytes }
    }
  }
  /// What happens to a field of this name.
  enum Action: Sendable {
    case set(Int)
    case remove
    case prune([RecordPath])
  }
  private struct Entry: Sendable {
    var key: [UInt8]
    var action: Action
  }

  var fields: [Field] = []
  /// nil: all fields stay; else only these, in this order.
  let kept: [[UInt8]]?
  let timeKey: [UInt8]?
  /// Fields whose values are Ruby: evaluated first, in order.
  private(set) var computed: [Int] = []
  /// An expression may change the record that those after it see.
  let changesRecord: Bool
  private var entries: [Entry] = []
  /// A bit for each name in `entries`: most fields of a record are none of them.
  private var mask: UInt64 = 0

  init(fields given: [(key: [UInt8], value: RecordValue)], removed: [RecordPath], kept: [[UInt8]]?, timeKey: [UInt8]?, changesRecord: Bool = false) {
    self.kept = kept
    self.changesRecord = changesRecord
    self.timeKey = timeKey
    for field in given {
      // A name that comes twice keeps its first place and its last value.
      if let at = fields.firstIndex(where: { $0.key == field.key }) {
        fields[at] = Field(key: field.key, value: field.value)
      } else {
        fields.append(Field(key: field.key, value: field.value))
      }
    }
    computed = fields.indices.filter { fields[$0].value.hasExpressions }
    var prunes: [(key: [UInt8], paths: [RecordPath])] = []
    var removals: [[UInt8]] = []
    for path in removed {
      guard case .key(let key)? = path.steps.first else { continue }
      if path.steps.count == 1 { removals.append(key) } else if let at = prunes.firstIndex(where: { $0.key == key }) {
        prunes[at].paths.append(path)
      } else {
        prunes.append((key, [path]))
      }
    }
    for index in fields.indices {
      fields[index].isRemoved = removals.contains(fields[index].key)
      fields[index].pruned = prunes.first { $0.key == fields[index].key }?.paths ?? []
      if !fields[index].pruned.isEmpty { fields[index].constant = nil }
      entries.append(Entry(key: fields[index].key, action: .set(index)))
    }
    for key in removals { entries.append(Entry(key: key, action: .remove)) }
    for prune in prunes { entries.append(Entry(key: prune.key, action: .prune(prune.paths))) }
    for entry in entries { entry.key.withUnsafeBytes { mask |= Self.bit($0) } }
  }

  @inline(__always) private static func bit(_ key: UnsafeRawBufferPointer) -> UInt64 {
    let n = key.count
    if n == 0 { return 1 }
    return 1 << UInt64((n &* 7 &+ Int(key[0]) &* 3 &+ Int(key[n &- 1])) & 63)
  }

  @inline(__always) func action(_ key: UnsafeRawBufferPointer) -> Action? {
    if mask & Self.bit(key) == 0 { return nil }
    return search(key)
  }
  private func search(_ key: UnsafeRawBufferPointer) -> Action? {
    for entry in entries where entry.key.count == key.count {
      let isSame = entry.key.withUnsafeBytes { known in
        guard let a = known.baseAddress, let b = key.baseAddress else { return true }
        return memcmp(a, b, key.count) == 0
      }
      if isSame { return entry.action }
    }
    return nil
  }
}
