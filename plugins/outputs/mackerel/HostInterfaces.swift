import AggCore
import Glibc

/// The machine's network interfaces that have addresses, loopback left out.
struct HostInterface: Sendable, Equatable {
  var name: String
  var macAddress: String?
  var ipv4: [String] = []
  var ipv6: [String] = []

  static func all() -> [HostInterface] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found: [HostInterface] = []
    var next = list
    while let entry = next?.pointee {
      next = entry.ifa_next
      guard let rawName = entry.ifa_name, let address = entry.ifa_addr, entry.ifa_flags & UInt32(IFF_LOOPBACK) == 0 else {
        continue
      }
      let family = Int32(address.pointee.sa_family)
      guard family == AF_INET || family == AF_INET6, let text = text(address, family) else { continue }
      let name = String(cString: rawName)
      let index = found.firstIndex { $0.name == name } ?? found.count
      if index == found.count { found.append(HostInterface(name: name, macAddress: macAddress(name))) }
      if family == AF_INET { found[index].ipv4.append(text) } else { found[index].ipv6.append(text) }
    }
    return found
  }

  private static func text(_ address: UnsafeMutablePointer<sockaddr>, _ family: Int32) -> String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN) + 1) { buffer in
      let source: UnsafeRawPointer
      let raw = UnsafeRawPointer(address)
      if family == AF_INET {
        guard let offset = MemoryLayout<sockaddr_in>.offset(of: \.sin_addr) else { return nil }
        source = raw + offset
      } else {
        guard let offset = MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr) else { return nil }
        source = raw + offset
      }
      guard inet_ntop(family, source, buffer.baseAddress, socklen_t(buffer.count)) != nil, let base = buffer.baseAddress else {
        return nil
      }
      return String(cString: base)
    }
  }

  /// An interface without a hardware address (a tunnel) has zeros.
  private static func macAddress(_ name: String) -> String? {
    let text = HostFacts.line("/sys/class/net/\(name)/address").lowercased()
    return text.isEmpty || text.allSatisfy { $0 == "0" || $0 == ":" } ? nil : text
  }

  var value: Value {
    var fields = FieldMap()
    fields["name"] = Value(name)
    if let macAddress { fields["macAddress"] = Value(macAddress) }
    if !ipv4.isEmpty { fields["ipv4Addresses"] = .array(ipv4.map { Value($0) }) }
    if !ipv6.isEmpty { fields["ipv6Addresses"] = .array(ipv6.map { Value($0) }) }
    return .map(fields)
  }
}
