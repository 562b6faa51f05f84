#!/usr/bin/env python3
"""How long agg takes to start on a buffer of very many chunks, and how much memory they take.

Usage: recovery.py path/to/agg [--chunks 50000] [--size 400000]
The chunks are sparse: 50,000 of 400 kB are 20 GB to look at and some 400 MB on the disk. Each run prints its figures; the limits are
20 µs and 200 bytes a chunk, over a start without any. Exit status 1 above them."""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Tests", "daemon"))
import chunk_files  # noqa: E402


def memory(pid):
    text = open(f"/proc/{pid}/status").read()
    return {name: int(re.search(name + r":\s+(\d+)", text).group(1)) * 1024 for name in ("VmRSS", "VmHWM")}


def start(agg, conf, log_path):
    """(seconds to running, memory then, the log)."""
    with open(log_path, "w") as log:
        begun = time.monotonic()
        process = subprocess.Popen([agg, "-c", conf], stdout=log, stderr=log)
        while "agg is running" not in open(log_path).read():
            if process.poll() is not None or time.monotonic() > begun + 300:
                sys.exit(open(log_path).read())
            time.sleep(0.002)
        took = time.monotonic() - begun
        used = memory(process.pid)
        process.kill()
        process.wait()
    return took, used, open(log_path).read()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("agg")
    options.add_argument("--chunks", type=int, default=50_000)
    options.add_argument("--size", type=int, default=400_000)
    options.add_argument("--runs", type=int, default=5)
    o = options.parse_args()
    folder = tempfile.mkdtemp(prefix="agg-recovery-")
    confs = {}
    for name in ("empty", "full"):
        os.makedirs(f"{folder}/{name}")
        confs[name] = f"{folder}/{name}.conf"
        with open(confs[name], "w") as f:
            # Nobody listens there: the chunks stay.
            f.write(f"<match app.**>\n  @type forward\n  <server>\n    host 127.0.0.1\n    port 9\n  </server>\n  <buffer tag>\n    @type file\n"
                    f"    path {folder}/{name}\n    flush_mode lazy\n    retry_wait 1h\n    total_limit_size 1t\n  </buffer>\n</match>\n")
    begun = time.monotonic()
    for n in range(o.chunks):
        chunk_files.write(f"{folder}/full", n, b"app.host%05d" % n, [n], o.size)
    apparent = sum(e.stat().st_size for e in os.scandir(f"{folder}/full"))
    print(f"{o.chunks} chunks, {apparent / 1e9:.1f} GB to look at, made in {time.monotonic() - begun:.0f} s", flush=True)
    figures = []
    for run in range(o.runs):
        base = start(o.agg, confs["empty"], f"{folder}/log")
        took, used, text = start(o.agg, confs["full"], f"{folder}/log")
        found = re.search(r"found (\d+) chunks with (\d+) events in (\d+) ms: read (\d+) bytes, went through (\d+)", text)
        if not found or int(found.group(1)) != o.chunks:
            sys.exit("not all were found:\n" + text)
        figures.append([(took - base[0]) * 1e6 / o.chunks, (used["VmRSS"] - base[1]["VmRSS"]) / o.chunks, (used["VmHWM"] - base[1]["VmHWM"]) / o.chunks,
                        int(found.group(4)) / o.chunks])
        print("run %d: %.1f us, %.0f bytes of memory, %.0f at the peak, %.0f bytes read a chunk" % (run + 1, *figures[-1]), flush=True)
    shutil.rmtree(folder)
    microseconds, resident, peak, _ = (statistics.median(column) for column in zip(*figures))
    print(f"median: {microseconds:.1f} us (limit 20), {resident:.0f} bytes (limit 200), {peak:.0f} at the peak (limit 200)")
    return 0 if microseconds <= 20 and max(resident, peak) <= 200 else 1


sys.exit(main())
