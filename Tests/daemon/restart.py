#!/usr/bin/env python3
"""A writer appends JSON lines throughout; the daemon that tails them is stopped with TERM ten times, twice of them with KILL
in between, each time with at least 10 % unread. At the end every line is in the output, once, in order.

Usage: restart.py AGG [KILLS].  Exit status 1 when a line is lost or comes twice. Python 3 standard library only."""
import json, os, random, signal, subprocess, sys, tempfile, threading, time

agg = os.path.abspath(sys.argv[1])
kills = int(sys.argv[2]) if len(sys.argv) > 2 else 2
d = tempfile.mkdtemp(prefix="agg-restart-")
conf = """
<source>
  @type tail
  @id in
  path %(d)s/in.log
  pos_file %(d)s/pos
  tag t
  read_from_head true
  refresh_interval 1s
  read_bytes_limit_per_second 65536
  <parse>
    @type json
  </parse>
</source>
<match t>
  @type file
  path %(d)s/out
  append true
  <format>
    @type json
  </format>
  <buffer []>
    @type file
    path %(d)s/buffer
    flush_mode immediate
    compress gzip
  </buffer>
</match>
""" % {"d": d}
open(d + "/agg.conf", "w").write(conf)
written, stop = 0, False
PAD = "x" * 200

def write():
    global written
    with open(d + "/in.log", "w") as f:
        while not stop:
            for _ in range(400):
                f.write('{"n":%d,"pad":"%s"}\n' % (written, PAD))
                written += 1
            f.flush()
            time.sleep(0.02)

def out_lines():
    try:
        return open(d + "/out.log", "rb").read().count(b"\n")
    except OSError:
        return 0

def start():
    return subprocess.Popen([agg, "-c", d + "/agg.conf"], stdout=open(d + "/log", "ab"), stderr=subprocess.STDOUT)

writer = threading.Thread(target=write)
writer.start()
plan = ["TERM"] * 10 + ["KILL"] * kills
random.Random(7).shuffle(plan)
short = 0
for how in plan:
    before = out_lines()
    p = start()
    end = time.time() + 20
    while out_lines() == before and time.time() < end and p.poll() is None:
        time.sleep(0.01)
    time.sleep(random.random() * 0.2)
    if p.poll() is not None:
        sys.exit("the daemon ended by itself:\n" + open(d + "/log").read()[-2000:])
    p.send_signal(getattr(signal, "SIG" + how))
    p.wait(40)
    unread = 1 - out_lines() / max(1, written)
    print("%s: %d written, %d out, %.0f %% unread" % (how, written, out_lines(), unread * 100), flush=True)
    if unread < 0.1:
        short += 1
stop = True
writer.join()
if short:
    sys.exit("%d stops had less than 10 %% unread: the test shows nothing" % short)
open(d + "/agg.conf", "w").write(conf.replace("  read_bytes_limit_per_second 65536\n", ""))
p = start()
end, last = time.time() + 120, -1
while out_lines() < written and time.time() < end:
    if out_lines() != last:
        last, end = out_lines(), time.time() + 60
    time.sleep(0.1)
p.send_signal(signal.SIGTERM)
p.wait(40)
seen = [json.loads(l)["n"] for l in open(d + "/out.log")]
lost, twice = written - len(set(seen)), len(seen) - len(set(seen))
ordered = seen == sorted(seen)
print("written %d, lost %d, duplicated %d, in order %s" % (written, lost, twice, ordered))
if lost or twice:
    sys.exit("see " + d)
