#!/usr/bin/env python3
"""Resident memory while agg has as much to do as it can, for an hour: it must not grow.

Usage: bench/soak.py [AGG] [--minutes 60] [--json [FILE]]
Three sources at once: PackedForward of 1,000 tags and JSON lines over TCP, both as fast as they are taken, and a log of 20,000 lines a
second that is rotated every 32 MiB. A filter, buffers in files and in memory, gzip; the files that come out are measured and removed.
At the end as many bytes must have come out as the events that went in make, and the middle of the last third must not be a quarter
above that of the first. VmRSS is read each second. --json without a name writes bench/results/soak.json and soak.svg.
"""
import argparse, gzip, json, multiprocessing, os, re, shutil, socket, statistics, sys, tempfile, time
import charts, machine, peerbench, rig
import msgpack  # rig has said where it is missing

CONF = """
<source>
  @type forward
  bind 127.0.0.1
  port @FORWARD@
</source>
<source>
  @type tcp
  bind 127.0.0.1
  port @TCP@
  tag soak.tcp
  <parse>
    @type json
  </parse>
</source>
<source>
  @type tail
  path @DIR@/in.log
  pos_file @DIR@/in.pos
  tag soak.tail
  read_from_head true
  <parse>
    @type json
  </parse>
</source>
<filter soak.tail>
  @type record_transformer
  remove_keys latency_ms
  <record>
    cluster tokyo-1
    origin ${record["host"]}
  </record>
</filter>
<match soak.tail>
  @type file
  path @DIR@/out-tail
  compress gzip
  <format>
    @type json
  </format>
  <buffer []>
    @type file
    path @DIR@/buffer-tail
    flush_interval 1s
  </buffer>
</match>
<match soak.tcp>
  @type file
  path @DIR@/out-tcp
  <format>
    @type json
  </format>
  <buffer []>
    @type memory
    chunk_limit_size 8m
    flush_interval 1s
  </buffer>
</match>
<match soak.fwd.**>
  @type file
  path @DIR@/out-fwd
  <format>
    @type json
  </format>
  <buffer []>
    @type file
    path @DIR@/buffer-fwd
    flush_interval 1s
  </buffer>
</match>
"""
LINES_A_SECOND, ROTATED_AT, TAGS = 20_000, 32 << 20, 1000


def send_tcp(port, stop, sent):
    lines = b"\n".join(peerbench.lines_of("json", 5000)) + b"\n"
    with socket.create_connection(("127.0.0.1", port)) as s:
        while not stop.is_set():
            s.sendall(lines)
            sent.value += 5000


def send_forward(port, stop, sent):
    message, _, per, _ = peerbench.forward_chunks(500, per=500)
    _, body, options = msgpack.unpackb(message, raw=False)
    messages = [msgpack.packb(["soak.fwd.%d" % tag, body, options]) for tag in range(TAGS)]
    with socket.create_connection(("127.0.0.1", port)) as s:
        while not stop.is_set():
            s.sendall(messages[(sent.value // per) % TAGS])
            sent.value += per


def is_followed(path):
    """Whether agg has found the log that has the name now: a file that is renamed and removed before is nobody's."""
    try:
        with open(os.path.dirname(path) + "/in.pos") as f: return int(f.read().split()[-1], 16) == os.stat(path).st_ino
    except (OSError, IndexError, ValueError): return False


def write_log(path, stop, sent):
    """At its rate; a rotated file is removed with the next rotation."""
    block = b"\n".join(peerbench.lines_of("json", 1000)) + b"\n"
    f, begun, older = open(path, "ab", buffering=0), time.monotonic(), None
    while not stop.is_set():
        wait = begun + sent.value / LINES_A_SECOND - time.monotonic()
        if wait > 0: time.sleep(wait)
        f.write(block)
        sent.value += 1000
        if f.tell() >= ROTATED_AT and is_followed(path):
            f.close()
            if older and os.path.exists(older): os.remove(older)
            older = path + ".%d" % sent.value
            os.rename(path, older)
            f = open(path, "ab", buffering=0)


class Taken:
    """Bytes of the files that are complete, by output, unpacked; they are removed. What is not packed is not even read: a reader that
    is slower than agg would fill the disk."""

    def __init__(self, folder):
        self.folder, self.bytes = folder, {"tail": 0, "tcp": 0, "fwd": 0}

    def look(self):
        for name in os.listdir(self.folder):
            found = re.match(r"out-(\w+)[._].*\.log(\.gz)?$", name)
            if not found: continue
            path = os.path.join(self.folder, name)
            if found.group(2):
                with gzip.open(path) as f:
                    while block := f.read(1 << 20): self.bytes[found.group(1)] += len(block)
            else:
                self.bytes[found.group(1)] += os.path.getsize(path)
            os.remove(path)


def size_of(records):
    """Bytes of these records as lines of JSON."""
    return sum(len(json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()) + 1 for record in records)


def wanted(went):
    """Bytes that have to come out of so many events; each feed repeats its block."""
    records = lambda n: [json.loads(line) for line in peerbench.lines_of("json", n)]  # noqa: E731
    filtered = [{**{k: v for k, v in r.items() if k != "latency_ms"}, "cluster": "tokyo-1", "origin": r["host"]} for r in records(1000)]
    return {"tcp": went["tcp"] // 5000 * size_of(records(5000)), "tail": went["tail"] // 1000 * size_of(filtered),
            "fwd": went["fwd"] // 500 * size_of(peerbench.forward_chunks(500, per=500)[3])}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("agg", nargs="?", default=".build/release/agg")
    arguments.add_argument("--minutes", type=float, default=60)
    arguments.add_argument("--json", nargs="?", const="soak.json")
    options = arguments.parse_args()
    ports = {name: peerbench.free_port() for name in ("FORWARD", "TCP")}
    text = CONF
    for name, port in ports.items(): text = text.replace("@%s@" % name, str(port))
    samples, problem = [], None
    with rig.Agg(options.agg, text) as daemon:
        stop = multiprocessing.Event()
        sent = {name: multiprocessing.Value("q", 0) for name in ("tail", "tcp", "fwd")}
        feeds = [multiprocessing.Process(target=send_tcp, args=(ports["TCP"], stop, sent["tcp"])),
                 multiprocessing.Process(target=send_forward, args=(ports["FORWARD"], stop, sent["fwd"])),
                 multiprocessing.Process(target=write_log, args=(daemon.folder + "/in.log", stop, sent["tail"]))]
        for feed in feeds: feed.start()
        taken, begun, cpu = Taken(daemon.folder), time.monotonic(), daemon.cpu()
        try:
            told = 0
            while (now := time.monotonic() - begun) < options.minutes * 60:
                taken.look()
                if daemon.process.poll() is not None or not all(feed.is_alive() for feed in feeds):
                    problem = "agg or a sender ended: " + daemon.log()[-400:]
                    break
                if not samples or now - samples[-1][0] >= 1: samples.append((round(now, 1), round(machine.resident_mb(daemon.pid), 1)))
                if sys.stdout.isatty() and now - told >= 5:
                    told = now
                    print("\r%5.1f min  %6.1f MB  %.0f million events" % (now / 60, samples[-1][1], sum(v.value for v in sent.values()) / 1e6), end="", flush=True)
                time.sleep(0.2)
            seconds = time.monotonic() - begun
            cpu = daemon.cpu() - cpu if daemon.process.poll() is None else 0
        finally:
            stop.set()
            for feed in feeds:
                feed.join(20)
                if feed.is_alive(): feed.terminate()
        if sys.stdout.isatty(): print()
        went = {name: value.value for name, value in sent.items()}
        want, end = wanted(went), time.monotonic() + 120
        while not problem and taken.bytes != want and time.monotonic() < end:
            taken.look()
            time.sleep(0.2)
        if not problem and taken.bytes != want: problem = "sent %s: %s bytes, %s came out" % (went, want, taken.bytes)
        if problem:
            kept = tempfile.mkstemp(prefix="soak-", suffix=".log")[1]
            shutil.copy(daemon.log_path, kept)
            print("FAIL %s; agg's log: %s" % (problem, kept))
    # The first tenth fills the buffers and the allocator.
    warm = [mb for at, mb in samples if at >= seconds / 10]
    parts = [warm[i * len(warm) // 9:(i + 1) * len(warm) // 9] for i in range(9)]
    middle = [round(statistics.median(part), 1) for part in parts if part]
    peak = [round(max(part), 1) for part in parts if part]
    events = max(1, sum(went.values()))
    print("%.0f min, %.0f million events in and out, %.2f cores, %.2f us an event" % (seconds / 60, events / 1e6, cpu / seconds, cpu / events * 1e6))
    print("VmRSS in MB, by ninths after the first tenth: middle %s, most %s" % (middle, peak))
    result = {"minutes": round(seconds / 60, 1), "events": went, "cores": cpu / seconds, "cpu_us": cpu / events * 1e6, "samples": samples[::max(1, len(samples) // 720)],
              "middle_mb": middle, "most_mb": peak}
    first, last = (statistics.median(part or [0]) for part in (middle[:3], middle[-3:]))
    grows = len(middle) >= 9 and last > first * 1.25 + 8
    if grows: print("FAIL it grew from %.0f to %.0f MB" % (first, last))
    if options.json:
        about = {"machine": machine.facts(), "versions": {"agg": machine.version("agg", options.agg)}, "result": result}
        machine.save(options.json, about)
        charts.over_time("soak.svg", "Resident memory at full load", "minutes", "MB", [(at / 60, mb) for at, mb in result["samples"]], about)
    return 1 if grows or problem else 0


if __name__ == "__main__": sys.exit(main())
