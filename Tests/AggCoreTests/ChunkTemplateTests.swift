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
