/// What older plugins do to tags: a prefix is whole parts.
enum TagPrefix {
  /// `a.b` without the prefix `a` is `b`, `a` is nothing; other tags stay.
  static func removing(_ prefix: String?, from tag: String) -> String {
    guard let prefix else { return tag }
    if tag == prefix { return "" }
    return tag.hasPrefix(prefix + ".") && tag.utf8.count > prefix.utf8.count + 1 ? String(tag.dropFirst(prefix.count + 1)) : tag
  }
}
