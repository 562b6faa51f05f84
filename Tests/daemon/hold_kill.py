#!/usr/bin/env python3
"""A writer appends records of several lines throughout; the daemon that joins them again, by concat and by detect_exceptions,
is killed (SIGKILL) again and again, mostly in the middle of a record. At the end every record is in both outputs, whole, once,
in order.

Usage: hold_kill.py AGG [KILLS].  Exit status 1 when a record is lost, cut or comes twice. Python 3 standard library only."""
import json, os, random, signal, subprocess, sys, tempfile, threading, time

agg = os.path.abspath(sys.argv[1])
kills = int(sys.argv[2]) if len(sys.argv) > 2 else 10
d = tempfile.mkdtemp(prefix="agg-hold-")
conf = """
<source>
  @type tail
  @id in
  path %(d)s/in.log
  pos_file %(d)s/pos
  tag raw.t
  read_from_head true
  refresh_interval 1s
  %(limit)s
  <parse>
    @type json
  </parse>
</source>
<match raw.**>
  @type copy
  <store>
    @type detect_exceptions
    @id traces
    remove_tag_prefix raw
    languages python
    message m
    force_line_breaks true
  </store>
  <store>
    @type relabel
    @label @CONCAT
  </store>
</match>
<match t>
  @type file
  @id out1
  path %(d)s/out1
  append true
  <format>
    @type json
  </format>
  <buffer []>
    @type file
    path %(d)s/buffer1
    flush_mode immediate
  </buffer>
</match>
<label @CONCAT>
  <filter **>
    @type concat
    @id joined
    key m
    multiline_start_regexp /^(Traceback|plain)/
    flush_interval 600s
    timeout_label @OUT
  </filter>
  <match **>
    @type relabel
    @label @OUT
  </match>
</label>
<label @OUT>
  <match **>
    @type file
    @id out2
    path %(d)s/out2
    append true
    <format>
      @type json
    </format>
    <buffer []>
      @type file
      path %(d)s/buffer2
      flush_mode immediate
    </buffer>
  </match>
</label>
"""


def configure(limit):
    open(d + "/agg.conf", "w").write(conf % {"d": d, "limit": limit})


random.seed(11)
records, ends, stop = [], set(), False
PAD = "x" * 40


def write():
    n, position = 0, 0
    with open(d + "/in.log", "w") as f:
        while not stop:
            for _ in range(60):
                if random.random() < 0.3:
                    lines = ["plain %d %s" % (n, PAD)]
                else:
                    lines = ["Traceback (most recent call last):"]
                    for k in range(random.randint(1, 6)):
                        lines += ['  File "app.py", line %d, in f%d' % (n, k), "    call(%d, '%s')" % (k, PAD)]
                    lines += ["app.Error: number %d" % n]
                for line in lines:
                    text = json.dumps({"m": line}) + "\n"
                    f.write(text)
                    position += len(text)
                ends.add(position)
                records.append("\n".join(lines))
                n += 1
                f.flush()
            time.sleep(0.05)


def count(name):
    try:
        return open(d + "/" + name, "rb").read().count(b"\n")
    except OSError:
        return 0


def start():
    return subprocess.Popen([agg, "-c", d + "/agg.conf"], stdout=open(d + "/log", "ab"), stderr=subprocess.STDOUT)


configure("read_bytes_limit_per_second 8192")
writer = threading.Thread(target=write)
writer.start()
middle = 0
for _ in range(kills):
    before = count("out1.log")
    p = start()
    end = time.time() + 30
    while count("out1.log") == before and time.time() < end and p.poll() is None:
        time.sleep(0.01)
    time.sleep(random.random() * 0.5)
    if p.poll() is not None:
        sys.exit("the daemon ended by itself:\n" + open(d + "/log").read()[-2000:])
    p.kill()
    p.wait(40)
    position = int(open(d + "/pos").read().split("\t")[1], 16)
    middle += position not in ends
    print("killed at byte %d, %s: %d written, %d and %d out" % (
        position, "between records" if position in ends else "within a record", len(records), count("out1.log"), count("out2.log")), flush=True)
stop = True
writer.join()
if not middle:
    sys.exit("no kill came within a record: the test shows nothing")
configure("")
p = start()
end, last = time.time() + 120, -1
while count("out2.log") < len(records) - 1 and time.time() < end:
    if count("out2.log") != last:
        last, end = count("out2.log"), time.time() + 60
    time.sleep(0.1)
time.sleep(1)
p.send_signal(signal.SIGTERM)
p.wait(40)
# What a graceful stop leaves in a file buffer is delivered by the next run.
p = start()
end = time.time() + 60
while (count("out1.log") < len(records) or count("out2.log") < len(records)) and time.time() < end:
    time.sleep(0.1)
p.send_signal(signal.SIGTERM)
p.wait(40)
failed = False
for name in ["out1.log", "out2.log"]:
    seen = [json.loads(l)["m"] for l in open(d + "/" + name)]
    lost, twice, strange = len(set(records) - set(seen)), len(seen) - len(set(seen)), len(set(seen) - set(records))
    print("%s: %d records, %d kills of which %d within a record: lost %d, duplicated %d, cut %d, in order %s" % (
        name, len(records), kills, middle, lost, twice, strange, seen == records))
    failed = failed or seen != records
if failed:
    sys.exit("see " + d)
