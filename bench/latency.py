#!/usr/bin/env python3
"""From a line written into a tailed file to the same line in the output file, with `flush_mode immediate`.

Usage: bench/latency.py [AGG] [--rate 10000] [--seconds 20] [--batch 1] [--json [FILE]]
A process of its own writes each line at its time, with the time in it; this one looks at the output file and notes when a line is there.
The time in a line is that of its write: that the writer overslept is printed, and not in the figures; the reader's 0.2 ms between two
looks are. The first second is left out. --json without a name writes bench/results/latency.json and latency.svg.
"""
import argparse, multiprocessing, os, sys, time
import charts, machine, rig

CONF = """
<source>
  @type tail
  path @DIR@/in.log
  pos_file @DIR@/in.pos
  tag bench.latency
  read_from_head true
  <parse>
    @type none
  </parse>
</source>
<match bench.**>
  @type file
  path @DIR@/out
  append true
  <format>
    @type single_value
  </format>
  <buffer []>
    @type memory
    flush_mode immediate
  </buffer>
</match>
"""
FILLER = "request served from cache for client 10.0.0.17 in 12 ms, keepalive on"


def write(path, rate, seconds, batch, late):
    """`batch` lines a system call, each with its number and the time just before the call."""
    total = rate * seconds
    with open(path, "ab", buffering=0) as f:
        begun = time.clock_gettime(time.CLOCK_MONOTONIC)
        sent, worst, sum_late = 0, 0.0, 0.0
        while sent < total:
            due = begun + sent / rate
            now = time.clock_gettime(time.CLOCK_MONOTONIC)
            if now < due:
                time.sleep(due - now)
                continue
            worst, sum_late = max(worst, now - due), sum_late + (now - due)
            n = min(batch, total - sent)
            stamp = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            f.write(b"".join(b"%d %d %s\n" % (sent + i, stamp, FILLER.encode()) for i in range(n)))
            sent += n
    late.send((worst, sum_late / max(1, total // batch)))


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("agg", nargs="?", default=".build/release/agg")
    arguments.add_argument("--rate", type=int, default=10_000)
    arguments.add_argument("--seconds", type=int, default=20)
    arguments.add_argument("--batch", type=int, default=1, help="lines a write")
    arguments.add_argument("--json", nargs="?", const="latency.json")
    options = arguments.parse_args()
    total = options.rate * options.seconds
    with rig.Agg(options.agg, CONF, lambda folder: open(folder + "/in.log", "wb").close()) as daemon:
        time.sleep(0.5)
        mine, theirs = multiprocessing.Pipe()
        cpu = daemon.cpu()
        writer = multiprocessing.Process(target=write, args=(daemon.folder + "/in.log", options.rate, options.seconds, options.batch, theirs), daemon=True)
        begun = time.monotonic()
        writer.start()
        waits, numbers, out, rest, looks, moved = [], set(), None, b"", 0, time.monotonic()
        while len(numbers) < total:
            if out is None:
                names = [n for n in os.listdir(daemon.folder) if n.startswith("out")]
                if names: out = open(os.path.join(daemon.folder, names[0]), "rb", buffering=0)
            data = out.read(1 << 20) if out else b""
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            looks += 1
            if data:
                moved = time.monotonic()
                lines = (rest + data).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    number, stamp, _ = line.split(b" ", 2)
                    numbers.add(int(number))
                    waits.append((now - int(stamp)) / 1e6)
                continue
            if time.monotonic() - moved > 15 or daemon.process.poll() is not None:
                sys.exit("%d of %d lines came out: %s" % (len(numbers), total, daemon.log()[-400:]))
            time.sleep(0.0002)
        took = time.monotonic() - begun
        cpu = daemon.cpu() - cpu
        worst, mean = mine.recv() if mine.poll(5) else (0, 0)
    if len(waits) != total: sys.exit("%d lines came out, %d were written" % (len(waits), total))
    values = sorted(waits[options.rate:] or waits)
    ms = {"p50": percentile(values, 0.5), "p90": percentile(values, 0.9), "p99": percentile(values, 0.99), "p99.9": percentile(values, 0.999), "max": values[-1]}
    print("%d lines at %d a second, each out once: p50 %.2f ms, p90 %.2f, p99 %.2f, p99.9 %.2f, longest %.2f; %.1f %% of a core" % (
        total, options.rate, ms["p50"], ms["p90"], ms["p99"], ms["p99.9"], ms["max"], cpu / took * 100))
    print("the writer was %.2f ms late at worst, %.3f on average; the reader looked %d times a second" % (worst * 1000, mean * 1000, looks / took))
    print("p50 under 5 ms: %s; p99 under 25 ms: %s" % ("met" if ms["p50"] < 5 else "missed", "met" if ms["p99"] < 25 else "missed"))
    if not options.json: return
    result = {"machine": machine.facts(), "versions": {"agg": machine.version("agg", options.agg)}, "rate": options.rate, "seconds": options.seconds,
              "batch": options.batch, "ms": ms, "core_share": cpu / took, "writer_late_ms": {"max": worst * 1000, "mean": mean * 1000}}
    machine.save(options.json, result)
    plt = charts.pyplot()
    if plt is None: return
    figure, ax = plt.subplots(figsize=(8, 3.4))
    low, high = max(0.01, values[0] * 0.9), values[-1] * 1.1
    edges = [low * (high / low) ** (i / 60) for i in range(61)]
    ax.hist(values, bins=edges, color=charts.COLORS["agg"])
    for name in ("p50", "p99"):
        ax.axvline(ms[name], color="#c0392b", linewidth=1.2)
        ax.annotate("%s %.2f ms" % (name, ms[name]), (ms[name], 1), xycoords=("data", "axes fraction"), xytext=(4, -10), textcoords="offset points", fontsize=8, color="#c0392b")
    ax.set(xscale="log", yscale="log", xlabel="milliseconds from the written line to the line in the output file", ylabel="lines",
           title="Latency at {:,} events a second".format(options.rate))
    charts.plain(ax)
    figure.tight_layout()
    charts.finish(plt, figure, "latency.svg", result)


if __name__ == "__main__":
    main()
