#!/usr/bin/env python3
"""agg starts on the buffer directories that a killed Fluentd left (Tests/fixtures/fluentd) and delivers what Fluentd itself
delivered of them: the same bytes, once; also when agg is killed meanwhile.

Usage: takeover.py AGG [NAME...].  Exit status 1 when something is lost, comes twice or differs. Python 3 standard library only."""
import glob, http.server, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "fluentd")


def wait_port(port):
    wanted = ":%04X" % port
    for _ in range(600):
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in open(table):
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    return
        time.sleep(0.05)
    raise SystemExit("nobody listens on %d" % port)


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps the bodies that were posted; refuses everything while `is_closed`."""

    def __init__(self, port):
        self.bodies, self.is_closed = [], False
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if not receiver.is_closed:
                    # A chunk that comes again after a kill has its key: such a receiver takes it once.
                    key = self.headers.get("Idempotency-Key")
                    if key is None or key not in receiver.keys:
                        receiver.bodies.append(body)
                    receiver.keys.add(key)
                self.send_response(503 if receiver.is_closed else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.keys = set()
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Run:
    """One fixture in a folder of its own, with a daemon on it."""

    def __init__(self, command, fixture, apart=False):
        self.command, self.sink, self.directory, self.port = command, None, tempfile.mkdtemp(prefix="agg-takeover-"), free_port()
        shutil.copytree(fixture + "/buffer", self.directory + "/buffer")
        with open(fixture + "/run.conf") as f:
            text = f.read()
        self.receiver = Receiver(self.port) if "@type http" in text else None
        text = text.replace("@DIR@", self.directory).replace("@PORT@", str(self.port))
        self.log = open(self.directory + "/daemon", "ab")
        if apart and "@IN" in text:
            # Kills are for the sender: what receives is another daemon, and says what it has.
            at = text.index("<match app.**>")
            with open(self.directory + "/sink.conf", "w") as f:
                f.write(text[:at])
            text = text[:text.index("<source>")] + text[at:].replace("@type forward\n", "@type forward\n  require_ack_response true\n", 1)
            self.sink = subprocess.Popen([*command, "-c", self.directory + "/sink.conf"], stdout=self.log, stderr=self.log)
            wait_port(self.port)
        with open(self.directory + "/run.conf", "w") as f:
            f.write(text)

    def start(self):
        self.process = subprocess.Popen(
            [*self.command, "-c", self.directory + "/run.conf"], stdout=self.log, stderr=self.log, start_new_session=True)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(60)

    def left(self):
        """Chunks that are still to be delivered: Fluentd's, and agg's own."""
        names = os.listdir(self.directory + "/buffer") if os.path.isdir(self.directory + "/buffer") else []
        return sorted(n for n in names if re.search(r"\.[bq][0-9a-f]{32}\.", n) and not n.endswith((".broken", ".meta")))

    def drained(self, seconds=20):
        end = time.monotonic() + seconds
        while self.left() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.7)  # what a receiver still has in memory
        return not self.left()

    def outputs(self):
        found = {os.path.basename(p): open(p, "rb").read() for p in glob.glob(self.directory + "/out/*")}
        if self.receiver:
            found["bodies.json"] = json.dumps(sorted(b.hex() for b in self.receiver.bodies), indent=0).encode() + b"\n"
        return found

    def daemon_log(self):
        with open(self.directory + "/daemon", errors="replace") as f:
            return f.read()

    def close(self):
        if self.sink:
            self.sink.terminate()
            self.sink.wait(30)
        if self.receiver:
            self.receiver.shutdown()
        shutil.rmtree(self.directory)


def record(command, fixture):
    """Keeps what the given Fluentd delivers."""
    run = Run(command, fixture)
    # Of several staged file_single chunks of one key Fluentd resumes one a start.
    for _ in range(12):
        run.start()
        isDrained = run.drained(8)
        run.stop()
        if isDrained: break
    if not isDrained: raise SystemExit("%s is not drained: %s\n%s" % (fixture, run.left(), run.daemon_log()))
    os.mkdir(fixture + "/expected")
    for name, content in run.outputs().items():
        with open(fixture + "/expected/" + name, "wb") as f:
            f.write(content)
    run.close()


def expected(fixture):
    return {name: open(fixture + "/expected/" + name, "rb").read() for name in os.listdir(fixture + "/expected")}


def recorded_events(fixture):
    total = 0
    for name, content in expected(fixture).items():
        total += b"".join(bytes.fromhex(b) for b in json.loads(content)).count(b"zpr") if name == "bodies.json" else content.count(b"\n")
    return total


passed, failed = 0, 0


def check(name, problem, detail=""):
    global passed, failed
    if problem:
        failed += 1
        print("FAIL %s: %s" % (name, problem), flush=True)
    else:
        passed += 1
        print("ok   %s%s" % (name, ": " + detail if detail else ""), flush=True)
    return not problem


def difference(got, want, ordered):
    """The same lines in the same files, and each tag's in the order they were sent, which Fluentd keeps within chunks only."""
    for name in sorted(set(got) | set(want)):
        a, b = got.get(name), want.get(name)
        if a is None or b is None: return "%s %s" % (name, "is missing" if a is None else "is not expected")
        if sorted(a.splitlines(True)) != sorted(b.splitlines(True)):
            return "%s differs: %d lines, %d of them once, %d wanted" % (name, a.count(b"\n"), len(set(a.splitlines())), b.count(b"\n"))
        last = {}
        for line in a.splitlines() if ordered and name != "bodies.json" else []:
            record = json.loads(line.split(b"\t")[-1])
            if record["i"] < last.get(record["tag"], -1): return "%s: the order is lost at %s %d" % (name, record["tag"], record["i"])
            last[record["tag"]] = record["i"]
    return ""


def take_over(agg, name, kills):
    fixture = os.path.join(FIXTURES, name)
    run = Run([agg], fixture, apart=kills > 0)
    before = len(run.left())
    if run.receiver and kills: run.receiver.is_closed = True
    run.start()
    for kill in range(kills):
        # At other moments each time: from before the directory is read to after the last chunk is gone.
        time.sleep(0.02 + 0.12 * kill)
        run.stop(signal.SIGKILL)
        run.start()
        if run.receiver and kill == kills // 2: run.receiver.is_closed = False
    isDrained = run.drained()
    run.stop()
    log = run.daemon_log()
    problem = "" if isDrained else "left over: %s" % run.left()
    problem = problem or difference(run.outputs(), expected(fixture), ordered="@type forward" not in open(fixture + "/run.conf").read())
    if not problem and "took over" not in log: problem = "nothing is said in the log"
    rest = [n for n in os.listdir(run.directory + "/buffer") if not n.startswith(".")] if os.path.isdir(run.directory + "/buffer") else []
    if not problem and rest: problem = "files remain: %s" % rest
    if not check(name + (", killed %d times" % kills if kills else ""), problem, "%d chunks, %d events" % (before, recorded_events(fixture))):
        print("".join("    " + line for line in log.splitlines(True)[-12:]))
    run.close()


def many(agg, copies, kills):
    """So many chunks that each kill falls between, or into, the delivery of two."""
    fixture = os.path.join(FIXTURES, "file-tag")
    run = Run([agg], fixture)
    for name in run.left():
        id = re.search(r"[bq]([0-9a-f]{32})", name).group(1)
        for n in range(1, copies):
            other = name.replace(id, id[:28] + "%04x" % n)
            for end in ("", ".meta"): shutil.copy(run.directory + "/buffer/" + name + end, run.directory + "/buffer/" + other + end)
    before, moments = len(run.left()), []
    for kill in range(kills):
        run.start()
        begun, left = time.monotonic(), len(run.left())
        while time.monotonic() - begun < 10 and len(run.left()) > left - before // (kills + 2): time.sleep(0.002)
        run.stop(signal.SIGKILL)
        moments.append(len(run.left()))
    run.start()
    isDrained = run.drained(60)
    run.stop()
    want = {name: b"".join(sorted(content.splitlines(True) * copies)) for name, content in expected(fixture).items()}
    got = {name: b"".join(sorted(content.splitlines(True))) for name, content in run.outputs().items()}
    problem = "" if isDrained else "left over: %d" % len(run.left())
    for name in want:
        if not problem and got.get(name) != want[name]: problem = "%s: %d lines, %d wanted" % (name, got.get(name, b"").count(b"\n"), want[name].count(b"\n"))
    if not check("file-tag x %d, killed %d times" % (copies, kills), problem, "%d chunks, %s left at the kills" % (before, moments)):
        print(run.daemon_log()[-3000:])
    run.close()


def resume(agg):
    """agg goes on where the pos_file says: what Fluentd had read does not come again, what was written since does."""
    fixture, directory = os.path.join(FIXTURES, "pos"), tempfile.mkdtemp(prefix="agg-takeover-")
    os.mkdir(directory + "/in")
    text = open(fixture + "/pos").read().replace("@DIR@", directory)
    want = []
    for name in ("a", "b"):
        path = "%s/in/%s.log" % (directory, name)
        shutil.copy("%s/%s.log" % (fixture, name), path)
        text = text.replace("INODE-" + name, "%016x" % os.stat(path).st_ino)
        want += ["%s later %d" % (name, i) for i in range(50)]
        with open(path, "a") as f:
            f.writelines("%s later %d\n" % (name, i) for i in range(50))
    # The file that was gone has come back under its name, and one is new: both are read from their beginning.
    for name in ("gone", "new"):
        want += ["%s again %d" % (name, i) for i in range(5)]
        with open("%s/in/%s.log" % (directory, name), "w") as f:
            f.writelines("%s again %d\n" % (name, i) for i in range(5))
    with open(directory + "/pos", "w") as f:
        f.write(text)
    with open(directory + "/agg.conf", "w") as f:
        f.write("""<source>
  @type tail
  path %(d)s/in/*.log
  pos_file %(d)s/pos
  tag t
  read_from_head true
  <parse>
    @type none
  </parse>
</source>
<match t>
  @type file
  path %(d)s/out
  append true
  <format>
    @type single_value
  </format>
  <buffer []>
    @type file
    path %(d)s/buffer
    flush_mode immediate
  </buffer>
</match>
<match **>
  @type null
</match>
""" % {"d": directory})
    log = open(directory + "/daemon", "ab")

    def got():
        try:
            return open(directory + "/out.log", encoding="utf-8").read().splitlines()
        except OSError:
            return []

    process = subprocess.Popen([agg, "-c", directory + "/agg.conf"], stdout=log, stderr=log)
    end = time.monotonic() + 20
    while time.monotonic() < end and len(got()) < len(want): time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # And Fluentd's pos_file is agg's: after a kill nothing comes again either.
    with open(directory + "/in/a.log", "a") as f:
        f.write("a last\n")
    want.append("a last")
    process = subprocess.Popen([agg, "-c", directory + "/agg.conf"], stdout=log, stderr=log)
    end = time.monotonic() + 20
    while time.monotonic() < end and len(got()) < len(want): time.sleep(0.05)
    time.sleep(0.5)
    process.terminate()
    process.wait(30)
    lines = got()
    problem = "" if sorted(lines) == sorted(want) else "%d lines of %d; missing %s, unexpected %s" % (
        len(lines), len(want), sorted(set(want) - set(lines))[:3], [l for l in lines if l not in want or lines.count(l) > 1][:3])
    for name in ("a", "b"):
        mine = [l for l in lines if l.startswith(name + " ")]
        if not problem and mine != [w for w in want if w.startswith(name + " ")]: problem = "the order of %s is lost" % name
    if not check("pos_file", problem, "%d lines after Fluentd's" % len(want)): print(open(directory + "/daemon").read()[-3000:])
    shutil.rmtree(directory)


def main():
    agg = os.path.abspath(sys.argv[1])
    only = sys.argv[2:]
    for name in sorted(os.listdir(FIXTURES)):
        if not os.path.isdir(os.path.join(FIXTURES, name, "expected")) or only and name not in only: continue
        for kills in (0, 6): take_over(agg, name, kills)
    if not only or "many" in only: many(agg, 100, 8)
    if not only or "pos" in only: resume(agg)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
