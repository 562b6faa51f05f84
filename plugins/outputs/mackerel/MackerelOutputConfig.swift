public import AggCore
import AggNet

extension MackerelOutput {
  public enum CloudPlatform: String, ConfigEnum { case auto, none, ec2, gce, azurevm }

  /// `<host>`: this machine is registered as a host, and kept up to date.
  public struct Host: Configurable {
    var displayName: String?
    var roles: [String] = []
    var memo: String?
    var customIdentifier: String?
    var onStart: String?
    var onStop: String?
    var autoRetire = false
    var checkIdentity = true
    var specInterval = TimeSpan(seconds: 3600)
    var checks: [String] = []
    var cloudPlatform = CloudPlatform.auto
    var ec2Base = "http://169.254.169.254"
    var gceBase = "http://metadata.google.internal"
    var azureBase = "http://169.254.169.254"
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("display_name", \.displayName, "Name that is shown for the host"),
      .optional("roles", \.roles, "Roles that the host gets, each service:role"),
      .optional("memo", \.memo, "Note on the host, set when it is registered"),
      .optional("custom_identifier", \.customIdentifier, "Identifies the host for ever; default: what the cloud says"),
      .optional("on_start", \.onStart, "Status that is set when agg starts"),
      .optional("on_stop", \.onStop, "Status that is set when agg stops (a reload is no stop)"),
      .optional("auto_retire", \.autoRetire, "Retire the host when agg stops, for machines that come and go"),
      .optional("check_identity", \.checkIdentity, "Refuse to start with the host id of another machine"),
      .optional("spec_interval", \.specInterval, "How often facts about the host are sent"),
      .optional("checks", \.checks, "Names of checks, beside those that have reported since the start"),
      .optional("cloud_platform", \.cloudPlatform, "Whose instance this is; auto asks only where the firmware's data say so"),
      .optional("ec2_base", \.ec2Base, "Where EC2's metadata service is"),
      .optional("gce_base", \.gceBase, "Where that of Google Compute Engine is"),
      .optional("azure_base", \.azureBase, "Where that of Azure is"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      for role in roles where !MackerelName.isRole(role) {
        throw ConfigValueError(
          "'roles' are written service:role, each of letters, digits, '_' and '-', 2 to 63 characters; got '\(role)'")
      }
      for (name, status) in [("on_start", onStart), ("on_stop", onStop)] {
        if let status, !MackerelName.statuses.contains(status) {
          throw ConfigValueError("'\(name)' must be one of \(MackerelName.statuses.joined(separator: ", ")); got '\(status)'")
        }
      }
      if autoRetire, onStop != nil { throw ConfigValueError("'on_stop' has no effect with 'auto_retire'; remove one of them") }
      for name in checks where !MackerelName.isPlain(name) {
        throw ConfigValueError("'checks': '\(name)' cannot be a check's name")
      }
      if specInterval < TimeSpan(seconds: 1) { throw ConfigValueError("'spec_interval' must be at least 1s") }
      for (name, base) in [("ec2_base", ec2Base), ("gce_base", gceBase), ("azure_base", azureBase)] {
        if let problem = MackerelClient.problem(inBase: base) { throw ConfigValueError("'\(name)' \(problem)") }
      }
    }
  }

  public struct Config: Configurable {
    var apiKey = ""
    var apibase = MackerelClient.defaultBase
    var hostid: String?
    var hostidPath: String?
    var service: String?
    var metricsName: String?
    var outKeys: [String]?
    var outKeyPattern: String?
    var removePrefix = false
    var useZeroForEmpty = true
    var flatten = false
    var postOffset = true
    var caPath: String?
    var proxy: String?
    var host: Host?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("api_key", \.apiKey, "Key of the API, with read and write", secret: true),
      .optional("apibase", \.apibase, "Base URL of Mackerel, or of a server that speaks as it does", alias: "origin"),
      .optional("hostid", \.hostid, "Id of the host that the metrics are of; ${tag_parts[n]} takes it from the tag"),
      .optional("hostid_path", \.hostidPath, "File with that id; with <host> it is written here"),
      .optional("service", \.service, "Service that the metrics are of, instead of a host"),
      .optional(
        "metrics_name", \.metricsName, "Name of a metric: ${out_key} is the field, ${[n]} a part of the tag; default ${out_key}"),
      .optional("out_keys", \.outKeys, "Fields of ordinary records that are sent"),
      .optional("out_key_pattern", \.outKeyPattern, "Expression for the names of such fields"),
      .optional("remove_prefix", \.removePrefix, "Names of a service's metrics from out_keys get no custom. before them"),
      .optional("use_zero_for_empty", \.useZeroForEmpty, "A field of out_keys that no record of a chunk has is sent as 0"),
      .optional("flatten", \.flatten, "Fields of maps count too, named with dots: a.b"),
      .optional(
        "post_offset", \.postOffset, "Send a host's metrics at a second of the minute that its id gives, as mackerel-agent does"),
      .optional("tls_ca_cert_path", \.caPath, "Authorities of the server's certificate (PEM)"),
      .optional("proxy", \.proxy, "Proxy as http://host:port"),
      .section("host", \.host, "Register this machine as a host and keep it up to date"),
    ]

    public mutating func validate(_ context: ConfigContext) throws {
      if let problem = MackerelClient.problem(inKey: apiKey) { throw ConfigValueError("'api_key' \(problem)") }
      if let problem = MackerelClient.problem(inBase: apibase) { throw ConfigValueError("'apibase' \(problem)") }
      if service != nil, hostid != nil || hostidPath != nil {
        throw ConfigValueError("the metrics are of a host or of a service: give 'hostid' ('hostid_path') or 'service', not both")
      }
      if hostid != nil, hostidPath != nil { throw ConfigValueError("'hostid' and 'hostid_path' are both given; keep one") }
      if hostid == nil, hostidPath == nil, service == nil, host == nil {
        throw ConfigValueError(
          "whose metrics are these? Give 'hostid', 'hostid_path' or 'service', or a <host> section that registers this machine")
      }
      if host != nil, hostid != nil {
        throw ConfigValueError("<host> registers this machine and keeps its id in 'hostid_path'; remove 'hostid'")
      }
      if host != nil, service != nil {
        throw ConfigValueError("<host> and 'service' do not go together; use a second <match> for the service's metrics")
      }
      if removePrefix, service == nil { throw ConfigValueError("'remove_prefix' must be used with 'service'") }
      if let service, !MackerelName.isService(service) {
        throw ConfigValueError("'service' must be of letters, digits, '_' and '-', 2 to 63 characters; got '\(service)'")
      }
      if outKeys == nil, outKeyPattern == nil, metricsName != nil || removePrefix || flatten {
        throw ConfigValueError(
          "'metrics_name', 'remove_prefix' and 'flatten' are for ordinary records: either 'out_keys' or 'out_key_pattern' must be given too"
        )
      }
      if outKeys != nil, outKeyPattern != nil {
        throw ConfigValueError("'out_keys' and 'out_key_pattern' are both given; keep one")
      }
      if let caPath, File.status(caPath)?.isRegular != true { throw ConfigValueError("'tls_ca_cert_path' is no file: \(caPath)") }
      if let proxy, HTTPEndpoint(proxy)?.scheme != "http" {
        throw ConfigValueError("'proxy' must be a URL such as http://proxy.example.com:3128")
      }
    }

    var clientOptions: HTTPClientOptions {
      var options = HTTPClientOptions()
      options.connectTimeout = .seconds(10)
      options.readTimeout = MackerelClient.timeout
      options.maxConnections = 4
      if let caPath {
        var tls = TLSClientConfiguration()
        tls.caPaths = [caPath]
        tls.trustsSystem = false
        options.tls = tls
      }
      if let url = proxy.flatMap({ HTTPEndpoint($0) }) {
        options.proxy = HTTPClientOptions.Proxy(host: url.host, port: url.port)
        options.proxy?.credentials = url.credentials
      }
      return options
    }
    /// Where the id of this machine is kept.
    var ownIDPath: String { hostidPath ?? "/var/lib/mackerel-agent/id" }
  }
}
