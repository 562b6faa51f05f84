extension ConfigJSON {
  /// Reads the first document of a YAML text, which may be JSON, within the limits of a YAML configuration; null when there is none.
  ///
  /// Throws with the line in `file`.
  public init(yaml bytes: [UInt8], file: String) throws(ConfigError) {
    guard let root = try YAMLReader.read(bytes, file: file) else {
      self = .null
      return
    }
    self.init(root)
  }

  private init(_ node: YAMLNode) {
    switch node.content {
    case .scalar(let text, let isPlain): self = isPlain ? YAMLScalar.value(text) : .string(text)
    case .list(let items): self = .array(items.map { ConfigJSON($0) })
    case .map(let pairs): self = .object(pairs.map { Pair($0.key, ConfigJSON($0.value)) })
    }
  }
}
