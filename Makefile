# Two commands do everything: `make run` and `make test`. The rest is for developers.
SHELL := /bin/bash
PACKAGES := zlib1g-dev libisal-dev libzstd-dev libpcre2-dev libyaml-dev python3
RUN_PACKAGES := bsdutils curl netcat-openbsd
TEST_PACKAGES := bsdutils curl faketime openssl prometheus prometheus-node-exporter python3-pip rsyslog victoria-metrics wrk
PYTHON_PACKAGES := .build/python
SWIFT := swift
# SwiftPM caches the manifest by its content, and ours lists the plugins' pages by what is on disk.
FLAGS := --manifest-cache none
AGG := .build/release/agg

.PHONY: crash-test dist floors growth latency rows soak micro micro-build run build test packages test-packages conformance fuzz fuzz-cover sanitize sanitize-all bench report bench-packages idle clean

## Build in release and run conf/agg.conf, with a demo application that keeps logging.
run: build
	@$(MAKE) --no-print-directory packages PACKAGES="$(RUN_PACKAGES)"
	@mkdir -p var/log
	@( while true; do printf '{"time":"%s","level":"info","message":"demo request served","pid":%d}\n' "$$(date -u +%Y-%m-%dT%H:%M:%SZ)" $$$$ >> var/log/demo.log; sleep 5; done ) & \
	  demo=$$!; trap 'kill $$demo 2>/dev/null' EXIT; $(AGG) -c conf/agg.conf

build: packages
	$(SWIFT) build $(FLAGS) -c release --product agg

## The whole test suite: unit tests, a restart test, then the recorded cases against the release daemon.
test: packages test-packages
	$(SWIFT) build $(FLAGS) -c release --build-tests
	$(SWIFT) test $(FLAGS) -c release --skip-build --skip 'AggTests|AggNetTests|AggFuzzTests'
# What keeps time limits on sockets is not run beside what uses both cores.
	for suite in AggTests AggNetTests AggFuzzTests; do $(SWIFT) test $(FLAGS) -c release --skip-build --filter $$suite || exit 1; done
	python3 Tests/daemon/restart.py $(AGG)
	python3 Tests/daemon/workers.py $(AGG)
	python3 Tests/daemon/store.py $(AGG)
	python3 Tests/daemon/reload.py $(AGG)
	python3 Tests/daemon/upgrade.py $(AGG)
	python3 Tests/daemon/statsd.py $(AGG)
	python3 Tests/daemon/systemd.py $(AGG)
	python3 Tests/daemon/secrets.py $(AGG)
	python3 Tests/daemon/rename.py $(AGG)
	python3 Tests/daemon/bench.py $(AGG)
	python3 Tests/daemon/dlq.py $(AGG)
	python3 Tests/crash/check_power.py
	python3 Tests/crash/crash.py $(AGG) --seconds 45
	python3 Tests/crash/crash.py $(AGG) --prove --seconds 20
	for script in $$(grep -l '^#!' Tests/faults/*.py); do python3 $$script $(AGG) || exit 1; done
	python3 Tests/daemon/control.py $(AGG)
	python3 Tests/daemon/hold_kill.py $(AGG)
	PYTHONPATH=$(PYTHON_PACKAGES) python3 Tests/daemon/forward_interop.py $(AGG)
	python3 Tests/daemon/interop.py $(AGG)
	python3 Tests/daemon/fluentd_interop.py $(AGG)
	python3 Tests/daemon/takeover.py $(AGG)
	python3 Tests/daemon/mackerel.py $(AGG)
	python3 Tests/daemon/metrics.py $(AGG)
	$(MAKE) conformance

## The cases recorded from Fluentd.
conformance:
	python3 Tests/conformance/run.py --bin $(CURDIR)/$(AGG) --jobs 3

## Kills a busy agg for five minutes and counts what came out (make test runs a short form).
CRASH_SECONDS := 300
crash-test: build
	python3 Tests/crash/crash.py $(AGG) --seconds $(CRASH_SECONDS)
	python3 Tests/crash/crash.py $(AGG) --prove --seconds 40

## Each fuzz target for SECONDS (make test runs a short form). TARGET=json for one, INPUT=FILE for one input, SEED=N as an earlier run began.
SECONDS := 60
FUZZ = AGG_FUZZ_TARGET=$(TARGET) AGG_FUZZ_INPUT=$(abspath $(INPUT)) AGG_FUZZ_SEED=$(SEED)
fuzz: packages
	$(SWIFT) build $(FLAGS) -c release --build-tests
	AGG_FUZZ_SECONDS=$(SECONDS) $(FUZZ) $(SWIFT) test $(FLAGS) -c release --skip-build --filter AggFuzzTests

## As above with libFuzzer and ASan, which know what an input reaches; what is new goes into Tests/fixtures/fuzz. TARGET= for one of them.
fuzz-cover: packages
	python3 Tests/fuzz_cover.py --seconds $(SECONDS) $(TARGET)

## AggCore, AggEngine and the plugins that need no network, under ASan and TSan (CI runs this); their fuzz targets too.
SANITIZERS := address thread
sanitize: packages
	@for s in $(SANITIZERS); do Tests/sanitize $$s core || exit 1; done

## Everything under ASan and TSan: all tests, some that drive the daemon, and kills. Takes an hour.
sanitize-all: packages test-packages
	@for s in $(SANITIZERS); do Tests/sanitize $$s all || exit 1; done

## .build/dist/agg: stripped, with the Swift library in it, and the archive to install from; started once on conf/agg.conf.
DIST := .build/dist
dist: packages
	$(SWIFT) build $(FLAGS) --scratch-path .build/static -c release --product agg --static-swift-stdlib -Xlinker -s
	rm -rf $(DIST) && mkdir -p $(DIST)
	cp .build/static/release/agg $(DIST)/agg
	bench/dist.sh $(DIST)

## What each step costs alone, with allocations an event (bench/README.md); MICRO=--check compares with the thresholds.
micro: micro-build
	.build/micro/release/agg-micro $(MICRO)

micro-build: packages
	AGG_CORE_ONLY=1 AGG_BENCH=1 $(SWIFT) build $(FLAGS) --scratch-path .build/micro -c release --product agg-micro

## Memory at rest and time to listening, of agg and the peers that are installed.
idle: build
	python3 bench/idle.py $(AGG) --json

## agg beside the peers that are installed; see bench/README.md. BENCH=--json keeps the figures for bench/report.py.
bench: build bench-packages
	AGG=$(CURDIR)/$(AGG) RSYSLOG=$${RSYSLOG:-$$(command -v rsyslogd)} FLUENTBIT=$${FLUENTBIT:-$$(command -v fluent-bit)} \
	  FLUENTD=$${FLUENTD:-$$(command -v fluentd)} python3 bench/peerbench.py $(BENCH)

## What each row of the benchmark costs at least; the same bytes through one thread.
floors: micro-build bench-packages
	python3 bench/floors.py --json $(FLOORS)

## How the cost grows with batches, events, bytes, tags, files, rules, chunks; the time from line to line; rows of our own beside their floors.
growth: build bench-packages
	python3 bench/growth.py $(AGG) --json $(GROWTH)

latency: build bench-packages
	python3 bench/latency.py $(AGG) --json $(LATENCY)

rows: build micro-build bench-packages
	python3 bench/rows.py $(AGG) --json $(ROWS)

## An hour at full load: resident memory must not grow. SOAK="--minutes 5" for less.
soak: build bench-packages
	python3 bench/soak.py $(AGG) --json $(SOAK)

## The tables of docs/PERFORMANCE.md and the charts, of what the benchmarks wrote to bench/results.
report: bench-packages
	python3 bench/report.py

bench-packages:
	@python3 -c 'import sys; sys.path.insert(0, "$(PYTHON_PACKAGES)"); import matplotlib, msgpack' 2>/dev/null \
	  || python3 -m pip install --quiet --disable-pip-version-check --upgrade --target $(PYTHON_PACKAGES) matplotlib msgpack

## What `make test` needs beside: programs and clients that other people send with.
test-packages:
	@$(MAKE) --no-print-directory packages PACKAGES="$(PACKAGES) $(TEST_PACKAGES)"
	@python3 -c 'import sys; sys.path.insert(0, "$(PYTHON_PACKAGES)"); import cramjam, fluent.sender, google.protobuf, msgpack, statsd' 2>/dev/null \
	  || python3 -m pip install --quiet --disable-pip-version-check --upgrade --target $(PYTHON_PACKAGES) cramjam fluent-logger msgpack protobuf statsd

packages:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; \
	  else echo "Missing packages. Run: sudo apt-get install -y" $$missing; exit 1; fi; fi

clean:
	rm -rf .build .build-* var
