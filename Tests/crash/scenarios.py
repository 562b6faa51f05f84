"""What is killed: pipelines, the load that keeps them busy, and the count of what must come out."""
import glob
import gzip
import http.client
import http.server
import json
import math
import os
import random
import re
import socket
import struct
import subprocess
import threading
import time
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402


class Oracle:
    """Numbers that were accepted, and how often each came out."""

    def __init__(self):
        self.accepted = 0  # all numbers below it
        self.seen = bytearray()

    def count(self, numbers):
        self.seen = bytearray(self.accepted)
        strange = 0
        for n in numbers:
            if n < len(self.seen):
                if self.seen[n] < 255:
                    self.seen[n] += 1
            else:
                strange += 1
        return strange

    def result(self, each=1):
        lost = sum(1 for n in self.seen if n < each)
        duplicated = sum(n - each for n in self.seen if n > each)
        return lost, duplicated

    def ranges(self, each=1):
        """What is lost and what came more than once, as text: the first ranges of each."""
        out = []
        for what, is_bad in ("lost", lambda n: n < each), ("more than once", lambda n: n > each):
            found, start = [], None
            for i, n in enumerate(self.seen):
                if is_bad(n):
                    start = i if start is None else start
                elif start is not None:
                    found.append((start, i - 1))
                    start = None
            if start is not None:
                found.append((start, len(self.seen) - 1))
            if found:
                more = f" and {len(found) - 8} more ranges" if len(found) > 8 else ""
                out.append(f"{what}: " + ", ".join(f"{a}-{b}" for a, b in found[:8]) + more)
        return f"{'; '.join(out)}; of {self.accepted}"


class Writer(threading.Thread):
    """Appends lines to a log, at most `ahead` bytes before the reader, and rotates it now and then."""

    def __init__(self, path, line, ahead, rotate, rng):
        super().__init__(daemon=True)
        self.path, self.line, self.ahead, self.rotate, self.rng = path, line, ahead, rotate, rng
        self.written, self.stopping, self.rotations = 0, False, 0
        self.unread = lambda: 0
        # A file that comes and goes while agg is down is nobody's to find: it is renamed once agg knows it.
        self.is_seen = lambda: True
        self.next_rotation = time.monotonic() + rng.uniform(1, 4)

    def run(self):
        f = open(self.path, "a")
        while not self.stopping:
            if self.rotate and time.monotonic() > self.next_rotation and self.is_seen():
                f.close()
                self.rotations += 1
                os.rename(self.path, f"{self.path}.{self.rotations}")
                f = open(self.path, "a")
                self.next_rotation = time.monotonic() + self.rng.uniform(1, 4)
            if self.unread() > self.ahead:
                time.sleep(0.02)
                continue
            n = self.rng.randrange(1, 4000)
            f.write("".join(self.line(i) for i in range(self.written, self.written + n)))
            f.flush()
            self.written += n
            time.sleep(self.rng.uniform(0, 0.005))
        f.close()


NUMBER = re.compile(rb'"n":(\d+)')


def numbers_in(pattern):
    for path in glob.glob(pattern):
        if os.path.basename(path).startswith(".agg-"):
            continue
        try:
            data = open(path, "rb").read()
            if path.endswith(".gz") or data[:2] == b"\x1f\x8b":
                data = gzip.decompress(data)
        except (FileNotFoundError, EOFError, gzip.BadGzipFile):
            continue
        for n in NUMBER.findall(data):
            yield int(n)


PAD = "x" * 60


class TailToFile:
    """tail -> file buffer -> file, in many forms."""

    name = "tail-file"
    each = 1

    def __init__(self, folder, rng, form):
        self.folder, self.rng, self.form = folder, rng, form
        os.makedirs(f"{folder}/out", exist_ok=True)
        line = lambda n: '{"n":%d,"pad":"%s"}\n' % (n, PAD)
        if form.get("multiline"):
            line = lambda n: 'START {"n":%d}\n  at one %d\n  at two %d\n' % (n, n, n)
        if form.get("concat"):
            line = lambda n: '{"m":"START {\\"n\\":%d}"}\n{"m":"  at one %d"}\n{"m":"  at two %d"}\n' % (n, n, n)
        self.writer = Writer(f"{folder}/in.log", line, 16 << 20, form.get("rotate", False), rng)
        self.writer.unread = self.unread
        self.writer.is_seen = self.is_seen
        self.each = 2 if form.get("copy") else 1
        self.edits = 0
        # Small, so that the log is written anew now and then in a run of seconds.
        self.commit_log_limit = 16 << 10

    def start_load(self):
        self.writer.start()

    def daemons(self):
        return ["agg"]

    def config(self, which):
        form = self.form
        self.edits += 1
        # The configuration changes between runs: what is stored must still come out.
        interval = self.rng.choice(["flush_mode immediate", "flush_mode interval\n      flush_interval 1s"])
        buffer = lambda n: f"""
    <buffer []>
      @type file
      path {self.folder}/buffer{n}
      {interval}
      chunk_limit_size {self.rng.choice(["64k", "1m", "8m"])}
      flush_thread_count {form.get("threads", 1)}
      durability {"fsync" if form.get("power") else "os"}
      compress {form.get("compress", "text")}
      flush_at_shutdown {self.rng.choice(["true", "false"])}
      retry_wait 0.05
      retry_max_interval 0.2
    </buffer>"""
        def output(n):
            return f"""
    @type file
    @id out{n}
    path {self.folder}/out/o{n}{'' if form.get('append', True) else '.%Y%m%d'}
    append {str(form.get("append", True)).lower()}
    {"compress gzip" if form.get("gzip_output") else ""}
    <format>
      @type json
    </format>""" + (buffer(n) if form.get("append", True) else buffer(n).replace("<buffer []>", "<buffer time>\n      timekey 1d\n      timekey_wait 0s"))
        if form.get("copy"):
            match = "<match t>\n  @type copy\n  <store>" + output(0) + "\n  </store>\n  <store>" + output(1) + "\n  </store>\n</match>"
        elif form.get("roundrobin"):
            match = "<match t>\n  @type roundrobin\n  <store>" + output(0) + "\n  </store>\n  <store>" + output(1) + "\n  </store>\n</match>"
        else:
            match = "<match t>" + output(0) + "\n</match>"
        parse = "@type json"
        if form.get("multiline"):
            parse = '@type multiline\n    format_firstline /^START/\n    format1 /^START (?<m>.*)/'
        middle = "<filter t>\n  @type record_transformer\n  <record>\n    edit \"%d\"\n  </record>\n</filter>" % self.edits if self.rng.random() < 0.5 else ""
        if form.get("concat"):
            middle = "<filter t>\n  @type concat\n  key m\n  multiline_start_regexp /^START/\n  flush_interval 2s\n  timeout_label @OUT\n</filter>"
            match = "<match t>\n  @type relabel\n  @label @OUT\n</match>\n<label @OUT>\n" + match + "\n</label>"
        return f"""
<source>
  @type tail
  @id in
  tag t
  path {self.folder}/in.log
  pos_file {self.folder}/pos
  read_from_head true
  refresh_interval 1s
  rotate_wait 30s
  {"multiline_flush_interval 1s" if form.get("multiline") else ""}
  <parse>
    {parse}
  </parse>
</source>
{middle}
{match}
"""

    def between(self):
        """The daemon is down: a rotation of the output, as logrotate does it."""
        if self.form.get("append", True) and self.rng.random() < 0.3:
            for path in glob.glob(f"{self.folder}/out/*.log*"):
                if re.search(r"\.log(\.gz)?$", path):
                    os.rename(path, f"{path}.{time.monotonic_ns()}")

    def is_seen(self):
        try:
            inode = os.stat(f"{self.folder}/in.log").st_ino
            return any(int(line.split("\t")[2], 16) == inode for line in open(f"{self.folder}/pos"))
        except (OSError, IndexError, ValueError):
            return False

    def unread(self):
        """Lines that are written and not read: the daemon was in the middle of work."""
        try:
            fields = open(f"{self.folder}/pos").read().split("\n")[0].split("\t")
            return os.path.getsize(f"{self.folder}/in.log") - int(fields[1], 16)
        except (OSError, IndexError, ValueError):
            return 0

    def finish_load(self):
        self.writer.stopping = True
        self.writer.join()

    def check(self):
        oracle = Oracle()
        oracle.accepted = self.writer.written
        if self.form.get("multiline") or self.form.get("concat"):
            # n stands in the text: \"n\":7
            found = []
            for path in glob.glob(f"{self.folder}/out/*"):
                data = open(path, "rb").read()
                if data[:2] == b"\x1f\x8b":
                    data = gzip.decompress(data)
                for line in data.splitlines():
                    match = re.search(rb'\\"n\\":(\d+)}(?:\\n  at one (\d+)\\n  at two (\d+))?', line)
                    if match and (self.form.get("multiline") or match.group(1) == match.group(2) == match.group(3)):
                        found.append(int(match.group(1)))
            strange = oracle.count(found)
        else:
            strange = oracle.count(numbers_in(f"{self.folder}/out/*"))
        self.counted = oracle
        lost, duplicated = oracle.result(self.each)
        return oracle.accepted, lost, duplicated + strange


class TailForwardFile(TailToFile):
    """tail -> forward with acknowledgements -> a second agg -> file."""

    name = "tail-forward-file"

    def __init__(self, folder, rng, form):
        super().__init__(folder, rng, form)
        self.port = free_port()

    def daemons(self):
        return ["sender", "receiver"]

    def config(self, which):
        if which == "sender":
            text = super().config(which)
            start, end = text.index("<match t>"), text.rindex("</match>")
            return text[:start] + f"""<match t>
  @type forward
  @id fwd
  require_ack_response true
  ack_response_timeout 5s
  heartbeat_type none
  compress {self.form.get("wire", "text")}
  <server>
    host 127.0.0.1
    port {self.port}
  </server>
  <buffer tag>
    @type file
    path {self.folder}/fwdbuffer
    flush_mode immediate
    chunk_limit_size {self.rng.choice(["64k", "1m"])}
    # What has not arrived when the load ends has to within a minute.
    total_limit_size 64m
    flush_thread_count {self.form.get("threads", 1)}
    durability {"fsync" if self.form.get("power") else "os"}
    compress {self.form.get("compress", "text")}
    retry_wait 0.05
    retry_max_interval 0.2
  </buffer>
""" + text[end:]
        text = super().config(which)
        start, end = text.index("<source>"), text.index("</source>")
        return text[:start] + f"<source>\n  @type forward\n  @id in\n  bind 127.0.0.1\n  port {self.port}\n" + text[end:]


class HTTPToHTTP:
    """A client that repeats what was not answered, with its key -> agg -> a server that knows the key."""

    name = "http-http"
    each = 1
    refused = 0.0  # share of chunks that the server answers with 400

    def __init__(self, folder, rng, form):
        self.folder, self.rng, self.form = folder, rng, form
        self.port, self.stopping, self.sent, self.lock = free_port(), False, 0, threading.Lock()
        self.commit_log_limit = 16 << 10
        self.received = {}
        self.cut_off = 0
        scenario = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    # Its sender was killed in the midst of it: nothing of it counts.
                    scenario.cut_off += 1
                    self.close_connection = True
                    return
                key = self.headers["Idempotency-Key"]
                refuse = scenario.rng.random()
                if refuse < 0.02:
                    return self.answer(503)
                with scenario.lock:
                    if key not in scenario.received:
                        if scenario.rng.random() < scenario.refused:
                            return self.answer(400)  # for good, and another time perhaps not
                        scenario.received[key] = [int(n) for n in NUMBER.findall(body)]
                if refuse < 0.04:
                    self.close_connection = True  # taken, and not answered
                    self.connection.close()
                    return
                self.answer(200)

            def answer(self, status):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (OSError, ValueError):
                    self.close_connection = True

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.clients = [threading.Thread(target=self.client, args=(i,), daemon=True) for i in range(3)]
        self.next = 0

    def daemons(self):
        return ["agg"]

    def config(self, which):
        return f"""
<source>
  @type http
  @id in
  bind 127.0.0.1
  port {self.port}
</source>
<match t>
  @type http
  @id out
  endpoint http://127.0.0.1:{self.server.server_address[1]}/
  open_timeout 2
  read_timeout 2
  <buffer []>
    @type file
    path {self.folder}/buffer
    flush_mode immediate
    flush_thread_count {self.form.get("threads", 1)}
    durability {"fsync" if self.form.get("power") else "os"}
    compress {self.form.get("compress", "text")}
    retry_wait 0.05
    retry_max_interval 0.2
  </buffer>
</match>
"""

    def start_load(self):
        for client in self.clients:
            client.start()

    def client(self, number):
        rng = random.Random(number)
        connection = None
        while not self.stopping:
            with self.lock:
                first = self.next
                count = rng.randrange(1, 40)
                self.next += count
            body, kind = self.body(range(first, first + count), rng)
            headers = {"Content-Type": kind, "Idempotency-Key": f"{number}-{first}"}
            while True:
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                    connection.request("POST", "/t", body, headers)
                    reply = connection.getresponse()
                    reply.read()
                    if reply.status in (200, 204):
                        break
                except (OSError, http.client.HTTPException):
                    if connection:
                        connection.close()
                    connection = None
                time.sleep(0.02)

    def body(self, numbers, rng):
        return json.dumps([{"n": n} for n in numbers], separators=(",", ":")), "application/json"

    def between(self):
        pass

    def unread(self):
        return 0

    def finish_load(self):
        self.stopping = True
        for client in self.clients:
            client.join(60)

    def check(self):
        oracle = Oracle()
        with self.lock:
            oracle.accepted = self.next
            strange = oracle.count(n for numbers in self.received.values() for n in numbers)
        self.counted = oracle
        lost, duplicated = oracle.result()
        return oracle.accepted, lost, duplicated + strange


class HTTPRefused(HTTPToHTTP):
    """As above, to a server that refuses whole chunks for good, of events some of which JSON cannot hold: each is delivered or is
    a dead letter, and replays of dead letters are killed too."""

    name = "http-refused"
    refused = 0.2

    def __init__(self, folder, rng, form):
        super().__init__(folder, rng, form)
        self.replays = []

    def body(self, numbers, rng):
        out = b"\xdc" + struct.pack(">H", len(numbers))
        for n in numbers:
            value = math.nan if rng.random() < 0.1 else 1.5
            out += b"\x82\xa1n\xce" + struct.pack(">I", n) + b"\xa1v\xcb" + struct.pack(">d", value)
        return out, "application/msgpack"

    def dlq(self, *arguments):
        return subprocess.run([self.agg, "dlq", *arguments, f"{self.folder}/buffer"], capture_output=True, timeout=60)

    def between(self):
        # Before the start, or while it runs.
        replay = lambda: self.dlq("replay", "--all", "--wait", "0")
        if self.rng.random() < 0.4:
            if self.rng.random() < 0.5:
                replay()
            else:
                self.replays.append(threading.Timer(self.rng.uniform(0, 1), replay))
                self.replays[-1].start()

    def finish_load(self):
        super().finish_load()
        # A request that comes when agg has stopped is left for its next start.
        for later in self.replays:
            later.join()

    def check(self):
        # A letter that is being replayed is in two places until it is done.
        pending = glob.glob(f"{self.folder}/buffer/*dead_letters/*.request")
        shown = self.dlq("show")
        oracle = Oracle()
        with self.lock:
            oracle.accepted = self.next
            numbers = [n for numbers in self.received.values() for n in numbers] + [int(n) for n in NUMBER.findall(shown.stdout)]
        strange = oracle.count(numbers)
        self.counted = oracle
        lost, duplicated = oracle.result()
        if shown.returncode or shown.stderr:
            raise RuntimeError(f"dlq show: {shown.returncode} {shown.stderr[:500]}")
        return oracle.accepted, lost + len(pending), duplicated + strange


FORMS = [
    (TailToFile, {}),
    (TailToFile, {"compress": "gzip", "threads": 2, "rotate": True}),
    (TailToFile, {"append": False}),
    (TailToFile, {"append": False, "gzip_output": True, "threads": 2, "compress": "zstd"}),
    (TailToFile, {"gzip_output": True}),
    (TailToFile, {"copy": True, "rotate": True}),
    (TailToFile, {"roundrobin": True, "threads": 2}),
    (TailToFile, {"multiline": True, "rotate": True}),
    (TailToFile, {"concat": True}),
    (TailForwardFile, {}),
    (TailForwardFile, {"wire": "gzip", "compress": "gzip", "threads": 2, "rotate": True}),
    (HTTPToHTTP, {}),
    (HTTPToHTTP, {"threads": 2, "compress": "gzip"}),
    (HTTPRefused, {}),
    (HTTPRefused, {"threads": 2, "compress": "gzip"}),
    (HTTPRefused, {"power": True}),
    (TailToFile, {"power": True, "rotate": True}),
    (TailToFile, {"power": True, "append": False, "gzip_output": True, "threads": 2}),
    (HTTPToHTTP, {"power": True, "threads": 2}),
    (TailForwardFile, {"power": True, "threads": 2}),
]

# By protection that is switched off: the pipeline in which it shows, and where it is killed.
PROOFS = {
    "commit": (TailToFile, {}, ["commit", "tornCommit"]),
    "notes": (TailToFile, {}, ["tornOutput", "outputWritten"]),
    "duplicates": (TailForwardFile, {}, ["acknowledge", "taken", "sent"]),
}
