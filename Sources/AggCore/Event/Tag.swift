/// The address of an event: dot-separated parts, e.g. `app.web.access`.
///
/// A tag is text from a configuration or from a peer; whoever makes a path, URL or header of it encodes it.
public struct Tag: Hashable, Sendable, CustomStringConvertible {
  /// The longest tag that is taken from outside, in bytes. Fluentd has no limit; a tag is a map key and a path.
  public static let maximumLength = 4096

  public let description: String

  public init(_ text: String) { description = text }

  /// A tag a peer sent: nil when it is empty, longer than `maximumLength`, not UTF-8 or holds control bytes.
  public init?(validating bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 0, bytes.count <= Self.maximumLength else { return nil }
    for byte in bytes where byte < 0x20 || byte == 0x7f { return nil }
    guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
    description = text
  }

  /// The dot-separated parts, as `${tag_parts[n]}` counts them.
  public var parts: [Substring] { description.split(separator: ".", omittingEmptySubsequences: false) }
}
