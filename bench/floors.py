#!/usr/bin/env python3
"""What each row of peerbench costs at least: bench/micro's one-threaded programs on the same bytes, over the same loopback sockets.

Usage: bench/floors.py [--micro .build/micro/release/agg-micro] [--row GLOB] [--runs 3] [--scale 0.25] [--json [FILE]]
`make floors` builds and runs it. What comes out is compared with what was sent. --json without a name writes bench/results/floors.json.
"""
import argparse, fnmatch, os, re, shutil, socket, statistics, subprocess, sys, tempfile, threading
import machine, peerbench, contents

READS = {"tail": "a file", "tcp": "a socket", "forward": "a socket", "http": "requests of 500"}
STEPS = {"raw": "lines as records", "json": "JSON parsed", "nginx": "nginx parsed", "syslog": "RFC 3164 parsed", "fwd": "entries scanned"}


def what(name, sc):
    middle = [STEPS[sc["kind"]]]
    if "filter" in name: middle.append("grep, record_transformer")
    if "diskbuffer" in name: middle.append("written to a file and read back")
    middle.append("gzip" if "gzip" in name else "JSON lines" if sc["far"] == "file" else "as they are")
    return "%s → %s → %s" % (READS[sc["feed"]], ", ".join(middle), "a file" if sc["far"] == "file" else "a socket")


def feed(sc, port, n, source):
    if sc["feed"] == "forward": connection = peerbench.feed_forward(port, n)
    elif sc["feed"] == "http": connection = peerbench.feed_http(port, source, n)
    else: connection = peerbench.feed_socket(port, source)
    try: connection.shutdown(socket.SHUT_WR)
    except OSError: pass
    connection.close()


def source_of(kind, tail, n, folder):
    """The input's file; of a tailed one a copy, as peerbench makes one. Pages for the output cost twice as much when as many were
    taken for a copy just before (measured: 0.14 and 0.25 us an event of 169 bytes), so a floor without it is another one."""
    source = peerbench.blob_of(kind, n)
    return shutil.copy(source, os.path.join(folder, "in.log")) if tail else source


def run_once(name, micro, scale):
    """{events, cpu_us}, or {error}."""
    sc = peerbench.SCENARIOS[name]
    n = max(20000, int(sc["n"] * scale))
    if sc["kind"] == "fwd": n -= n % 2000
    folder = tempfile.mkdtemp(prefix="floor-", dir=peerbench.WORK)
    sink = None
    try:
        port, sink_port = peerbench.free_port(), peerbench.free_port()
        source = None if sc["kind"] == "fwd" else source_of(sc["kind"], sc["feed"] == "tail", n, folder)
        if sc["far"] == "forward": sink = peerbench.ForwardSink(sink_port, folder)
        out = "port:%d" % sink_port if sink else os.path.join(folder, "out")
        process = subprocess.Popen([micro, "floor", name, source if sc["feed"] == "tail" else "port:%d" % port, out], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        if sc["feed"] != "tail":
            threading.Thread(target=feed, args=(sc, port, n, source), daemon=True).start()
        try: said = process.communicate(timeout=120)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return {"error": "did not end"}
        found = re.search(r": (\d+) events, ([\d.]+) us", said)
        if not found: return {"error": said.strip()[-300:] or "ended with %d" % process.returncode}
        if int(found.group(1)) != n: return {"error": "%s of %d events" % (found.group(1), n)}
        wanted = peerbench.wanted_contents(sc, n)
        wrong = contents.compare_samples(folder, wanted) if sink else contents.compare(folder, wanted)
        return {"error": "wrong contents: " + wrong} if wrong else {"events": n, "cpu_us": float(found.group(2))}
    finally:
        if sink: sink.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--micro", default=".build/micro/release/agg-micro")
    arguments.add_argument("--row", default="*")
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--scale", type=float, default=0.25)
    arguments.add_argument("--json", nargs="?", const="floors.json")
    options = arguments.parse_args()
    if not os.access(options.micro, os.X_OK): sys.exit("%s is not there: make micro builds it" % options.micro)
    peerbench.WORK = tempfile.mkdtemp(prefix="floors-")
    rows = {}
    try:
        print("%-26s %10s %10s %10s  %s" % ("row", "us/event", "least", "most", "what"))
        for name, sc in peerbench.SCENARIOS.items():
            if not fnmatch.fnmatch(name, options.row): continue
            runs = [run_once(name, options.micro, options.scale) for _ in range(options.runs)]
            errors = [r["error"] for r in runs if "error" in r]
            if errors:
                rows[name] = {"error": errors[0]}
                print("%-26s %s" % (name, errors[0]), flush=True)
                continue
            costs = [r["cpu_us"] for r in runs]
            rows[name] = {"events": runs[0]["events"], "cpu_us": statistics.median(costs), "least": {"cpu_us": min(costs)}, "most": {"cpu_us": max(costs)},
                          "runs": len(runs), "what": what(name, sc)}
            print("%-26s %10.3f %10.3f %10.3f  %s" % (name, statistics.median(costs), min(costs), max(costs), what(name, sc)), flush=True)
    finally:
        shutil.rmtree(peerbench.WORK, ignore_errors=True)
    if options.json: machine.save(options.json, {"machine": machine.facts(), "scale": options.scale, "rows": rows})
    return 1 if any("error" in r for r in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
