import AggCore
import AggNet

/// What the cloud that a machine runs in says of it: EC2 (IMDSv2, else v1), Google Compute Engine, Azure.
struct CloudMetadata: Sendable {
  var provider: String
  /// Values are texts.
  var values: [(name: String, value: String)]
  /// The instance for ever, as mackerel-agent names it.
  var customIdentifier: String?

  /// For each question; a metadata service is a local neighbour.
  private static let timeout: Duration = .seconds(3)
  private static let longest = 16 << 10

  /// Nil where this is no instance of a cloud, or (`isSilent`) its service does not answer, asked twice.
  static func find(_ config: MackerelOutput.Host, _ http: HTTPClient) async throws -> (cloud: CloudMetadata?, isSilent: Bool) {
    let platform = config.cloudPlatform == .auto ? Self.platform(Firmware.read()) : config.cloudPlatform
    if platform == .none { return (nil, false) }
    if let cloud = try await ask(platform, config, http) { return (cloud, false) }
    try await Task.sleep(for: .seconds(1))
    let cloud = try await ask(platform, config, http)
    return (cloud, cloud == nil)
  }
  private static func ask(_ platform: MackerelOutput.CloudPlatform, _ config: MackerelOutput.Host, _ http: HTTPClient)
    async throws -> CloudMetadata?
  {
    switch platform {
    case .auto, .none: nil
    case .ec2: try await ec2(config.ec2Base, http)
    case .gce: try await gce(config.gceBase, http)
    case .azurevm: try await azure(config.azureBase, http)
    }
  }

  /// What firmware and hypervisor say: no question goes to the network of a machine that is in no cloud.
  struct Firmware: Sendable {
    var uuids: [String] = []
    var vendor = ""
    var product = ""
    var assetTag = ""
    static func read() -> Firmware {
      let dmi = "/sys/devices/virtual/dmi/id/"
      return Firmware(
        uuids: [HostFacts.line("/sys/hypervisor/uuid"), HostFacts.line(dmi + "product_uuid")],
        vendor: HostFacts.line(dmi + "sys_vendor"),
        product: HostFacts.line(dmi + "product_name"), assetTag: HostFacts.line(dmi + "chassis_asset_tag"))
    }
  }
  static func platform(_ firmware: Firmware) -> MackerelOutput.CloudPlatform {
    if firmware.vendor == "Amazon EC2" || firmware.uuids.contains(where: isEC2) { return .ec2 }
    if firmware.product == "Google Compute Engine" { return .gce }
    // Azure's, the same for all its machines.
    if firmware.assetTag == "7783-7084-3265-9085-8269-3286-77" { return .azurevm }
    return .none
  }
  /// A UUID that begins with ec2, or does in the little-endian form that some firmware shows.
  static func isEC2(_ uuid: String) -> Bool {
    let text = Array(uuid.lowercased().utf8)
    if text.starts(with: Array("ec2".utf8)) { return true }
    return text.count >= 8 && text[6] == UInt8(ascii: "e") && text[7] == UInt8(ascii: "c") && text[4] == UInt8(ascii: "2")
  }

  private static func trimmed(_ base: String) -> String { String(base.reversed().drop { $0 == "/" }.reversed()) }

  /// The text of an answer of 200; nil for any other, or none.
  private static func ask(_ method: String, _ url: String, _ fields: HTTPFields, _ http: HTTPClient) async throws -> String? {
    var request = HTTPRequest(method, url, fields: fields)
    request.timeout = timeout
    do {
      let reply = try await http.send(request)
      guard reply.status == 200, reply.body.count <= longest || method == "GET" else { return nil }
      return String(decoding: reply.body, as: UTF8.self)
    } catch is CancellationError { throw CancellationError() } catch { return nil }
  }

  // MARK: EC2

  private static let ec2Keys = [
    "instance-id", "instance-type", "placement/availability-zone", "security-groups", "ami-id", "hostname", "local-hostname",
    "public-hostname", "local-ipv4", "public-ipv4", "reservation-id",
  ]
  private static func ec2(_ base: String, _ http: HTTPClient) async throws -> CloudMetadata? {
    let base = trimmed(base) + "/latest"
    var fields = HTTPFields()
    if let token = try await ask("PUT", base + "/api/token", ["X-aws-ec2-metadata-token-ttl-seconds": "21600"], http),
      isFieldValue(token)
    {
      fields["X-aws-ec2-metadata-token"] = token
    }
    guard let id = try await ask("GET", base + "/meta-data/instance-id", fields, http), isFieldValue(id) else { return nil }
    var cloud = CloudMetadata(provider: "ec2", values: [("instance-id", id)], customIdentifier: id + ".ec2.amazonaws.com")
    for key in ec2Keys.dropFirst() {
      cloud.values.append((key, try await ask("GET", base + "/meta-data/" + key, fields, http) ?? ""))
    }
    return cloud
  }
  /// An answer that stands in a header or an identifier: short, and without anything that could end it.
  private static func isFieldValue(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 4096 && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
  }

  // MARK: Google

  private static func gce(_ base: String, _ http: HTTPClient) async throws -> CloudMetadata? {
    let url = trimmed(base) + "/computeMetadata/v1/?recursive=true"
    guard let text = try await ask("GET", url, ["Metadata-Flavor": "Google"], http), let answer = JSONTranscoder.decode(text),
      let instance = answer["instance"], let id = number(instance["id"])
    else { return nil }
    func last(_ value: Value?) -> String { value?.text?.split(separator: "/").last.map { String($0) } ?? "" }
    return CloudMetadata(
      provider: "gce",
      values: [
        ("hostname", instance["hostname"]?.text ?? ""), ("instance-id", id), ("instance-type", last(instance["machineType"])),
        ("zone", last(instance["zone"])), ("projectId", answer["project"]?["projectId"]?.text ?? ""),
      ], customIdentifier: id + ".gce.cloud.google.com")
  }
  private static func number(_ value: Value?) -> String? {
    switch value {
    case .int(let n)?: "\(n)"
    case .uint(let n)?: "\(n)"
    case .string(let bytes)?: isFieldValue(String(decoding: bytes, as: UTF8.self)) ? String(decoding: bytes, as: UTF8.self) : nil
    default: nil
    }
  }

  // MARK: Azure

  private static let azureKeys = [
    ("compute/location", "location"), ("compute/offer", "imageReferenceOffer"), ("compute/osType", "osSystemType"),
    ("compute/publisher", "imageReferencePublisher"), ("compute/sku", "imageReferenceSku"),
    ("compute/vmSize", "virtualMachineSizeType"),
    ("network/interface/0/ipv4/ipAddress/0/privateIpAddress", "privateIpAddress"),
    ("network/interface/0/ipv4/ipAddress/0/publicIpAddress", "publicIpAddress"),
  ]
  private static func azure(_ base: String, _ http: HTTPClient) async throws -> CloudMetadata? {
    let base = trimmed(base) + "/metadata/instance/"
    func value(_ path: String) async throws -> String? {
      try await ask("GET", base + path + "?api-version=2017-04-02&format=text", ["Metadata": "true"], http)
    }
    guard let id = try await value("compute/vmId"), isFieldValue(id) else { return nil }
    var cloud = CloudMetadata(
      provider: "AzureVM", values: [("vmID", id)], customIdentifier: id + ".virtual_machine.azure.microsoft.com")
    for (path, name) in azureKeys { if let text = try await value(path) { cloud.values.append((name, text)) } }
    return cloud
  }

  /// As the API's `meta.cloud`.
  var value: Value {
    var metadata = FieldMap()
    for pair in values { metadata[pair.name] = Value(pair.value) }
    return .map(FieldMap([.init(key: "provider", value: Value(provider)), .init(key: "metadata", value: .map(metadata))]))
  }
}
