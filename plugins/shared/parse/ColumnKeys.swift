import AggCore

/// The names of columns; one that comes twice has the first one's place in the record and the last one's value.
struct ColumnKeys: Sendable {
  let table: KeyTable
  /// For each key of the table its column.
  let places: [Int]
  /// Where it came first: what counts in rows that are too short for its last column.
  let firstPlaces: [Int]
  /// How many columns there are.
  let width: Int

  init(_ names: [String], _ rules: ParseRules) {
    var unique: [String] = []
    var places: [Int] = []
    var firstPlaces: [Int] = []
    for (column, name) in names.enumerated() {
      if let i = unique.firstIndex(of: name) { places[i] = column } else {
        unique.append(name)
        places.append(column)
        firstPlaces.append(column)
      }
    }
    table = KeyTable(unique, rules)
    self.places = places
    self.firstPlaces = firstPlaces
    width = names.count
  }
}
