#!/usr/bin/env python3
"""A log is renamed, while it is written, to names that the tail's pattern takes too: every line comes once.
Usage: rename.py AGG.  Python 3 standard library only."""
import os, re, signal, subprocess, sys, tempfile, time

agg = os.path.abspath(sys.argv[1])
failures = 0
for follow in ("false", "true"):
    d = tempfile.mkdtemp(prefix="agg-rename-")
    open(d + "/agg.conf", "w").write("""
<source>
  @type tail
  path %(d)s/a.log*
  pos_file %(d)s/pos
  tag t
  read_from_head true
  refresh_interval 1s
  rotate_wait 1s
  follow_inodes %(follow)s
  <parse>
    @type none
  </parse>
</source>
<match t>
  @type file
  path %(d)s/out
  append true
  <buffer []>
    @type file
    path %(d)s/buffer
    flush_mode immediate
  </buffer>
</match>
""" % {"d": d, "follow": follow})
    daemon = subprocess.Popen([agg, "-c", d + "/agg.conf"], stderr=open(d + "/log", "w"))
    n = 0
    for turn in range(4):
        with open(d + "/a.log", "a") as f:
            for _ in range(100):
                f.write("".join("line %d end\n" % i for i in range(n, n + 200)))
                f.flush()
                n += 200
                time.sleep(0.005)
        for i in range(turn, 0, -1):
            os.rename("%s/a.log.%d" % (d, i), "%s/a.log.%d" % (d, i + 1))
        os.rename(d + "/a.log", d + "/a.log.1")
    def seen():
        try:
            return re.findall(r"line (\d+) end", open(d + "/out.log").read())
        except OSError:
            return []
    end = time.monotonic() + 30
    while len(seen()) < n and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(4)  # past rotate_wait and some refreshes: what would come again has come by now
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(60)
    found = seen()
    lost, doubled = n - len(set(found)), len(found) - len(set(found))
    good = lost == 0 and doubled == 0
    failures += not good
    print("%s follow_inodes %s: %d lines, lost %d, duplicated %d" % ("ok  " if good else "FAIL", follow, n, lost, doubled), flush=True)
print("%d passed, %d failed" % (2 - failures, failures))
sys.exit(1 if failures else 0)
