#!/usr/bin/env python3
"""The command line and the control interface of a whole daemon: agg check and its status, --dry-run, rpc_endpoint, with_source_only
over a kill, without_source, config_include_dir, file permissions.

Usage: control.py AGG.  Exit status 1 when anything is not as expected. Python 3 standard library only."""
import json, os, shutil, signal, socket, stat, subprocess, sys, tempfile, time, urllib.error, urllib.request
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

agg = os.path.abspath(sys.argv[1])
failures = []

def expect(what, got, wanted):
    if got != wanted:
        failures.append(what)
        print("FAIL %s: got %r, wanted %r" % (what, got, wanted))
    else:
        print("ok   %s" % what)

def until(what, condition, timeout=30):
    end = time.time() + timeout
    while time.time() < end:
        if condition():
            print("ok   %s" % what)
            return True
        time.sleep(0.05)
    failures.append(what)
    print("FAIL %s: never came true" % what)
    return False


def run(*args):
    done = subprocess.run([agg, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stdout, done.stderr

class Place:
    """A folder with a configuration, and the daemons started there."""
    def __init__(self, conf, **values):
        self.d = tempfile.mkdtemp(prefix="agg-control-")
        self.daemon = None
        self.write("agg.conf", conf, **values)
    def write(self, name, text, **values):
        for key, value in {"D": self.d, **values}.items():
            text = text.replace("@%s@" % key, str(value))
        with open(self.d + "/" + name, "w") as f:
            f.write(text)
    def start(self, *args):
        self.daemon = subprocess.Popen([agg, "-c", self.d + "/agg.conf", *args], stderr=open(self.d + "/log", "ab"))
        count = self.log().count("agg is running")
        until("the daemon runs", lambda: self.log().count("agg is running") > count or self.daemon.poll() is not None)
        return self
    def log(self):
        try:
            return open(self.d + "/log").read()
        except OSError:
            return ""
    def text(self, name):
        try:
            return open(self.d + "/" + name).read()
        except OSError:
            return ""
    def stop(self, number=signal.SIGTERM):
        if self.daemon.poll() is None:
            self.daemon.send_signal(number)
        return self.daemon.wait(timeout=60)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        shutil.rmtree(self.d, ignore_errors=True)

def send(port, text):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(text.encode())

def taken(port, text):
    """Sends, and waits until the daemon has taken it: it ends the connection then."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        s.sendall(text.encode())
        s.shutdown(socket.SHUT_WR)
        while s.recv(100):
            pass

def get(port, path, headers={}):
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())

def commands():
    good = "<source>\n  @type sample\n  tag a\n</source>\n<match a>\n  @type null\n</match>\n"
    with Place(good) as place:
        path = place.d + "/agg.conf"
        code, out, err = run("check", path)
        expect("a valid file: status", code, 0)
        expect("a valid file: the last line", out.splitlines()[-1], path + ": valid")
        expect("a valid file: nothing on standard error", err, "")
        expect("--dry-run of a valid file", run("-c", path, "--dry-run")[0], 0)

        place.write("agg.conf", good + "<match a>\n  @type stdout\n</match>\n")
        code, out, err = run("check", path)
        expect("warnings do not fail", (code, out.splitlines()[-1]), (0, path + ": valid, 1 warning"))
        expect("a warning has its line", err.startswith(path + ":8: warning: <match a> is never reached: <match a> at " + path + ":5"), True)
        expect("warnings fail with --strict", run("check", "--strict", path)[0], 1)

        place.write("agg.conf", good.replace("tag a", "tag a\n  sise 2"))
        code, out, err = run("check", path)
        expect("an unknown parameter fails", code, 1)
        expect("an unknown parameter has its line", err.splitlines()[0], path + ":4: unknown parameter 'sise'; did you mean 'size'?")
        expect("and is a warning when running", run("-c", path, "--dry-run")[0], 0)

        place.write("agg.conf", good.replace("null", "elasticsearch"))
        code, _, err = run("check", path)
        expect("a plugin that is not here fails", (code, ":6: the output plugin 'elasticsearch'" in err), (1, True))
        expect("--dry-run fails too", run("-c", path, "--dry-run")[0], 1)

        place.write("agg.conf", good + "<match x>\n  @type http\n  endpoint http://me:hunter2@127.0.0.1/\n  <auth>\n    username u\n    password sesame\n  </auth>\n</match>\n")
        _, out, _ = run("check", "--dump", path)
        expect("--dump shows no secrets", ("xxxxxx" in out, "hunter2" in out, "sesame" in out), (True, False, False))

RPC = """
<system>
  rpc_endpoint 127.0.0.1:@RPC@
  enable_get_dump true
</system>
<source>
  @type tcp
  bind 127.0.0.1
  port @TCP@
  tag t
  <parse>
    @type none
  </parse>
</source>
<match t>
  @type file
  path @D@/out
  append true
  <format>
    @type single_value
  </format>
  <buffer []>
    path @D@/buffer
    flush_interval 1h
  </buffer>
</match>
<match x>
  @type forward
  <security>
    self_hostname me
    shared_key sesame
  </security>
  <server>
    host 127.0.0.1
  </server>
</match>
"""

def rpc():
    rpc_port, tcp_port = free_port(), free_port()
    with Place(RPC, RPC=rpc_port, TCP=tcp_port).start() as place:
        status, answer = get(rpc_port, "/api/config.getDump")
        expect("getDump answers", (status, answer.get("ok"), answer["conf"].startswith("<ROOT>\n  <system>\n")), (200, True, True))
        expect("getDump shows no secrets", ("shared_key xxxxxx" in answer["conf"], "sesame" in answer["conf"]), (True, False))
        expect("an unknown path", get(rpc_port, "/api/nothing")[0], 404)
        expect("a page of a browser", get(rpc_port, "/api/processes.killWorkers", {"Origin": "http://example.com"})[0], 403)
        expect("a name that was made to point here", get(rpc_port, "/api/processes.killWorkers", {"Host": "example.com"})[0], 403)

        send(tcp_port, "one\n")
        until("the event is in the buffer", lambda: any(n.startswith("buffer.b") and n.endswith(".agg") for n in os.listdir(place.d + "/buffer")))
        expect("flushBuffers answers", get(rpc_port, "/api/plugins.flushBuffers"), (200, {"ok": True}))
        until("flushBuffers delivers", lambda: place.text("out.log") == "one\n")

        for name in ("config.reload", "config.gracefulReload", "processes.zeroDowntimeRestart"):
            before = place.log().count("reloaded")
            expect(name + " answers", get(rpc_port, "/api/" + name), (200, {"ok": True}))
            until(name + " reloads", lambda: place.log().count("reloaded") > before)
        expect("config.dump answers", get(rpc_port, "/api/config.dump"), (200, {"ok": True}))
        until("config.dump logs, without secrets", lambda: "shared_key xxxxxx" in place.log() and "sesame" not in place.log())

        moved = free_port()
        place.write("agg.conf", RPC.replace("enable_get_dump true", "enable_get_dump false"), RPC=moved, TCP=tcp_port)
        get(rpc_port, "/api/config.reload")
        def listens():
            try:
                return get(moved, "/api/config.getDump")[0] == 404
            except OSError:
                return False
        until("a reload moves the endpoint, and getDump is off", listens)

        send(tcp_port, "two\n")
        until("another event is in the buffer", lambda: any(n.startswith("buffer.b") and n.endswith(".agg") for n in os.listdir(place.d + "/buffer")))
        expect("flushBuffersAndKillWorkers answers", get(moved, "/api/processes.flushBuffersAndKillWorkers"), (200, {"ok": True}))
        expect("it ends the daemon", place.daemon.wait(timeout=60), 0)
        expect("it delivers first", place.text("out.log"), "one\ntwo\n")
    for name in ("killWorkers", "interruptWorkers"):
        with Place(RPC, RPC=rpc_port, TCP=tcp_port).start() as place:
            expect(name + " answers", get(rpc_port, "/api/processes." + name), (200, {"ok": True}))
            expect(name + " ends the daemon", place.daemon.wait(timeout=60), 0)
    with Place("<system>\n  rpc_endpoint nonsense\n</system>\n" + RPC, RPC=rpc_port, TCP=tcp_port) as place:
        code, _, err = run("check", place.d + "/agg.conf")
        expect("an endpoint that is none", (code, ":2: 'rpc_endpoint' must be HOST:PORT" in err), (1, True))

SOURCES = """
<system>
  root_dir @D@/state
</system>
<source>
  @type tcp
  bind 127.0.0.1
  port @A@
  tag a
  <parse>
    @type none
  </parse>
</source>
<source>
  @type tcp
  bind 127.0.0.1
  port @B@
  tag b
  @label @L
  <parse>
    @type none
  </parse>
</source>
<match a>
  @type file
  path @D@/a
  append true
  <format>
    @type single_value
  </format>
  <buffer []>
    @type memory
    flush_mode immediate
  </buffer>
</match>
<label @L>
  <match **>
    @type file
    path @D@/b
    append true
    <format>
      @type single_value
    </format>
    <buffer []>
      @type memory
      flush_mode immediate
    </buffer>
  </match>
</label>
"""

def kept(place, label):
    try:
        return sum(os.path.getsize(os.path.join(place.d, "state/source-only-buffer", label, n)) for n in os.listdir(place.d + "/state/source-only-buffer/" + label))
    except OSError:
        return 0

def source_only():
    a, b = free_port(), free_port()
    with Place(SOURCES, A=a, B=b).start("--with-source-only") as place:
        taken(a, "a1\n")
        taken(b, "b1\n")
        until("both labels keep their events", lambda: kept(place, "ROOT") > 0 and kept(place, "L") > 0)
        place.stop(signal.SIGKILL)
        place.start("--with-source-only")
        before = kept(place, "ROOT"), kept(place, "L")
        taken(a, "a2\n")
        taken(b, "b2\n")
        until("they go on after a kill", lambda: kept(place, "ROOT") > before[0] and kept(place, "L") > before[1])
        expect("nothing is delivered", (place.text("a.log"), place.text("b.log")), ("", ""))
        place.daemon.send_signal(signal.SIGWINCH)
        until("SIGWINCH delivers all of it", lambda: place.text("a.log") == "a1\na2\n" and place.text("b.log") == "b1\nb2\n")
        def through():
            try:
                send(a, "a3\n")
                return True
            except OSError:
                return False
        until("the source listens", through)
        until("events go through", lambda: "a3" in place.text("a.log"))
        place.daemon.send_signal(signal.SIGWINCH)
        expect("it ends in order", place.stop(), 0)
        expect("nothing came twice", sorted(place.text("a.log").split() + place.text("b.log").split()), ["a1", "a2", "a3", "b1", "b2"])
    with Place(SOURCES, A=a, B=b).start("--with-source-only") as place:
        send(b, "b1\n")
        until("an event is kept", lambda: kept(place, "L") > 0)
        expect("it stops in order", place.stop(), 0)
        place.start()
        until("an ordinary start delivers what was kept", lambda: place.text("b.log") == "b1\n")
        place.stop()
    with Place(SOURCES.replace("root_dir @D@/state", "with_source_only true"), A=a, B=b) as place:
        code, _, err = run("-c", place.d + "/agg.conf", "--dry-run")
        expect("without root_dir it does not start", (code, "with_source_only needs <system> root_dir" in err), (1, True))

def rest():
    a, b = free_port(), free_port()
    with Place(SOURCES, A=a, B=b).start("--without-source") as place:
        with socket.socket() as s:
            expect("without_source nothing listens", s.connect_ex(("127.0.0.1", a)) != 0, True)
        place.stop()

    conf = "<system>\n  config_include_dir @D@/conf.d\n  file_permission 0606\n  dir_permission 0707\n</system>\n"
    with Place(conf + "<source>\n  @type tcp\n  bind 127.0.0.1\n  port @A@\n  tag t\n  <parse>\n    @type none\n  </parse>\n</source>\n", A=a) as place:
        os.makedirs(place.d + "/conf.d/more")
        place.write("conf.d/more/out.conf",
            "<match t>\n  @type file\n  path @D@/new/out\n  append true\n  <buffer []>\n    path @D@/buffer\n    flush_mode immediate\n  </buffer>\n</match>\n")
        place.write("conf.d/notes.txt", "this is no configuration\n")
        place.start()
        send(a, "x\n")
        until("a file under config_include_dir is read", lambda: place.text("new/out.log").endswith("\n"))
        mode = lambda name: stat.S_IMODE(os.stat(place.d + "/" + name).st_mode)
        expect("file_permission is meant as it stands", oct(mode("new/out.log")), oct(0o606))
        expect("dir_permission is meant as it stands", (oct(mode("new")), oct(mode("buffer"))), (oct(0o707), oct(0o707)))
        place.stop()
        place.write("agg.conf", conf.replace("conf.d", "none") + "<source>\n  @type sample\n  tag a\n</source>\n<match a>\n  @type null\n</match>\n")
        code, _, err = run("check", place.d + "/agg.conf")
        expect("a directory that is not there", (code, ":2: 'config_include_dir': " in err), (1, True))

for part in (commands, rpc, source_only, rest):
    part()
print("%d failed" % len(failures))
sys.exit(1 if failures else 0)
