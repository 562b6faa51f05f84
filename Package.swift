// swift-tools-version:6.2
import Foundation
import PackageDescription

// The dependency arrows below are the architecture: see ARCHITECTURE.md, "The house".

/// AGG_CORE_ONLY=1 reduces the package to AggCore and AggEngine (sanitizers, fuzzers): no network library is built.
let coreOnly = ProcessInfo.processInfo.environment["AGG_CORE_ONLY"] == "1"

/// AGG_BENCH=1 adds bench/micro to it (`make micro`).
let withBench = ProcessInfo.processInfo.environment["AGG_BENCH"] == "1"

let settings: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

/// AGG_FUZZ_COVER=1 adds the fuzz targets as a program for libFuzzer (make fuzz-cover).
let cover: [Target] =
  ProcessInfo.processInfo.environment["AGG_FUZZ_COVER"] != "1"
  ? []
  : [
    .executableTarget(
      name: "agg-fuzz", dependencies: ["AggFuzzTargets", "AggTesting"], path: "Tests/AggFuzzCover", swiftSettings: settings + [.unsafeFlags(["-parse-as-library"])])
  ]

/// Targets that exist where the network is built.
let netSettings = settings + [.define("AGG_NET")]

/// A plugin's page lives beside its source; SwiftPM has no glob for `exclude`, so list the pages.
let pluginPages = (FileManager.default.subpaths(atPath: Context.packageDirectory + "/plugins") ?? []).filter { $0.hasSuffix(".md") }

/// Plugins that need nothing but AggCore: built and tested in the core-only package too.
let corePlugins = (["parsers", "formatters", "filters"]
  + [
    "inputs/agg_metrics",
    "inputs/host_metrics",
    "inputs/ping_message",
    "inputs/prometheus_monitor",
    "inputs/prometheus_output_monitor",
    "inputs/prometheus_tail_monitor",
    "inputs/sample",
    "inputs/tail",
    "outputs/copy",
    "outputs/datacounter",
    "outputs/detect_exceptions",
    "outputs/file",
    "outputs/flowcounter",
    "outputs/flowcounter_simple",
    "outputs/grepcounter",
    "outputs/null",
    "outputs/numeric_counter",
    "outputs/numeric_monitor",
    "outputs/ping_message_checker",
    "outputs/prometheus",
    "outputs/relabel",
    "outputs/rewrite_tag_filter",
    "outputs/roundrobin",
    "outputs/sampling_filter",
    "outputs/secondary_file",
    "outputs/stdout",
  ]
  + ((try? FileManager.default.contentsOfDirectory(atPath: Context.packageDirectory + "/plugins/shared")) ?? []).filter { $0 != "net" && $0 != "forward" && $0 != "mackerel" }.map { "shared/" + $0 })
  .filter { FileManager.default.fileExists(atPath: Context.packageDirectory + "/plugins/" + $0) }

let systemLibraries: [Target] = [
  .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
  .systemLibrary(name: "CIsal", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
  .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
  .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
  .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
]

let core: [Target] =
  systemLibraries + [
    .target(name: "CAgg"),
    .target(name: "AggCore", dependencies: ["CAgg", "CZlib", "CIsal", "CZstd", "CPCRE2", "CYAML"], swiftSettings: settings),
    .target(name: "AggExpression", dependencies: ["AggCore", "CAgg"], swiftSettings: settings),
    .target(name: "AggEngine", dependencies: ["AggCore", "CAgg"], swiftSettings: settings),
    .target(name: "AggTesting", dependencies: ["AggCore", "AggExpression"], swiftSettings: settings),
    .testTarget(name: "AggCoreTests", dependencies: ["AggCore", "AggExpression", "AggTesting"], swiftSettings: settings),
    .testTarget(name: "AggExpressionTests", dependencies: ["AggExpression", "AggTesting"], exclude: ["Ruby"], swiftSettings: settings),
    .testTarget(name: "AggEngineTests", dependencies: ["AggEngine", "AggTesting"], swiftSettings: settings),
  ]

let bench: [Target] = [
  .target(name: "CAllocations", path: "bench/allocations"),
  .executableTarget(
    name: "agg-micro", dependencies: ["AggCore", "AggEngine", "AggPlugins", "AggTesting", "CAgg", "CAllocations"], path: "bench/micro", swiftSettings: settings),
]

let daemon: [Target] = [
  .target(
    name: "AggNet",
    dependencies: [
      "AggCore",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "NIOHTTP1", package: "swift-nio"),
      .product(name: "NIOSSL", package: "swift-nio-ssl"),
      .product(name: "AsyncHTTPClient", package: "async-http-client"),
    ], swiftSettings: settings),
  .target(
    name: "AggPlugins",
    dependencies: [
      "AggCore", "AggExpression", "AggNet", "CAgg",
      .product(name: "Subprocess", package: "swift-subprocess"),
      .product(name: "Crypto", package: "swift-crypto"),
    ],
    path: "plugins", exclude: pluginPages, swiftSettings: settings),
  .executableTarget(
    name: "agg",
    dependencies: [
      "AggCore", "AggEngine", "AggExpression", "AggNet", "AggPlugins", "CAgg",
      .product(name: "ArgumentParser", package: "swift-argument-parser"),
      .product(name: "UnixSignals", package: "swift-service-lifecycle"),
    ], swiftSettings: settings),
  .testTarget(name: "AggTests", dependencies: ["AggPlugins", "AggEngine", "AggExpression", "AggNet", "AggTesting"], swiftSettings: settings),
  .target(
    name: "AggFuzzTargets", dependencies: ["AggPlugins", "AggEngine", "AggExpression", "AggNet", "AggTesting", "CAgg", "CZlib"], path: "Tests/AggFuzzTargets",
    swiftSettings: netSettings),
  .testTarget(name: "AggFuzzTests", dependencies: ["AggFuzzTargets", "AggPlugins", "AggExpression", "AggNet", "AggTesting"], swiftSettings: netSettings),
  .testTarget(name: "AggNetTests", dependencies: ["AggNet", "AggTesting"], swiftSettings: settings),
  .testTarget(name: "AggPluginsTests", dependencies: ["AggPlugins", "AggTesting"], swiftSettings: settings),
]

let package = Package(
  name: "agg",
  dependencies: coreOnly
    ? []
    : [
      .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
      .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
      .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
      .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
      .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
      .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0", traits: []),
      .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    ],
  targets: coreOnly
    ? core + [
      .target(name: "AggPlugins", dependencies: ["AggCore", "AggExpression", "CAgg"], path: "plugins", exclude: pluginPages.filter { page in corePlugins.contains { page.hasPrefix($0 + "/") } }, sources: corePlugins, swiftSettings: settings),
      .testTarget(name: "AggPluginsTests", dependencies: ["AggPlugins", "AggTesting"], swiftSettings: settings),
      .target(
        name: "AggFuzzTargets", dependencies: ["AggPlugins", "AggEngine", "AggExpression", "AggTesting", "CAgg", "CZlib"], path: "Tests/AggFuzzTargets", exclude: ["Net"],
        swiftSettings: settings),
      .testTarget(name: "AggFuzzTests", dependencies: ["AggFuzzTargets", "AggTesting"], swiftSettings: settings),
    ] + cover + (withBench ? bench : []) : core + daemon + cover,
  swiftLanguageModes: [.v6]
)
