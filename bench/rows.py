#!/usr/bin/env python3
"""Rows of agg's own beside peerbench's: durability and compression of the buffer, UDP, a thousand connections, one event a request.

Usage: bench/rows.py [AGG] [--row GLOB] [--runs 3] [--scale 1.0] [--micro .build/micro/release/agg-micro] [--json [FILE]] [--list]
Each row stands beside its floor where bench/micro is built (make micro). Every line that comes out is compared with what was sent;
over UDP what the kernel dropped (/proc/net/udp) is counted, and sent = stored + dropped has to hold, as agg has to say it.
http-single needs wrk (make test-packages). --json without a name writes bench/results/rows.json and rows.svg.
"""
import argparse, fnmatch, json, os, re, resource, shutil, socket, statistics, subprocess, sys, tempfile, threading, time
import charts, contents, floors, machine, peerbench, rig

TAIL = "<source>\n  @type tail\n  path @DIR@/in.log\n  pos_file @DIR@/in.pos\n  tag bench.tail\n  read_from_head true\n  <parse>\n    @type json\n  </parse>\n</source>\n"
OUT = peerbench.FLUENTD_FILE_OUT
DISK = peerbench.FLUENTD_FILE_OUT_DISK
SYSLOG = ("<source>\n  @type syslog\n  port @PORT@\n  bind 127.0.0.1\n  tag bench\n  <transport udp>\n    receive_buffer_size 8m\n  </transport>\n"
          "  <parse>\n    message_format rfc3164\n  </parse>\n</source>\n")
TCP = "<source>\n  @type tcp\n  port @PORT@\n  bind 127.0.0.1\n  tag bench.tcp\n  <parse>\n    @type json\n  </parse>\n</source>\n"
HTTP = "<source>\n  @type http\n  port @PORT@\n  bind 127.0.0.1\n  <parse>\n    @type json\n  </parse>\n</source>\n"
ROWS = {
    "file-buffer-os": dict(conf=TAIL + DISK.replace("@type file\n    path @DIR@/buf", "@type file\n    path @DIR@/buf\n    durability os"), kind="json", n=2_000_000,
                           floor="tail-json-file-diskbuffer"),
    "file-buffer-fsync": dict(conf=TAIL + DISK.replace("@type file\n    path @DIR@/buf", "@type file\n    path @DIR@/buf\n    durability fsync"), kind="json", n=1_000_000,
                              floor="tail-json-file-fsync"),
    "file-buffer-zstd": dict(conf=TAIL + DISK.replace("@type file\n    path @DIR@/buf", "@type file\n    path @DIR@/buf\n    compress zstd"), kind="json", n=1_000_000,
                             floor="tail-json-file-zstd"),
    "syslog-udp-50k": dict(conf=SYSLOG + OUT, kind="syslog", n=300_000, feed="udp", rate=50_000, floor="syslog-udp-file"),
    "syslog-udp-flood": dict(conf=SYSLOG + OUT, kind="syslog", n=1_000_000, feed="udp", rate=None, floor="syslog-udp-file"),
    "tcp-1000-connections": dict(conf=TCP + OUT, kind="json", n=1_000_000, feed="tcp", floor="tcp-json-file"),
    "http-single": dict(conf=HTTP + OUT, kind="json", n=8, feed="wrk", floor="http-single-file"),
}
BODY = '{"level":"info","host":"web-07.example.internal","status":200,"message":"request served from cache for client 10.0.0.17 in 12 ms"}'


def udp_drops(port):
    """What the kernel dropped at the sockets of a port, IPv4 and IPv6."""
    total = 0
    for name in ("/proc/net/udp", "/proc/net/udp6"):
        for line in machine.read(name).splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rsplit(":", 1)[1], 16) == port: total += int(fields[12])
    return total


def send_udp(port, lines, rate):
    """Each line a datagram; `rate` a second, or as fast as they go."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("127.0.0.1", port))
    begun = time.monotonic()
    for i, line in enumerate(lines):
        if rate and i % 10 == 0:
            wait = begun + i / rate - time.monotonic()
            if wait > 0: time.sleep(wait)
        s.send(line)


def send_connections(port, lines, count=1000):
    """The lines over so many connections at once, each a part of its own, in turn a piece of 8 KiB."""
    parts = [memoryview(b"".join(line + b"\n" for line in lines[i::count])) for i in range(count)]
    sockets = [rig.connect(port) for _ in range(count)]
    at = 0
    while any(at < len(part) for part in parts):
        for s, part in zip(sockets, parts):
            if at < len(part): s.sendall(part[at:at + 8192])
        at += 8192
    for s in sockets: s.close()


def send_requests(port, seconds, connections, folder):
    """wrk with one event a request; returns {requests, rate, p99_ms, errors}."""
    script = os.path.join(folder, "post.lua")
    with open(script, "w") as f:
        f.write("wrk.method = 'POST'\nwrk.path = '/bench.http'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = '%s'\n" % BODY)
    said = subprocess.run(["wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--latency", "-s", script, "http://127.0.0.1:%d/bench.http" % port],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    done = re.search(r"(\d+) requests in ([\d.]+)s", said)
    late = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    if not done: raise RuntimeError("wrk: " + said[-300:])
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return {"requests": int(done.group(1)), "rate": int(done.group(1)) / float(done.group(2)), "errors": int(wrong.group(1)) if wrong else 0,
            "p99_ms": float(late.group(1)) * {"us": 0.001, "ms": 1, "s": 1000}[late.group(2)] if late else None}


def settled(lines, quiet=2.5):
    """How many lines there are when none has come for a while."""
    last, moved = -1, time.monotonic()
    while time.monotonic() - moved < quiet:
        found = lines.now()
        if found != last: last, moved = found, time.monotonic()
        time.sleep(0.05)
    return last


def run_once(name, agg, scale):
    row = ROWS[name]
    feed = row.get("feed")
    n = max(2, int(row["n"] * scale)) if feed == "wrk" else max(20_000, int(row["n"] * scale))
    port = peerbench.free_port()

    def prepare(folder):
        if not feed: shutil.copy(peerbench.blob_of(row["kind"], n), folder + "/in.log")
    lines = peerbench.lines_of(row["kind"], n) if feed in ("udp", "tcp") else None
    begun = time.monotonic()
    with rig.Agg(agg, row["conf"].replace("@PORT@", str(port)), prepare) as daemon:
        if feed: begun = time.monotonic()
        before = daemon.cpu() if feed else 0.0
        count = rig.LineCount(daemon.folder)
        note, marks = "", []
        if feed == "udp":
            send_udp(port, lines, row["rate"])
            sending = time.monotonic() - begun
            out = settled(count)
            dropped = udp_drops(port)
            cpu, rate = daemon.cpu() - before, out / sending
            peak = machine.peak_mb(daemon.pid)
            # What was dropped after the last datagram is told at the stop.
            daemon.stop(keep=True)
            said = sum(int(k) for k in re.findall(r"the kernel dropped (\d+) datagrams", daemon.log()))
            if out + dropped != n: return {"error": "%d sent, %d stored, %d dropped by the kernel: %d are missing" % (n, out, dropped, n - out - dropped)}
            note = "sent %d, the kernel dropped %d (%.1f %%), agg's log says %d" % (n, dropped, dropped * 100 / n, said)
            if dropped != said: return {"error": "the kernel dropped %d datagrams and agg tells of %d" % (dropped, said)}
            return {"events": out, "cpu_us": cpu * 1e6 / max(1, out), "eps": rate, "rss": peak, "note": note}
        elif feed == "wrk":
            done = send_requests(port, n, 64, daemon.folder)
            out = settled(count)
            cpu, rate = daemon.cpu() - before, done["rate"]
            # What was under way when wrk ended may be stored and was not counted.
            if done["errors"] or not 0 <= out - done["requests"] <= 64: return {"error": "%d requests, %d errors, %d events" % (done["requests"], done["errors"], out)}
            wrong = contents.compare(daemon.folder, contents.expected([(json.loads(BODY), out)]))
            if wrong: return {"error": "wrong contents: " + wrong}
            note = "64 connections; p99 %.1f ms" % (done["p99_ms"] or 0)
        else:
            if feed: threading.Thread(target=send_connections, args=(port, lines), daemon=True).start()
            while True:
                out = count.now()
                if not marks or marks[-1][1] != out: marks.append((time.monotonic(), out))
                if out >= n: break
                if time.monotonic() - marks[-1][0] > 30 or daemon.process.poll() is not None: return {"error": "%d of %d events came out" % (out, n)}
                time.sleep(0.02)
            cpu = daemon.cpu() - before
            low, high = (next(m for m in marks if m[1] >= n * share) for share in (0.1, 0.9))
            rate = (high[1] - low[1]) / (high[0] - low[0]) if high[0] > low[0] else n / (marks[-1][0] - begun)
            wrong = contents.compare(daemon.folder, peerbench.wanted_contents(row, n))
            if wrong: return {"error": "wrong contents: " + wrong}
        return {"events": out, "cpu_us": cpu * 1e6 / max(1, out), "eps": rate, "rss": machine.peak_mb(daemon.pid), "note": note}


def floor(row, micro, scale):
    """Microseconds an event of the row's floor; None where it cannot be had."""
    name = row["floor"]
    if not os.access(micro, os.X_OK): return None
    if name in peerbench.SCENARIOS:
        result = floors.run_once(name, micro, 0.2 * scale)
        return result.get("cpu_us")
    folder = tempfile.mkdtemp(prefix="floor-", dir=peerbench.WORK)
    port = peerbench.free_port()
    n = 200_000
    tail = name.startswith("tail")
    process = subprocess.Popen([micro, "floor", name, floors.source_of(row["kind"], True, n, folder) if tail else "port:%d" % port, folder + "/out"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        if name == "syslog-udp-file":
            time.sleep(0.3)
            send_udp(port, peerbench.lines_of("syslog", n), 50_000)
        elif name == "http-single-file":
            time.sleep(0.3)
            send_requests(port, 3, 1, folder)
        said = process.communicate(timeout=60)[0]
    except (OSError, subprocess.TimeoutExpired, RuntimeError):
        said = ""
    finally:
        if process.poll() is None: process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    found = re.search(r": (\d+) events, ([\d.]+) us", said)
    return float(found.group(2)) if found and int(found.group(1)) > 0 else None


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("agg", nargs="?", default=".build/release/agg")
    arguments.add_argument("--row", default="*")
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--scale", type=float, default=1.0)
    arguments.add_argument("--micro", default=".build/micro/release/agg-micro")
    arguments.add_argument("--json", nargs="?", const="rows.json")
    arguments.add_argument("--list", action="store_true")
    options = arguments.parse_args()
    if options.list: return print("\n".join(ROWS))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    peerbench.WORK = tempfile.mkdtemp(prefix="rows-")
    results = {}
    try:
        if not os.access(options.micro, os.X_OK): print("no floors: %s is not there (make micro)" % os.path.basename(options.micro))
        print("%-22s %10s %10s %8s %10s %8s  %s" % ("row", "us/event", "events/s", "peak MB", "floor us", "beside", ""))
        for name, row in ROWS.items():
            if not fnmatch.fnmatch(name, options.row): continue
            if row.get("feed") == "wrk" and not shutil.which("wrk"):
                print("%-22s needs wrk (make test-packages)" % name)
                continue
            runs = []
            for _ in range(options.runs):
                try: runs.append(run_once(name, options.agg, options.scale))
                except RuntimeError as error: runs.append({"error": str(error)})
            errors = [r["error"] for r in runs if "error" in r]
            if errors:
                results[name] = {"error": errors[0]}
                print("%-22s %s" % (name, errors[0]), flush=True)
                continue
            result = {k: statistics.median(r[k] for r in runs) for k in ("events", "cpu_us", "eps", "rss")}
            result.update(runs=len(runs), note=runs[-1]["note"], floor_us=floor(row, options.micro, options.scale),
                          least={k: min(r[k] for r in runs) for k in ("cpu_us", "eps", "rss")}, most={k: max(r[k] for r in runs) for k in ("cpu_us", "eps", "rss")})
            results[name] = result
            lowest = result["floor_us"]
            print("%-22s %10.3f %10.0f %8.1f %10s %8s  %s" % (name, result["cpu_us"], result["eps"], result["rss"], "%.3f" % lowest if lowest else "-",
                                                              "x%.2f" % (result["cpu_us"] / lowest) if lowest else "-", result["note"]), flush=True)
    finally:
        shutil.rmtree(peerbench.WORK, ignore_errors=True)
    if options.json:
        about = {"machine": machine.facts(), "versions": {"agg": machine.version("agg", options.agg)}, "scale": options.scale, "rows": results}
        machine.save(options.json, about)
        charts.bars("rows.svg", "Rows of our own: CPU an event", "microseconds (less is better)",
                    [(n, {"agg": r["cpu_us"], "floor": r["floor_us"]}) for n, r in results.items() if "cpu_us" in r], about)
    return 1 if any("error" in r for r in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
