import AggCore
import Testing

@Suite struct ConfigValueTests {
  private func read<V: ConfigReadable>(_ text: String, _: V.Type = V.self, strict: Bool = false) -> V? {
    try? V(configText: text, strict: strict)
  }
  private func message<V: ConfigReadable>(_ text: String, _: V.Type, strict: Bool = false) -> String? {
    do throws(ConfigValueError) {
      _ = try V(configText: text, strict: strict)
      return nil
    } catch { return error.message }
  }

  @Test func `integers read as Ruby's to_i, or strictly as Integer()`() {
    #expect(["12", "40bytes", "abc", "-3x", " 7 ", "1_000", "0x1f", "", "+5", "1__2"].map { read($0, Int.self) } == [12, 40, 0, -3, 7, 1000, 0, 0, 5, 1])
    #expect(["12", "1_000", "0x1f", "010", "0b11", "-4", "0"].map { read($0, Int.self, strict: true) } == [12, 1000, 31, 8, 3, -4, 0])
    #expect(message("12x", Int.self, strict: true) == "must be an integer; got '12x'")
    for text in ["", "1__2", "_1", "1_", "--1", "0x", "1.5", "99999999999999999999"] { #expect(read(text, Int.self, strict: true) == nil) }
    #expect(message("99999999999999999999", Int.self) == "must be an integer of at most 64 bits; got '99999999999999999999'")
    #expect(Int.configCaution("12x") == "'12x' is no integer and is read as 12")
    #expect(Int.configCaution("12") == nil)
  }

  @Test func `floats read as Ruby's to_f, or strictly as Float()`() {
    #expect(["1.5", "1.5x", "abc", ".5", "1.", "1e3", "-2.5e-1z", "1e", "inf"].map { read($0, Double.self) } == [1.5, 1.5, 0, 0.5, 1, 1000, -0.25, 1, 0])
    #expect(["1.5", "1e3", "-0.5", "10"].map { read($0, Double.self, strict: true) } == [1.5, 1000, -0.5, 10])
    for text in ["", "1.", "x", "1.5x", "inf", "nan", "1e"] { #expect(read(text, Double.self, strict: true) == nil, "\(text)") }
  }

  @Test func `booleans take yes, no and a name alone; the rest is false or, strictly, wrong`() {
    #expect(["true", "yes", "", "# comment", "false", "no", "True", "1"].map { read($0, Bool.self) } == [true, true, true, true, false, false, false, false])
    #expect(message("True", Bool.self, strict: true) == "must be true or false; got 'True'")
    #expect(Bool.configCaution("treu") == "'treu' is neither true nor false and is read as false")
  }

  @Test func `sizes count in 1024 and find their unit as Fluentd does`() {
    #expect(["8k", "8K", "2m", "1G", "1t", "512", "10MB", "1.5m", "-1", "x"].map { read($0, ByteSize.self)?.bytes }
      == [8192, 8192, 2 << 20, 1 << 30, 1 << 40, 512, 10 << 20, 5 << 20, -1, 0])
    #expect(message("9000000000g", ByteSize.self) == "is more than 8 exbibytes; got '9000000000g'")
    #expect(message("1.5m", ByteSize.self, strict: true) == "must be a size such as 512k, 8m, 1g or a number of bytes; got '1.5m'")
    #expect(ByteSize(bytes: 8 << 20).configText == "8m")
    #expect(ByteSize(bytes: 1000).configText == "1000")
    #expect(ByteSize.configCaution("1.5m") == "'1.5m' is read as 5242880 bytes; write a whole number and k, m, g or t")
  }

  @Test func `times find their unit as Fluentd does, and strictness refuses the surprises`() {
    #expect(["10s", "5m", "2h", "1d", "0.5", "3", "0.5s", "100ms", "-1"].map { read($0, TimeSpan.self)?.seconds } == [10, 300, 7200, 86400, 0.5, 3, 5, 6000, -1])
    #expect(message("0.5s", TimeSpan.self, strict: true) == "must be a time such as 10s, 5m, 2h, 1d or a number of seconds; got '0.5s'")
    #expect(message("99999999999d", TimeSpan.self) == "is more than 292 years; got '99999999999d'")
    #expect(read("1e300", TimeSpan.self)?.nanoseconds == .max)
    #expect(read("72h", TimeSpan.self)?.configText == "3d")
    #expect(TimeSpan.configCaution("100ms")?.hasPrefix("'100ms' is read as 100m;") == true)
  }

  enum Mode: String, ConfigEnum { case lazy, interval, immediate }

  @Test func `an enum names its words`() {
    #expect(read("lazy", Mode.self) == .lazy)
    #expect(message("eager", Mode.self) == "must be one of lazy, interval, immediate; got 'eager'")
  }

  @Test func `lists are JSON or commas`() {
    #expect(read(#"["a", 1, {"b": 2}, null]"#, StringList.self) == ["a", "1", #"{"b":2}"#, ""])
    #expect(read(" a , b,,c,, ", StringList.self) == ["a", "b", "", "c"])
    #expect(read("", StringList.self) == [])
    #expect(read("[1, 2]", [Int].self) == [1, 2])
    #expect(read(#"[1, "1", [true]]"#, [ConfigJSON].self) == [.int(1), .string("1"), .array([.bool(true)])])
    #expect(message("[1,", StringList.self) == "is not valid JSON: a value is missing")
  }

  @Test func `hashes are JSON or pairs, in order`() {
    #expect(read("k2:v:2, k1:v1,k3", StringMap.self)?.pairs.map { "\($0.key)=\($0.value)" } == ["k2=v:2", "k1=v1", "k3="])
    #expect(read(#"{"b": 1, "a": "x", "b": 2}"#, StringMap.self)?.configText == #"{"b":"2","a":"x"}"#)
    #expect(read(#"{"b": [1.0, null], "a": {}}"#, ConfigHash.self)?.configText == #"{"b":[1.0,null],"a":{}}"#)
    #expect(read("a:1", ConfigHash.self)?["a"] == .string("1"))
  }

  @Test func `permissions are octal and ports are ports`() {
    #expect(read("0644", FilePermission.self)?.mode == 0o644)
    #expect(message("0648", FilePermission.self) == "must be a permission in octal digits such as 0644; got '0648'")
    #expect(read("24224", Port.self)?.number == 24224)
    #expect(message("65536", Port.self) == "must be a port from 0 to 65535; got '65536'")
  }

  @Test func `JSON prints as Ruby prints it`() throws {
    let json = try ConfigJSON(parsing: #"{"u":"\u00e9\ud83d\ude00\/\u0001","n":[1e20,1.50,-0.0,1E-5,0.00012,123456789012345678901]} // end"#)
    #expect(json.json == #"{"u":"é😀/\u0001","n":[1.0e+20,1.5,-0.0,1.0e-05,0.00012,1.2345678901234568e+20]}"#)
    for text in ["", "[", "[1,]", "{\"a\"}", "01", "[1] 2", "\"a\nb\"", "nul", "[1 2]", String(repeating: "[", count: 200)] {
      #expect(throws: ConfigValueError.self) { try ConfigJSON(parsing: text) }
    }
  }

  struct Sample: Configurable {
    var size = 1
    var flag: Bool?
    static let parameters: [Parameter<Sample>] = [.optional("size", \.size, "a number"), .optional("flag", \.flag, "a switch")]
  }

  @Test func `a lenient reading that surprises is warned of at its line`() throws {
    let context = ConfigContext()
    let config = try Sample.load(try parse("size 12x\nflag\n"), context)
    #expect(config.size == 12)
    #expect(config.flag == true)
    #expect(context.warnings.all.map(\.description) == ["agg.conf:1: 'size' '12x' is no integer and is read as 12"])
    #expect(throws: ConfigErrors.self) { try Sample.load(try parse("size 12x\n"), ConfigContext(strict: true)) }
  }
}
