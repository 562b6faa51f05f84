"""One agg on a configuration text: started, measured, stopped."""
import os, signal, socket, struct, subprocess, sys, tempfile, time, shutil
import machine
try:
    import msgpack
except ImportError:
    sys.exit("this needs msgpack (apt-get install python3-msgpack, or make bench-packages)")


class Agg:
    """Runs until `stop`; a folder of its own, `@DIR@` in the text. CPU times are of this process, to the nanosecond."""

    def __init__(self, binary, text, prepare=None):
        self.folder = tempfile.mkdtemp(prefix="agg-bench-")
        self.process = None
        try:
            if prepare: prepare(self.folder)
            conf = os.path.join(self.folder, "agg.conf")
            with open(conf, "w") as f: f.write(text.replace("@DIR@", self.folder))
            self.log_path = os.path.join(self.folder, "agg.log")
            with open(self.log_path, "wb") as log:
                self.process = subprocess.Popen([binary, "-c", conf], stdout=log, stderr=log)
            self.pid = self.process.pid
            end = time.monotonic() + 300
            while "agg is running" not in self.log():
                if self.process.poll() is not None or time.monotonic() > end: raise RuntimeError("agg does not run: " + self.log()[-600:])
                time.sleep(0.005)
        except BaseException:
            self.stop()
            raise

    def log(self):
        with open(self.log_path, errors="replace") as f: return f.read()

    def cpu(self):
        return machine.cpu_seconds(self.pid)

    def stop(self, keep=False):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try: self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if not keep: shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self): return self
    def __exit__(self, *_): self.stop()


class LineCount:
    """Lines in the files under a folder whose names begin with `out`; each byte is read once."""

    def __init__(self, folder):
        self.folder, self.seen = folder, {}

    def now(self):
        for entry in os.scandir(self.folder):
            if not entry.name.startswith("out") or not entry.is_file(): continue
            done, lines = self.seen.get(entry.path, (0, 0))
            if entry.stat().st_size > done:
                with open(entry.path, "rb") as f:
                    f.seek(done)
                    while block := f.read(1 << 20):
                        lines += block.count(b"\n")
                        done += len(block)
                self.seen[entry.path] = (done, lines)
        return sum(lines for _, lines in self.seen.values())

    def wait(self, wanted, process, quiet=30):
        """Until so many are there. Raises where none come for `quiet` seconds."""
        last, moved = -1, time.monotonic()
        while (found := self.now()) < wanted:
            if found != last: last, moved = found, time.monotonic()
            if process.poll() is not None: raise RuntimeError("agg ended with %s" % process.returncode)
            if time.monotonic() - moved > quiet: raise RuntimeError("%d of %d events came out" % (found, wanted))
            time.sleep(0.02)
        return found


def event_time():
    return msgpack.ExtType(0, struct.pack(">II", 1795458000, 0))


def packed(tag, entries, count, chunk=None):
    """A PackedForward message of entries that are encoded already."""
    option = {"size": count}
    if chunk: option["chunk"] = chunk
    return msgpack.packb([tag, entries, option])


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), 30)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.settimeout(60)
    return s


def send_stored(connection, blocks, last_tag="bench.last"):
    """Sends the blocks, then one empty-handed question: its answer says that everything before it is stored."""
    for block in blocks: connection.sendall(block)
    connection.sendall(packed(last_tag, msgpack.packb([event_time(), {"message": "last"}]), 1, chunk="bGFzdA=="))
    answer = b""
    while b"bGFzdA==" not in answer:
        part = connection.recv(4096)
        if not part: raise RuntimeError("agg closed the connection")
        answer += part
