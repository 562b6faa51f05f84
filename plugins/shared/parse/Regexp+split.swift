import AggCore

extension Regexp {
  /// Ruby's `split` by an expression: what its groups captured comes between the pieces; empty pieces at the end are left out.
  func split(_ text: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
    var matcher = matcher()
    var empties: [UnsafeRawBufferPointer] = []
    func give(_ range: Range<Int>) {
      let piece = UnsafeRawBufferPointer(rebasing: text[range])
      if piece.isEmpty { return empties.append(piece) }
      for empty in empties { body(empty) }
      empties = []
      body(piece)
    }
    var start = 0
    var search = 0
    while search <= text.count, matcher.match(text, from: search), let found = matcher.range(of: 0) {
      if found.isEmpty {
        // An empty match cuts between characters, not at the ends.
        if found.lowerBound >= text.count { break }
        if found.lowerBound == start {
          search = start + 1
          while search < text.count, text[search] & 0xc0 == 0x80 { search += 1 }
          guard search < text.count, matcher.match(text, from: search), let next = matcher.range(of: 0) else { break }
          if next.lowerBound > start, next.isEmpty, next.lowerBound < text.count {
            give(start..<next.lowerBound)
            start = next.lowerBound
          } else if !next.isEmpty {
            give(start..<next.lowerBound)
            start = next.upperBound
          } else {
            break
          }
          search = start
          continue
        }
      }
      give(start..<found.lowerBound)
      for group in 1..<max(captureCount + 1, 1) {
        if let range = matcher.range(of: group) { give(range) }
      }
      start = found.upperBound
      search = start
    }
    give(min(start, text.count)..<text.count)
  }
}
