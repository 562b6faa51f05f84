#!/usr/bin/env python3
"""Workers: `<system> workers N` of a running agg. Usage: workers.py path/to/agg"""
import glob
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

AGG = os.path.abspath(sys.argv[1])
passed, failed = [], []


def check(name, condition, detail=""):
    (passed if condition else failed).append(name)
    print(("ok   " if condition else "FAIL ") + name + (f": {detail}" if not condition and detail else ""), flush=True)


def soon(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            own = [int(x) for x in f.read().split()]
    except FileNotFoundError:
        own = []
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            own += [int(x) for x in open(task).read().split()]
        except OSError:
            pass
    return sorted(set(own))


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def records(folder):
    rows = []
    for path in glob.glob(f"{folder}/out/*.log"):
        for line in open(path):
            rows.append(json.loads(line))
    return rows


def send(port, first, count):
    for n in range(first, first + count):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
            s.sendall(json.dumps({"n": n}).encode() + b"\n")


def fewer_workers():
    """What workers have stored comes out when there are fewer of them, or none beside the first, or more than one again."""
    folder, port = tempfile.mkdtemp(prefix="agg-adopt-"), free_port()
    os.makedirs(f"{folder}/out")

    def start(workers, mode, durability="os"):
        with open(f"{folder}/agg.conf", "w") as f:
            f.write(f"""
<system>
  workers {workers}
</system>
<source>
  @type tcp
  tag t
  port {port}
  bind 127.0.0.1
  <parse>
    @type json
  </parse>
</source>
<match t>
  @type file
  path {folder}/out/o
  append true
  <format>
    @type json
  </format>
  <buffer>
    @type file
    path {folder}/buffer
    {mode}
    durability {durability}
  </buffer>
</match>
""")
        log = open(f"{folder}/log", "w")
        agg = subprocess.Popen([AGG, "-c", f"{folder}/agg.conf"], stderr=log, stdout=log)
        soon(lambda: text().count("agg is running") == workers)
        return agg

    def text():
        return open(f"{folder}/log").read()

    def numbers():
        return sorted(r["n"] for r in records(folder))

    def stored():
        """Staged or queued chunks by directory."""
        return {d: len(glob.glob(f"{folder}/{d}/buffer.[bq]*.agg")) for d in ("buffer", "buffer/worker0", "buffer/worker1", "buffer/worker2")}

    def crash(agg):
        pids = children(agg.pid)
        for pid in [agg.pid] + pids:
            os.kill(pid, signal.SIGKILL)
        agg.wait()
        soon(lambda: not any(alive(p) for p in pids))

    later, now = "flush_mode interval\n    flush_interval 1h", "flush_mode immediate"
    agg = start(3, later)
    send(port, 0, 120)
    soon(lambda: all(stored()[f"buffer/worker{w}"] for w in range(3)))
    time.sleep(0.5)
    check("three workers store what they get", all(stored()[f"buffer/worker{w}"] for w in range(3)), stored())
    crash(agg)
    agg = start(2, now)
    check("with two, worker 0 delivers what the third had", soon(lambda: len(numbers()) >= 120) and numbers() == list(range(120)), (len(numbers()), text()))
    check("it says so", text().count("adopted") == 1 and "buffer/worker2, whose worker is no longer configured" in text(), text())
    agg.send_signal(signal.SIGTERM)
    agg.wait(30)
    agg = start(2, later)
    send(port, 120, 60)
    time.sleep(0.5)
    crash(agg)
    agg = start(1, now, "fsync")
    check("with one, it delivers what both had", soon(lambda: len(numbers()) >= 180) and numbers() == list(range(180)), (len(numbers()), text()))
    agg.send_signal(signal.SIGTERM)
    agg.wait(30)
    agg = start(1, later)
    send(port, 180, 20)
    time.sleep(0.5)
    agg.kill()
    agg.wait()
    agg = start(2, now)
    check("with two again, what the one had", soon(lambda: len(numbers()) >= 200) and numbers() == list(range(200)), (len(numbers()), text()))
    check("nothing is left", soon(lambda: not any(stored().values())), stored())
    agg.send_signal(signal.SIGTERM)
    check("ends, status 0", agg.wait(30) == 0)


def main():
    folder = tempfile.mkdtemp(prefix="agg-workers-")
    os.makedirs(f"{folder}/out")
    port = free_port()
    conf = f"{folder}/agg.conf"
    with open(f"{folder}/in.log", "w") as f:
        f.write("".join(json.dumps({"n": n, "tail": True}) + "\n" for n in range(10)))
    text = f"""
<system>
  workers 2
</system>
<source>
  @type tcp
  tag t
  port {port}
  bind 127.0.0.1
  <parse>
    @type json
  </parse>
</source>
<worker 1>
  <source>
    @type tail
    path {folder}/in.log
    pos_file {folder}/in.pos
    tag t
    read_from_head true
    <parse>
      @type json
    </parse>
  </source>
</worker>
<filter t>
  @type record_transformer
  <record>
    worker "#{{worker_id}}"
  </record>
</filter>
<match t>
  @type file
  path "{folder}/out/w#{{worker_id}}"
  append true
  <format>
    @type json
  </format>
  <buffer>
    @type file
    path {folder}/buffer
    flush_mode immediate
  </buffer>
</match>
"""
    with open(conf, "w") as f:
        f.write(text)
    log = open(f"{folder}/log", "w")
    agg = subprocess.Popen([AGG, "-c", conf], stderr=log, stdout=log)
    text_of_log = lambda: open(f"{folder}/log").read()
    check("both workers run", soon(lambda: text_of_log().count("agg is running") == 2), text_of_log())
    send(port, 0, 60)
    check("every event of both inputs arrives once", soon(lambda: len(records(folder)) == 70), len(records(folder)))
    by_worker = {w: sum(1 for r in records(folder) if r["worker"] == w and "tail" not in r) for w in ("0", "1")}
    check("both workers take connections", all(by_worker.values()), by_worker)
    check("the tail of <worker 1> runs there alone", [r["worker"] for r in records(folder) if "tail" in r] == ["1"] * 10)
    check("each worker has a buffer of its own", all(os.path.isdir(f"{folder}/buffer/worker{w}") for w in (0, 1)))

    workers = children(agg.pid)
    check("two worker processes", len(workers) == 2, workers)
    os.kill(workers[0], signal.SIGKILL)
    check("a killed worker is started again", soon(lambda: text_of_log().count("agg is running") == 3), text_of_log())
    send(port, 60, 20)
    check("events go on arriving", soon(lambda: len(records(folder)) == 90), len(records(folder)))
    check("none twice", sorted(r["n"] for r in records(folder) if "tail" not in r) == list(range(80)))

    agg.send_signal(signal.SIGUSR2)
    check("a reload reaches both workers", soon(lambda: text_of_log().count("reloaded") == 2), text_of_log())
    pids = children(agg.pid)
    agg.send_signal(signal.SIGTERM)
    check("TERM ends all, status 0", agg.wait(30) == 0 and not any(alive(p) for p in pids))

    agg = subprocess.Popen([AGG, "-c", conf], stderr=log, stdout=log)
    soon(lambda: text_of_log().count("agg is running") == 5)
    pids = children(agg.pid)
    agg.kill()
    agg.wait()
    check("workers end with a supervisor that was killed", len(pids) == 2 and soon(lambda: not any(alive(p) for p in pids)))

    with open(f"{folder}/bad.conf", "w") as f:
        f.write("<system>\n  workers 2\n</system>\n<source>\n  @type tail\n  tag t\n  path /x\n  <parse>\n    @type none\n  </parse>\n</source>\n<match t>\n  @type null\n</match>\n")
    bad = subprocess.run([AGG, "-c", f"{folder}/bad.conf"], capture_output=True, text=True, timeout=30)
    check("a tail in several workers is a mistake with its line", bad.returncode == 1 and "bad.conf:4: the tail input cannot run in several workers" in bad.stderr, bad.stderr)

    fewer_workers()
    print(f"{len(passed)} passed, {len(failed)} failed")
    return 1 if failed else 0


sys.exit(main())
