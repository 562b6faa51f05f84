extension ValueView {
  /// The value as text in a path, a chunk key or a placeholder: strings as they are, nil as nothing, containers as JSON.
  public var displayText: String {
    if let text = string { return text }
    if isNull { return "" }
    var out = ByteWriter(capacity: 256)
    _ = JSONFormatter.write(self, into: &out)
    return out.string
  }
}
