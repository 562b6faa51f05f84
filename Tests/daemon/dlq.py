#!/usr/bin/env python3
"""Dead letters and chunks of a whole daemon: agg dlq list, show, replay, drop and agg buffer list, show, verify, export, on running and
stopped daemons, over kills, with a real server that refuses.

Usage: dlq.py AGG.  Exit status 1 when anything is not as expected. Python 3 standard library only."""
import collections, glob, http.server, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crash"))
from daemon import Daemon  # noqa: E402
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

agg = os.path.abspath(sys.argv[1])
here = os.path.dirname(os.path.abspath(__file__))
failures = []

def expect(what, got, wanted):
    if got != wanted:
        failures.append(what)
        print("FAIL %s: got %r, wanted %r" % (what, got, wanted))
    else:
        print("ok   %s" % what)

def until(what, condition, timeout=60):
    end = time.time() + timeout
    while time.time() < end:
        if condition():
            print("ok   %s" % what)
            return True
        time.sleep(0.05)
    failures.append(what)
    print("FAIL %s: never came true" % what)
    return False


def run(*args, status=0):
    done = subprocess.run([agg, *args], capture_output=True, timeout=120)
    if done.returncode != status:
        failures.append(" ".join(args))
        print("FAIL agg %s: status %d: %s%s" % (" ".join(args), done.returncode, done.stdout[-500:], done.stderr[-1000:]))
    return done.stdout.decode()

def lines(*args, status=0):
    return [json.loads(line) for line in run(*args, status=status).splitlines()]

class Server:
    """Takes JSON lines, each key once; answers what `judge` says of the body."""
    def __init__(self):
        self.judge = lambda body: 200
        self.taken = {}
        self.lock = threading.Lock()
        outer = self
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.judge(body)
                if status == 200:
                    with outer.lock:
                        outer.taken.setdefault(self.headers["Idempotency-Key"], body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
    def numbers(self):
        with self.lock:
            return collections.Counter(int(n) for body in self.taken.values() for n in re.findall(rb'"n":(\d+)', body))

CONF = """
<system>
  @SYSTEM@
</system>
<source>
  @type http
  @id in
  bind 127.0.0.1
  port @IN@
</source>
<source>
  @type monitor_agent
  bind 127.0.0.1
  port @MONITOR@
</source>
<match fluent.**>
  @type null
</match>
<match **>
  @type http
  @id out
  endpoint http://127.0.0.1:@SERVER@/
  <buffer tag>
    @BUFFER@
    flush_mode immediate
    retry_type periodic
    retry_wait 0.05
    @MORE@
  </buffer>
</match>
"""

class Place:
    all = []
    def __init__(self, buffer="@type file\n    path @D@/buffer", more="retry_max_times 2", system=""):
        self.d = tempfile.mkdtemp(prefix="agg-dlq-")
        Place.all.append(self)
        self.server = Server()
        self.port, self.monitor = free_port(), free_port()
        self.conf = self.d + "/agg.conf"
        self.daemon = None
        self.write(buffer, more, system)
    def write(self, buffer="@type file\n    path @D@/buffer", more="retry_max_times 2", system=""):
        text = CONF
        for name, value in [("BUFFER", buffer), ("MORE", more), ("SYSTEM", system), ("D", self.d), ("IN", self.port), ("MONITOR", self.monitor), ("SERVER", self.server.port)]:
            text = text.replace("@%s@" % name, str(value))
        open(self.conf, "w").write(text)
    def start(self, dying_at=None):
        """`dying_at`: a fault point, which may come before it says that it runs."""
        self.daemon = Daemon(agg, self.conf, self.d + "/log")
        if dying_at:
            self.daemon.arm(dying_at, 1)
            return self
        if not self.daemon.wait_running():
            raise SystemExit("does not start: " + self.daemon.text()[-3000:])
        return self
    def send(self, tag, records):
        request = urllib.request.Request("http://127.0.0.1:%d/%s" % (self.port, tag), json.dumps(records).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=30).read()
    def ledger(self):
        page = json.load(urllib.request.urlopen("http://127.0.0.1:%d/ledger.json" % self.monitor, timeout=30))
        return next(p for p in page["plugins"] if (p.get("plugin_id") or p.get("id")) == "out")
    def balance(self):
        """offered + recovered - delivered - buffered - dropped - dead-lettered, and the row."""
        row = self.ledger()
        dropped = row.get("dropped") or {}
        return row["offered"] + row["recovered"] - row["delivered"] - row["buffered"] - sum(dropped.values()) - row["dead_lettered"], row
    def letters(self, *args):
        return lines("dlq", "show", "-c", self.conf, *args)
    def end(self):
        if self.daemon:
            self.daemon.close()
            self.daemon = None
        shutil.rmtree(self.d, ignore_errors=True)

def refused_and_back():
    place = Place().start()
    place.server.judge = lambda body: 400 if b'"bad"' in body else 503 if b'"down"' in body else 200
    evil = "\x1b]0;owned\x07\x9b31m\u202etxt\x7f"
    place.send("good", [{"n": n} for n in range(10)])
    place.send("bad", [{"n": n, "k": "bad", "m": evil} for n in range(10, 15)])
    place.send("down", [{"n": n, "k": "down"} for n in range(15, 20)])
    until("what is refused, and what is retried in vain, become dead letters", lambda: place.ledger()["dead_lettered"] == 10)
    expect("the rest is delivered", sorted(place.server.numbers()), list(range(10)))
    left, row = place.balance()
    expect("the ledger balances", (left, row["offered"], row["delivered"], row["buffered"]), (0, 20, 10, 0))
    metrics = urllib.request.urlopen("http://127.0.0.1:%d/metrics" % place.monitor).read().decode()
    expect("so do the metrics", re.findall(r'agg_output_dead_lettered_events_total\{[^}]*"out"[^}]*\} (\d+)', metrics), ["10"])
    shown = place.letters()
    expect("each is shown with its event", sorted(s["record"]["n"] for s in shown), list(range(10, 20)))
    expect("and with reason, status and tag", sorted({(s["tag"], s["reason"], s["status"]) for s in shown}), [("bad", "http_400", 400), ("down", "retry_exhausted", 503)])
    expect("the time is today's", all(s["given_up"][:4] >= "2024" for s in shown), True)
    expect("attempts are counted", {s["tag"]: s["attempts"] for s in shown}, {"bad": 1, "down": 3})
    expect("keys are unique", len({(s["chunk"], s["index"]) for s in shown}), 10)
    raw = subprocess.run([agg, "dlq", "show", "-c", place.conf], capture_output=True).stdout
    expect("the text is as it was", next(s["record"]["m"] for s in shown if s["tag"] == "bad"), evil)
    expect("and nothing in it reaches a terminal", [c for c in raw.decode() if (ord(c) < 32 and c != "\n") or 0x7f <= ord(c) < 0xa0 or c == "\u202e"], [])
    listed = lines("dlq", "list", "--json", "-c", place.conf)
    expect("list has a line a chunk", sorted((l["events"], l["reasons"][0]) for l in listed), [(5, "http_400"), (5, "retry_exhausted")])
    expect("list is readable", "10 events of 2 chunks" in run("dlq", "list", "-c", place.conf), True)
    expect("a directory does as well", len(lines("dlq", "show", place.d + "/buffer")), 10)
    expect("a filter", [s["record"]["n"] for s in place.letters("--status", "400", "--tag", "b*", "-n", "2")], [10, 11])
    run("dlq", "drop", "-c", place.conf, status=64)
    # Drop, running.
    key = "%s:%d" % next((s["chunk"], s["index"]) for s in shown if s["record"]["n"] == 12)
    out = run("dlq", "drop", "-c", place.conf, "--letter", key)
    expect("one is dropped by the running daemon", (out.strip(), len(place.letters())), ("out: 1 event dropped", 9))
    # Replay, running: the server still refuses some.
    out = lines("dlq", "replay", "-c", place.conf, "--all", "--json")
    expect("all are replayed", out, [{"output": "out", "replayed": 9, "left": 0}])
    until("and are refused again", lambda: place.ledger()["dead_lettered"] == 19)
    expect("under new keys, each once", sorted(s["record"]["n"] for s in place.letters()), [10, 11, 13, 14, 15, 16, 17, 18, 19])
    left, row = place.balance()
    expect("the ledger balances", (left, row["offered"], row["replayed"]), (0, 29, 9))
    place.server.judge = lambda body: 400 if b'"bad"' in body else 200
    run("dlq", "replay", "-c", place.conf, "--reason", "retry_exhausted")
    until("what the destination takes now is delivered", lambda: sorted(place.server.numbers()) == list(range(10)) + list(range(15, 20)))
    expect("the others stay", sorted(s["record"]["n"] for s in place.letters()), [10, 11, 13, 14])
    # Stopped.
    expect("it stops", place.daemon.stop(), 0)
    expect("list, stopped", sum(l["events"] for l in lines("dlq", "list", "--json", "-c", place.conf)), 4)
    before = {p: os.stat(p).st_mode for p in glob.glob(place.d + "/buffer/*dead_letters/letters.*")}
    run("dlq", "drop", "-c", place.conf, "--letter", "%s:%d" % next((s["chunk"], s["index"]) for s in place.letters() if s["record"]["n"] == 10))
    expect("drop, stopped", sorted(s["record"]["n"] for s in place.letters()), [11, 13, 14])
    expect("permissions stay", {p: os.stat(p).st_mode for p in glob.glob(place.d + "/buffer/*dead_letters/letters.*")}.items() <= before.items(), True)
    out = run("dlq", "replay", "-c", place.conf, "--all")
    expect("replay, stopped, is done at the next start", "when it starts" in out, True)
    place.server.judge = lambda body: 200
    place.start()
    until("it is", lambda: sorted(place.server.numbers()) == list(range(10)) + [11, 13, 14] + list(range(15, 20)))
    until("no letter is left", lambda: place.letters() == [])
    expect("nothing came twice", max(place.server.numbers().values()), 1)
    until("nor a request", lambda: glob.glob(place.d + "/buffer/*dead_letters/*.request") == [])
    place.end()

def kills():
    """Killed at each of the points, with many letters of few chunks."""
    place = Place(more="retry_max_times 1\n    chunk_limit_records 1000").start()
    place.server.judge = lambda body: 400
    sent, answered = 0, set()
    for point in ["tornLetter", "dlq", None]:
        if point:
            place.daemon.arm(point, 2)
        for _ in range(10):
            numbers = range(sent, sent + 1000)
            sent += 1000
            try:
                place.send("t", [{"n": n} for n in numbers])
                answered.update(numbers)
            except OSError:
                break
        if point:
            until("killed at %s" % point, lambda: not place.daemon.is_alive())
            place.start()
    until("all are dead letters", lambda: place.ledger()["buffered"] == 0)
    there = collections.Counter(s["record"]["n"] for s in place.letters())
    expect("each is one, once", (max(there.values()), answered - set(there)), (1, set()))
    expect("and none is delivered", place.server.numbers(), {})
    place.server.judge = lambda body: 200
    place.daemon.arm("replayed", 1)
    run("dlq", "replay", "-c", place.conf, "--all", "--wait", "0")
    # Armed before it begins: what is left is soon replayed.
    for point in ["replayed", "replayed", None]:
        until("killed at replayed", lambda: not place.daemon.is_alive())
        place.start(dying_at=point)
    until("all letters are gone", lambda: glob.glob(place.d + "/buffer/*dead_letters/*.request") == [])
    until("all are delivered", lambda: place.ledger()["buffered"] == 0 and len(place.server.numbers()) == len(there))
    expect("each once", place.server.numbers(), there)
    expect("no letter is left", place.letters(), [])
    place.end()

def reloads():
    """Letters are kept, shown and replayed after a reload that leaves their output running and after one that exchanges it."""
    place = Place().start()
    n = 0
    for what, more in [("runs on", "retry_max_times 2"), ("is exchanged", "retry_max_times 3"), ("runs on beside a new one", "retry_max_times 3")]:
        place.server.judge = lambda body: 400
        place.send("t", [{"n": i} for i in range(n, n + 5)])
        until("letters before", lambda: len(place.letters()) == 5)
        place.write(more=more)
        if "beside" in what:
            text = open(place.conf).read()
            open(place.conf, "w").write("<match other>\n  @type null\n</match>\n" + text)
        before = place.daemon.text().count("reloaded;")
        place.daemon.process.send_signal(signal.SIGHUP)
        until("a reload: the output %s" % what, lambda: place.daemon.text().count("reloaded;") > before)
        expect("the letters are there", sorted(s["record"]["n"] for s in place.letters()), list(range(n, n + 5)))
        place.send("t", [{"n": i} for i in range(n + 5, n + 10)])
        until("and new ones beside them", lambda: sorted(s["record"]["n"] for s in place.letters()) == list(range(n, n + 10)))
        place.server.judge = lambda body: 200
        out = lines("dlq", "replay", "-c", place.conf, "--all", "--json")
        expect("they are replayed", out, [{"output": "out", "replayed": 10, "left": 0}])
        n += 10
        until("and delivered", lambda: len(place.server.numbers()) == n)
    expect("each once", place.server.numbers(), dict.fromkeys(range(n), 1))
    place.end()

def full():
    place = Place(more="retry_max_times 1\n    dead_letter_limit_size 3k").start()
    place.server.judge = lambda body: 400 if b'"bad"' in body else 200
    place.send("bad", [{"n": n, "k": "bad"} for n in range(20)])
    until("the first fit", lambda: place.ledger()["dead_lettered"] == 20)
    place.send("bad", [{"n": n, "k": "bad"} for n in range(20, 40)])
    until("the second do not: their chunk stays", lambda: place.ledger().get("dead_letters_refused", 0) >= 1)
    place.send("good", [{"n": n} for n in range(40, 50)])
    until("others go on", lambda: sorted(place.server.numbers()) == list(range(40, 50)))
    left, row = place.balance()
    expect("the ledger balances", (left, row["buffered"], row["dead_lettered"], row.get("dropped") or {}), (0, 20, 20, {}))
    expect("it is said once", place.daemon.text().count("the dead letters are full"), 1)
    run("dlq", "drop", "-c", place.conf, "--all")
    until("with room they go in", lambda: sorted(s["record"]["n"] for s in place.letters()) == list(range(20, 40)))
    # Of a chunk that is delivered but for some, only those wait; a restart does not lose them either.
    place.end()

def places():
    place = Place(buffer="@type memory").start()
    place.server.judge = lambda body: 400
    place.send("t", [{"n": 1}])
    until("without a place they are dropped", lambda: sum((place.ledger().get("dropped") or {}).values()) == 1)
    expect("and check says so", "given up: dropped and counted; root_dir or dead_letter_path" in run("check", place.conf), True)
    expect("and there are none", run("dlq", "list", "-c", place.conf).strip(), "no dead letters")
    place.daemon.stop()
    for system, directory in [("root_dir @D@/state", "/state/worker0/out/dead_letters"), ("root_dir @D@/state\n  dead_letter_path @D@/dead", "/dead/worker0/out/dead_letters")]:
        place.write(buffer="@type memory", system=system)
        expect("check names the place", "given up: dead letters in %s%s" % (place.d, directory) in run("check", place.conf), True)
        place.start()
        place.send("t", [{"n": 2}, {"n": 3}])
        until("with a memory buffer they are kept under it", lambda: len(place.letters()) == 2)
        expect("there", len(glob.glob(place.d + directory + "/letters.*.agg")), 1)
        place.daemon.kill()
        expect("they survive a kill", len(place.letters()), 2)
        place.start()
        place.server.judge = lambda body: 200
        before = len(place.server.taken)
        run("dlq", "replay", "-c", place.conf, "--all")
        until("they are replayed", lambda: len(place.server.taken) > before and place.letters() == [])
        place.server.judge = lambda body: 400
        place.daemon.stop()
    place.write(more="disable_chunk_backup true")
    expect("disable_chunk_backup drops", "given up: dropped and counted\n" in run("check", place.conf), True)
    place.end()

def buffers():
    place = Place(more="retry_forever true\n    chunk_limit_records 50").start()
    place.server.judge = lambda body: 503
    for n in range(0, 200, 50):
        place.send("app.a", [{"n": i, "m": "\x1b[31m"} for i in range(n, n + 50)])
    until("events wait", lambda: place.ledger()["buffered"] == 200)
    for state in ["running", "stopped"]:
        listed = lines("buffer", "list", "--json", "-c", place.conf)
        expect("list, " + state, (sum(l["events"] for l in listed), {l["key"] for l in listed}, {l["output"] for l in listed}), (200, {"tag=app.a"}, {"out"}))
        expect("by directory, " + state, sum(l["events"] for l in lines("buffer", "list", "--json", place.d + "/buffer")), 200)
        expect("list is readable", "200 events" in run("buffer", "list", "-c", place.conf), True)
        shown = lines("buffer", "show", "-c", place.conf)
        expect("show, " + state, (sorted(s["record"]["n"] for s in shown), {s["tag"] for s in shown}), (list(range(200)), {"app.a"}))
        expect("no control byte", "\x1b" in run("buffer", "show", "-c", place.conf), False)
        expect("at most so many", len(lines("buffer", "show", "-c", place.conf, "-n", "7")), 7)
        expect("verify, " + state, "sound" in run("buffer", "verify", "-c", place.conf), True)
        expect("export, " + state, sorted(s["record"]["n"] for s in lines("buffer", "export", "-c", place.conf)), list(range(200)))
        if state == "running":
            place.daemon.kill()
    # Into another agg, as forward and as messages of one event.
    port = free_port()
    other = place.d + "/other.conf"
    open(other, "w").write("<source>\n@type forward\nbind 127.0.0.1\nport %d\n</source>\n<match **>\n@type file\npath %s/other/${tag}\nappend true\n<format>\n@type json\n</format>\n<buffer tag>\n@type memory\nflush_mode immediate\n</buffer>\n</match>\n" % (port, place.d))
    second = Daemon(agg, other, place.d + "/other.log")
    second.wait_running()
    for form in ["forward", "msgpack"]:
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(subprocess.run([agg, "buffer", "export", "-f", form, "-c", place.conf], capture_output=True, check=True).stdout)
    def arrived():
        try:
            return collections.Counter(json.loads(l)["n"] for l in open(place.d + "/other/app.a.log"))
        except OSError:
            return {}
    until("a forward input takes both", lambda: arrived() == {n: 2 for n in range(200)})
    second.close()
    # Damage.
    path = sorted(p for p in glob.glob(place.d + "/buffer/*.agg") if ".commit" not in p)[0]
    data = bytearray(open(path, "rb").read())
    data[data.find(b"\xa1n") + 1] ^= 0xff
    open(path, "wb").write(data)
    out = run("buffer", "verify", "-c", place.conf, status=1)
    expect("damage is found with its range", bool(re.search(re.escape(path) + r": bytes \d+\.\.<\d+: the checksum of a frame does not match \(50 events\)", out)), True)
    open(path, "wb").write(bytes(data[:60]) + os.urandom(200))
    run("buffer", "verify", place.d + "/buffer", status=1)
    found = [d for l in lines("buffer", "verify", "--json", place.d + "/buffer", status=1) for d in l.get("damage", [])]
    expect("as JSON", [d["to"] for d in found], [260])
    place.server.judge = lambda body: 200
    place.start()
    until("the rest is delivered", lambda: place.ledger()["buffered"] == 0)
    place.end()
    # Fluentd's own chunks.
    for name, count in [("file-tag", 65), ("http-lines", 65)]:
        folder = os.path.join(here, "..", "fixtures", "fluentd", name, "buffer")
        listed = lines("buffer", "list", "--json", folder)
        expect("Fluentd's chunks are listed: " + name, ({l["format"] for l in listed}, sum(l["events"] for l in listed)), ({"fluentd"}, count))
        run("buffer", "verify", folder)
    exported = lines("buffer", "export", os.path.join(here, "..", "fixtures", "fluentd", "forward-tag", "buffer"))
    expect("and exported", (len(exported), {e["tag"] for e in exported}), (65, {"app.a", "app.b"}))

for test in [refused_and_back, kills, reloads, full, places, buffers]:
    if len(sys.argv) > 2 and sys.argv[2] != test.__name__:
        continue
    print("-- %s" % test.__name__)
    try:
        test()
    except Exception as error:
        import traceback
        traceback.print_exc()
        failures.append(test.__name__)
for place in Place.all:
    place.end()
print("%d failed: %s" % (len(failures), failures) if failures else "all as expected")
sys.exit(1 if failures else 0)
