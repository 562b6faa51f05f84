import CPCRE2
import Synchronization

/// One expression compiled twice (characters, bytes), and the pool of match states for it.
final class RegexpProgram: Sendable {
  /// Steps before a match is given up: some tens of milliseconds of backtracking.
  static let matchLimit: UInt32 = 1_000_000
  static let depthLimit: UInt32 = 100_000
  static let heapLimitKiB: UInt32 = 16 * 1024
  /// The machine stack of compiled matches grows to this; a match that needs more is given up.
  static let jitStackLimit = 1024 * 1024

  /// A compiled expression; written once, then only read.
  struct Code: @unchecked Sendable {
    let pointer: OpaquePointer
    let isJIT: Bool
  }

  let utf: Code
  let bytes: Code?
  /// For text below 0x80: the byte form, which is faster, where both mean the same.
  let ascii: Code
  let names: [String]
  /// For each name its groups, in order.
  let groups: [[Int]]
  let captureCount: Int
  let limitHits = Atomic<Int>(0)
  private let idle = Mutex<[MatchState]>([])

  init(_ source: String, _ options: Regexp.Options) throws(ConfigValueError) {
    var translator = try RubyRegexpTranslator(source, utf: true)
    let text = try translator.translate(extended: options.contains(.extended))
    let code = try Self.compile(text, options, utf: true, named: !translator.names.isEmpty, translator)
    utf = code
    names = translator.names
    var count: UInt32 = 0
    _ = pcre2_pattern_info_8(code.pointer, UInt32(PCRE2_INFO_CAPTURECOUNT), &count)
    captureCount = Int(count)
    groups = Self.groups(code.pointer, translator)

    // An expression with members beyond ASCII in a class has no meaning in bytes.
    var plain: Code?
    if var translator = try? RubyRegexpTranslator(source, utf: false),
      let text = try? translator.translate(extended: options.contains(.extended)), !translator.needsUTF
    {
      plain = try? Self.compile(text, options, utf: false, named: !translator.names.isEmpty, translator)
    }
    bytes = plain
    ascii = translator.hasWideLiterals ? code : plain ?? code
  }

  deinit {
    idle.withLock { states in
      for state in states { state.free() }
      states = []
    }
    pcre2_code_free_8(utf.pointer)
    if let bytes { pcre2_code_free_8(bytes.pointer) }
  }

  private static func compile(
    _ text: String, _ options: Regexp.Options, utf: Bool, named: Bool, _ translator: RubyRegexpTranslator
  ) throws(ConfigValueError) -> Code {
    var flags = UInt32(PCRE2_MULTILINE) | UInt32(PCRE2_DUPNAMES) | UInt32(PCRE2_NEVER_BACKSLASH_C)
    if utf { flags |= UInt32(PCRE2_UTF) }
    if named { flags |= UInt32(PCRE2_NO_AUTO_CAPTURE) }
    if options.contains(.ignoreCase) { flags |= UInt32(PCRE2_CASELESS) }
    if options.contains(.multiline) { flags |= UInt32(PCRE2_DOTALL) }
    guard let context = pcre2_compile_context_create_8(nil) else { throw translator.error("out of memory") }
    defer { pcre2_compile_context_free_8(context) }
    _ = pcre2_set_newline_8(context, UInt32(PCRE2_NEWLINE_LF))
    _ = pcre2_set_bsr_8(context, UInt32(PCRE2_BSR_UNICODE))
    _ = pcre2_set_parens_nest_limit_8(context, 1000)
    var code: Int32 = 0
    var offset = 0
    let pointer = Array(text.utf8).withUnsafeBufferPointer {
      pcre2_compile_8($0.baseAddress, $0.count, flags, &code, &offset, context)
    }
    guard let pointer else {
      var message = [UInt8](repeating: 0, count: 256)
      let length = pcre2_get_error_message_8(code, &message, message.count)
      throw translator.error(String(decoding: message.prefix(max(0, Int(length))), as: UTF8.self))
    }
    let isJIT = pcre2_jit_compile_8(pointer, UInt32(PCRE2_JIT_COMPLETE)) == 0
    return Code(pointer: pointer, isJIT: isJIT)
  }

  /// Which groups bear which name, from PCRE2's table of (number, name) entries.
  private static func groups(_ code: OpaquePointer, _ translator: RubyRegexpTranslator) -> [[Int]] {
    var count: UInt32 = 0
    var size: UInt32 = 0
    var table: UnsafePointer<UInt8>?
    _ = pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMECOUNT), &count)
    _ = pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMEENTRYSIZE), &size)
    _ = pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMETABLE), &table)
    var found: [String: [Int]] = [:]
    if let table {
      for k in 0..<Int(count) {
        let entry = table + k * Int(size)
        found[String(cString: entry + 2), default: []].append(Int(entry[0]) << 8 | Int(entry[1]))
      }
    }
    return translator.names.indices.map { (found[translator.pcreName(at: $0)] ?? []).sorted() }
  }

  func take() -> MatchState { idle.withLock { $0.popLast() } ?? MatchState(captures: captureCount) }

  func giveBack(_ state: MatchState) {
    let isKept = idle.withLock { states in
      guard states.count < 16 else { return false }
      states.append(state)
      return true
    }
    if !isKept { state.free() }
  }
}

/// What one match writes to; owned by one matcher, or by the pool.
struct MatchState: @unchecked Sendable {
  let data: OpaquePointer
  let context: OpaquePointer
  let stack: OpaquePointer?
  let offsets: UnsafeMutablePointer<Int>

  init(captures: Int) {
    data = pcre2_match_data_create_8(UInt32(clamping: captures + 1), nil)!  // out of memory ends the process, as everywhere
    context = pcre2_match_context_create_8(nil)!
    stack = pcre2_jit_stack_create_8(32 * 1024, RegexpProgram.jitStackLimit, nil)
    offsets = pcre2_get_ovector_pointer_8(data)
    if let stack { pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack)) }
    _ = pcre2_set_match_limit_8(context, RegexpProgram.matchLimit)
    _ = pcre2_set_depth_limit_8(context, RegexpProgram.depthLimit)
    _ = pcre2_set_heap_limit_8(context, RegexpProgram.heapLimitKiB)
  }

  func free() {
    if let stack { pcre2_jit_stack_free_8(stack) }
    pcre2_match_context_free_8(context)
    pcre2_match_data_free_8(data)
  }
}
