import AggCore
import Foundation
import Testing

@Suite struct ConfigFilesTests {
  @Test func `real folders are searched with stars, braces and folders below`() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "agg-config-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (path, tag) in [("agg.conf", ""), ("d/20.conf", "b"), ("d/10.conf", "a"), ("d/x.txt", "no"), ("e/f/g/deep.conf", "deep"), ("e/top.conf", "top")] {
      let file = folder + "/" + path
      try FileManager.default.createDirectory(atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      let text = path == "agg.conf" ? "@include d/*.conf\n@include e/**/*.conf\n@include d/{10,20}.conf\n" : "<match \(tag)>\n</match>\n"
      try text.write(toFile: file, atomically: true, encoding: .utf8)
    }
    let root = try ConfigParser(environment: .current()).load(path: folder + "/agg.conf")
    #expect(root.children.map(\.argument) == ["a", "b", "deep", "top", "a", "b"])
    #expect(throws: ConfigValueError.self) { try ConfigFiles.read(folder) }
    #expect(throws: ConfigValueError.self) { try ConfigFiles.read("/dev/zero") }
  }

  @Test func `the process's own variables and host are seen`() {
    let environment = ConfigEnvironment.current(workerID: 1)
    #expect(environment.variables["PATH"] == ProcessInfo.processInfo.environment["PATH"])
    #expect(!environment.hostname.isEmpty)
  }
}
