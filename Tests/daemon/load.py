"""Load for tests that change a running agg: writers of followed files, connections, HTTP posts with keys, and what came out of it.

What counts as accepted: a complete line in a file; a 2xx; a connection whose every byte the daemon read until the end of the stream.
What was sent and not answered may appear once or not at all. A connection that is refused is an error of its own kind."""
import errno
import http.client
import json
import os
import socket
import subprocess
import threading
import time
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402


class Load:
    """Threads that send numbered events until `stop`; `accepted` and `unanswered` hold their names."""
    def __init__(self):
        self.accepted, self.unanswered, self.refused, self.errors = set(), set(), [], []
        self.stopping = False
        self.lock = threading.Lock()
        self.threads = []
        self.pause = 0.002

    def start(self, body, *args):
        thread = threading.Thread(target=body, args=args, daemon=True)
        thread.start()
        self.threads.append(thread)

    def note(self, name, accepted):
        with self.lock:
            (self.accepted if accepted else self.unanswered).add(name)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def lines(self, path, name):
        """A file that is written and sometimes rotated."""
        n = 0
        f = open(path, "a")
        while not self.stopping:
            for _ in range(5):
                f.write(json.dumps({"e": "%s-%d" % (name, n)}) + "\n")
                f.flush()
                self.note("%s-%d" % (name, n), True)
                n += 1
            time.sleep(self.pause * 5)
        f.close()

    def connections(self, port, name):
        """One event a connection, its end waited for."""
        n = 0
        while not self.stopping:
            event = "%s-%d" % (name, n)
            n += 1
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
                    s.settimeout(60)
                    s.sendall(json.dumps({"e": event}).encode() + b"\n")
                    s.shutdown(socket.SHUT_WR)
                    self.note(event, s.recv(1) == b"")
            except ConnectionRefusedError:
                self.refused.append(event)
                self.note(event, False)
            except OSError as error:
                if error.errno not in (errno.ECONNRESET, errno.EPIPE):
                    self.errors.append("%s: %s" % (event, error))
                self.note(event, False)
            time.sleep(self.pause)

    def posts(self, port, name):
        """HTTP with a key a request, sent again until it is answered."""
        n = 0
        while not self.stopping:
            event = "%s-%d" % (name, n)
            n += 1
            for attempt in range(200):
                try:
                    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                    c.request("POST", "/t", json.dumps({"e": event}), {"Content-Type": "application/json", "Idempotency-Key": event})
                    status = c.getresponse().status
                    c.close()
                    if 200 <= status < 300:
                        self.note(event, True)
                        break
                except ConnectionRefusedError:
                    self.refused.append(event)
                except (OSError, http.client.HTTPException):
                    pass
                time.sleep(0.01)
            else:
                self.errors.append("%s was never answered" % event)
            time.sleep(self.pause)

    def datagrams(self, port, name):
        n = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.1", port))
            while not self.stopping:
                event = "%s-%d" % (name, n)
                n += 1
                try:
                    s.send(json.dumps({"e": event}).encode())
                    self.note(event, True)
                except ConnectionRefusedError:
                    self.refused.append(event)
                    self.note(event, False)
                time.sleep(self.pause * 2)

    def long_connection(self, port, name, states):
        """One connection for the whole time; `states` gets how it ended."""
        n = 0
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
                while not self.stopping:
                    event = "%s-%d" % (name, n)
                    n += 1
                    s.sendall(json.dumps({"e": event}).encode() + b"\n")
                    self.note(event, True)
                    time.sleep(self.pause * 5)
                s.shutdown(socket.SHUT_WR)
                states.append("closed in order" if s.recv(1) == b"" else "data")
        except OSError as error:
            states.append("%s after %d events" % (error, n))


def outcome(paths, load):
    """Lost and duplicated events of what is in the output files."""
    seen = {}
    for path in paths:
        if os.path.exists(path):
            for line in open(path):
                event = json.loads(line)["e"]
                seen[event] = seen.get(event, 0) + 1
    lost = [e for e in load.accepted if e not in seen]
    twice = [e for e, n in seen.items() if n > 1]
    unknown = [e for e in seen if e not in load.accepted and e not in load.unanswered]
    return lost, twice, unknown, len(seen)


class Place:
    """A folder with a configuration, and the daemon there (the process that is it now, after an upgrade too)."""
    def __init__(self, agg, folder, text):
        self.agg, self.d = agg, folder
        self.write(text)
        self.process = None

    def write(self, text):
        with open(self.d + "/agg.conf.new", "w") as f:
            f.write(text)
        os.rename(self.d + "/agg.conf.new", self.d + "/agg.conf")

    def log(self):
        return open(self.d + "/log").read() if os.path.exists(self.d + "/log") else ""

    def start(self, *args, environment=None, fds=(), seconds=60):
        count = self.log().count("agg is running")
        self.process = subprocess.Popen(
            [self.agg, "-c", self.d + "/agg.conf", "--pid-file", self.d + "/pid", *args], stderr=open(self.d + "/log", "ab"),
            stdout=subprocess.DEVNULL, env=dict(os.environ, SWIFT_BACKTRACE="enable=no", **(environment or {})), pass_fds=fds)
        return until(lambda: self.log().count("agg is running") > count or self.process.poll() is not None, seconds) and self.process.poll() is None

    @property
    def pid(self):
        try:
            return int(open(self.d + "/pid").read())
        except (OSError, ValueError):
            return self.process.pid

    def end(self, seconds=60):
        """TERM to whoever is the daemon now; true when it ended."""
        pid = self.pid
        try:
            os.kill(pid, 15)
        except ProcessLookupError:
            return False
        if self.process and pid == self.process.pid:
            return self.process.wait(seconds) == 0
        return until(lambda: not alive(pid), seconds)


def alive(pid):
    try:
        return open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
