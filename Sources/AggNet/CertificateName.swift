import NIOCore
import NIOSSL

/// The subject's common name of an X.509 certificate in DER (RFC 5280, section 4.1), nil when it has none.
func commonName(ofCertificate bytes: [UInt8]) -> String? {
  var certificate = DERReader(bytes[...])
  guard var outer = certificate.enter(0x30), var body = outer.enter(0x30) else { return nil }
  if body.peek == 0xA0 { _ = body.next() }  // version
  // Serial number, signature algorithm, issuer, validity; then the subject.
  for _ in 0..<4 { guard body.next() != nil else { return nil } }
  guard var subject = body.enter(0x30) else { return nil }
  while var set = subject.enter(0x31) {
    while var pair = set.enter(0x30) {
      guard let type = pair.next(), let value = pair.next() else { break }
      // 2.5.4.3, id-at-commonName
      if type.tag == 0x06, type.content.elementsEqual([0x55, 0x04, 0x03]) {
        return String(decoding: value.content, as: UTF8.self)
      }
    }
  }
  return nil
}

/// Whether the peer's certificate names the host (RFC 6125: a whole name, or `*` for the leftmost label).
///
/// A certificate without alternative names was compared by its common name in the handshake. On the channel's loop.
func certificateNames(_ host: String, _ channel: any Channel) -> Bool {
  guard let handler = try? channel.pipeline.syncOperations.handler(type: NIOSSLHandler.self),
    let certificate = handler.peerCertificate
  else { return false }
  let host = host.lowercased().utf8.trimmingDot()
  var hasNames = false
  for name in certificate._subjectAlternativeNames() {
    hasNames = true
    guard name.nameType == .dnsName else { continue }
    let pattern = String(decoding: name.contents, as: UTF8.self).lowercased().utf8.trimmingDot()
    if pattern.elementsEqual(host) { return true }
    if pattern.starts(with: "*.".utf8), let dot = host.firstIndex(of: UInt8(ascii: ".")),
      host[dot...].elementsEqual(pattern.dropFirst(1))
    {
      return true
    }
  }
  return !hasNames
}

extension String.UTF8View {
  fileprivate func trimmingDot() -> Substring.UTF8View { last == UInt8(ascii: ".") ? dropLast() : self[...] }
}

/// Walks tag, length and value; lengths are checked against what is there.
private struct DERReader {
  private var bytes: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

  var peek: UInt8? { bytes.first }

  mutating func next() -> (tag: UInt8, content: ArraySlice<UInt8>)? {
    var rest = bytes
    guard let tag = rest.popFirst(), let first = rest.popFirst() else { return nil }
    var length = Int(first)
    if first >= 0x80 {
      // Certificates need three bytes at most.
      guard (1...3).contains(first & 0x7F) else { return nil }
      length = 0
      for _ in 0..<(first & 0x7F) {
        guard let byte = rest.popFirst() else { return nil }
        length = length << 8 | Int(byte)
      }
    }
    guard length <= rest.count else { return nil }
    let content = rest.prefix(length)
    bytes = rest.dropFirst(length)
    return (tag, content)
  }

  mutating func enter(_ tag: UInt8) -> DERReader? {
    guard peek == tag, let element = next() else { return nil }
    return DERReader(element.content)
  }
}
