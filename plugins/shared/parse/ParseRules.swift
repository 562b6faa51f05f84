import AggCore
import Glibc

/// A parser's shared parameters, compiled once; read by every block.
final class ParseRules: Sendable {
  let time: TimeParser
  let timeKey: [UInt8]?
  let keepTimeKey: Bool
  let estimatesCurrentEvent: Bool
  let nullPattern: Regexp?
  let nullEmptyString: Bool
  let conversions: [ValueConversion]
  /// The keys of `conversions`, in the same order.
  let convertedKeys: [[UInt8]]
  /// Whether any value can change on its way.
  let convertsValues: Bool

  init(_ parameters: ParseParameters, _ times: TimeParameters) throws {
    time = try TimeParser(times)
    timeKey = parameters.timeKey.map { Array($0.utf8) }
    keepTimeKey = parameters.keepTimeKey
    estimatesCurrentEvent = parameters.estimateCurrentEvent
    nullPattern = parameters.nullValuePattern
    nullEmptyString = parameters.nullEmptyString
    var conversions: [ValueConversion] = []
    var keys: [[UInt8]] = []
    for pair in parameters.types?.pairs ?? [] {
      conversions.append(try ValueConversion(pair.value, field: pair.key, times))
      keys.append(Array(pair.key.utf8))
    }
    self.conversions = conversions
    convertedKeys = keys
    convertsValues = parameters.types != nil || parameters.nullValuePattern != nil || parameters.nullEmptyString
  }

  /// The conversion of a field, -1 where there is none.
  func conversion(_ key: UnsafeRawBufferPointer) -> Int {
    for i in convertedKeys.indices where convertedKeys[i].count == key.count {
      if convertedKeys[i].elementsEqual(key) { return i }
    }
    return -1
  }

  func isTimeKey(_ key: UnsafeRawBufferPointer) -> Bool {
    guard let timeKey, timeKey.count == key.count else { return false }
    return timeKey.elementsEqual(key)
  }
}

/// The keys of a parser whose fields are known beforehand, encoded, with what happens to their values.
final class KeyTable: @unchecked Sendable {  // immutable after init
  struct Key {
    /// The encoded key in `bytes`.
    var start: Int
    var length: Int
    /// An index into the rules' conversions, or -1.
    var conversion: Int
    var isTime: Bool
  }
  let keys: UnsafePointer<Key>
  let bytes: UnsafeRawPointer
  let count: Int
  /// Room that all keys need.
  let byteCount: Int

  init(_ names: [String], _ rules: ParseRules) {
    var out = ByteWriter(capacity: 256)
    let keys = UnsafeMutablePointer<Key>.allocate(capacity: max(names.count, 1))
    for (i, name) in names.enumerated() {
      let start = out.count
      out.putString(name)
      var name = name
      let (conversion, isTime) = name.withUTF8 { (rules.conversion(UnsafeRawBufferPointer($0)), rules.isTimeKey(UnsafeRawBufferPointer($0))) }
      keys[i] = Key(start: start, length: out.count - start, conversion: conversion, isTime: isTime)
    }
    // What is copied by the 16 bytes may be read past its end.
    let copy = UnsafeMutableRawPointer.allocate(byteCount: out.count + ByteWriter.padding, alignment: 16)
    memset(copy, 0, out.count + ByteWriter.padding)
    if let written = out.bytes.baseAddress { memcpy(copy, written, out.count) }
    self.keys = UnsafePointer(keys)
    bytes = UnsafeRawPointer(copy)
    count = names.count
    byteCount = out.count
  }
  deinit {
    keys.deallocate()
    bytes.deallocate()
  }
}
