import AggCore

/// The cells of one row: ranges of the line, or of `unquoted` where quotes had to go.
struct CSVRow: ~Copyable {
  private struct Cell {
    var start: Int
    /// -1 for a cell that is null.
    var length: Int
    var isUnquoted: Bool
  }
  private var cells: ContiguousArray<Cell> = []
  private var unquoted = ByteWriter(capacity: 256)

  var count: Int { cells.count }
  mutating func removeAll() {
    cells.removeAll(keepingCapacity: true)
    unquoted.removeAll()
  }
  @inline(__always) mutating func add(_ start: Int, _ end: Int) {
    cells.append(Cell(start: start, length: end &- start, isUnquoted: false))
  }
  mutating func addNull() { cells.append(Cell(start: 0, length: -1, isUnquoted: false)) }
  /// A cell whose doubled quotes become single ones.
  mutating func addUnquoting(_ text: UnsafeRawBufferPointer) {
    let start = unquoted.count
    unquoted.reserve(text.count)
    var i = 0
    while i < text.count {
      unquoted.uncheckedAppend(text[i])
      i += text[i] == 0x22 && i + 1 < text.count && text[i + 1] == 0x22 ? 2 : 1
    }
    cells.append(Cell(start: start, length: unquoted.count - start, isUnquoted: true))
  }
  /// Valid until the row changes, with readable bytes behind it.
  @inline(__always) func cell(_ index: Int, _ line: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    let cell = cells[index]
    if cell.length < 0 { return nil }
    let bytes = cell.isUnquoted ? unquoted.bytes : line
    return UnsafeRawBufferPointer(rebasing: bytes[cell.start..<cell.start &+ cell.length])
  }
}

/// Cuts a row into cells as Ruby's CSV 3.2 does, or as Fluentd's fast engine.
struct CSVScanner: Sendable {
  let delimiter: [UInt8]

  /// Reads the first row of the text, or says what is wrong with it.
  @inline(__always) func scan(_ text: UnsafeRawBufferPointer, _ row: inout CSVRow) -> String? {
    guard let base = text.baseAddress else { return nil }
    let n = text.count
    if ByteScan.byte(base, 0) == 0x0a || ByteScan.byte(base, 0) == 0x0d { return nil }
    var at = 0
    while true {
      if at < n, ByteScan.byte(base, at) == 0x22 {
        var hasDoubled = false
        var end = ByteScan.find(base, at &+ 1, n, 0x22)
        while end &+ 1 < n, ByteScan.byte(base, end &+ 1) == 0x22 {
          hasDoubled = true
          end = ByteScan.find(base, end &+ 2, n, 0x22)
        }
        if end >= n { return "an unclosed quoted field" }
        if hasDoubled { row.addUnquoting(UnsafeRawBufferPointer(start: base + (at &+ 1), count: end &- at &- 1)) } else {
          row.add(at &+ 1, end)
        }
        at = end &+ 1
        if at == n || ByteScan.byte(base, at) == 0x0a || ByteScan.byte(base, at) == 0x0d { return nil }
        guard isDelimiter(base, at, n) else { return "a value after a quoted field" }
        at &+= delimiter.count
        continue
      }
      let start = at
      var byte: UInt8 = 0
      while at < n {
        byte = ByteScan.byte(base, at)
        if byte == delimiter[0], delimiter.count == 1 || isDelimiter(base, at, n) { break }
        if byte == 0x22 { return "a quote within an unquoted field" }
        if byte == 0x0a || byte == 0x0d { break }
        at &+= 1
      }
      if at == start { row.addNull() } else { row.add(start, at) }
      if at == n || !(byte == delimiter[0] && isDelimiter(base, at, n)) { return nil }
      at &+= delimiter.count
    }
  }

  @inline(__always) private func isDelimiter(_ base: UnsafeRawPointer, _ at: Int, _ n: Int) -> Bool {
    if delimiter.count == 1 { return at < n && ByteScan.byte(base, at) == delimiter[0] }
    guard at + delimiter.count <= n else { return false }
    return UnsafeRawBufferPointer(start: base + at, count: delimiter.count).elementsEqual(delimiter)
  }

  /// Columns cut at every delimiter first; quotes only join and strip them.
  func scanFast(_ text: UnsafeRawBufferPointer, _ row: inout CSVRow) {
    var text = text
    if text.last == 0x0a { text = UnsafeRawBufferPointer(rebasing: text.dropLast()) }
    if text.last == 0x0d { text = UnsafeRawBufferPointer(rebasing: text.dropLast()) }
    guard let base = text.baseAddress, text.count > 0 else { return }
    var columns: ContiguousArray<Range<Int>> = []
    RubySplit.split(text, delimiter, limit: -1) { piece in
      let start = piece.baseAddress.map { $0 - base } ?? text.count
      columns.append(start..<start + piece.count)
    }
    var j = 0
    while j < columns.count {
      let column = columns[j]
      let quotes = text[column].reduce(0) { $0 + ($1 == 0x22 ? 1 : 0) }
      let starts = !column.isEmpty && text[column.lowerBound] == 0x22
      let ends = !column.isEmpty && text[column.upperBound - 1] == 0x22
      switch quotes {
      case 0: if column.isEmpty { row.addNull() } else { row.add(column.lowerBound, column.upperBound) }
      case 1 where starts:
        j += 1
        var end = column.upperBound
        while j < columns.count {
          end = columns[j].upperBound
          if !columns[j].isEmpty, text[end - 1] == 0x22 { break }
          j += 1
        }
        // The last byte goes, whether it is a quote or not.
        row.add(column.lowerBound + 1, max(end - 1, column.lowerBound + 1))
      case 1: row.add(column.lowerBound, column.upperBound)
      case 2 where starts && ends: row.add(column.lowerBound + 1, column.upperBound - 1)
      case 2: row.add(column.lowerBound, column.upperBound)
      default:
        let inner = starts && ends ? column.lowerBound + 1..<column.upperBound - 1 : column
        row.addUnquoting(UnsafeRawBufferPointer(rebasing: text[inner]))
      }
      j += 1
    }
  }
}
