"""What the drills of this folder share: a place with a configuration and a running agg, senders that repeat what was refused, a small
disk that can be filled, the count of what came out, the ledger, and the count of what was logged. Standard library only."""
import base64
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crash"))
from daemon import Daemon  # noqa: E402
from scenarios import Oracle, free_port  # noqa: E402


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise Failed(f"never: {what}")


def run(drills, argv):
    """Runs drills (name, function(agg, options)), some at a time, since they mostly wait; prints a line each and exits with 1 when any
    failed. Options: --only PART of a name, --long, --jobs N."""
    agg = os.path.abspath(argv[1])
    value = lambda name, usual: argv[argv.index(name) + 1] if name in argv else usual
    chosen = [(name, drill) for name, drill in drills if value("--only", "") in name]
    options = {"long": "--long" in argv}
    results = []

    def one(name, drill):
        begun = time.monotonic()
        try:
            line = f"ok   {name}: {drill(agg, options)}"
        except Exception as error:  # noqa: BLE001: told as the drill's failure
            line = f"FAIL {name}: {error if isinstance(error, Failed) else f'{type(error).__name__}: {error}'}"
        results.append(line)
        print(f"{line} ({time.monotonic() - begun:.1f} s)", flush=True)

    waiting, lock = list(chosen), threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                drill = waiting.pop(0)
            one(*drill)

    workers = [threading.Thread(target=work) for _ in range(int(value("--jobs", "4")))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    failures = sum(line.startswith("FAIL") for line in results)
    print(f"{len(results) - failures} passed, {failures} failed", flush=True)
    sys.exit(1 if failures or not results else 0)


def with_mounts():
    """Begins the script again where it may mount: in a mount namespace of its own, with a user namespace when it is not root."""
    if os.environ.get("AGG_FAULTS_MOUNTS"):
        return
    how = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
    probe = subprocess.run([*how, "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"], stderr=subprocess.PIPE, text=True)
    if probe.returncode != 0:
        print(f"SKIPPED {sys.argv[0]}: a small disk cannot be mounted here ({probe.stderr.strip()}); nothing was tested", flush=True)
        sys.exit(0)
    os.environ["AGG_FAULTS_MOUNTS"] = "1"
    os.execvp(how[0], [*how, sys.executable, *sys.argv])


class Disk:
    """A tmpfs of so many bytes."""

    def __init__(self, path, size):
        os.makedirs(path, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", path], check=True)
        self.path, self.filler = path, path + "/.filler"

    def fill(self):
        """Takes all that is free, and goes on until nothing is."""
        with open(self.filler, "ab", buffering=0) as f:
            for block in (1 << 20, 4096):
                try:
                    while f.write(bytes(block)) == block:
                        pass
                except OSError:
                    pass

    def release(self):
        os.remove(self.filler)

    def close(self):
        subprocess.run(["umount", "-l", self.path])


class Place:
    """A folder with a configuration (`@D@` is the folder) and the agg that runs it. Leaves nothing behind unless something failed."""

    def __init__(self, agg, conf, disk=None, environment=None, prefix=None, **values):
        self.agg, self.d = agg, tempfile.mkdtemp(prefix="agg-faults-")
        os.chmod(self.d, 0o755)
        self.disk = Disk(self.d + "/disk", disk) if disk else None
        self.monitor, self.daemon, self.environment, self.prefix = free_port(), None, environment, prefix or []
        self.write(conf, **values)

    def write(self, conf, **values):
        conf = f"<source>\n  @type monitor_agent\n  port {self.monitor}\n</source>\n" + conf
        for key, value in {**values, "D": self.d}.items():
            conf = conf.replace(f"@{key}@", str(value))
        with open(self.d + "/agg.conf", "w") as f:
            f.write(conf)

    def start(self):
        self.daemon = Daemon(self.agg, self.d + "/agg.conf", self.d + "/log", self.environment, prefix=self.prefix)
        check(self.daemon.wait_running(), f"does not start: {self.daemon.text()[-2000:]}")
        return self

    def log(self, pattern=None):
        """The lines that this start logged, all or those that match."""
        lines = self.daemon.text().splitlines()
        return lines if pattern is None else [line for line in lines if re.search(pattern, line)]

    def complaints(self):
        return self.log(r"\[(warn|error)\]")

    def page(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}{path}", timeout=20) as answer:
            return json.loads(answer.read())

    def metric(self, name):
        """The sum of a metric's series."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(one.rsplit(" ", 1)[1]) for one in lines if re.match(re.escape(name) + r"[{ ]", one))

    def ledger(self):
        return self.page("/ledger.json")

    def dropped(self, kind="inputs"):
        return self.ledger()["totals"][kind]["dropped"]

    def alive(self):
        check(self.daemon.is_alive(), f"the daemon ended: {self.daemon.text()[-2000:]}")

    def balance(self):
        """The ledger once nothing is buffered; fails when it does not balance."""
        ledger = {}

        def settled():
            ledger.update(self.ledger())
            return ledger["balanced"] and ledger["totals"]["outputs"]["buffered"] == 0

        self.alive()
        try:
            until(settled, "the ledger balances with nothing buffered", 20)
        except Failed as failure:
            raise Failed(f"{failure}: {json.dumps(ledger.get('totals'))} {[p for p in ledger.get('plugins', []) if p['unaccounted']]}") from None
        return ledger["totals"]

    def stop(self):
        self.alive()
        code = self.daemon.stop()
        check(code == 0, f"stopped with {code}: {self.daemon.text()[-2000:]}")
        self.daemon.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.daemon:
            self.daemon.close()
        if self.disk:
            self.disk.close()
        if kind is None:
            shutil.rmtree(self.d, ignore_errors=True)
        else:
            sys.stderr.write(f"see {self.d}\n")


def numbers(pattern, *paths):
    """The numbers behind `pattern` ("t":) in files."""
    found = []
    for path in paths:
        try:
            with open(path, "rb") as f:
                found += [int(n) for n in re.findall(pattern.encode() + rb"(\d+)", f.read())]
        except FileNotFoundError:
            pass
    return found


def count(accepted, found, may_appear=0):
    """(lost, duplicated) of the numbers below `accepted`; those up to `may_appear` beyond it were sent and not answered."""
    oracle = Oracle()
    oracle.accepted = accepted
    strange = oracle.count([n for n in found if not accepted <= n < accepted + may_appear])
    lost, duplicated = oracle.result()
    return lost, duplicated + strange


class Lines(threading.Thread):
    """Appends numbered lines to a log, some every few milliseconds."""

    def __init__(self, path, key="t", rate=2000, pad=80):
        super().__init__(daemon=True)
        self.path, self.key, self.pad, self.written, self.stopping = path, key, "x" * pad, 0, False
        self.step = max(1, rate // 100)

    def run(self):
        with open(self.path, "a") as f:
            while not self.stopping:
                f.write("".join('{"%s":%d,"pad":"%s"}\n' % (self.key, n, self.pad) for n in range(self.written, self.written + self.step)))
                f.flush()
                self.written += self.step
                time.sleep(0.01)

    def finish(self):
        self.stopping = True
        self.join()
        return self.written


def msgpack(value):
    """As much MessagePack as a forward message needs."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, str):
        data = value.encode()
        return struct.pack(">BH", 0xDA, len(data)) + data
    if isinstance(value, (list, tuple)):
        return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(msgpack, value))
    return struct.pack(">BH", 0xDE, len(value)) + b"".join(msgpack(k) + msgpack(v) for k, v in value.items())


class Forward(threading.Thread):
    """Sends numbered events over the forward protocol, and each message until it is acknowledged."""

    def __init__(self, port, key="f", pause=0.02, batch=20):
        super().__init__(daemon=True)
        self.port, self.key, self.pause, self.batch = port, key, pause, batch
        self.acknowledged = self.repeats = 0
        self.seed = int.from_bytes(os.urandom(8), "big")
        self.stopping = False

    def run(self):
        connection = None
        while not self.stopping:
            first = self.acknowledged
            # As Fluentd does it: 16 bytes in base64.
            chunk = base64.b64encode(struct.pack(">QQ", self.seed, first)).decode()
            entries = [[int(time.time()), {self.key: n}] for n in range(first, first + self.batch)]
            message = msgpack(["f.t", entries, {"chunk": chunk}])
            while True:
                try:
                    connection = connection or socket.create_connection(("127.0.0.1", self.port), timeout=30)
                    connection.sendall(message)
                    reply = connection.recv(1024)
                    if chunk.encode() in reply:
                        break
                    connection.close()
                    connection = None
                except OSError:
                    if connection:
                        connection.close()
                    connection = None
                self.repeats += 1
                time.sleep(0.05)
            self.acknowledged += self.batch
            time.sleep(self.pause)

    def finish(self):
        self.stopping = True
        self.join(120)
        check(not self.is_alive(), "the forward sender never got its acknowledgement")
        return self.acknowledged


class Posts(threading.Thread):
    """Posts numbered events with a key, each request until it is answered with 2xx."""

    def __init__(self, port, path="/h.t", key="h", pause=0.02, batch=20):
        super().__init__(daemon=True)
        self.port, self.path, self.key, self.pause, self.batch = port, path, key, pause, batch
        self.accepted, self.answers, self.stopping = 0, {}, False

    def run(self):
        connection = None
        while not self.stopping:
            first = self.accepted
            body = json.dumps([{self.key: n} for n in range(first, first + self.batch)], separators=(",", ":"))
            while True:
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                    connection.request("POST", self.path, body, {"Content-Type": "application/json", "Idempotency-Key": f"{self.key}-{first}"})
                    answer = connection.getresponse()
                    answer.read()
                    self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
                    if answer.status in (200, 204):
                        break
                except (OSError, http.client.HTTPException):
                    if connection:
                        connection.close()
                    connection = None
                time.sleep(0.05)
            self.accepted += self.batch
            time.sleep(self.pause)

    def finish(self):
        self.stopping = True
        self.join(120)
        check(not self.is_alive(), "the HTTP client never got its 2xx")
        return self.accepted
