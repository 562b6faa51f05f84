#!/usr/bin/env python3
"""How the daemon's cost grows: cost = a × batches + b × events + c × bytes, and whether it stays flat in what should not matter.

Usage: bench/growth.py [AGG] [--part fit,tags,files,quiet,rules,chunks,singles,cores] [--runs 3] [--scale 1.0] [--long] [--json [FILE]]
fit      PackedForward messages of 1 to 1,000 events of 100 to 4,000 bytes into an output file; a, b and c by least squares of the relative errors
tags     1 to 10,000 tags at 500 events a batch; files: so many tailed files at 500 lines an append
quiet    100 lines a second into one followed file beside up to 10,000 quiet ones, as a share of a core
rules    1, 10, 200 filters and matches of which one applies
chunks   10 to 100,000 chunks that wait in the file buffer which takes the events (--long: 1,000,000); also the CPU of 3 s in which nothing comes
cores    four tailed files of JSON into four files, on one core and on all: events a second by the clock
singles  10,000 events a second in messages of one for 10 s, as a share of a core
Every figure is CPU time of the process, the median of the runs. --json without a name writes bench/results/growth.json and growth.svg.
"""
import argparse, os, statistics, sys, time
import charts, machine, peerbench, rig
import msgpack
sys.path.insert(0, os.path.join(machine.HERE, "..", "Tests", "daemon"))
import chunk_files

FORWARD = "<source>\n  @type forward\n  port @PORT@\n  bind 127.0.0.1\n</source>\n"
FILE = """
<match bench.**>
  @type file
  path @DIR@/out
  append true
  <format>
    @type json
  </format>
  <buffer>
    @type memory
    flush_mode interval
    flush_interval 1s
    chunk_limit_size 8m
    total_limit_size 2g
    overflow_action block
  </buffer>
</match>
<match **>
  @type null
</match>
"""
WAITING = """
<match bench.**>
  @type forward
  <server>
    host 127.0.0.1
    port 9
  </server>
  <buffer tag>
    @type file
    path @DIR@/buffer
    flush_mode lazy
    retry_wait 1h
    chunk_limit_size 8m
    total_limit_size 1t
  </buffer>
</match>
"""
PER_BATCH = 500


def entries(count, size):
    """`count` encoded entries of about `size` bytes each, and their exact bytes."""
    text = "GET /checkout/basket?item=4711 served in 12 ms for 10.0.0.17 "
    head = len(msgpack.packb([rig.event_time(), {"level": "info", "host": "web-07", "message": ""}]))
    filler = (text * (size // len(text) + 1))[:max(1, size - head)]
    one = msgpack.packb([rig.event_time(), {"level": "info", "host": "web-07", "message": filler}])
    return one * count, len(one)


def joined(messages, room=1 << 20):
    """The messages in pieces of about a MiB: a system call a message would be the sender's limit."""
    piece, size = [], 0
    for message in messages:
        piece.append(message)
        size += len(message)
        if size >= room:
            yield b"".join(piece)
            piece, size = [], 0
    if piece: yield b"".join(piece)


def through_forward(agg, messages, events, rules=""):
    """CPU seconds for the messages, from the first byte to the last line in the file."""
    port = peerbench.free_port()
    with rig.Agg(agg, (FORWARD + rules + FILE).replace("@PORT@", str(port))) as daemon:
        connection = rig.connect(port)
        lines = rig.LineCount(daemon.folder)
        before = daemon.cpu()
        for block in joined(messages): connection.sendall(block)
        lines.wait(events, daemon.process)
        return daemon.cpu() - before


def median(runs, measure):
    return statistics.median(measure() for _ in range(runs))


def fit(options):
    points = []
    print("%8s %8s %12s %12s %12s" % ("batch", "bytes", "events", "us/event", "us/batch"))
    for count in (1, 10, 100, 1000):
        for size in (100, 300, 1000, 4000):
            body, exact = entries(count, size)
            message = rig.packed("bench.fit", body, count)
            events = int(min(1_000_000, 150_000_000 // exact, 60_000 * count) * options.scale)
            batches = max(20, events // count)
            cpu = median(options.runs, lambda: through_forward(options.agg, (message for _ in range(batches)), batches * count))
            points.append({"events": count, "bytes": exact, "us": cpu * 1e6 / (batches * count), "batch_us": cpu * 1e6 / batches})
            print("%8d %8d %12d %12.3f %12.1f" % (count, exact, batches * count, points[-1]["us"], points[-1]["batch_us"]), flush=True)
    # Least squares of the relative errors: rows divided by what was measured, so that batches of one weigh as much as those of 1,000.
    rows = [([1 / p["batch_us"], p["events"] / p["batch_us"], p["events"] * p["bytes"] / p["batch_us"]], 1.0) for p in points]
    a, b, c = solve([[sum(r[i] * r[j] for r, _ in rows) for j in range(3)] for i in range(3)], [sum(r[i] * y for r, y in rows) for i in range(3)])
    errors = []
    for p in points:
        predicted = a + b * p["events"] + c * p["events"] * p["bytes"]
        p["predicted"] = predicted / p["events"]
        errors.append(abs(predicted / p["batch_us"] - 1))
        print("%8d %8d measured %9.3f formula %9.3f us/event %+5.0f %%" % (p["events"], p["bytes"], p["us"], p["predicted"], (predicted / p["batch_us"] - 1) * 100))
    print("a = %.2f us a batch, b = %.4f us an event, c = %.3f ns a byte; errors: median %.0f %%, worst %.0f %%" % (
        a, b, c * 1000, statistics.median(errors) * 100, max(errors) * 100))
    return {"a_us": a, "b_us": b, "c_ns": c * 1000, "worst": max(errors), "median": statistics.median(errors), "points": points,
            "what": "PackedForward messages, sent as fast as they are taken, into a file of JSON lines"}


def solve(matrix, right):
    """A small system by elimination with pivots."""
    n = len(right)
    rows = [list(matrix[i]) + [right[i]] for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(n):
            if r != i:
                factor = rows[r][i] / rows[i][i]
                rows[r] = [x - factor * y for x, y in zip(rows[r], rows[i])]
    return [rows[i][n] / rows[i][i] for i in range(n)]


def line(title, axis, unit, values, measure, events, runs):
    points = []
    for n in values:
        value = median(runs, lambda: measure(n)) * 1e6 / events(n)
        points.append({"n": n, "value": value})
        print("%-40s %10s %9d: %8.3f %s (%+.0f %%)" % (title, axis, n, value, unit, (value / points[0]["value"] - 1) * 100), flush=True)
    return {"title": title, "axis": axis, "unit": unit, "points": points}


def tags(options):
    body, _ = entries(PER_BATCH, 90)
    batches = max(10_000, int(20_000 * options.scale))

    def measure(n):
        messages = [rig.packed("bench.tag.%05d" % i, body, PER_BATCH) for i in range(min(n, batches))]
        return through_forward(options.agg, (messages[i % n] for i in range(batches)), batches * PER_BATCH)
    return line("Tags, 500 events a batch", "tags", "µs an event", (1, 10, 100, 1000, 10_000), measure, lambda n: batches * PER_BATCH, options.runs)


def following(agg, n):
    """An agg that follows so many files of a line each."""
    def prepare(folder):
        os.makedirs(folder + "/in")
        for i in range(n):
            with open("%s/in/%05d.log" % (folder, i), "wb") as f: f.write(b"begun\n")
    text = ("<source>\n  @type tail\n  path @DIR@/in/*.log\n  pos_file @DIR@/in.pos\n  tag bench.tail\n  read_from_head true\n  <parse>\n    @type none\n"
            "  </parse>\n</source>\n" + FILE)
    return rig.Agg(agg, text, prepare)


def files(options):
    block = b"".join(b"2026-11-25 10:00:%02d web-07 checkout[811]: request served from cache\n" % (i % 60) for i in range(PER_BATCH))
    # Paced, so that each append is a batch of its own whatever the number of files: as fast as they go, a read of a single file brings
    # three to seven appends and one of 10,000 files brings one.
    appends, rate = max(10_000, int(10_000 * options.scale)), 2000
    reads = {}

    def measure(n):
        with following(options.agg, n) as daemon:
            lines = rig.LineCount(daemon.folder)
            lines.wait(n, daemon.process, quiet=60)
            handles = [open("%s/in/%05d.log" % (daemon.folder, i), "ab", buffering=0) for i in range(n)]
            before, calls = daemon.cpu(), machine.read_calls(daemon.pid)
            begun = time.monotonic()
            for i in range(appends):
                wait = begun + i / rate - time.monotonic()
                if wait > 0: time.sleep(wait)
                handles[i % n].write(block)
            for handle in handles: handle.close()
            lines.wait(n + appends * PER_BATCH, daemon.process, quiet=60)
            reads[n] = (machine.read_calls(daemon.pid) - calls) / appends
            return daemon.cpu() - before
    result = line("Tailed files, 500 lines an append, 2,000 appends a second", "files", "µs an event", (1, 10, 100, 1000, 10_000), measure, lambda n: appends * PER_BATCH, options.runs)
    for point in result["points"]: point["reads"] = reads[point["n"]]
    print("reads an append: " + ", ".join("%.2f" % p["reads"] for p in result["points"]))
    return result


def quiet(options):
    """100 lines a second into one followed file, beside others that are quiet: percent of a core."""
    def measure(n):
        with following(options.agg, n) as daemon:
            lines = rig.LineCount(daemon.folder)
            lines.wait(n, daemon.process, quiet=60)
            time.sleep(1)
            with open("%s/in/00000.log" % daemon.folder, "ab", buffering=0) as f:
                before, begun = daemon.cpu(), time.monotonic()
                for i in range(500):
                    f.write(b"one line of the file that is busy\n")
                    time.sleep(0.01)
                used = (daemon.cpu() - before) / (time.monotonic() - begun)
            lines.wait(n + 500, daemon.process, quiet=60)
            return used * 100
    points = []
    for n in (1, 100, 1000, 10_000):
        points.append({"n": n, "value": median(options.runs, lambda: measure(n))})
        print("100 lines a second into one of %5d followed files: %.1f %% of a core" % (n, points[-1]["value"]), flush=True)
    return points


def rules(options):
    body, _ = entries(PER_BATCH, 90)
    message = rig.packed("bench.rules", body, PER_BATCH)
    batches = max(2000, int(10_000 * options.scale))
    grep = "<filter %s>\n  @type grep\n  <exclude>\n    key level\n    pattern /^debug$/\n  </exclude>\n</filter>\n"

    def measure(n):
        text = "".join(grep % ("other.%d.**" % i) for i in range(n - 1)) + grep % "bench.**"
        text += "".join("<match other.%d.**>\n  @type null\n</match>\n" % i for i in range(n - 1))
        return through_forward(options.agg, (message for _ in range(batches)), batches * PER_BATCH, text)
    return line("Filters and matches, of which one applies", "of each", "µs an event", (1, 10, 200), measure, lambda n: batches * PER_BATCH, options.runs)


def stored_bytes(folder):
    return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())


def chunks(options):
    body, _ = entries(PER_BATCH, 90)
    message = rig.packed("bench.chunks", body, PER_BATCH)
    batches = max(2000, int(10_000 * options.scale))
    idle = []

    def measure(n):
        def prepare(folder):
            os.makedirs(folder + "/buffer")
            for i in range(n): chunk_files.write(folder + "/buffer", i, b"bench.old%06d" % i, [i])
        port = peerbench.free_port()
        with rig.Agg(options.agg, (FORWARD + WAITING).replace("@PORT@", str(port)), prepare) as daemon:
            connection = rig.connect(port)
            # The first flush fails, and nothing is tried again for an hour.
            time.sleep(1.5)
            begun = daemon.cpu()
            time.sleep(3)
            idle.append({"n": n, "ms": (daemon.cpu() - begun) * 1000})
            held = stored_bytes(daemon.folder + "/buffer")
            before = daemon.cpu()
            rig.send_stored(connection, joined(message for _ in range(batches)))
            cpu = daemon.cpu() - before
            grown = stored_bytes(daemon.folder + "/buffer") - held
            if grown < batches * len(body): raise RuntimeError("the buffer grew by %d bytes, not by the %d that were sent" % (grown, batches * len(body)))
            return cpu
    values = (10, 100, 1000, 10_000, 100_000) + ((1_000_000,) if options.long else ())
    # A hundred thousand files take longer to make than to measure.
    result = line("Waiting chunks, 500 events a batch", "chunks", "µs an event", values, measure, lambda n: batches * PER_BATCH, 1 if options.long else min(options.runs, 2))
    result["idle"] = idle
    for i in idle: print("%-40s %10s %9d: %8.1f ms of CPU in 3 s of rest" % ("Waiting chunks", "chunks", i["n"], i["ms"]))
    return result


def singles(options):
    rate, seconds = 10_000, 10
    body, _ = entries(1, 200)
    message = rig.packed("bench.single", body, 1)
    shares = []
    for _ in range(options.runs):
        port = peerbench.free_port()
        with rig.Agg(options.agg, (FORWARD + FILE).replace("@PORT@", str(port))) as daemon:
            connection = rig.connect(port)
            lines = rig.LineCount(daemon.folder)
            before, begun, sent = daemon.cpu(), time.monotonic(), 0
            # Each event is a system call of its own at its own time; when the sender comes late, those that are due follow each other.
            while sent < rate * seconds:
                due = min(rate * seconds, int((time.monotonic() - begun) * rate) + 1)
                while sent < due:
                    connection.sendall(message)
                    sent += 1
                time.sleep(max(0, begun + sent / rate - time.monotonic()))
            took = time.monotonic() - begun
            lines.wait(rate * seconds, daemon.process)
            shares.append((daemon.cpu() - before) / took)
    share = statistics.median(shares)
    print("messages of one at %d a second: %.1f %% of a core (%s)" % (rate, share * 100, ", ".join("%.1f" % (s * 100) for s in sorted(shares))))
    return {"rate": rate, "seconds": seconds, "share": share}


def cores(options):
    """The rate on one core, and on all there are, between 10 % and 90 % of the output."""
    streams = 4
    n = max(100_000, int(1_500_000 * options.scale))
    lines = peerbench.lines_of("json", n)
    block = b"\n".join(lines) + b"\n"
    text = ""
    for i in range(streams):
        text += ("<source>\n  @type tail\n  path @DIR@/in%d.log\n  refresh_interval 1\n  pos_file @DIR@/in%d.pos\n  tag bench.%d\n  read_from_head true\n  <parse>\n    @type json\n"
                 "  </parse>\n</source>\n" % (i, i, i)) + FILE.split("<match **>")[0].replace("bench.**", "bench.%d" % i).replace("@DIR@/out", "@DIR@/out%d" % i)
    every = sorted(os.sched_getaffinity(0))
    rates = {}
    for count in (1, len(every)):
        runs = []
        for _ in range(options.runs):
            os.sched_setaffinity(0, every[:count])  # children inherit it
            try: daemon = rig.Agg(options.agg, text, lambda folder: None)
            finally: os.sched_setaffinity(0, every)
            with daemon:
                for i in range(streams):
                    with open("%s/new" % daemon.folder, "wb") as f: f.write(block)
                    os.rename("%s/new" % daemon.folder, "%s/in%d.log" % (daemon.folder, i))
                # Found within the refresh interval at the latest.
                out, marks = rig.LineCount(daemon.folder), []
                begun = time.monotonic()
                while not marks or marks[-1][1] < streams * n:
                    marks.append((time.monotonic(), out.now()))
                    if daemon.process.poll() is not None or time.monotonic() - begun > 180: raise RuntimeError("%d of %d events came out" % (marks[-1][1], streams * n))
                    time.sleep(0.02)
                low, high = (next(m for m in marks if m[1] >= streams * n * share) for share in (0.1, 0.9))
                runs.append((high[1] - low[1]) / (high[0] - low[0]) if high[0] > low[0] else streams * n / (marks[-1][0] - begun))
        rates[count] = statistics.median(runs)
        print("four tailed JSON files on %d core%s: %.0f events a second" % (count, "" if count == 1 else "s", rates[count]), flush=True)
    if len(every) > 1: print("%d cores carry %.2f times what one carries" % (len(every), rates[len(every)] / rates[1]))
    return {"rates": [{"cores": c, "eps": r} for c, r in rates.items()]}


def draw(result):
    plt = charts.pyplot()
    if plt is None: return
    flat = result.get("flat", [])
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2))
    points = result.get("fit", {}).get("points", [])
    shades = ("#9ec5fe", "#5a9bf5", "#0b62d6", "#062f6b")
    for shade, size in zip(shades, sorted({p["bytes"] for p in points})):
        some = [p for p in points if p["bytes"] == size]
        axes[0].plot([p["events"] for p in some], [p["us"] for p in some], "o", color=shade, label="%d bytes" % size)
        axes[0].plot([p["events"] for p in some], [p["predicted"] for p in some], "-", color=shade, linewidth=1)
    axes[0].set(xscale="log", yscale="log", xlabel="events a batch", ylabel="µs an event", title="Measured, and a, b, c's lines")
    if points: axes[0].legend(fontsize=8)
    for color, one in zip(("#0b62d6", "#e08a1e", "#8a5fb0", "#5b8c5a"), flat):
        first = one["points"][0]["value"]
        axes[1].plot([p["n"] for p in one["points"]], [p["value"] / first for p in one["points"]], "o-", color=color, label=one["title"].split(",")[0])
    axes[1].axhspan(0.85, 1.15, color="#e9eef5", zorder=0)
    axes[1].set(xscale="log", xlabel="how many", ylabel="cost an event beside the first", title="Flat: within 15 %", ylim=(0, max([2.0] + [p["value"] / o["points"][0]["value"] * 1.1 for o in flat for p in o["points"]])))
    if flat: axes[1].legend(fontsize=8, loc="lower left")
    for ax in axes: charts.plain(ax)
    charts.plain(axes[0], "y")
    figure.tight_layout()
    charts.finish(plt, figure, "growth.svg", result)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("agg", nargs="?", default=".build/release/agg")
    arguments.add_argument("--part", default="fit,tags,files,quiet,rules,chunks,singles,cores")
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--scale", type=float, default=1.0)
    arguments.add_argument("--long", action="store_true")
    arguments.add_argument("--json", nargs="?", const="growth.json")
    options = arguments.parse_args()
    parts = options.part.split(",")
    result = {"machine": machine.facts(), "versions": {"agg": machine.version("agg", options.agg)}, "scale": options.scale, "flat": []}
    if "fit" in parts: result["fit"] = fit(options)
    for name, measure in (("tags", tags), ("files", files), ("rules", rules), ("chunks", chunks)):
        if name in parts: result["flat"].append(measure(options))
    if "quiet" in parts: result["quiet"] = quiet(options)
    if "singles" in parts: result["singles"] = singles(options)
    if "cores" in parts: result["cores"] = cores(options)
    if options.json:
        machine.save(options.json, result)
        draw(result)


if __name__ == "__main__":
    main()
