/// The open HTTP clients, closed with the network.
final class HTTPClientRegistry: Sendable { func shutdown() async {} }
