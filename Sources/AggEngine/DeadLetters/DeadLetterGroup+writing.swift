import AggCore

extension DeadLetterGroup {
  /// Appends a record for each event that is given up; `flush` takes what is written whenever it has become much.
  func writeLetters(_ nonce: UInt64, into out: inout ByteWriter, _ flush: (inout ByteWriter) throws -> Void) throws {
    if let formatted = view.formatted {
      formatted.withBytes { text in
        DeadLetterFormat.writeLetter(
          self, index: 0, tag: view.metadata.tag?.description ?? "", reason: reason, status: status, count: formatted.count,
          isFormatted: true, text, nonce: nonce, into: &out)
      }
      return
    }
    var next = rejections?[...]
    var index = 0
    for batch in view.batches {
      let tag = batch.tag.description
      defer { index += batch.count }
      if let first = next?.first?.index, first >= index + batch.count { continue }
      if next?.isEmpty ?? false { break }
      var at = index
      try batch.forEach { event in
        defer { at += 1 }
        var (reason, status) = (reason, status)
        if next != nil {
          guard let rejection = next?.first, rejection.index == at else { return }
          next = next?.dropFirst()
          (reason, status) = (rejection.reason, rejection.knownStatus ?? self.status)
        }
        DeadLetterFormat.writeLetter(
          self, index: at, tag: tag, reason: reason, status: status, count: 1, isFormatted: false, event.bytes, nonce: nonce, into: &out)
        if out.count >= 1 << 20 { try flush(&out) }
      }
    }
  }
}
