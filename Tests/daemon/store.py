#!/usr/bin/env python3
"""File buffers of a running agg: descriptors, damage, very many chunks, a changed configuration. Usage: store.py path/to/agg"""
import glob
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "crash"))
import chunk_files  # noqa: E402
from daemon import Daemon  # noqa: E402
from power import Power  # noqa: E402
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

AGG = os.path.abspath(sys.argv[1])
passed, failed = [], []


def check(name, condition, detail=""):
    (passed if condition else failed).append(name)
    print(("ok   " if condition else "FAIL ") + name + (f": {detail}" if not condition and detail else ""), flush=True)


def soon(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


class Agg:
    def __init__(self, folder, text, descriptors=None):
        self.folder = folder
        with open(f"{folder}/agg.conf", "w") as f:
            f.write(text)
        self.log = open(f"{folder}/log", "a+")
        self.start = os.path.getsize(f"{folder}/log")
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))) if descriptors else None
        self.process = subprocess.Popen([AGG, "-c", f"{folder}/agg.conf"], stdout=self.log, stderr=self.log, preexec_fn=limit)
        self.runs = soon(lambda: "agg is running" in self.text() or self.process.poll() is not None) and self.process.poll() is None

    def text(self):
        with open(f"{self.folder}/log") as f:
            f.seek(self.start)
            return f.read()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def numbers(folder, name="o*"):
    found = []
    for path in glob.glob(f"{folder}/out/{name}"):
        found += [json.loads(line)["n"] for line in open(path)]
    return sorted(found)


def config(folder, port, mode, keys="tag", more="", path="buffer", name="o"):
    return f"""
<source>
  @type http
  bind 127.0.0.1
  port {port}
</source>
<match t* host.**>
  @type file
  path {folder}/out/{name}.${{tag}}
  append true
  <format>
    @type json
  </format>
  <buffer {keys}>
    @type file
    path {folder}/{path}
    {mode}
    {more}
  </buffer>
</match>
"""


LATER, NOW = "flush_mode interval\n    flush_interval 1h", "flush_mode immediate"


def folder_for(name):
    folder = tempfile.mkdtemp(prefix=f"agg-store-{name}-")
    os.makedirs(f"{folder}/out")
    return folder


def few_descriptors(durability):
    folder, port = folder_for("fds"), free_port()
    agg = Agg(folder, config(folder, port, LATER, more=f"durability {durability}"), descriptors=96)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    most, statuses = 0, set()
    count = 1500
    for round in range(2):
        for n in range(count):
            connection.request("POST", f"/host.n{n}", json.dumps({"n": round * count + n}), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            reply.read()
            statuses.add(reply.status)
            if n % 100 == 0:
                most = max(most, len(os.listdir(f"/proc/{agg.process.pid}/fd")))
    check(f"{durability}: {count} staged chunks under a limit of 96 descriptors take every event", statuses == {200}, statuses)
    check(f"{durability}: and there are that many chunks", len(glob.glob(f"{folder}/buffer/*.agg")) == count)
    check(f"{durability}: few files are open", most < 80, most)
    agg.kill()
    agg = Agg(folder, config(folder, port, NOW, more=f"durability {durability}"), descriptors=96)
    check(f"{durability}: after a kill every event comes out once", soon(lambda: len(numbers(folder)) >= 2 * count) and numbers(folder) == list(range(2 * count)),
          len(numbers(folder)))
    check(f"{durability}: stops", agg.stop() == 0)
    shutil.rmtree(folder)


def many_chunks():
    folder, port = folder_for("many"), free_port()
    os.makedirs(f"{folder}/buffer")
    count = 3000
    for n in range(count):
        chunk_files.write(f"{folder}/buffer", n, b"t", [n])
    # One of 1 GB that is a hole but for its ends: nothing of it is read at the start.
    big = chunk_files.write(f"{folder}/buffer", count, b"t", [count], hole=1 << 30)
    agg = Agg(folder, config(folder, port, LATER))
    found = re.search(r"found (\d+) chunks with (\d+) events in \d+ ms: read (\d+) bytes, went through (\d+) chunks", agg.text())
    check("every chunk is found and counted", found and found.group(1, 2) == (str(count + 1), str(count + 1)), agg.text())
    check("only first and last bytes were read", found and int(found.group(3)) <= (count + 1) * 4136 and found.group(4) == "0", agg.text())
    check("sealed chunks go out though they are not due", soon(lambda: len(numbers(folder)) >= count), len(numbers(folder)))
    agg.kill()
    if os.path.exists(big):
        os.unlink(big)
    for path in glob.glob(f"{folder}/buffer/*.broken"):
        os.unlink(path)
    shutil.rmtree(folder)


def damage():
    folder, port = folder_for("damage"), free_port()
    os.makedirs(f"{folder}/buffer")
    paths = [chunk_files.write(f"{folder}/buffer", n, b"t", [n]) for n in range(6)]
    # A payload, a header, the seal, and everything.
    for path, at in zip(paths[:3], (-45, 60, -10)):
        with open(path, "r+b") as f:
            f.seek(at, 0 if at > 0 else 2)
            byte = f.read(1)
            f.seek(-1, 1)
            f.write(bytes([byte[0] ^ 0xFF]))
    with open(paths[3], "wb") as f:
        f.write(os.urandom(500))
    agg = Agg(folder, config(folder, port, NOW))
    check("damaged chunks keep nothing from starting", agg.runs, agg.text())
    check("what is whole comes out", soon(lambda: numbers(folder) == [2, 4, 5]), numbers(folder))
    kept = sorted(os.path.basename(p) for p in glob.glob(f"{folder}/buffer/*.broken"))
    check("what is not is kept, with the place that it had", len([k for k in kept if re.search(r"\.agg\.\d+-\d+\.broken$", k)]) >= 2, kept)
    check("a file that is no chunk is moved aside", os.path.basename(paths[3]) + ".broken" in kept, kept)
    check("and the log says what was lost", "1 events lost" in agg.text(), agg.text())
    check("nothing else is left", soon(lambda: not glob.glob(f"{folder}/buffer/*.agg")))
    agg.stop()
    shutil.rmtree(folder)


def post(port, first, count, tag="t"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", f"/{tag}", json.dumps([{"n": n} for n in range(first, first + count)]), {"Content-Type": "application/json"})
    return connection.getresponse().status


def changed_configuration():
    folder, port = folder_for("edit"), free_port()

    def text(outputs, mode):
        stores = ""
        for name in outputs:
            stores += f"""
  <store>
    @type file
    path {folder}/out/{name}
    append true
    <format>
      @type json
    </format>
    <buffer []>
      @type file
      path {folder}/buffer-{name}
      {mode}
    </buffer>
  </store>"""
        return f"<source>\n  @type http\n  bind 127.0.0.1\n  port {port}\n</source>\n<match t>\n  @type copy{stores}\n</match>\n"

    agg = Agg(folder, text(["a", "b"], LATER))
    check("an event is stored for two outputs", post(port, 0, 10) == 200)
    agg.kill()
    # The commit log lay beside the buffer of the output that is gone.
    agg = Agg(folder, text(["b"], NOW))
    check("what is staged comes out though another buffer is the first now", soon(lambda: numbers(folder, "b*") == list(range(10))), agg.text())
    line = [l for l in agg.text().splitlines() if "no longer configured" in l]
    check("the buffer of the output that is gone is named in one line", len(line) == 1 and f"{folder}/buffer-a (1 chunks)" in line[0], agg.text())
    check("and it goes on", post(port, 10, 5) == 200 and soon(lambda: numbers(folder, "b*") == list(range(15))))
    agg.kill()
    agg = Agg(folder, text(["b", "a"], NOW))
    check("configured again, its events come out", soon(lambda: numbers(folder, "a*") == list(range(10))), agg.text())
    check("and nothing is said of it", "no longer configured" not in agg.text())
    check("nothing came twice", numbers(folder, "b*") == list(range(15)))
    agg.stop()
    shutil.rmtree(folder)


def failed_syncs():
    """A sync that fails once: the requests that waited for it are refused, and nothing is lost or doubled, not even with the power."""
    folder, port = folder_for("sync"), free_port()

    def start(mode):
        with open(f"{folder}/agg.conf", "w") as f:
            f.write(config(folder, port, mode, more="durability fsync"))
        power = Power(folder, f"{folder}/power")
        daemon = Daemon(AGG, f"{folder}/agg.conf", f"{folder}/log", power.environment())
        daemon.wait_running()
        return daemon, power

    daemon, power = start(LATER)
    accepted, refused = [], 0
    for n in range(60):
        if n % 6 == 3:
            # The chunk's file, its directory, or the commit log.
            daemon.fail("sync", 5, times=1, path=["buffer.b", f"{folder}/buffer", ".commit.agg"][n // 6 % 3])
        while True:
            status = post(port, n, 1, f"t{n % 4}")
            if status == 200:
                break
            refused += 1
            if refused > 200:
                break
        accepted.append(n)
    daemon.mend()
    check("a failed sync refuses what waited for it", 5 <= refused <= 100, refused)
    daemon.kill()
    names, size = power.cut(__import__("random").Random(1))
    daemon.close()
    daemon, power = start(NOW)
    check("after it, and a power cut, everything accepted comes out once", soon(lambda: len(numbers(folder)) >= 60) and numbers(folder) == accepted, numbers(folder))
    check("and stops", daemon.stop() == 0)
    daemon.close()
    shutil.rmtree(folder)


for test in (many_chunks, damage, changed_configuration, failed_syncs, lambda: few_descriptors("os"), lambda: few_descriptors("fsync")):
    test()
print(f"{len(passed)} passed, {len(failed)} failed")
sys.exit(1 if failed else 0)
