/// inotify tells a rename in two records with one cookie. They are made one after the other, so that a look may come between them: what
/// has begun is kept for the next.
package struct RenamePairs: Sendable {
  package struct Rename: Sendable, Equatable {
    package var from: String
    package var to: String
    package init(from: String, to: String) { (self.from, self.to) = (from, to) }
  }
  /// More than this are not remembered between two looks.
  private static let most = 65_536
  /// A rename out of the watched directories has no second half; the oldest of so many are forgotten.
  private static let mostBegun = 1024

  private var found: [Rename] = []
  private var begun: [UInt32: String] = [:]
  private var cookies: [UInt32] = []

  package init() {}
  package mutating func from(_ path: String, cookie: UInt32) {
    if begun.updateValue(path, forKey: cookie) == nil { cookies.append(cookie) }
    guard cookies.count >= 2 * Self.mostBegun else { return }
    for cookie in cookies.prefix(Self.mostBegun) { begun[cookie] = nil }
    cookies.removeFirst(Self.mostBegun)
  }
  package mutating func to(_ path: String, cookie: UInt32) {
    guard let from = begun.removeValue(forKey: cookie), found.count < Self.most else { return }
    found.append(Rename(from: from, to: path))
  }
  /// Those that are whole, in their order.
  package mutating func take() -> [Rename] {
    defer { found = [] }
    return found
  }
}
