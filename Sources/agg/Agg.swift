import AggCore
import ArgumentParser
import Glibc

/// The command line: `agg -c FILE` runs the daemon; the rest are subcommands.
@main
struct Agg: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "agg",
    abstract: "Collects logs and metrics, routes them by tag, buffers them and delivers them.",
    discussion: "Runs the configuration files that Fluentd users have.",
    version: Version.text,
    subcommands: [
      Run.self, Check.self, BenchCommand.self, Plugins.self, DLQ.self, BufferCommand.self, Upgrade.self, MackerelThrow.self, MackerelWrap.self, MackerelHosts.self,
      MackerelStatus.self, MackerelUpdate.self,
      MackerelRetire.self,
    ],
    defaultSubcommand: Run.self)

  static func main() async {
    // What service managers start; to make the description of all commands and options takes a tenth of the start.
    let arguments = CommandLine.arguments
    if arguments.count == 3, ["-c", "--config"].contains(arguments[1]), !arguments[2].hasPrefix("-") {
      do { return try await RunOptions(config: arguments[2]).run() } catch { exit(withError: error) }
    }
    await main(nil)
  }
}

enum Version {
  static let number = "0.1.0"
  static var text: String { "agg \(number)" }
}

/// Prints to stderr and ends with the status that says the command line or the configuration is wrong.
func exitWithError(_ message: String, status: Int32 = 1) -> Never {
  printError(message)
  exit(status)
}

func printError(_ message: String) {
  // It may quote what a file or a server said.
  var text = message.shown + "\n"
  text.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
}
