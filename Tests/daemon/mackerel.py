#!/usr/bin/env python3
"""agg in place of mackerel-agent, end to end: registration, plugins, checks, metadata, status, retirement, a copied image, clouds, the
commands, and an outage of a day with two kills in it.

The server is a stand-in (mackerel_server.py), written from the API's documents, because nothing real can be installed.

Usage: mackerel.py AGG [NAME...].  Exit status 1 when something is missing, comes twice or out of order. Python 3 standard library; the
outage needs libfaketime (Debian: faketime)."""
import hashlib, http.server, json, os, signal, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults"))
from clock import Clock
from mackerel_server import KEY, Server

agg = os.path.abspath(sys.argv[1])
only = sys.argv[2:]
WAIT = 60
root = tempfile.mkdtemp(prefix="agg-mackerel-")


class Api:
    """The stand-in, and what a test asks of it."""

    def __init__(self):
        self.server = Server()
        self.base = "http://127.0.0.1:%d/" % self.server.server_address[1]
        self.store = self.server.store
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def call(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, method=method, headers={"X-Api-Key": KEY})
        if body is not None: request.data = json.dumps(body).encode()
        return json.load(urllib.request.urlopen(request))

    def hosts(self, query="?status=working&status=standby&status=maintenance&status=poweroff"): return self.call("GET", "api/v0/hosts" + query)["hosts"]
    def calls(self, text): return [c for c in list(self.store.calls) if text in " ".join(c)]


class Daemon:
    def __init__(self, folder, conf, env={}, prefix=[]):
        os.makedirs(folder, exist_ok=True)
        open(folder + "/agg.conf", "w").write(conf)
        self.folder, self.env, self.prefix = folder, dict(os.environ, **env), prefix
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.prefix + [agg, "-c", self.folder + "/agg.conf"], stdout=open(self.folder + "/log", "ab"), stderr=subprocess.STDOUT, env=self.env)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None: self.process.send_signal(how)
        return self.process.wait(60)

    def log(self): return open(self.folder + "/log", errors="replace").read()


def until(what, condition, daemon=None):
    end = time.time() + WAIT
    while time.time() < end:
        try:
            if condition(): return
        except (OSError, KeyError, IndexError): pass  # not yet
        time.sleep(0.05)
    raise AssertionError("never came true: %s\n%s" % (what, daemon.log()[-3000:] if daemon else ""))


def check(condition, what):
    if not condition: raise AssertionError(what)


def output(api, folder, host="<host>\n    cloud_platform none\n  </host>", more="", pattern="m mackerel.**", id="out"):
    return """
<match %s>
  @type mackerel
  @id %s
  api_key %s
  apibase %s
  hostid_path %s/id
  %s
  %s
  <buffer>
    @type file
    path %s/buffer-%s
    flush_interval 0.2
    retry_wait 0.1
    retry_max_interval 0.5
  </buffer>
</match>
""" % (pattern, id, KEY, api.base, folder, host, more, folder, id)


def metrics_file(folder, tag="m"):
    return """
<source>
  @type tail
  path %s/in.log
  pos_file %s/pos
  tag %s
  read_from_head true
  refresh_interval 1s
  <parse>
    @type json
    time_key t
    time_type unixtime
  </parse>
</source>
""" % (folder, folder, tag)


# The cases

def whole_host():
    """Everything that mackerel-agent does for a host, then the daemon's end."""
    api, d = Api(), root + "/whole"
    os.makedirs(d)
    open(d + "/state", "w").write("0")
    plugin = d + "/plugin"
    open(plugin, "w").write("""#!/bin/sh
if [ "$MACKEREL_AGENT_PLUGIN_META" = 1 ]; then
  echo '# mackerel-agent-plugin'
  echo '{"graphs":{"dice":{"label":"My Dice","unit":"integer","metrics":[{"name":"d6","label":"Die (d6)"},{"name":"d20","label":"Die (d20)"}]}}}'
else
  printf 'dice.d6\\t3\\t1397031808\\ndice.d20\\t17\\t1397031808\\n'
fi
""")
    os.chmod(plugin, 0o755)
    conf = """
<source>
  @type mackerel_plugin
  command %(d)s/plugin
  interval 1s
</source>
<source>
  @type mackerel_plugin
  command sleep 1000
  interval 1s
  timeout 1s
</source>
<source>
  @type mackerel_check
  name state
  command cat %(d)s/state; exit $(cat %(d)s/state)
  check_interval 1s
  memo is it well?
  <action>
    command echo "$MACKEREL_PREVIOUS_STATUS $MACKEREL_STATUS $MACKEREL_CHECK_MESSAGE" >> %(d)s/actions
  </action>
</source>
<source>
  @type mackerel_metadata
  namespace deploy
  command echo '{"revision":"abc","list":[1,2.5,null]}'
</source>
""" % {"d": d} + output(api, d, """<host>
    cloud_platform none
    custom_identifier rack-7
    display_name Seven
    roles My-Service:app, My-Service:db
    on_start maintenance
    on_stop poweroff
    memo by agg
    checks other
  </host>""", more="post_offset false")
    daemon = Daemon(d, conf)
    until("registered", lambda: len(api.hosts()) == 1, daemon)
    host = api.hosts()[0]
    id = host["id"]
    check(host["displayName"] == "Seven" and host["customIdentifier"] == "rack-7" and host["memo"] == "by agg", host)
    check(host["roles"] == {"My-Service": ["app", "db"]}, host["roles"])
    check(host["meta"]["agent-name"].startswith("agg/") and host["meta"]["kernel"]["name"] == "Linux" and host["meta"]["memory"]["total"].endswith("kB"), host["meta"])
    until("id stored", lambda: open(d + "/id").read() == id, daemon)
    until("status", lambda: api.store.hosts[id]["status"] == "maintenance", daemon)
    until("metrics", lambda: len(api.store.points.get((id, "custom.dice.d20"), {})) >= 2, daemon)
    check(set(api.store.points[id, "custom.dice.d6"].values()) == {3}, api.store.points)
    check(all(abs(t - time.time()) < 120 for t in api.store.points[id, "custom.dice.d6"]), "the run's time counts")
    until("graphs", lambda: api.store.graphs["custom.dice"]["unit"] == "integer", daemon)
    until("metadata", lambda: api.call("GET", "api/v0/hosts/%s/metadata/deploy" % id) == {"revision": "abc", "list": [1, 2.5, None]}, daemon)
    until("a report", lambda: [r["status"] for r in api.store.reports] == ["OK"], daemon)
    open(d + "/state", "w").write("2")
    until("trouble", lambda: sum(r["status"] == "CRITICAL" for r in api.store.reports) >= 2, daemon)
    open(d + "/state", "w").write("0")
    until("well again", lambda: api.store.reports[-1]["status"] == "OK", daemon)
    until("the action", lambda: "CRITICAL OK 0" in open(d + "/actions").read(), daemon)
    check({"name": "other"} in api.store.hosts[id]["_checks"], api.store.hosts[id]["_checks"])
    check(daemon.stop() == 0, "stops as asked")
    check(api.store.hosts[id]["status"] == "poweroff", "on_stop")
    # Again: the same host; a reload sets no status and retires nothing.
    daemon.start()
    until("on_start", lambda: api.store.hosts[id]["status"] == "maintenance", daemon)
    until("running", lambda: daemon.log().count("agg is running") == 2, daemon)
    api.call("POST", "api/v0/hosts/%s/status" % id, {"status": "standby"})
    api.call("POST", "_test/fail", {"path": "GET .*/hosts/", "status": 403, "times": 1})
    # Changed, so that the output is made anew: what is the same runs on.
    text = open(d + "/agg.conf").read()
    open(d + "/agg.conf", "w").write(text.replace("retry_wait 0.1", "retry_wait 0.2"))
    daemon.process.send_signal(signal.SIGHUP)
    until("reloaded", lambda: "#0 reloaded" in daemon.log(), daemon)
    check("its metrics wait" in daemon.log(), "a reload is not refused")
    n = len(api.store.points[id, "custom.dice.d6"])
    until("metrics go on", lambda: len(api.store.points[id, "custom.dice.d6"]) > n, daemon)
    check(api.store.hosts[id]["status"] == "standby", "a reload sets no status")
    daemon.stop()
    check(len(api.store.hosts) == 1, "registered once")


def stop_while_waiting():
    """A host's metrics wait for its second of the minute; a stop does not."""
    api, d = Api(), root + "/offset"
    os.makedirs(d)
    while True:
        id = api.call("POST", "api/v0/hosts", {"name": os.uname().nodename, "meta": {}})["id"]
        if hashlib.sha1(id.encode()).digest()[-1] % 60 == 59: break
    open(d + "/id", "w").write(id)
    daemon = Daemon(d, metrics_file(d) + output(api, d))

    def add(name):
        with open(d + "/in.log", "a") as f: f.write('{"t":%d,"name":"%s","value":1}\n' % (int(time.time()), name))
    until("running", lambda: "agg is running" in daemon.log(), daemon)
    add("first")
    until("the first post goes at once", lambda: (id, "custom.first") in api.store.points, daemon)
    if time.time() % 60 > 45: time.sleep(16)
    add("second")
    time.sleep(2)
    check((id, "custom.second") not in api.store.points, "it waits for second 59")
    begun = time.time()
    check(daemon.stop() == 0 and time.time() - begun < 15, "the stop does not")
    check((id, "custom.second") in api.store.points, "delivered at the stop")


def retirement():
    api, d = Api(), root + "/retire"
    daemon = Daemon(d, metrics_file(d) + output(api, d, "<host>\n    cloud_platform none\n    auto_retire true\n  </host>"))
    until("registered", lambda: os.path.exists(d + "/id"), daemon)
    until("running", lambda: "agg is running" in daemon.log(), daemon)
    daemon.process.send_signal(signal.SIGHUP)
    until("reloaded", lambda: "reloaded" in daemon.log(), daemon)
    check(os.path.exists(d + "/id") and not api.calls("retire"), "a reload does not retire")
    check(daemon.stop() == 0, "stops")
    check(len(api.calls("/retire")) == 1 and not os.path.exists(d + "/id"), "retired, and its id forgotten")


def copied_image():
    """The id file of another machine: agg says so and does not start."""
    api, d = Api(), root + "/copied"
    os.makedirs(d)

    def refused(id, host, words, env={}):
        open(d + "/id", "w").write(id)
        daemon = Daemon(d, metrics_file(d) + output(api, d, host), env)
        check(daemon.process.wait(60) == 1, "it started")
        check(all(w in daemon.log() for w in words), daemon.log()[-1000:])
        os.remove(d + "/log")
    theirs = api.call("POST", "api/v0/hosts", {"name": "image", "meta": {}, "customIdentifier": "i-1.ec2.amazonaws.com",
                                               "interfaces": [{"name": "eth0", "macAddress": "02:00:00:00:00:01"}]})["id"]
    refused(theirs, "<host>\n    cloud_platform none\n  </host>", ["custom identifier i-1.ec2.amazonaws.com", "%s/id may have been copied from another machine: delete it" % d])
    refused(theirs, "<host>\n    cloud_platform none\n    custom_identifier i-2\n  </host>", ["this machine i-2", "copied from another machine"])
    refused("h999", "<host>\n    cloud_platform none\n  </host>", ["h999", "is not known there"])
    api.call("POST", "api/v0/hosts/%s/retire" % theirs, {})
    refused(theirs, "<host>\n    cloud_platform none\n  </host>", ["has been retired"])
    check(not api.calls("PUT"), "nothing was changed")
    # A wrong key is a mistake of the configuration.
    os.remove(d + "/id")
    daemon = Daemon(d, (metrics_file(d) + output(api, d)).replace(KEY, "wrong"))
    check(daemon.process.wait(60) == 1 and "the API key is not right" in daemon.log(), daemon.log()[-1000:])


def known_identifier():
    """No id on disk, but a custom identifier that the server knows: the same host goes on."""
    api, d = Api(), root + "/identifier"
    id = api.call("POST", "api/v0/hosts", {"name": "x", "meta": {}, "customIdentifier": "a/b ?"})["id"]
    daemon = Daemon(d, metrics_file(d) + output(api, d, "<host>\n    cloud_platform none\n    custom_identifier a/b ?\n  </host>"))
    until("its id", lambda: open(d + "/id").read() == id if os.path.exists(d + "/id") else False, daemon)
    daemon.stop()
    check(len(api.store.hosts) == 1, "no second host")


def lost_answer():
    """The server takes a registration and its answer is lost: the next attempt, of the same process or of one after a kill, finds the host."""
    for kill in (False, True):
        for identifier in ("", "custom_identifier rack-9"):
            api, d = Api(), root + "/lost-%s-%s" % (kill, bool(identifier))
            other = api.call("POST", "api/v0/hosts", {"name": os.uname().nodename, "meta": {"agg-registration": "another"}})["id"]
            api.call("POST", "_test/fail", {"path": "POST .*/hosts$", "times": 1, "lose": True})
            daemon = Daemon(d, metrics_file(d) + output(api, d, "<host>\n    cloud_platform none\n    %s\n  </host>" % identifier))
            until("taken", lambda: len(api.store.hosts) == 2, daemon)
            check(not os.path.exists(d + "/id"), "no id yet")
            if kill:
                daemon.stop(signal.SIGKILL)
                daemon.start()
            until("its id", lambda: os.path.exists(d + "/id"), daemon)
            id = open(d + "/id").read()
            check(id != other and id in api.store.hosts, "its own host: %s" % id)
            until("its facts", lambda: "agg-registration" not in api.store.hosts[id]["meta"] and api.calls("PUT"), daemon)
            check(not os.path.exists(d + "/id.registering"), "nothing is left")
            check(daemon.stop() == 0 and len(api.store.hosts) == 2 and len(api.calls("POST /api/v0/hosts")) == 2, "registered once: %s" % api.store.calls)


class Cloud(http.server.BaseHTTPRequestHandler):
    """Stand-ins for the metadata services of EC2 (v2 only), GCE and Azure."""
    def log_message(self, *a): pass

    def do_PUT(self):
        ok = self.path == "/latest/api/token" and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self.reply(200 if ok else 404, "token-1")

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith("/latest/meta-data/"):
            if self.headers.get("X-aws-ec2-metadata-token") != "token-1": return self.reply(401, "no token")
            values = {"instance-id": "i-0abc", "instance-type": "m7.large", "placement/availability-zone": "ap-1a"}
            return self.reply(200 if path[18:] in values else 404, values.get(path[18:], ""))
        if path.startswith("/computeMetadata/v1"):
            if self.headers.get("Metadata-Flavor") != "Google": return self.reply(403, "")
            return self.reply(200, json.dumps({"instance": {"id": 1234567890123456789, "hostname": "h", "machineType": "projects/1/machineTypes/n2", "zone": "projects/1/zones/z-a"}, "project": {"projectId": "p"}}))
        if path.startswith("/metadata/instance/"):
            if self.headers.get("Metadata") != "true" or "api-version" not in self.path: return self.reply(400, "")
            values = {"compute/vmId": "vm-1", "compute/location": "japaneast"}
            return self.reply(200 if path[19:] in values else 404, values.get(path[19:], ""))
        self.reply(404, "")

    def reply(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def clouds():
    cloud = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    threading.Thread(target=cloud.serve_forever, daemon=True).start()
    base = "http://127.0.0.1:%d" % cloud.server_address[1]
    for name, param, identifier, provider, key, value in [
            ("ec2", "ec2_base", "i-0abc.ec2.amazonaws.com", "ec2", "instance-type", "m7.large"),
            ("gce", "gce_base", "1234567890123456789.gce.cloud.google.com", "gce", "zone", "z-a"),
            ("azurevm", "azure_base", "vm-1.virtual_machine.azure.microsoft.com", "AzureVM", "location", "japaneast")]:
        api, d = Api(), root + "/" + name
        daemon = Daemon(d, metrics_file(d) + output(api, d, "<host>\n    cloud_platform %s\n    %s %s\n  </host>" % (name, param, base)))
        until("registered", lambda: api.hosts()[0]["customIdentifier"] == identifier, daemon)
        daemon.stop()
        meta = api.hosts()[0]["meta"]["cloud"]
        check(meta["provider"] == provider and meta["metadata"][key] == value, meta)


def silent_cloud():
    """The cloud's metadata service is late at a boot: the host of a cloud waits for it and is not taken for a copy."""
    api, d = Api(), root + "/silent"
    os.makedirs(d)
    id = api.call("POST", "api/v0/hosts", {"name": "x", "meta": {}, "customIdentifier": "i-0abc.ec2.amazonaws.com"})["id"]
    open(d + "/id", "w").write(id)
    cloud = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud, bind_and_activate=False)
    cloud.allow_reuse_address = True
    cloud.server_bind()  # a port of ours that refuses, until it listens
    daemon = Daemon(d, metrics_file(d) + output(api, d, "<host>\n    cloud_platform ec2\n    ec2_base http://127.0.0.1:%d\n  </host>" % cloud.server_address[1]))
    until("it waits", lambda: "metadata service does not say which machine this is" in daemon.log() and "agg is running" in daemon.log(), daemon)
    cloud.server_activate()
    threading.Thread(target=cloud.serve_forever, daemon=True).start()
    until("it goes on", lambda: "this host is known now" in daemon.log(), daemon)
    check(api.hosts()[0]["meta"]["cloud"]["provider"] == "ec2" and len(api.store.hosts) == 1, api.hosts())
    daemon.stop()


def late_server():
    """Nobody answers at the start: agg collects, and registers when somebody does."""
    api, d = Api(), root + "/late"
    api.call("POST", "_test/fail", {"path": "/api/", "status": 503, "times": 10**9})
    os.makedirs(d)
    now = int(time.time())
    with open(d + "/in.log", "w") as f: f.write('{"t":%d,"name":"early","value":1}\n' % now)
    daemon = Daemon(d, metrics_file(d) + output(api, d))
    until("running", lambda: "agg is running" in daemon.log(), daemon)
    until("waiting", lambda: "not registered yet" in daemon.log(), daemon)
    check(not os.path.exists(d + "/id"), "no id yet")
    api.call("POST", "_test/fail", {})
    until("the metric", lambda: (api.hosts()[0]["id"], "custom.early") in api.store.points, daemon)
    daemon.stop()


def custom_identifiers():
    """A plugin's metrics and a check's reports for other hosts; an unknown one costs nobody else anything."""
    api, d = Api(), root + "/custom"
    other = api.call("POST", "api/v0/hosts", {"name": "rds", "meta": {}, "customIdentifier": "db.rds"})["id"]
    source = "<source>\n  @type %s\n  %s\n</source>\n"
    conf = "".join([
        source % ("mackerel_plugin", "command echo rds.cpu 5 0\n  interval 1s\n  custom_identifier db.rds"),
        source % ("mackerel_plugin", "command echo gone.cpu 5 0\n  interval 1s\n  custom_identifier no.such"),
        source % ("mackerel_plugin", "command echo own.cpu 5 0\n  interval 1s"),
        source % ("check", "name rds\n  command false\n  custom_identifier db.rds")]) + output(api, d, more="post_offset false")
    daemon = Daemon(d, conf)
    until("the other host's metric", lambda: (other, "custom.rds.cpu") in api.store.points, daemon)
    until("the own one", lambda: any(n == "custom.own.cpu" for _, n in api.store.points), daemon)
    until("the report", lambda: api.store.reports[0]["source"]["hostId"] == other and api.store.reports[0]["status"] == "WARNING", daemon)
    until("told", lambda: "unknown_host" in daemon.log(), daemon)
    check(len(api.calls("hosts-by-custom-identifier/no.such")) == 1, "an unknown host is asked for once")
    daemon.stop()


def refused_and_limited():
    """A poisoned report, 429 with Retry-After, and a server that breaks: everything else arrives, once."""
    api, d = Api(), root + "/refused"
    os.makedirs(d)
    now = int(time.time())
    api.call("POST", "_test/fail", {"path": "POST .*tsdb", "status": 429, "times": 2, "retryAfter": 1})
    api.call("POST", "_test/fail", {"path": "report", "status": 500, "times": 10**9, "match": "poison"})
    lines = [{"t": now - 100 + n, "check": "c%d" % n, "status": "OK", "message": "poison" if n == 7 else "x" * 3000} for n in range(30)]
    lines += [{"t": now - 100 + n, "name": "m", "value": n} for n in range(100)] + [{"t": now, "name": "bad/name", "value": 1, "service": "shop"}, {"t": now, "text": "none"}]
    with open(d + "/in.log", "w") as f: f.write("".join(json.dumps(l) + "\n" for l in lines))
    api.call("POST", "api/v0/services", {"name": "shop"})
    daemon = Daemon(d, metrics_file(d) + output(api, d, more="post_offset false"))
    until("all points", lambda: sum(len(p) for (t, n), p in api.store.points.items() if n == "custom.m") == 100, daemon)
    until("all other reports", lambda: len(api.store.reports) == 29, daemon)
    until("the cleaned name", lambda: ("shop", "bad_name") in api.store.points, daemon)
    until("given up", lambda: "http_500 3 times" in daemon.log(), daemon)
    seen = [p[2] for p in api.store.posts if p[1] == "custom.m"]
    check(seen == sorted(set(seen)), "once, in order")
    check(daemon.stop() == 0, "stops")


def outage():
    """A day without the server, by a clock that the test steps by ten minutes for agg and the server: metrics of every minute, SIGKILL after
    eight hours and after sixteen; then everything arrives, in order by metric, once. Timers go by the monotonic clock, which is left alone."""
    api, d = Api(), root + "/outage"
    os.makedirs(d)
    clock = Clock(d)
    names, minutes = ["cpu.user.percentage", "loadavg5", "custom.app.queue"], 24 * 60 - 10
    start = int(time.time()) // 60 * 60
    log = open(d + "/in.log", "w")
    daemon = Daemon(d, metrics_file(d) + output(api, d, more="post_offset false"), clock.environment, clock.prefix)
    until("registered", lambda: os.path.exists(d + "/id") and "agg is running" in daemon.log(), daemon)
    id = open(d + "/id").read()

    def arrived(name): return [(p[2], p[3]) for p in list(api.store.posts) if p[0] == id and p[1] == name]
    for m in range(minutes):
        if m % 10 == 0:
            clock.step(60 * m)
            api.store.offset = 60 * m
        if m in (480, 960):
            tried = len(api.calls("POST /api/v0/tsdb"))
            until("it is tried", lambda: len(api.calls("POST /api/v0/tsdb")) > tried, daemon)
            daemon.stop(signal.SIGKILL)
            daemon.start()
        for i, n in enumerate(names): log.write('{"t":%d,"name":"%s","value":%d}\n' % (start + 60 * m, n, m * 10 + i))
        log.flush()
        if m % 10 == 9: time.sleep(0.05)
        if m == 9:
            until("the first arrive", lambda: all(len(arrived(n)) == 10 for n in names), daemon)
            api.call("POST", "_test/fail", {"path": "POST .*tsdb", "status": 503, "times": 10**9})
    until("running", lambda: daemon.log().count("agg is running") == 3, daemon)
    tried = len(api.calls("POST /api/v0/tsdb"))
    until("it is tried", lambda: len(api.calls("POST /api/v0/tsdb")) > tried + 2, daemon)
    check(all(len(arrived(n)) == 10 for n in names), "nothing came while it was down")
    api.call("POST", "_test/fail", {})
    try: until("everything", lambda: all(len(set(arrived(n))) == minutes for n in names), daemon)
    except AssertionError: print({n: len(arrived(n)) for n in names}, flush=True)
    check(daemon.stop() == 0, "stops")
    lines = [line for line in daemon.log().splitlines() if " [info]: " in line]
    times = [time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S")) for line in (lines[0], lines[-1])]
    check(times[1] - times[0] >= 23 * 3600, "agg's own clock went through the day: %s" % times)
    for i, n in enumerate(names):
        points = arrived(n)
        lost = minutes - len(set(points))
        check(lost == 0, "%s: %d of %d lost" % (n, lost, minutes))
        check(len(points) == minutes, "%s: %d came twice" % (n, len(points) - minutes))
        check(points == [(start + 60 * m, m * 10 + i) for m in range(minutes)], "%s: out of order or changed" % n)
        check(len(api.store.points[id, n]) == minutes, "%s: the server shows all" % n)
    print("  outage: %d points of a day, 2 kills, %d requests, lost 0, twice 0, in order" % (minutes * len(names), len(api.calls("POST /api/v0/tsdb"))))


def commands():
    api, d = Api(), root + "/commands"
    os.makedirs(d)
    env = dict(os.environ, MACKEREL_APIKEY=KEY, XDG_STATE_HOME=d)

    def run(*args, stdin="", status=0, env=env):
        r = subprocess.run([agg] + list(args), input=stdin, capture_output=True, text=True, env=env, timeout=60)
        check(r.returncode == status, "%s: status %d\n%s%s" % (args, r.returncode, r.stdout, r.stderr))
        return r
    base = ["--apibase", api.base]
    id = api.call("POST", "api/v0/hosts", {"name": "one", "meta": {"a": 1}, "customIdentifier": "cid", "interfaces": [{"name": "eth0", "ipAddress": "10.0.0.1"}], "roleFullnames": ["My-Service:app"]})["id"]
    api.call("POST", "api/v0/hosts", {"name": "two", "meta": {}})
    # throw
    now = int(time.time())
    r = run("throw", *base, "--host", id, stdin="tcp.CLOSING 0 %d\nbad x y\ncustom.a\t1.5\t%d\nshort 1\n" % (now, now))
    check(api.store.points[id, "custom.tcp.CLOSING"] == {now: 0} and api.store.points[id, "custom.a"] == {now: 1.5} and "bad x y" in r.stderr, r.stderr)
    run("throw", *base, "-s", "My-Service", stdin="s 1 %d\n" % now)
    check(api.store.points["My-Service", "s"] == {now: 1}, "service")
    check("service not found" in run("throw", *base, "-s", "Unknown", stdin="s 1 %d\n" % now, status=1).stderr, "refused")
    run("throw", *base, stdin="", status=1)
    # hosts, status, update
    hosts = json.loads(run("hosts", *base).stdout)
    check([h["name"] for h in hosts] == ["one", "two"] and hosts[0]["roleFullnames"] == ["My-Service:app"] and hosts[0]["ipAddresses"] == {"eth0": "10.0.0.1"}, hosts)
    check(len(json.loads(run("hosts", *base, "-n", "two").stdout)) == 1, "by name")
    check(len(json.loads(run("hosts", *base, "-s", "My-Service", "-r", "app", "-st", "working").stdout)) == 1, "by role")
    run("update", *base, "-st", "maintenance", "-n", "uno", "--displayName", "Uno", "-R", "My-Service:db", "--memo", "m", id)
    host = api.store.hosts[id]
    check(host["status"] == "maintenance" and host["name"] == "uno" and host["displayName"] == "Uno" and host["memo"] == "m" and host["roles"] == {"My-Service": ["app", "db"]}, host)
    check(host["customIdentifier"] == "cid" and host["meta"] == {"a": 1} and host["interfaces"], "the rest stays: %s" % host)
    run("update", *base, "-o", "-R", "My-Service:web", id)
    check(host["roles"] == {"My-Service": ["web"]}, host["roles"])
    status = json.loads(run("status", *base, id).stdout)
    check(status["status"] == "maintenance" and status["isRetired"] is False, status)
    check("custom.a" in json.loads(run("status", *base, "-v", id).stdout)["metrics"], "verbose")
    # Configurations: agg's, and mackerel-agent's
    open(d + "/id", "w").write(id + "\n")
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MACKEREL")}
    plain["XDG_STATE_HOME"] = d
    open(d + "/agg.conf", "w").write("<match **>\n  @type copy\n  <store>\n  @type mackerel\n  api_key %s\n  apibase %s\n  hostid_path %s/id\n  </store>\n</match>\n" % (KEY, api.base, d))
    open(d + "/mackerel-agent.conf", "w").write('# comment\napikey = "%s"\napibase = "%s" # here\nroot = "%s"\n[plugin.checks.x]\ncommand = "y"\n' % (KEY, api.base, d))
    for conf in ("agg.conf", "mackerel-agent.conf"):
        check(json.loads(run("status", "--conf", d + "/" + conf, env=plain).stdout)["id"] == id, conf)
    check("no key of the API" in run("status", id, status=1, env=plain).stderr, "no key")
    check(json.loads(run("status", id, env=dict(env, MACKEREL_APIBASE=api.base)).stdout)["id"] == id, "MACKEREL_APIBASE")
    # wrap
    r = run("wrap", *base, "-H", id, "-n", "job", "-d", "-N", "a note", "-I", "30m", "--", "sh", "-c", "echo out; echo err >&2; exit 3", status=3)
    check(r.stdout == "out\n" and r.stderr.startswith("err\n"), r)
    report = api.store.reports[-1]
    check(report["name"] == "job" and report["status"] == "CRITICAL" and report["notificationInterval"] == 30, report)
    check(report["message"].startswith("command exited with code: 3\nNote: a note\n% sh -c echo out; echo err >&2; exit 3\n") and "out\n" in report["message"], report)
    n = len(api.store.reports)
    run("wrap", *base, "-host", id, "--", "true")
    check(len(api.store.reports) == n, "success is not reported")
    run("wrap", *base, "-host", id, "-name", "auto", "-auto-close", "-warning", "false", status=1)
    check(api.store.reports[-1]["status"] == "WARNING", "-warning")
    time.sleep(1.1)
    run("wrap", *base, "-host", id, "-name", "auto", "-auto-close", "true")
    check(api.store.reports[-1]["status"] == "OK" and api.store.reports[-1]["name"] == "auto", "auto-close")
    n = len(api.store.reports)
    run("wrap", *base, "-host", id, "-name", "auto", "-auto-close", "true")
    check(len(api.store.reports) == n, "closed once")
    begun = time.time()
    run("wrap", *base, "-H", id, "-timeout", "1s", "--", "sh", "-c", "sleep 1000 & sleep 1000", status=143)
    check(time.time() - begun < 30 and "timed out" in api.store.reports[-1]["message"], api.store.reports[-1])
    check(api.store.reports[-1]["name"].startswith("mkrwrap-sh-"), api.store.reports[-1])
    r = run("wrap", *base, "-H", id, "-d", "--", "sh", "-c", "seq 100000; kill -9 $$", status=137)
    check(len(r.stdout) > 500000 and len(api.store.reports[-1]["message"]) == 1024 and "\n...\n" in api.store.reports[-1]["message"] and api.store.reports[-1]["message"].endswith("99999\n100000\n"), "cut in the middle")
    check("127" in str(run("wrap", *base, "-H", id, "--", "/no/such/program", status=127).returncode), "not found")
    run("wrap", "--apibase", "http://127.0.0.1:9/", "-H", id, "--", "sh", "-c", "exit 5", status=5)  # the job's status, though nobody answers
    # A signal goes to the job; agg reports after it.
    p = subprocess.Popen([agg, "wrap", *base, "-H", id, "-n", "term", "--", "sh", "-c", "trap 'echo bye; exit 9' TERM; echo on; while :; do sleep 0.1; done"], stdout=subprocess.PIPE, text=True, env=env)
    check(p.stdout.readline() == "on\n", "started")
    p.terminate()
    check(p.stdout.read() == "bye\n" and p.wait(30) == 9 and api.store.reports[-1]["name"] == "term", "told to end")
    # retire
    check(run("retire", *base, id, stdin="n\n", status=1).stdout.endswith("canceled.\n") and not host["isRetired"], "asks")
    run("retire", *base, "--force", id)
    check(host["isRetired"], "retired")


cases = [whole_host, stop_while_waiting, retirement, copied_image, known_identifier, lost_answer, clouds, silent_cloud, late_server, custom_identifiers, refused_and_limited, outage, commands]
failed = 0
for case in cases:
    if only and case.__name__ not in only: continue
    begun = time.time()
    try:
        case()
        print("%s: ok (%.1f s)" % (case.__name__, time.time() - begun), flush=True)
    except Exception as e:
        failed += 1
        print("%s: %s: %s" % (case.__name__, type(e).__name__, e), flush=True)
if failed: sys.exit("%d failed; see %s" % (failed, root))
