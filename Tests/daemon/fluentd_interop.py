#!/usr/bin/env python3
"""A real Fluentd and agg exchange events over forward, in both directions; each event has to come out at both ends, once,
with its tag, its time to the nanosecond and its record.

Usage: fluentd_interop.py AGG [N [NAME-PART]].  N events a way and direction (default 100000).
Runs against the `fluentd` on PATH; without one it says that it is skipped. Exit status 1 when an event is missing, comes
twice or differs. Python 3 standard library only."""
import json, os, shutil, signal, socket, subprocess, sys, tempfile, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

AGG = os.path.abspath(sys.argv[1])
N = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
ONLY = sys.argv[3] if len(sys.argv) > 3 else ""
FLUENTD = shutil.which("fluentd")
TLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "tls")
passed, failed, skipped = 0, 0, 0

SECURITY = """  <security>
    self_hostname %s.example
    shared_key s3cret
%s  </security>
"""
USER_IN = """    user_auth true
    <user>
      username web
      password pa55
    </user>
"""
USER_OUT = "    username web\n    password pa55\n"
TLS_IN = """  <transport tls>
    cert_path %(tls)s/server.pem
    private_key_path %(tls)s/server.key
  </transport>
""" % {"tls": TLS}
TLS_OUT = "  transport tls\n  tls_cert_path %s/ca.pem\n" % TLS

# name, what the output has, its <server>, what the input has
WAYS = [
    ("plain", "", "", ""),
    ("acknowledged", "  require_ack_response true\n", "", ""),
    ("keepalive", "  require_ack_response true\n  keepalive true\n", "", ""),
    ("gzip", "  require_ack_response true\n  compress gzip\n", "", ""),
    ("zstd", "  require_ack_response true\n  compress zstd\n", "", ""),
    ("seconds", "  time_as_integer true\n", "", ""),
    ("shared key", SECURITY % ("sender", ""), "", SECURITY % ("receiver", "")),
    ("user", "  require_ack_response true\n" + SECURITY % ("sender", ""), USER_OUT, SECURITY % ("receiver", USER_IN)),
    ("tls", "  require_ack_response true\n" + TLS_OUT, "", TLS_IN),
    ("tls, key, user, gzip", "  require_ack_response true\n  compress gzip\n" + TLS_OUT + SECURITY % ("sender", ""), USER_OUT,
     TLS_IN + SECURITY % ("receiver", USER_IN)),
]


def sender_conf(directory, port, output, server):
    return """<source>
  @type tail
  path %(d)s/in.log
  pos_file %(d)s/in.pos
  tag interop.x
  read_from_head true
  <parse>
    @type json
    time_key at
    time_type string
    time_format %%s.%%N
    keep_time_key true
  </parse>
</source>
<match interop.**>
  @type copy
  <store>
    @type forward
%(output)s    heartbeat_type none
    <server>
      host 127.0.0.1
      name localhost
      port %(port)d
%(server)s    </server>
    <buffer tag>
      @type file
      path %(d)s/forward.buffer
      flush_interval 0.2
      chunk_limit_size 1m
      retry_wait 0.2
      retry_max_interval 1
    </buffer>
  </store>
  <store>
%(file)s  </store>
</match>
""" % {"d": directory, "port": port, "output": indent(output), "server": indent(server), "file": indent(file_output(directory, "sent"))}


def file_output(directory, name):
    return """  @type file
  path %(d)s/%(n)s
  append true
  <format>
    @type out_file
    time_format %%s.%%N
  </format>
  <buffer []>
    @type file
    path %(d)s/%(n)s.buffer
    flush_interval 0.2
  </buffer>
""" % {"d": directory, "n": name}


def indent(text):
    return "".join("  " + line + "\n" for line in text.splitlines())


class Daemon:
    def __init__(self, directory, name, kind, text):
        self.kind, self.path = kind, os.path.join(directory, name + ".conf")
        self.log = open(os.path.join(directory, name + ".daemon"), "ab")
        with open(self.path, "w") as f:
            f.write("<label @FLUENT_LOG>\n  <match **>\n    @type null\n  </match>\n</label>\n" + text)
        self.start()

    def start(self):
        command = [AGG, "-c", self.path] if self.kind == "agg" else [FLUENTD, "-q", "-c", self.path]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


def wait_port(port):
    """Until somebody listens; no connection is made, which a receiver with a handshake would log."""
    wanted = ":%04X" % port
    for _ in range(600):
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in open(table):
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    return
        time.sleep(0.05)
    raise SystemExit("nobody listens on %d" % port)


def count(directory, name):
    try:
        with open(os.path.join(directory, name + ".log"), "rb") as f:
            return sum(block.count(b"\n") for block in iter(lambda: f.read(1 << 20), b""))
    except FileNotFoundError:
        return 0


def problems(directory, name, precise):
    """What is wrong with one end's file; nothing when each of the N events is there once, as it was written."""
    seen, twice, wrong = set(), [], []
    with open(os.path.join(directory, name + ".log"), encoding="utf-8") as f:
        for line in f:
            at, tag, record = line.rstrip("\n").split("\t", 2)
            record = json.loads(record)
            i = record["i"]
            if i in seen:
                twice.append(i)
            seen.add(i)
            want = expected(i)
            if tag != "interop.x" or record != want or at != (want["at"] if precise else want["at"].split(".")[0] + ".000000000"):
                wrong.append((at, tag, record))
    missing = [i for i in range(N) if i not in seen]
    parts = []
    if missing: parts.append("%d missing, from %d" % (len(missing), missing[0]))
    if twice: parts.append("%d twice, from %d" % (len(twice), twice[0]))
    if wrong: parts.append("%d differ: %s" % (len(wrong), wrong[0]))
    return "; ".join(parts)


def expected(i):
    return {"at": "%d.%09d" % (1_700_000_000 + i // 1000, i * 7919 % 1_000_000_000), "i": i, "text": "žluťoučký kůň \u0001 \"%d\"" % (i % 97),
            "n": {"big": (1 << 63) + i, "neg": -i, "f": i / 8, "list": [None, True, i % 3]}}


def report(name, problem, detail):
    global passed, failed
    if problem:
        failed += 1
        print("FAIL %s: %s" % (name, problem), flush=True)
    else:
        passed += 1
        print("ok   %s: %s" % (name, detail), flush=True)


def exchange(name, sending, receiving, output, server, source, precise=True, kills=0):
    directory, port = tempfile.mkdtemp(prefix="agg-fluentd-"), free_port()
    with open(directory + "/in.log", "w", encoding="utf-8") as f:
        for i in range(N):
            f.write(json.dumps(expected(i), ensure_ascii=False) + "\n")
    receiver = Daemon(directory, "receiver", receiving, """<source>
  @type forward
  port %d
  bind 127.0.0.1
%s</source>
<match interop.**>
%s</match>
""" % (port, source, file_output(directory, "received")))
    wait_port(port)
    begun = time.monotonic()
    sender = Daemon(directory, "sender", sending, sender_conf(directory, port, output, server))
    try:
        end = time.monotonic() + 240
        for kill in range(1, kills + 1):
            while count(directory, "received") < N * kill // (kills + 1) and time.monotonic() < end:
                time.sleep(0.02)
            receiver.stop(signal.SIGKILL)
            receiver.start()
        while (count(directory, "received") < N or count(directory, "sent") < N) and time.monotonic() < end:
            time.sleep(0.1)
        seconds = time.monotonic() - begun
        time.sleep(1)  # one too many would come now
    finally:
        sender.stop()
        receiver.stop()
    try:
        wrong = ["%s %s" % (end, p) for end in ("sent", "received") if (p := problems(directory, end, precise or end == "sent"))]
    except OSError as error:
        wrong = [str(error)]
    report(name, "; ".join(wrong), "%d sent, %d received, %.1f s%s" % (
        count(directory, "sent"), count(directory, "received"), seconds, ", receiver killed %d times" % kills if kills else ""))
    if wrong:
        for daemon in ("sender", "receiver"):
            with open(directory + "/" + daemon + ".daemon", errors="replace") as f:
                print("--- %s\n%s" % (daemon, "".join(f.readlines()[-15:])))
        print("--- kept: " + directory)
    else:
        shutil.rmtree(directory)


def main():
    global skipped
    if not FLUENTD:
        print("skipped: there is no fluentd on PATH")
        print("0 passed, 0 failed, %d skipped" % (2 * len(WAYS) + 1))
        return
    version = subprocess.run([FLUENTD, "--version"], capture_output=True, text=True).stdout.strip()
    agg = subprocess.run([AGG, "--version"], capture_output=True, text=True).stdout.strip()
    print("%s, agg %s, %d events each way" % (version, agg.removeprefix("agg "), N), flush=True)
    # A version without zstd refuses the parameter.
    number = tuple(int(n) for n in version.split()[-1].split(".")[:2])
    for way, output, server, source in WAYS:
        for sending, receiving in (("fluentd", "agg"), ("agg", "fluentd")):
            name = "%s to %s, %s" % (sending, receiving, way)
            if ONLY not in name: continue
            if way == "zstd" and number < (1, 19):
                skipped += 1
                print("skip " + name + ": Fluentd has it from 1.19")
                continue
            exchange(name, sending, receiving, output, server, source, precise=way != "seconds")
    name = "fluentd to agg, acknowledged, agg killed"
    if ONLY in name: exchange(name, "fluentd", "agg", "  require_ack_response true\n  ack_response_timeout 3s\n", "", "", kills=3)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))


main()
sys.exit(1 if failed else 0)
