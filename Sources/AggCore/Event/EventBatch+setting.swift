import Glibc

extension EventBatch {
  /// Every record with the field set; one of that name is replaced in place, else it comes last.
  public func setting(_ key: [UInt8], _ value: String) -> EventBatch {
    var encoded = ByteWriter(capacity: 256)
    encoded.putString(value)
    let field = encoded.array
    return rewritten { time, record, out in
      out.begin(room: record.bytes.count + key.count + field.count + 16)
      let known = record.find(key) != nil
      out.writer.putMapHeader(record.fieldCount + (known ? 0 : 1))
      record.forEachField { name, value in
        out.writer.append(name.bytes)
        if known, let text = name.textBytes, text.elementsEqual(key) { out.writer.append(field) } else { out.writer.append(value.bytes) }
      }
      if !known {
        out.writer.putString(key)
        out.writer.append(field)
      }
      out.commit(time: time)
    }
  }
}

extension ByteWriter {
  /// Drops the first `n` bytes; the rest moves to the front.
  public mutating func removeFirst(_ n: Int) {
    let n = min(max(n, 0), count)
    if n < count, let base = mutableBytes.baseAddress { memmove(base, base + n, count - n) }
    count -= n
  }
}
