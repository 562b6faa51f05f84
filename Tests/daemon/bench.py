#!/usr/bin/env python3
"""agg bench measures a configuration: what it sent is what the outputs wrote, and nothing of the configuration's own state is touched.
Usage: bench.py AGG.  Python 3 standard library only."""
import collections, glob, json, os, shutil, subprocess, sys, tempfile

agg = os.path.abspath(sys.argv[1])
failures = 0


def check(what, holds, more=""):
    global failures
    print(("ok   " if holds else "FAIL ") + what + ("" if holds else ": %s" % (more,)))
    failures += not holds


def bench(*arguments):
    done = subprocess.run([agg, "bench", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def left_over():
    return set(glob.glob("/tmp/agg-bench-*-*"))


before = left_over()
d = tempfile.mkdtemp(prefix="bench-test-")
conf = d + "/agg.conf"
open(conf, "w").write("""
<system>
  root_dir %(d)s/state
</system>
<source>
  @type tail
  path %(d)s/never.log
  pos_file %(d)s/never.pos
  tag app.log
  <parse>
    @type json
  </parse>
</source>
<source>
  @type forward
  port 1
</source>
<filter app.**>
  @type grep
  <exclude>
    key level
    pattern /^debug$/
  </exclude>
</filter>
<match app.**>
  @type copy
  <store>
    @type file
    path %(d)s/out
    append true
    <format>
      @type json
    </format>
    <buffer []>
      @type file
      path %(d)s/buffer
      flush_interval 1s
    </buffer>
  </store>
  <store>
    @type null
  </store>
</match>
""" % {"d": d})

# Generated lines: as many come out as the ledger says, less what the filter takes.
code, out, error = bench(conf, "--seconds", "1", "--rate", "20000", "--json")
check("a run with generated lines ends well", code == 0, error)
if code == 0:
    said = json.loads(out)
    plugins = {(p["kind"], p["type"]): p["counters"] for p in said["plugins"]}
    lines = sum(sum(1 for _ in open(f)) for f in glob.glob(d + "/out*") if os.path.isfile(f))
    kept = plugins[("filter", "grep")]["out"]
    check("a rate is kept", 10_000 <= said["events"] <= 25_000, said["events"])
    check("the filter was run", 0 < kept < said["events"] == plugins[("filter", "grep")]["in"], plugins)
    check("all that was kept is in the file", lines == kept == plugins[("output", "file")]["delivered"], (lines, kept))
    check("every figure is there", all(said[k] > 0 for k in ("cpu_us_per_event", "events_per_second", "peak_mb", "bytes")), said)
check("the configuration's places are not touched", not any(os.path.exists(d + "/" + name) for name in ("buffer", "root", "never.pos")), os.listdir(d))

# Replayed lines, read by the source's <parse>; nothing is written.
for f in glob.glob(d + "/out*"): os.remove(f)
open(d + "/lines", "w").write("".join(json.dumps({"n": i, "level": "info" if i % 4 else "debug"}) + "\n" for i in range(1000)) + "no json\n")
code, out, error = bench(conf, "--seconds", "1", "--rate", "5000", "--input", d + "/lines", "--null-outputs", "--json")
check("a run with replayed lines ends well", code == 0, error)
if code == 0:
    said = json.loads(out)
    grep = next(p["counters"] for p in said["plugins"] if p["type"] == "grep")
    check("lines that are not JSON are counted", said["rejected"] > 0 and abs(said["rejected"] * 1000 - said["events"]) <= 1000, said)
    check("the source's parser read them", abs(grep["out"] * 4 - grep["in"] * 3) <= 4 * grep["in"] // 1000 + 16, grep)
    check("--null-outputs writes nothing", not glob.glob(d + "/out*"), os.listdir(d))
    stored = [p["counters"] for p in said["plugins"] if p["type"] == "null" and p["counters"].get("delivered")]
    check("outputs that drop are still offered everything", all(c["delivered"] == grep["out"] for c in stored) and len(stored) == 2, said["plugins"])

# For people.
code, out, error = bench(conf, "--seconds", "1", "--generate", "syslog", "--tag", "app.sys", "--null-outputs")
check("the table names events and plugins", code == 0 and "us of CPU an event" in out and "output" in out and "peak" in out, out + error)

# Mistakes are one line.
open(d + "/none.conf", "w").write("<source>\n  @type forward\n</source>\n<match **>\n  @type null\n</match>\n")
code, out, error = bench(d + "/none.conf", "--seconds", "1")
check("without a tag it says what to give", code == 1 and "--tag" in error and error.count("\n") == 1, error)
code, out, error = bench(d + "/none.conf", "--seconds", "1", "--tag", "x", "--input", d + "/missing")
check("a file that is not there is said", code == 1 and "missing" in error, error)
check("nothing is left in /tmp", left_over() == before, left_over() - before)

shutil.rmtree(d)
sys.exit(1 if failures else 0)
