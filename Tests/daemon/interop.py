#!/usr/bin/env python3
"""Other people's senders deliver into agg, and every event is accounted for: logger, rsyslog's omfwd, curl with gzip, wrk.

Usage: interop.py AGG [NAME...].  Needs the programs logger, rsyslogd, curl and wrk (Debian: bsdutils, rsyslog, curl, wrk).
Exit status 1 when an event is missing, comes twice, or differs."""
import glob, gzip, json, os, re, signal, socket, subprocess, sys, tempfile, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

agg = os.path.abspath(sys.argv[1])
only = sys.argv[2:]
d = tempfile.mkdtemp(prefix="agg-interop-")


def free_ports(n):
    found = set()
    while len(found) < n: found.add(free_port())
    return list(found)


UDP, TCP, COUNTED, HTTP = free_ports(4)
conf = f"""
<source>
  @type syslog
  port {UDP}
  bind 127.0.0.1
  tag udp
  <parse>
    @type syslog
    message_format auto
    with_priority true
  </parse>
</source>
<source>
  @type syslog
  port {TCP}
  bind 127.0.0.1
  tag tcp
  <transport tcp>
  </transport>
  <parse>
    @type syslog
    message_format auto
    with_priority true
  </parse>
</source>
<source>
  @type syslog
  port {COUNTED}
  bind 127.0.0.1
  tag counted
  frame_type octet_count
  <transport tcp>
  </transport>
  <parse>
    @type syslog
    message_format auto
    with_priority true
  </parse>
</source>
<source>
  @type http
  port {HTTP}
  bind 127.0.0.1
</source>
<match **>
  @type file
  path {d}/out/${{tag}}
  append true
  <format>
    @type json
  </format>
  <buffer tag>
    @type file
    path {d}/buffer
    flush_mode immediate
    compress gzip
  </buffer>
</match>
"""
open(d + "/agg.conf", "w").write(conf)


def records(tag):
    found = []
    for path in sorted(glob.glob(f"{d}/out/{tag}*.log")):
        found += [json.loads(line) for line in open(path, encoding="utf-8", errors="surrogateescape")]
    return found


def wait_for(tag, n):
    end = time.monotonic() + 20
    while time.monotonic() < end and len(records(tag)) < n: time.sleep(0.05)
    time.sleep(0.3)  # one too many would come now
    return records(tag)


def check(name, got, want):
    """Both are lists of whatever identifies an event; their order does not matter over UDP and several connections."""
    if sorted(got) == sorted(want):
        print(f"ok    {name}: {len(want)} events", flush=True)
        return True
    missing, extra = set(want) - set(got), [g for g in got if got.count(g) > 1 or g not in set(want)][:3]
    print(f"FAIL  {name}: {len(got)} of {len(want)} events; missing {sorted(missing)[:3]}, unexpected {extra}", flush=True)
    return False


def logger():
    ok = True
    for name, options, port, tag in (("udp 3164", ["-d", "--rfc3164"], UDP, "udp"), ("udp 5424", ["-d", "--rfc5424"], UDP, "udp"),
                                     ("tcp 3164", ["-T", "--rfc3164"], TCP, "tcp"),
                                     ("tcp 5424 octet counting", ["-T", "--rfc5424", "--octet-count"], COUNTED, "counted")):
        want = [f"{name} number {i}: user=\"Łukasz\" [{i * 7}]" for i in range(100)]
        open(d + "/lines", "w").write("\n".join(want) + "\n")
        before = len(records(tag + ".local3.warn"))
        subprocess.run(["logger", "-n", "127.0.0.1", "-P", str(port), "-t", "interop", "-p", "local3.warning", *options, "-f", d + "/lines"], check=True)
        got = wait_for(tag + ".local3.warn", before + 100)
        ok = check(f"logger {name}", [r["message"] for r in got][before:], want) and ok
    return ok


def omfwd():
    ok = True
    for name, port, tag, options in (("tcp", TCP, "tcp", ""), ("tcp octet counting", COUNTED, "counted", ' TCP_Framing="octet-counted"'),
                                     ("udp", UDP, "udp", "")):
        count = 300 if name == "udp" else 5000
        want = [f"omfwd {name} {i} " + "x" * (i % 300) for i in range(count)]
        work = tempfile.mkdtemp(dir=d)
        open(work + "/in.log", "w").write("\n".join(want) + "\n")
        protocol = "udp" if name == "udp" else "tcp"
        open(work + "/rsyslog.conf", "w").write(f"""
global(workDirectory="{work}")
module(load="imfile")
input(type="imfile" File="{work}/in.log" Tag="app:" Facility="local4" Severity="info")
action(type="omfwd" Target="127.0.0.1" Port="{port}" Protocol="{protocol}" Template="RSYSLOG_TraditionalForwardFormat"{options})
""")
        process = subprocess.Popen(["rsyslogd", "-n", "-f", work + "/rsyslog.conf", "-i", work + "/pid"], stderr=subprocess.DEVNULL)
        try:
            got = wait_for(tag + ".local4.info", count)
        finally:
            process.terminate()
            process.wait(10)
        got = [r["message"] for r in got]
        if name == "udp":
            # What the kernel drops for want of room never reached agg, but agg has to count it.
            dropped = sum(int(n) for n in re.findall(r"the kernel dropped (\d+) datagrams", open(d + "/agg.log").read()))
            if dropped and len(got) + dropped == count:
                print(f"      omfwd udp: the kernel dropped {dropped}, counted")
                want = [w for w in want if w in set(got)]
        ok = check(f"omfwd {name}", got, want) and ok
    return ok


def curl():
    want = [{"n": i, "text": "gzip " + "é" * (i % 50)} for i in range(2000)]
    url = f"http://127.0.0.1:{HTTP}"
    body = gzip.compress(json.dumps(want).encode())
    open(d + "/body.gz", "wb").write(body)
    out = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Content-Type: application/json",
                          "-H", "Content-Encoding: gzip", "--data-binary", f"@{d}/body.gz", url + "/curl.gzip"], capture_output=True, text=True)
    ok = out.stdout == "200"
    if not ok: print("FAIL  curl:", out.stdout, out.stderr)
    ok = check("curl gzip", [json.dumps(r) for r in wait_for("curl.gzip", 2000)], [json.dumps(r) for r in want]) and ok
    open(d + "/form", "w").write('json={"form":1}')
    form = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--data", f"@{d}/form", url + "/curl.form"],
                          capture_output=True, text=True)
    return check("curl form", [json.dumps(r) for r in wait_for("curl.form", 1)], ['{"form": 1}']) and form.stdout == "200" and ok


def wrk():
    open(d + "/post.lua", "w").write("""
local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", "/wrk.json", {["Content-Type"] = "application/json"}, '{"n":' .. n .. ',"message":"one event a request"}')
end
""")
    connections = 16
    out = subprocess.run(["wrk", "-t", "1", "-c", str(connections), "-d", "3s", "-s", d + "/post.lua", f"http://127.0.0.1:{HTTP}"],
                         capture_output=True, text=True).stdout
    found = re.search(r"(\d+) requests in", out)
    if not found or "Non-2xx" in out:
        print("FAIL  wrk:", out)
        return False
    answered = int(found.group(1))
    got = len(wait_for("wrk.json", answered))
    # wrk leaves the requests that are on their way when its time ends: at most one a connection was taken and not answered.
    good = answered <= got <= answered + connections
    print(f"{'ok   ' if good else 'FAIL '} wrk: {answered} requests answered, {got} events", flush=True)
    return good


daemon = subprocess.Popen([agg, "-c", d + "/agg.conf", "-o", d + "/agg.log"])
try:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            for port in (TCP, COUNTED, HTTP): socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError: time.sleep(0.02)
    results = [test() for name, test in (("logger", logger), ("omfwd", omfwd), ("curl", curl), ("wrk", wrk)) if not only or name in only]
finally:
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(30)
if not all(results):
    print(open(d + "/agg.log").read()[-3000:])
    sys.exit(1)
