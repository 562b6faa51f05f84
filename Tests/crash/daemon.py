"""A daemon under test: started with a page of memory shared over a descriptor, in which the driver arms named fault points and
reads how busy the daemon was when it died. The page's words are described in Sources/AggCore/Fault/Faults.swift."""
import mmap
import os
import re
import signal
import struct
import subprocess
import tempfile
import time

MAGIC = 0x4147474641554C54
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Sources", "AggCore", "Fault", "Faults.swift")
GAUGES = 8
HITS = 64
CALLS = ["write", "sync", "rename", "remove", "open", "truncate", "read", "short"]
SWITCHED_OFF = 48


def protections():
    """The cases of Protection, in order: what can be switched off to see whether the driver notices."""
    text = open(os.path.join(os.path.dirname(SOURCES), "Protection.swift")).read()
    return re.findall(r"^  case (\w+)$", text[:text.index("extension Faults")], re.M)


def point_names():
    """The cases of FaultPoint, in order, from its source: the one place that lists them."""
    text = open(SOURCES).read()
    body = text[text.index("enum FaultPoint"):text.index("public enum Faults")]
    names = []
    for line in re.findall(r"^  case (.*)$", body, re.M):
        names += [name.strip() for name in line.split(",")]
    return names


POINTS = point_names()
PROTECTIONS = protections()


class Daemon:
    def __init__(self, agg, conf, log, environment=None, without=None, prefix=()):
        """`prefix`: what starts it in another way: `setpriv …`, `prlimit …`."""
        self.page_file = tempfile.TemporaryFile(dir="/dev/shm")
        self.page_file.truncate(4096)
        self.page = mmap.mmap(self.page_file.fileno(), 4096)
        self.write(0, MAGIC)
        if without:
            self.write(SWITCHED_OFF, 1 << PROTECTIONS.index(without))
        self.log_path = log
        self.log = open(log, "ab")
        self.log_start = self.log.tell()
        env = dict(os.environ, AGG_FAULT_FD=str(self.page_file.fileno()), SWIFT_BACKTRACE="enable=no", **(environment or {}))
        self.process = subprocess.Popen([*prefix, agg, "-c", conf], stdout=self.log, stderr=self.log, env=env, pass_fds=[self.page_file.fileno()])

    def write(self, word, value):
        struct.pack_into("<Q", self.page, word * 8, value)

    def read(self, word):
        return struct.unpack_from("<q", self.page, word * 8)[0]

    def arm(self, point, countdown):
        """The process dies at the `countdown`-th time that it comes to the point."""
        self.write(2, countdown)
        self.write(1, POINTS.index(point) + 1)

    def fail(self, kinds, errno, after=0, times=1 << 62, path=""):
        """System calls (those of CALLS, several separated by spaces) on files whose path holds `path` fail: after `after` that pass,
        `times` of them."""
        self.write(16, 0)
        self.write(17, errno)
        self.write(18, after)
        self.write(19, times)
        self.page[24 * 8:40 * 8] = path.encode().ljust(128, b"\0")
        self.write(40, 0)
        self.write(16, sum(1 << CALLS.index(kind) for kind in kinds.split()))

    def failed(self):
        """How many calls failed since `fail`."""
        return self.read(40)

    def mend(self):
        self.write(16, 0)

    def text(self):
        with open(self.log_path, "rb") as f:
            f.seek(self.log_start)
            return f.read().decode(errors="replace")

    def wait_running(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if "agg is running" in self.text():
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return False

    def is_alive(self):
        return self.process.poll() is None

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=60):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def gauges(self):
        return {"staged": self.read(GAUGES), "uncommitted": self.read(GAUGES + 1), "in_flight": self.read(GAUGES + 2)}

    def hits(self):
        return {name: self.read(HITS + i) for i, name in enumerate(POINTS)}

    def close(self):
        if self.is_alive():
            self.kill()
        self.page.close()
        self.page_file.close()
        self.log.close()
