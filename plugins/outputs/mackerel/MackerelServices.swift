import AggCore
import AggNet
import Synchronization

/// The client of an output, made at its first use.
final class MackerelServices: Sendable {
  private let config: MackerelOutput.Config
  private let agent: String
  private let made = Mutex<(client: MackerelClient, api: HTTPClient, cloud: HTTPClient)?>(nil)
  private let isOld = Mutex(false)

  init(_ config: MackerelOutput.Config, agent: String) {
    self.config = config
    self.agent = agent
  }

  /// The API's client, and one for the cloud's metadata, which no proxy stands before.
  func on(_ network: Network?) -> (client: MackerelClient, cloud: HTTPClient)? {
    guard let network else { return nil }
    return made.withLock { made in
      if let made { return (made.client, made.cloud) }
      let api = HTTPClient(config.clientOptions, on: network)
      var options = HTTPClientOptions()
      options.connectTimeout = .seconds(3)
      let cloud = HTTPClient(options, on: network)
      let client = MackerelClient(base: config.apibase, key: config.apiKey, agent: agent, http: api)
      made = (client, api, cloud)
      return (client, cloud)
    }
  }
  func close() async {
    let clients = made.withLock { $0.take() }
    await clients?.api.close()
    await clients?.cloud.close()
  }

  /// True when points begin to be old: that is told once, until new ones come again.
  func isNewlyOld(_ old: Bool) -> Bool {
    isOld.withLock { was in
      defer { was = old }
      return old && !was
    }
  }
}
