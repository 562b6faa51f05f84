import AggFuzzTargets
import AggTesting
import Glibc

// The fuzz targets under libFuzzer, which is told by the instrumented code what an input reached: `make fuzz-cover TARGET=json`.
// Built only with AGG_FUZZ_COVER=1 and -sanitize=fuzzer,address.

private let target: FuzzTarget? = {
  let name = getenv("AGG_FUZZ_TARGET").map { String(cString: $0) } ?? ""
  return FuzzTargets.all.first { $0.name == name }
}()

@_silgen_name("LLVMFuzzerRunDriver")
private func run(
  _ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
  _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// SwiftPM lets a program begin here. Writes the seeds of the target where AGG_FUZZ_SEEDS says: libFuzzer begins with them.
@_cdecl("agg_fuzz_main")
public func start(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> CInt {
  guard let target else {
    print("no such target; set AGG_FUZZ_TARGET to one of \(FuzzTargets.all.map(\.name).joined(separator: ", "))")
    return 2
  }
  if let directory = getenv("AGG_FUZZ_SEEDS").map({ String(cString: $0) }) {
    for (index, seed) in target.seeds().enumerated() {
      let file = open("\(directory)/seed-\(index)", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o644)
      if file >= 0 {
        _ = write(file, seed, seed.count)
        close(file)
      }
    }
  }
  var (count, arguments) = (count, arguments)
  return run(&count, &arguments, testOneInput)
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  do { try target?.run(Array(UnsafeBufferPointer(start: start, count: count))) } catch {
    print("\(error)")
    abort()
  }
  return 0
}
