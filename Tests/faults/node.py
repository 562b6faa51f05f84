"""One agg under test with its folder, its ledger and its log; and what the drills of this folder share."""
import http.client
import json
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crash"))
from daemon import Daemon  # noqa: E402
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402


def until(what, seconds=60, every=0.02):
    """True as soon as `what()` is; false when it never is within the time, which is generous."""
    end = time.monotonic() + seconds
    while True:
        if what():
            return True
        if time.monotonic() > end:
            return False
        time.sleep(every)


def json_lines(first, count, pad=40):
    return "".join('{"n":%d,"pad":"%s"}\n' % (n, "x" * pad) for n in range(first, first + count))


NUMBER = re.compile(rb'"n":(\d+)')


def numbers_in(data):
    return [int(n) for n in NUMBER.findall(data)]


def tally(numbers, expected):
    """(lost, duplicated, strange) of the numbers below `expected`."""
    seen = {}
    for n in numbers:
        seen[n] = seen.get(n, 0) + 1
    lost = sum(1 for n in range(expected) if n not in seen)
    return lost, sum(c - 1 for c in seen.values()), sum(1 for n in seen if n >= expected)


class Node:
    """A daemon with monitor_agent; `configuration` has its sources and matches."""

    def __init__(self, agg, folder, name, configuration, environment=None):
        self.folder, self.name, self.monitor = folder, name, free_port()
        os.makedirs(folder, exist_ok=True)
        path = f"{folder}/{name}.conf"
        with open(path, "w") as f:
            f.write(configuration + f"\n<source>\n  @type monitor_agent\n  bind 127.0.0.1\n  port {self.monitor}\n</source>\n")
        self.daemon = Daemon(agg, path, f"{folder}/{name}.log", environment)
        if not self.daemon.wait_running():
            raise RuntimeError(f"{name} does not start: {self.daemon.text()[-3000:]}")

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.monitor, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def ledger(self):
        return json.loads(self.get("/ledger.json"))

    def row(self, plugin):
        for row in self.ledger()["plugins"]:
            if row["id"] == plugin:
                return row
        return {}

    def metric(self, name, plugin=None):
        """The metric's value, of one plugin; nil where it is not there."""
        for line in self.get("/metrics").decode().splitlines():
            if line.split("{")[0].split(" ")[0] == name and (plugin is None or f'plugin_id="{plugin}"' in line):
                return float(line.rsplit(" ", 1)[1])
        return None

    def memory(self, field="VmHWM"):
        """Bytes, from /proc."""
        for line in open(f"/proc/{self.daemon.process.pid}/status"):
            if line.startswith(field + ":"):
                return int(line.split()[1]) << 10
        return 0

    def lines(self, text):
        return [line for line in self.daemon.text().splitlines() if text in line]

    def stop(self):
        """Stops in order; what is wrong with that, or nothing."""
        status = self.daemon.stop(120)
        self.daemon.close()
        return None if status == 0 else f"{self.name} ended with {status}"

    def close(self):
        self.daemon.close()


class Checks:
    """Collects what is wrong in one drill."""

    def __init__(self):
        self.wrong = []

    def expect(self, what, value, wanted=True):
        good = wanted(value) if callable(wanted) else value == wanted
        if not good:
            self.wrong.append(f"{what}: {value!r}" + ("" if callable(wanted) else f", expected {wanted!r}"))
        return good

    def balanced(self, *nodes):
        for node in nodes:
            # Two plugins' counters are read microseconds apart; at rest they agree.
            if not until(lambda: node.ledger()["balanced"], 10):
                self.wrong.append(f"{node.name}: the ledger does not balance: {json.dumps(node.ledger())}")
