import AggCore

/// A Hash in the order of its insertions. One that came from a record stays in its bytes until more than a field is asked for.
public final class RubyHash {
  /// The bytes that the fields still lie in.
  private var source: RecordView?
  /// Containers that were read from `source`: a second read must give the same one, since it may have been changed.
  private(set) var opened: [(key: [UInt8], value: RubyValue)] = []
  /// What was set and removed while the rest lies in `source`.
  private struct Edits {
    var replaced: [(key: [UInt8], value: RubyValue)] = []
    var removed: [[UInt8]] = []
    var added: [(key: [UInt8], value: RubyValue)] = []
    var count: Int { replaced.count + removed.count + added.count }
  }
  private var edits: Edits?
  private var storedKeys: [RubyValue] = []
  private var storedValues: [RubyValue] = []
  /// Above 16 keys, where each one is.
  private var places: [RubyValue: Int]?
  var defaultValue: RubyValue = .null
  var defaultBlock: Block?
  /// Whether anything was set or removed since it came from a record.
  private(set) var isChanged = false
  var isWholeRecord = false
  /// A value of `prepare_value`, which all events share.
  var isFrozen = false
  /// Fields that were set since they came from the record, so that what is changed in them now is not the record's.
  private var reassigned: Set<[UInt8]>?

  init() {}
  init(_ source: RecordView) {
    self.source = source
    reassigned = []
  }
  init(_ pairs: [(RubyValue, RubyValue)]) { for (key, value) in pairs { self[key] = value } }

  /// Decodes one level; what nests stays in the bytes.
  private func open() {
    guard let view = source else { return }
    source = nil
    let changed = isChanged
    let known = opened
    let (edits, assigned) = (edits, reassigned)
    self.edits = nil
    reassigned = nil
    defer {
      isChanged = changed
      reassigned = assigned
    }
    view.forEachField { key, value in
      let name = RubyValue(key)
      guard case .string(let text) = name else { return self[name] = RubyValue(value) }
      if edits?.removed.contains(text.bytes) ?? false { return }
      if let set = edits?.replaced.first(where: { $0.key == text.bytes }) { return self[name] = set.value }
      guard value.kind == .map || value.kind == .array else { return self[name] = RubyValue(value) }
      let container = known.first { $0.key == text.bytes }?.value
      self[name] = container ?? RubyValue(value)
      if container == nil, let container = self[name] { opened.append((text.bytes, container)) }
    }
    for (key, value) in edits?.added ?? [] { self[.string(RubyString(key))] = value }
  }

  /// The bytes, while nothing in them can have changed.
  var untouched: RecordView? { opened.isEmpty && !isChanged ? source : nil }

  /// Writes the fields as they are now while most still lie in the bytes; nil, with nothing written, when they do not.
  func encodeEdited(into out: inout ByteWriter, _ encode: (RubyValue, inout ByteWriter) -> Bool) -> Bool? {
    guard let source else { return nil }
    let mark = out.beginMap()
    var count = 0
    var cursor = source.fields
    while let (key, value) = cursor.next() {
      var changed: RubyValue?
      if let name = key.stringBytes {
        if let edits, edits.removed.contains(where: { name.elementsEqual($0) }) { continue }
        changed =
          edits?.replaced.first { name.elementsEqual($0.key) }?.value ?? opened.first { name.elementsEqual($0.key) }?.value
      }
      out.append(key.bytes)
      if let changed { if !encode(changed, &out) { return false } } else { out.append(value.bytes) }
      count += 1
    }
    for (key, value) in edits?.added ?? [] {
      out.putString(key)
      if !encode(value, &out) { return false }
      count += 1
    }
    out.end(mark, count: count)
    return true
  }

  /// `gsub!` and its like: a text that came from the record changes for all who hold it.
  func changeText(_ key: [UInt8], _ value: RubyValue) {
    let assigned = reassigned
    self[.string(RubyString(key))] = value
    reassigned = assigned
    guard let assigned, !assigned.contains(key) else { return }
    if let at = opened.firstIndex(where: { $0.key == key }) { opened[at].value = value } else { opened.append((key, value)) }
  }

  var count: Int {
    open()
    return storedKeys.count
  }
  var keys: [RubyValue] {
    open()
    return storedKeys
  }
  var values: [RubyValue] {
    open()
    return storedValues
  }
  var pairs: Zip2Sequence<[RubyValue], [RubyValue]> {
    open()
    return zip(storedKeys, storedValues)
  }

  /// A string key's value, without decoding the rest.
  func find(_ key: [UInt8]) -> RubyValue? {
    guard let source else { return self[.string(RubyString(key))] }
    if let edits {
      if let set = edits.replaced.first(where: { $0.key == key }) ?? edits.added.first(where: { $0.key == key }) {
        return set.value
      }
      if edits.removed.contains(key) { return nil }
    }
    if !opened.isEmpty, let known = opened.first(where: { $0.key == key }) { return known.value }
    guard let view = source.find(key) else { return nil }
    let value = RubyValue(view)
    switch value {
    case .hash, .array: opened.append((key, value))
    default: break
    }
    return value
  }

  /// Sets or removes a field while the others stay in their bytes; false when that is no longer worth it.
  private func edit(_ key: [UInt8], _ value: RubyValue?) -> Bool {
    guard let source else { return false }
    var edits = edits ?? Edits()
    if edits.count > 16 { return false }
    if let at = edits.added.firstIndex(where: { $0.key == key }) {
      if let value { edits.added[at].value = value } else { edits.added.remove(at: at) }
    } else if source.find(key) != nil, !edits.removed.contains(key) {
      let at = edits.replaced.firstIndex { $0.key == key }
      switch (at, value) {
      case (let at?, let value?): edits.replaced[at].value = value
      case (nil, let value?): edits.replaced.append((key, value))
      case (let at?, nil):
        edits.replaced.remove(at: at)
        edits.removed.append(key)
      case (nil, nil): edits.removed.append(key)
      }
    } else if let value {
      edits.added.append((key, value))
    }
    self.edits = edits
    return true
  }

  private func place(_ key: RubyValue) -> Int? {
    if let places { return places[key] }
    if case .string(let text) = key {
      for i in storedKeys.indices { if case .string(let other) = storedKeys[i], other.bytes == text.bytes { return i } }
      return nil
    }
    return storedKeys.firstIndex(of: key)
  }

  /// Setting an absent key appends it; setting nil removes it.
  subscript(key: RubyValue) -> RubyValue? {
    get {
      if case .string(let text) = key, source != nil { return find(text.bytes) }
      open()
      return place(key).map { storedValues[$0] }
    }
    set {
      isChanged = true
      if case .string(let text) = key, source != nil, edit(text.bytes, newValue) {
        reassigned?.insert(text.bytes)
        return
      }
      open()
      if reassigned != nil, case .string(let text) = key { reassigned?.insert(text.bytes) }
      switch (place(key), newValue) {
      case (let at?, let value?): storedValues[at] = value
      case (let at?, nil):
        storedKeys.remove(at: at)
        storedValues.remove(at: at)
        if places != nil { index() }
      case (nil, let value?):
        places?[key] = storedKeys.count
        storedKeys.append(key)
        storedValues.append(value)
        if places == nil, storedKeys.count > 16 { index() }
      case (nil, nil): break
      }
    }
  }

  private func index() {
    guard storedKeys.count > 16 else {
      places = nil
      return
    }
    places = Dictionary(zip(storedKeys, storedKeys.indices)) { first, _ in first }
  }

  func removeAll() {
    source = nil
    edits = nil
    storedKeys = []
    storedValues = []
    places = nil
    isChanged = true
  }

  func replace(_ other: RubyHash) {
    let pairs = Array(other.pairs)
    removeAll()
    for (key, value) in pairs { self[key] = value }
  }

  func copy() -> RubyHash {
    open()
    let copy = RubyHash()
    copy.storedKeys = storedKeys
    copy.storedValues = storedValues
    copy.places = places
    copy.defaultValue = defaultValue
    copy.defaultBlock = defaultBlock
    return copy
  }
}
