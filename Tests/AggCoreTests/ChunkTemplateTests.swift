import AggCore
import Testing

@Suite struct ChunkTemplateTests {
  @Test(arguments: [
    ("a.b", "/logs/a.b"), ("../x", "/logs/_/x"), ("../\u{301}a", "/logs/_/\u{301}a"), ("/\u{301}x", "/logs/_/\u{301}x"), ("", "/logs/_"),
    ("a\nb", "/logs/a_b"), (".", "/logs/_"),
  ])
  func `a tag cannot leave the directory`(tag: String, path: String) throws {
    var keys = ChunkKeys()
    keys.tag = true
    let template = try ChunkTemplate("/logs/${tag}", parameter: "path", keys: keys)
    let chunk = ChunkView(id: .random(), metadata: ChunkMetadata(tag: Tag(tag)), batches: [])
    #expect(Array(template.renderPath(chunk).utf8) == Array(path.utf8))
  }
}

extension ChunkTemplateTests {
  static func keys(tag: Bool = false, timekey: Int64? = nil, _ fields: [String] = []) -> ChunkKeys {
    var keys = ChunkKeys()
    keys.tag = tag
    keys.time = timekey != nil
    keys.timekey = timekey
    keys.timekeyUTC = true
    keys.fields = fields
    return keys
  }

  @Test(arguments: [
    ("/a/${tag}", keys(tag: true), nil), ("/a/${tag[0]}", keys(tag: true), nil), ("/a/%Y%m%d", keys(timekey: 86400), nil),
    ("/a/%Y%m%d%H", keys(timekey: 86400), nil), ("/a/%Y%m%d/${host}", keys(timekey: 86400, ["host"]), nil),
    ("/a/${$.k.l}", keys(["$.k.l"]), nil), ("/a/${chunk_id}", keys(), nil), ("/a/%Y", keys(), nil),
    ("/a/%d", keys(), "time is not a chunk key; write <buffer time>"),
    ("/a/x", keys(timekey: 3600), "no time placeholder for timekey 3600; add %Y%m%d%H"),
    ("/a/%Y%m%d", keys(timekey: 3600), "add %Y%m%d%H to"),
    ("/a/x", keys(tag: true), "has no tag placeholder; add ${tag}"),
    ("/a/${tag[1..2]}", keys(tag: true), "'${tag[1..2]}' is no placeholder"),
    ("/a/${tag[12}", keys(tag: true), "'${tag[12}' is no placeholder"),
    ("/a/${tag}", keys(), "tag is not a chunk key; write <buffer tag>"),
    ("/a/${host}", keys(tag: true), "has no tag placeholder"),
    ("/a/${tag}/${host}", keys(tag: true), "${host}, but the chunk keys are <buffer tag>; write <buffer tag,host>"),
    ("/a", keys(["host"]), "no placeholder for host; add ${host}"),
  ] as [(String, ChunkKeys, String?)])
  func `placeholders and chunk keys must agree`(source: String, keys: ChunkKeys, problem: String?) {
    let problems = ChunkTemplate.problems(in: source, parameter: "path", keys: keys, rules: .all)
    if let problem { #expect(problems.first?.contains(problem) ?? false, "\(problems)") } else { #expect(problems == []) }
  }

  @Test func `all placeholders are replaced`() throws {
    let template = try ChunkTemplate(
      "/x/%Y/${tag[-1]}.${tag[7]}/${host}-${none}-${chunk_id}.%H${a b}", parameter: "path", keys: Self.keys(tag: true, timekey: 3600, ["host", "none"]))
    let id = ChunkID(high: 1, low: 2)
    let metadata = ChunkMetadata(
      tag: Tag("a.b"), timekey: 1_700_000_000 / 3600 * 3600, variables: [.init(name: "host", value: "h/../i"), .init(name: "none", value: nil)])
    let chunk = ChunkView(id: id, metadata: metadata, batches: [])
    #expect(template.renderPath(chunk) == "/x/2023/b./h/_/i--\(id).22${a b}")
    #expect(template.leftovers == ["${a b}"])
  }

  @Test func `a percent sign without the time key stays`() throws {
    let template = try ChunkTemplate("a%Y", parameter: "path", keys: Self.keys())
    #expect(template.render(ChunkView(id: .random(), metadata: ChunkMetadata(), batches: [])) == "a%Y")
  }
}
