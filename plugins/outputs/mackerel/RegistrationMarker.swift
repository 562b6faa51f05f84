import AggCore

/// What tells a host that was registered from one that was not, where the answer did not come: the connection broke, or agg was killed.
///
/// A random text is written beside the id's file before the request and is part of the host's `meta` in it. The next attempt looks for a
/// host of this machine's name that has it. The first facts that are sent to a known host take it out again.
struct RegistrationMarker: Sendable {
  private static let field = "agg-registration"
  private static let suffix = ".registering"
  private let text: String

  /// What an earlier attempt left.
  static func pending(_ path: String) throws(FileError) -> RegistrationMarker? {
    do throws(FileError) {
      let text = try File.contents(path + suffix, limit: 256).string
      return MackerelName.isPlain(text) ? RegistrationMarker(text: text) : nil
    } catch {
      if error.isMissing { return nil }
      throw error
    }
  }

  /// Durable before it returns.
  static func begin(_ path: String) throws(FileError) -> RegistrationMarker {
    if let known = try pending(path) { return known }
    let text = String(UInt64.random(in: .min ... .max), radix: 16) + String(UInt64.random(in: .min ... .max), radix: 16)
    try File.makeDirectories(File.directory(of: path))
    var file = ByteWriter(capacity: 64)
    file.append(text)
    try File.replace(path + suffix, with: file.bytes, sync: true)
    return RegistrationMarker(text: text)
  }

  /// One that stays costs a request and finds nothing.
  static func end(_ path: String) { try? File.remove(path + suffix) }

  func put(into record: inout FieldMap) {
    guard case .map(var meta)? = record["meta"] else { return }
    meta[Self.field] = Value(text)
    record["meta"] = .map(meta)
  }
  func isOf(_ host: MackerelHost) -> Bool { host.value["meta"]?[Self.field]?.text == text }
}
