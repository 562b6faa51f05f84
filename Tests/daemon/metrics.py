#!/usr/bin/env python3
"""agg's metrics beside the programs that everybody else has: Prometheus scrapes it and takes its remote write, VictoriaMetrics takes it
too, the statsd client sends to it, and the host's figures are compared with /proc, df and node_exporter.

Usage: metrics.py AGG [NAME...].  Needs prometheus, promtool, victoria-metrics and prometheus-node-exporter (Debian packages prometheus,
victoria-metrics, prometheus-node-exporter) and, from PyPI, statsd, protobuf and cramjam; a part whose program is missing is left out with a
note.  AGG_METRICS_SECONDS is how long the host's figures are compared (20).  Exit status 1 when anything differs."""
import collections, fcntl, glob, gzip, json, math, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time, urllib.error, urllib.parse, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

agg = os.path.abspath(sys.argv[1])
only = sys.argv[2:]
root = tempfile.mkdtemp(prefix="agg-metrics-")
failures = []


def ports(n):
    found = set()
    while len(found) < n: found.add(free_port())
    return list(found)


def check(name, good, detail=""):
    print(f"{'ok   ' if good else 'FAIL '} {name}" + (f": {detail}" if detail and not good else ""), flush=True)
    if not good: failures.append(name)
    return good


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while True:
        try:
            found = condition()
            if found: return found
        except (OSError, urllib.error.URLError, KeyError, IndexError, ValueError): pass
        if time.monotonic() > end: return None
        time.sleep(0.1)


def get(url, headers={}):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as reply:
        body = reply.read()
        return gzip.decompress(body) if reply.headers.get("Content-Encoding") == "gzip" else body


def post(url, value):
    request = urllib.request.Request(url, json.dumps(value).encode(), {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=20).status


class Process:
    """A program that is ended at the end, and whose output is kept."""
    def __init__(self, name, *command):
        self.log = f"{root}/{name}.log"
        self.process = subprocess.Popen(command, stdout=open(self.log, "ab"), stderr=subprocess.STDOUT)
    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None: self.process.send_signal(how)
        try: self.process.wait(30)
        except subprocess.TimeoutExpired: self.process.kill()
    def __enter__(self): return self
    def __exit__(self, kind, *_):
        self.stop()
        if kind or failures: print(open(self.log, errors="replace").read()[-1500:])


def daemon(name, conf):
    os.makedirs(f"{root}/{name}", exist_ok=True)
    path = f"{root}/{name}/agg.conf"
    open(path, "w").write(conf)
    return Process(name, agg, "-c", path)


def prometheus(name, port, scrape=""):
    os.makedirs(f"{root}/{name}", exist_ok=True)
    path = f"{root}/{name}/prometheus.yml"
    open(path, "w").write(f"global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n{scrape}" if scrape else "global: {}\n")
    return Process(name, "prometheus", f"--config.file={path}", f"--storage.tsdb.path={root}/{name}/data", f"--web.listen-address=127.0.0.1:{port}",
                   "--web.enable-remote-write-receiver", "--log.level=warn")


def query(port, expression, at=None):
    parameters = {"query": expression} | ({"time": at} if at else {})
    reply = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode(parameters)))
    return reply["data"]["result"]


def metric_records(start):
    """20 series with 30 samples each, one second apart; whole numbers and others."""
    records = []
    for second in range(30):
        for series in range(20):
            records.append((start + second, {"name": f"sent.metric_{series % 4}", "kind": "counter", "value": series * 1000 + second * 1.25,
                                             "labels": {"series": str(series), "text": 'a"b\\c é'}, "host": "web1"}))
    return records


def expected(records):
    found = {}
    for at, record in records:
        key = (record["name"].replace(".", "_"), record["labels"]["series"])
        found.setdefault(key, []).append((at, float(record["value"])))
    return found


def send(http, records, tag="metrics.sent"):
    for at in sorted({at for at, _ in records}):
        post(f"http://127.0.0.1:{http}/{tag}?time={at}", [record for moment, record in records if moment == at])


def remote_write_conf(http, url, path, extra=""):
    return f"""
<source>
  @type http
  port {http}
  bind 127.0.0.1
</source>
<match metrics.**>
  @type prometheus_remote_write
  @id rw
  endpoint {url}
  {extra}
  <buffer>
    @type file
    path {path}
    flush_interval 0.2
    retry_wait 0.2
    retry_max_interval 0.5
  </buffer>
</match>
"""


def scraped():
    """Prometheus scrapes agg, in both formats, and finds what was counted and what events said."""
    if not shutil.which("prometheus"): return print("left out: prometheus is not installed")
    http, page, exported, server, secure = ports(5)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", f"{root}/key.pem",
                    "-out", f"{root}/cert.pem"], check=True, capture_output=True)
    conf = f"""
<source>
  @type prometheus
  port {secure}
  content_encoding gzip
  <transport tls>
    cert_path {root}/cert.pem
    private_key_path {root}/key.pem
  </transport>
</source>
<source>
  @type http
  port {http}
  bind 127.0.0.1
</source>
<source>
  @type prometheus
  port {page}
</source>
<source>
  @type prometheus_output_monitor
</source>
<filter app.**>
  @type prometheus
  <metric>
    name app_requests_total
    type counter
    desc Requests
    <labels>
      status $.status
    </labels>
  </metric>
  <metric>
    name app_seconds
    type histogram
    desc Seconds
    key seconds
    buckets 0.1,1
  </metric>
</filter>
<match metrics.**>
  @type prometheus_exporter
  @id exporter
  port {exported}
</match>
<match app.**>
  @type null
</match>
"""
    scrape = "".join(f"  - job_name: {name}\n    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n" for name, port in (("agg", page), ("exporter", exported)))
    scrape += f"  - job_name: tls\n    scheme: https\n    tls_config: {{insecure_skip_verify: true}}\n    static_configs: [{{targets: ['127.0.0.1:{secure}']}}]\n"
    with daemon("scraped", conf) as running, prometheus("scraping", server, scrape):
        until(lambda: get(f"http://127.0.0.1:{page}/metrics"))
        post(f"http://127.0.0.1:{http}/app.web", [{"status": 200, "seconds": 0.05}, {"status": 200, "seconds": 0.5}, {"status": 404, "seconds": 3}])
        now = int(time.time())
        send(http, [(now, record) for _, record in metric_records(now)[-20:]])
        for name, port in (("prometheus", page), ("prometheus_exporter", exported)):
            body = get(f"http://127.0.0.1:{port}/metrics")
            said = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True)
            # Names that are Fluentd's, or the events', are not agg's to choose.
            remarks = [line for line in (said.stdout + said.stderr).decode().splitlines() if not line.startswith(("fluentd_", "sent_metric"))]
            check(f"promtool check metrics: {name}", not remarks, "\n".join(remarks))
        value = lambda expression: float(query(server, expression)[0]["value"][1])
        check("Prometheus has the counter", until(lambda: value('app_requests_total{status="200",job="agg"}') == 2 and value('app_requests_total{status="404",job="agg"}') == 1))
        check("Prometheus has the histogram", until(lambda: value('app_seconds_bucket{le="1.0",job="agg"}') == 2 and value('app_seconds_sum{job="agg"}') == 3.55))
        check("Prometheus has agg's own figures", until(lambda: value('agg_output_delivered_events_total{plugin_id="exporter",job="agg"}') == 20))
        check("Prometheus has Fluentd's names", until(lambda: value('fluentd_output_status_emit_records{plugin_id="exporter",job="agg"}') == 20))
        check("Prometheus has the events", until(lambda: value('sent_metric_3{series="19"}') == 19000 + 29 * 1.25 and len(query(server, '{host="web1"}')) == 20))
        check("the scrapes are whole, over TLS too", until(lambda: value("min(up)") == 1 and value("count(up)") == 3))
        running.process.send_signal(signal.SIGHUP)
        until(lambda: "reloaded" in open(running.log).read())
        until(lambda: post(f"http://127.0.0.1:{http}/app.web", [{"status": 200, "seconds": 0.05}]) == 200)
        check("a reload goes on counting", until(lambda: value('app_requests_total{status="200",job="agg"}') == 3))


def workers():
    """The page of all workers of a daemon."""
    base = next(p for p in range(21000, 31000) if all(not socket.socket().connect_ex(("127.0.0.1", p + i)) == 0 for i in range(2)))
    conf = f"<system>\n  workers 2\n</system>\n<source>\n  @type prometheus\n  port {base}\n</source>\n<source>\n  @type prometheus_output_monitor\n</source>\n<match **>\n  @type null\n</match>\n"
    with daemon("workers", conf):
        page = until(lambda: get(f"http://127.0.0.1:{base + 1}/aggregated_metrics").decode())
        lines = (page or "").splitlines()
        for name in ("agg_build_info", "fluentd_output_status_emit_records"):
            found = {line.split('worker_id="')[1][0] for line in lines if line.startswith(name + "{")}
            check(f"workers: {name} of both", found == {"0", "1"}, str(found))
        check("workers: each family is told once", len([l for l in lines if l.startswith("# TYPE")]) == len({l for l in lines if l.startswith("# TYPE")}))
        series = [line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")]
        check("workers: no series comes twice", len(series) == len(set(series)) and series)


def written():
    """Prometheus takes agg's remote write: every sample, in order, also those that came while it was away."""
    if not shutil.which("prometheus"): return print("left out: prometheus is not installed")
    http, server = ports(2)
    start = int(time.time()) - 60
    records = metric_records(start)
    conf = remote_write_conf(http, f"http://127.0.0.1:{server}/api/v1/write", f"{root}/written/buffer", "<labels>\n    zone eu\n  </labels>\n  max_samples_per_send 70")
    with daemon("written", conf):
        until(lambda: post(f"http://127.0.0.1:{http}/metrics.none", []) == 200)
        send(http, records[:200])
        with prometheus("writing", server) as first:
            until(lambda: len(query(server, '{zone="eu"}', start + 9)) == 20)
            first.stop(signal.SIGKILL)
        send(http, records[200:400])
        with prometheus("writing", server):
            send(http, records[400:])
            want = expected(records)
            def all_there():
                found = {}
                for series in query(server, '{zone="eu",host="web1"}[2m]', start + 60):
                    labels = series["metric"]
                    if labels["text"] != 'a"b\\c é': return None
                    found[(labels["__name__"], labels["series"])] = [(at, float(value)) for at, value in series["values"]]
                return found == want
            check("Prometheus has every sample that was written", until(all_there, 60))
    check("nothing was refused", "refused" not in open(f"{root}/written.log").read(), "see the log")


def victoria():
    """VictoriaMetrics takes it too."""
    if not shutil.which("victoria-metrics"): return print("left out: victoria-metrics is not installed")
    http, server = ports(2)
    start = int(time.time()) - 120
    records = metric_records(start)
    with Process("victoria", "victoria-metrics", f"-httpListenAddr=127.0.0.1:{server}", f"-storageDataPath={root}/victoria", "-loggerLevel=WARN"), \
         daemon("victoria-agg", remote_write_conf(http, f"http://127.0.0.1:{server}/api/v1/write", f"{root}/victoria-buffer")):
        until(lambda: post(f"http://127.0.0.1:{http}/metrics.none", []) == 200)
        until(lambda: get(f"http://127.0.0.1:{server}/health"))
        send(http, records)
        want = expected(records)
        def all_there():
            get(f"http://127.0.0.1:{server}/internal/force_flush")
            found = {}
            body = get(f"http://127.0.0.1:{server}/api/v1/export?" + urllib.parse.urlencode({"match[]": '{host="web1"}'}))
            for line in body.splitlines():
                series = json.loads(line)
                key = (series["metric"]["__name__"], series["metric"]["series"])
                found[key] = sorted((at / 1000, float(value)) for at, value in zip(series["timestamps"], series["values"]))
            return found == want
        check("VictoriaMetrics has every sample that was written", until(all_there, 60))


def remote_write_2():
    """A 2.0 request, read by Google's protobuf and another snappy."""
    try:
        sys.path.insert(0, os.path.abspath(".build/python"))
        import cramjam
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error: return print(f"left out: {error}")
    file = descriptor_pb2.FileDescriptorProto(name="v2.proto", package="v2", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            one = made.field.add(name=field, number=number, label=3 if repeated else 1)
            if isinstance(kind, str): one.type, one.type_name = kinds.TYPE_MESSAGE, ".v2." + kind
            else: one.type = kind
    message("Sample", (1, "value", kinds.TYPE_DOUBLE, False), (2, "timestamp", kinds.TYPE_INT64, False), (3, "start_timestamp", kinds.TYPE_INT64, False))
    message("Metadata", (1, "type", kinds.TYPE_INT32, False), (3, "help_ref", kinds.TYPE_UINT32, False), (4, "unit_ref", kinds.TYPE_UINT32, False))
    message("TimeSeries", (1, "labels_refs", kinds.TYPE_UINT32, True), (2, "samples", "Sample", True), (5, "metadata", "Metadata", False))
    message("Request", (4, "symbols", kinds.TYPE_STRING, True), (5, "timeseries", "TimeSeries", True))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    Request = message_factory.GetMessageClass(pool.FindMessageTypeByName("v2.Request"))
    found, headers, problems = {}, [], []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            request = Request.FromString(bytes(cramjam.snappy.decompress_raw(self.rfile.read(int(self.headers["Content-Length"])))))
            headers.append(dict(self.headers))
            if request.symbols[0] != "" or len(set(request.symbols)) != len(request.symbols): problems.append("symbols")
            count = 0
            for series in request.timeseries:
                texts = [request.symbols[i] for i in series.labels_refs]
                names, labels = texts[0::2], dict(zip(texts[0::2], texts[1::2]))
                if names != sorted(names) or len(set(names)) != len(names) or "" in texts: problems.append(f"labels {texts}")
                if series.metadata.type != 1: problems.append(f"type {series.metadata.type}")
                samples = [(s.timestamp / 1000, s.value) for s in series.samples]
                if samples != sorted(samples): problems.append("order")
                count += len(samples)
                found.setdefault((labels["__name__"], labels["series"]), []).extend(samples)
            self.send_response(204)
            self.send_header("X-Prometheus-Remote-Write-Samples-Written", str(count))
            self.end_headers()
        def log_message(self, *_): pass

    http, = ports(1)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    records = metric_records(1_700_000_000)
    with daemon("rw2", remote_write_conf(http, f"http://127.0.0.1:{server.server_port}/", f"{root}/rw2-buffer", "protocol_version 2.0")):
        until(lambda: post(f"http://127.0.0.1:{http}/metrics.none", []) == 200)
        send(http, records)
        check("2.0: every sample arrives, in order", until(lambda: found == expected(records)), f"{len(found)} series")
    server.shutdown()
    check("2.0: the message is as specified", not problems, str(problems[:3]))
    check("2.0: the headers are as specified", headers and all(
        h["Content-Type"] == "application/x-protobuf;proto=io.prometheus.write.v2.Request" and h["Content-Encoding"] == "snappy"
        and h["X-Prometheus-Remote-Write-Version"] == "2.0.0" for h in headers), str(headers[:1]))


def events(name, tag):
    """Metric events that a file output wrote."""
    found = []
    for path in sorted(glob.glob(f"{root}/{name}/out/{tag}*")):
        for line in open(path):
            if line.endswith("\n"): found.append(json.loads(line))
    return found


def file_output(name):
    return f"""
<match metrics.**>
  @type file
  path {root}/{name}/out/${{tag}}
  append true
  <format>
    @type json
  </format>
  <inject>
    time_key at
    time_type float
  </inject>
  <buffer tag>
    flush_mode immediate
  </buffer>
</match>
"""


def own():
    """agg's own figures as events: in a file, in Prometheus by remote write, at Mackerel (its stand-in), and the same on the page."""
    if not shutil.which("prometheus"): return print("left out: prometheus is not installed")
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from mackerel_server import KEY, Server
    mackerel = Server()
    threading.Thread(target=mackerel.serve_forever, daemon=True).start()
    host = mackerel.store.create({"name": "h", "meta": {}})["id"]
    http, page, server = ports(3)
    os.makedirs(f"{root}/own/logs")
    open(f"{root}/own/logs/a.log", "w").write("line 1\nline 2\nunfinished")
    for n in range(5): open(f"{root}/own/logs/{n}.log", "w").write("x\n")
    conf = f"""
<source>
  @type http
  @id in
  port {http}
  bind 127.0.0.1
</source>
<source>
  @type tail
  @id logs
  path {root}/own/logs/*.log
  pos_file {root}/own/pos
  tag app.logs
  read_from_head true
  <parse>
    @type none
  </parse>
</source>
<source>
  @type monitor_agent
  port {page}
  max_files 3
</source>
<source>
  @type agg_metrics
  @id own
  interval 1s
  max_files 3
</source>
<match agg.metrics>
  @type copy
  <store>
    @type prometheus_remote_write
    @id rw
    endpoint http://127.0.0.1:{server}/api/v1/write
    <buffer>
      @type file
      path {root}/own/rw
      flush_interval 0.2
    </buffer>
  </store>
  <store>
    @type mackerel
    @id mackerel
    api_key {KEY}
    apibase http://127.0.0.1:{mackerel.server_address[1]}/
    hostid {host}
    post_offset false
    <buffer>
      @type file
      path {root}/own/mackerel
      flush_interval 0.2
    </buffer>
  </store>
  <store>
    @type file
    @id kept
    path {root}/own/out/agg.metrics
    append true
    <format>
      @type json
    </format>
    <inject>
      time_key at
      time_type float
    </inject>
    <buffer []>
      @type file
      path {root}/own/kept
      flush_mode immediate
    </buffer>
  </store>
</match>
<match app.**>
  @type file
  @id app
  path {root}/own/app
  <buffer []>
    @type file
    path {root}/own/app-buffer
    flush_mode immediate
  </buffer>
</match>
"""
    series = lambda name, labels: name + "".join(sorted(f'{k}="{v}"' for k, v in labels.items()))
    def rounds():
        found = {}
        for event in events("own", "agg.metrics"): found.setdefault(event["at"], {})[series(event["name"], event["labels"])] = event["value"]
        return [found[at] for at in sorted(found)]
    with prometheus("own-prometheus", server), daemon("own", conf) as running:
        until(lambda: post(f"http://127.0.0.1:{http}/app.web", [{"n": n} for n in range(100)]) == 200)
        value = lambda expression: float(query(server, expression)[0]["value"][1])
        check("own: Prometheus has the ledger", until(lambda: value('agg_output_delivered_events_total{plugin_id="app"}') == 107))
        check("own: Prometheus has latencies", until(lambda: 0 <= value('histogram_quantile(0.99, agg_output_delivery_latency_seconds_bucket{plugin_id="app"})') < 60
                                                     and value('agg_output_delivery_latency_seconds_count{plugin_id="app"}') == 107))
        check("own: Prometheus has the lag of a file", until(lambda: value(f'agg_tail_lag_bytes{{path="{root}/own/logs/a.log"}}') == 10 and value(f'agg_tail_lag_seconds{{path="{root}/own/logs/a.log"}}') > 0))
        check("own: files beyond the limit are one series", until(lambda: value('count(agg_tail_lag_bytes{plugin_id="logs"})') == 4 and value('agg_tail_files') == 6))
        body = get(f"http://127.0.0.1:{page}/metrics")
        said = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True)
        check("own: promtool check metrics", said.returncode == 0 and not said.stdout + said.stderr, (said.stdout + said.stderr).decode())
        def of_page():
            found = set()
            for line in get(f"http://127.0.0.1:{page}/metrics").decode().splitlines():
                if line.startswith("#"): continue
                name, labels = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? \S+", line).groups()
                found.add(series(name, dict(re.findall(r'([a-z_]+)="([^"]*)"', labels or ""))))
            return found
        check("own: events and page tell the same series", until(lambda: set(rounds()[-1]) == of_page()), str(list(set(rounds()[-1]) ^ of_page())[:5]))
        check("own: Mackerel has it", until(lambda: 107 in mackerel.store.points[host, "custom.agg_output_delivered_events_total.app.file"].values()))
        post(f"http://127.0.0.1:{http}/app.web", [{"n": n} for n in range(23)])
        running.stop()
        check("own: the last figures are said at the stop", rounds()[-1][series("agg_input_committed_events_total", {"plugin_id": "in", "type": "http"})] == 123)
        check("own: nothing is refused", "refused" not in open(running.log).read() and "warn" not in open(running.log).read(), open(running.log).read()[-1500:])
    mackerel.shutdown()


def counted():
    """What filter metrics counted since its last interval is emitted at a reload that exchanges it, and at the stop."""
    http, = ports(1)
    conf = f"""
<source>
  @type http
  port {http}
  bind 127.0.0.1
</source>
<filter app.**>
  @type metrics
  to events
  tag metrics.counted
  interval INTERVAL
  <metric>
    name seen_total
    type counter
    desc Seen
    <labels>
      kind $.kind
    </labels>
  </metric>
</filter>
<match app.**>
  @type null
</match>
""" + file_output("counted")
    with daemon("counted", conf.replace("INTERVAL", "1h")) as running:
        until(lambda: post(f"http://127.0.0.1:{http}/app.web", [{"kind": "a"}, {"kind": "b"}, {"kind": "a"}]) == 200)
        found = lambda: [(e["labels"]["kind"], e["value"]) for e in events("counted", "metrics.counted")]
        check("counted: nothing before the interval is over", found() == [])
        open(f"{root}/counted/agg.conf", "w").write(conf.replace("INTERVAL", "2h"))
        running.process.send_signal(signal.SIGHUP)
        check("counted: emitted at the reload", until(lambda: found() == [("a", 2), ("b", 1)]), str(found()))
        until(lambda: "#0 reloaded" in open(running.log).read())
        until(lambda: post(f"http://127.0.0.1:{http}/app.web", [{"kind": "a"}] * 5) == 200)
        running.stop()
        check("counted: emitted at the stop", found() == [("a", 2), ("b", 1), ("a", 5)], str(found()))


def statsd():
    """The statsd client of PyPI."""
    try:
        sys.path.insert(0, os.path.abspath(".build/python"))
        import statsd as client
    except ImportError as error: return print(f"left out: {error}")
    udp, tcp = ports(2)
    sources = "".join(f"<source>\n  @type statsd\n  tag metrics.{name}\n  port {port}\n  protocol {name}\n  interval 0.3\n</source>\n" for name, port in (("udp", udp), ("tcp", tcp)))
    with daemon("statsd", sources + file_output("statsd")) as running:
        until(lambda: socket.create_connection(("127.0.0.1", tcp), 1))
        for name, sender in (("udp", client.StatsClient("127.0.0.1", udp, prefix="app")), ("tcp", client.TCPStatsClient("127.0.0.1", tcp, prefix="app"))):
            with sender.pipeline() as pipe:
                for _ in range(100): pipe.incr("jobs")
            sender.incr("jobs", 5)
            sender.decr("jobs", 2)
            sender.gauge("queue", 10)
            sender.gauge("queue", -3, delta=True)
            for milliseconds in range(1, 101): sender.timing("answer", milliseconds)
            for user in ("ann", "bob", "ann"): sender.set("users", user)
            def total(metric, pick=max):
                values = [e["value"] for e in events("statsd", "metrics." + name) if e["name"] == metric]
                return pick(values) if values else None
            check(f"statsd {name}: counter", until(lambda: total("app.jobs", lambda v: v[-1]) == 103))
            check(f"statsd {name}: gauge", until(lambda: total("app.queue", lambda v: v[-1]) == 7))
            check(f"statsd {name}: timer", until(lambda: total("app.answer_count") == 100 and total("app.answer_sum") == 5050))
            check(f"statsd {name}: set", until(lambda: total("app.users", sum) in (2, 3)))


def traffic(end):
    """Something to count: writes to the disk, and frames that come in by an interface of its own where that may be made."""
    tap = None
    try:
        tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH", b"aggtap0", 0x1002))  # TUNSETIFF, IFF_TAP | IFF_NO_PI
        subprocess.run(["ip", "link", "set", "aggtap0", "up"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error: print(f"      no interface with traffic to compare: {error}")
    with open(f"{root}/traffic", "wb") as file:
        while not end.wait(0.01):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            if tap is None: continue
            try: os.write(tap, b"\xff" * 6 + b"\2" * 6 + b"\x88\xb5" + b"x" * 1000)
            except OSError: pass
    if tap is not None: os.close(tap)


def host():
    """The host's figures against /proc, df and node_exporter, over the same seconds."""
    seconds = int(os.environ.get("AGG_METRICS_SECONDS", "20"))
    exporter_port, = ports(1)
    has_exporter = shutil.which("prometheus-node-exporter")
    exporter = Process("node-exporter", "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{exporter_port}") if has_exporter else None
    cores = os.sysconf("SC_NPROCESSORS_ONLN")

    def proc():
        cpu = [int(v) for v in open("/proc/stat").readline().split()[1:]]
        net = {}
        for line in open("/proc/net/dev").read().splitlines()[2:]:
            name, rest = line.split(":")
            net[name.strip()] = (int(rest.split()[0]), int(rest.split()[8]))
        disks = {}
        for line in open("/proc/diskstats"):
            f = line.split()
            disks[f[2]] = (int(f[3]), int(f[7]))
        return cpu, net, disks

    def exported():
        found = {}
        for line in get(f"http://127.0.0.1:{exporter_port}/metrics").decode().splitlines():
            if line.startswith(("node_cpu_seconds_total", "node_disk_reads_completed_total", "node_disk_writes_completed_total", "node_filesystem_size_bytes",
                                "node_filesystem_free_bytes", "node_network_receive_bytes_total", "node_network_transmit_bytes_total",
                                "node_memory_MemTotal_bytes", "node_load15")):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found

    busy = threading.Event()
    threading.Thread(target=traffic, args=(busy,), daemon=True).start()
    conf = f"<source>\n  @type host_metrics\n  tag metrics.host\n  interval {seconds}\n</source>\n" + file_output("host")
    if has_exporter: until(exported)
    with daemon("host", conf) as running:
        until(lambda: "agg is running" in open(running.log).read())
        edges = []
        def at(moment):
            def wait(until): time.sleep(max(0, until - time.time()))
            wait(moment - 0.5)
            before = proc()
            wait(moment)
            found = proc(), (exported() if has_exporter else {})
            wait(moment + 0.5)
            edges.append((before, proc()))
            return found
        begin = (int((time.time() + 1) // seconds) + 1) * seconds
        (cpu0, net0, disk0), node0 = at(begin)
        (cpu1, net1, disk1), node1 = at(begin + seconds)
        memory = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in open("/proc/meminfo")}
        df = {f[0]: (int(f[2]), int(f[3])) for f in (line.split() for line in subprocess.run(["df", "-Pkl"], capture_output=True, text=True).stdout.splitlines()[1:]) if f[0].startswith("/dev/")}
        load = [float(v) for v in open("/proc/loadavg").read().split()[:3]]
        got = until(lambda: {e["name"]: e["value"] for e in events("host", "metrics.host") if e["at"] == begin + seconds} or None) or {}
        first = {e["name"]: e["value"] for e in events("host", "metrics.host") if e["at"] == begin}
        worst = {}
        def near(name, value, floor, whole=None):
            """Within 1 %, or within what a few hundredths of a second between two readers can be; `whole` is what the value is a part of."""
            if name in got and (whole or value): worst[name] = max(worst.get(name, 0), abs(got[name] - value) / abs(whole or value) * 100)
            return check(f"host {name}", name in got and abs(got[name] - value) <= max(abs(value) * 0.01, floor), f"{got.get(name)} against {value}")
        def burst(kind, device, column, rate):
            """What moved in the second around either edge beyond the rate of the whole: which side of the edge it fell on, two readers may see differently."""
            return sum(max(0, after[kind][device][column] - before[kind][device][column] - rate)
                       for before, after in edges if device in before[kind] and device in after[kind]) / seconds
        modes = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest"]
        ticks = [b - a for a, b in zip(cpu0, cpu1)]
        total = sum(ticks[:8])
        ticks[0] -= ticks[8]
        for mode, n in zip(modes, ticks): near(f"cpu.{mode}.percentage", n * cores * 100 / total, cores, cores * 100)
        check("host cpu sums to 100 x cores", abs(sum(got[f"cpu.{m}.percentage"] for m in modes) - 100 * cores) < 1e-6)
        for name in net1:
            if name == "lo" or name.startswith("veth") or name not in net0: continue
            for column, key in enumerate(("rxBytes", "txBytes")):
                rate = (net1[name][column] - net0[name][column]) / seconds
                near(f"interface.{name}.{key}.delta", rate, 1000 + burst(1, name, column, rate))
        for name in disk1:
            if name.startswith("dm-") or not any(disk1[name]) or name not in disk0: continue
            for column, (key, share) in enumerate((("reads", 0), ("writes", 0.05))):
                rate = (disk1[name][column] - disk0[name][column]) / seconds
                near(f"disk.{name}.{key}.delta", rate, 2 + share * rate + burst(2, name, column, rate))
        near("memory.total", memory["MemTotal"], 0)
        near("memory.mem_available", memory["MemAvailable"], memory["MemTotal"] * 0.01)
        near("memory.used", memory["MemTotal"] - memory["MemAvailable"], memory["MemTotal"] * 0.01)
        near("memory.swap_free", memory["SwapFree"], memory["SwapTotal"] * 0.01)
        for name, value in zip(("loadavg1", "loadavg5", "loadavg15"), load): near(name, value, 0.5)
        for device, (used, available) in df.items():
            name = re.sub("[^A-Za-z0-9_-]", "_", device[5:])
            near(f"filesystem.{name}.size", (used + available) * 1024, 0)
            near(f"filesystem.{name}.used", used * 1024, 0)
        check("host: no other file systems", {n for n in got if n.startswith("filesystem.")} == {f"filesystem.{re.sub('[^A-Za-z0-9_-]', '_', d[5:])}.{k}" for d in df for k in ("size", "used")})
        if node1:
            for mode in ("user", "nice", "system", "idle", "iowait", "softirq", "steal"):
                spent = sum(node1[k] - node0[k] for k in node1 if k.startswith("node_cpu") and f'mode="{mode}"' in k)
                near(f"cpu.{mode}.percentage", spent / seconds * 100, cores * 1.5, cores * 100)
            check("host memory.total is node_exporter's", got["memory.total"] == node1["node_memory_MemTotal_bytes"])
            near("loadavg15", node1["node_load15"], 0.5)
            compared = collections.Counter()
            for series, ours, kind, column, floor in (("node_network_receive_bytes_total", "interface.%s.rxBytes.delta", 1, 0, 1000),
                                                      ("node_network_transmit_bytes_total", "interface.%s.txBytes.delta", 1, 1, 1000),
                                                      ("node_disk_reads_completed_total", "disk.%s.reads.delta", 2, 0, 2),
                                                      ("node_disk_writes_completed_total", "disk.%s.writes.delta", 2, 1, 2)):
                for key in node1:
                    if not key.startswith(series + "{") or key not in node0: continue
                    device = re.search('device="([^"]*)"', key).group(1)
                    name = ours % device
                    rate = (node1[key] - node0[key]) / seconds
                    # node_exporter also has what was never used.
                    if name not in got and not node1[key] or "veth" in name or ".lo." in name or ".dm-" in name: continue
                    near(name, rate, floor + (0.05 * rate if "writes" in name else 0) + burst(kind, device, column, rate))
                    compared[series] += 1
            for key in node1:
                if not key.startswith('node_filesystem_size_bytes{device="/dev/'): continue
                name = re.sub("[^A-Za-z0-9_-]", "_", re.search('device="/dev/([^"]*)"', key).group(1))
                if f"filesystem.{name}.used" not in got: continue
                near(f"filesystem.{name}.used", node1[key] - node1[key.replace("_size_", "_free_")], 0)
                compared["filesystems"] += 1
            check("host: node_exporter's counters of networks, disks and file systems were compared", len(compared) == 5 if df else len(compared) >= 4, dict(compared))
        print(f"      over {seconds} s, deviations in percent (cpu: of all cores together): " + ", ".join(f"{n} {v:.3f}" for n, v in sorted(worst.items())))
        check("host: the first round has gauges only" if not any(n.startswith("cpu.") for n in first) else "host: rates from the first round on", bool(first))
    busy.set()
    if exporter: exporter.stop()


def cost():
    """CPU time of one round of host_metrics, with every family on."""
    conf = "<source>\n  @type host_metrics\n  tag metrics.host\n  interval 0.05\n  cgroup true\n</source>\n<match **>\n  @type null\n</match>\n"
    with daemon("cost", conf) as running:
        until(lambda: "agg is running" in open(running.log).read())
        def used():
            f = open(f"/proc/{running.process.pid}/stat").read().rsplit(")", 1)[1].split()
            return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
        before, begin = used(), time.monotonic()
        time.sleep(5)
        rounds = (time.monotonic() - begin) / 0.05
        each = (used() - before) / rounds
    share = each / 60 * 100
    print(f"      a round of host_metrics costs {each * 1000:.2f} ms of CPU: {share:.4f} % at one a minute")
    check("host_metrics costs under 0.1 % at one round a minute", share < 0.1)


for name, test in (("scraped", scraped), ("workers", workers), ("written", written), ("victoria", victoria), ("remote_write_2", remote_write_2), ("own", own), ("counted", counted), ("statsd", statsd), ("host", host), ("cost", cost)):
    if not only or name in only: test()
if failures:
    print(f"failed: {', '.join(failures)}; logs in {root}")
    sys.exit(1)
shutil.rmtree(root, ignore_errors=True)
