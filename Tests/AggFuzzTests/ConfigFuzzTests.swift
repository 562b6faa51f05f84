import AggCore
import AggExpression
import AggTesting
import Testing

@Suite(.serialized) struct ConfigFuzzTests {
  static let classic = #"""
    <system>
      log_level info
      workers 2
    </system>
    <source>
      @type tail
      path "/var/log/#{hostname}/*.log"   # comment
      tag app.${x}
      list ["a", {"b": 1}]
      map {"a":"b",
        "c":[1,2]}
      <parse>
        @type regexp
        expression /^(?<a>[^ ]*) (?<b>.*)$/
      </parse>
    </source>
    <match app.{a,b}.** x>
      @type copy
      <store>
        @type file
        path '/tmp/o''ut'
        <buffer tag, time, $.a.b>
          timekey 1d
          chunk_limit_size 8MB
        </buffer>
      </store>
    </match>
    <label @X>
      <filter **>
        @type grep
      </filter>
    </label>
    """#
  static let yaml = """
    system:
      log_level: info
    config:
      - source:
          $type: tail
          path: !join ["/var", "log"]
          tag: [a, b]
          parse: {$type: json, keep_time_key: true}
      - match:
          $tag: app.**
          $type: "file"
          path: !fluent/s "#{ENV['X']}/y"
          buffer: {$arg: [tag, time], timekey: 1d}
    """

  @Test func classic() {
    let words = ["<", "</", ">", "\n", "\"", "'", "#{", "}", "[", "{", "\\", "@include ", "@type ", "#", "\r\n", "\t"]
    Fuzzer("config", corpus: [Array(Self.classic.utf8)], words: words, short: 2000).run { read($0, "fuzz.conf") }
  }
  @Test func yaml() {
    let words = ["- ", ": ", "\n", "&a ", "*a", "!join ", "{", "}", "[", "]", "|", ">", "\"", "<<: ", "$"]
    Fuzzer("config-yaml", corpus: [Array(Self.yaml.utf8)], words: words, short: 1000).run { read($0, "fuzz.yaml") }
  }

  private func read(_ bytes: [UInt8], _ name: String) {
    let parser = ConfigParser(environment: .current().evaluatingExpressions)
    do { _ = try parser.parse(String(decoding: bytes, as: UTF8.self), file: name) } catch { #expect(!"\(error)".isEmpty) }
  }
}
