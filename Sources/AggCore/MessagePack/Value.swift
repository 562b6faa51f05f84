/// A decoded value: for what rewrites a record; what only looks uses `RecordView` and costs a hundredth.
///
/// Strings are bytes, since a log line need not be UTF-8. `uint` is used only above `Int64.max`.
public enum Value: Hashable, Sendable {
  case null
  case bool(Bool)
  case int(Int64)
  case uint(UInt64)
  case double(Double)
  case string([UInt8])
  case binary([UInt8])
  case array([Value])
  case map(FieldMap)
  case ext(type: Int8, [UInt8])
}

/// The fields of a map in the order that they came or were set.
public struct FieldMap: Hashable, Sendable {
  public struct Field: Hashable, Sendable {
    public var key: Value
    public var value: Value
    public init(key: Value, value: Value) {
      self.key = key
      self.value = value
    }
  }

  public private(set) var fields: [Field]

  /// A key that comes twice keeps its first place and its last value, as in a Ruby Hash.
  public init(_ fields: [Field] = []) {
    self.fields = []
    self.fields.reserveCapacity(fields.count)
    if fields.count <= 16 {
      for field in fields { self[field.key] = field.value }
      return
    }
    // A peer chooses how many keys there are: no search through all of them for each.
    var places: [Value: Int] = [:]
    for field in fields {
      if let place = places[field.key] {
        self.fields[place].value = field.value
      } else {
        places[field.key] = self.fields.count
        self.fields.append(field)
      }
    }
  }

  public var count: Int { fields.count }
  public var isEmpty: Bool { fields.isEmpty }

  /// Setting an absent key appends it, setting nil removes it.
  public subscript(key: Value) -> Value? {
    get { fields.first { $0.key == key }?.value }
    set {
      let index = fields.firstIndex { $0.key == key }
      switch (index, newValue) {
      case (let index?, let value?): fields[index].value = value
      case (let index?, nil): fields.remove(at: index)
      case (nil, let value?): fields.append(Field(key: key, value: value))
      case (nil, nil): break
      }
    }
  }
  public subscript(key: String) -> Value? {
    get { self[.string(Array(key.utf8))] }
    set { self[.string(Array(key.utf8))] = newValue }
  }

  @discardableResult public mutating func remove(_ key: String) -> Value? {
    let value = self[key]
    self[key] = nil
    return value
  }

  public mutating func removeAll(where shouldBeRemoved: (Field) -> Bool) { fields.removeAll(where: shouldBeRemoved) }
}

extension Value: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  public init(stringLiteral value: String) { self = .string(Array(value.utf8)) }
  public init(integerLiteral value: Int64) { self = .int(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(nilLiteral: ()) { self = .null }
  public init(arrayLiteral elements: Value...) { self = .array(elements) }
  public init(dictionaryLiteral elements: (Value, Value)...) {
    self = .map(FieldMap(elements.map { FieldMap.Field(key: $0, value: $1) }))
  }
}

extension Value {
  public init(_ text: String) { self = .string(Array(text.utf8)) }
  public init(_ value: UInt64) { self = Int64(exactly: value).map { .int($0) } ?? .uint(value) }

  /// The text of a string or binary, with U+FFFD for what is not UTF-8.
  public var text: String? {
    switch self {
    case .string(let bytes), .binary(let bytes): String(decoding: bytes, as: UTF8.self)
    default: nil
    }
  }

  public var map: FieldMap? { if case .map(let map) = self { map } else { nil } }
  public var array: [Value]? { if case .array(let array) = self { array } else { nil } }

  /// A map's field; setting one of what is no map does nothing.
  public subscript(key: String) -> Value? {
    get { map?[key] }
    set {
      guard case .map(var map) = self else { return }
      self = .null  // leaves `map` the only owner, so that it changes in place
      map[key] = newValue
      self = .map(map)
    }
  }
}
