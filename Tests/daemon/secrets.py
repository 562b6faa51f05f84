#!/usr/bin/env python3
"""Nothing secret is shown, and nothing hostile gets through, by a whole daemon: passwords, keys and credentials of its configuration are
looked for in its log, `agg check` (with --dump), monitor_agent's pages, the control interface and Prometheus' page, while every
destination fails; control characters that clients send are looked for in the log, and tags that climb in the file system.

Usage: secrets.py AGG.  Exit status 1 when anything is not as expected. Python 3 standard library only."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from load import Place, free_port, until

agg = os.path.abspath(sys.argv[1])
failures = []


def expect(what, good, detail=""):
    print(("ok   " if good else "FAIL ") + what + ("" if good or not detail else ": %s" % (detail,)), flush=True)
    if not good:
        failures.append(what)


SECRETS = ["hunter2", "sesame", "opensesame", "topsecret", "bearertoken", "querysecret", "apikeysecret", "headersecret", "passphrasesecret", "proxysecret"]

CONF = """
<system>
  rpc_endpoint 127.0.0.1:@RPC@
  enable_get_dump true
  log_level trace
</system>
<source>
  @type monitor_agent
  bind 127.0.0.1
  port @MONITOR@
  include_config true
</source>
<source>
  @type prometheus
  bind 127.0.0.1
  port @PROMETHEUS@
</source>
<source>
  @type tcp
  bind 127.0.0.1
  port @TCP@
  tag t
  <parse>
    @type json
  </parse>
</source>
<source>
  @type http
  bind 127.0.0.1
  port @HTTP@
</source>
<source>
  @type forward
  bind 127.0.0.1
  port @FORWARD@
  <security>
    self_hostname me
    shared_key opensesame
    user_auth true
    <user>
      username u
      password topsecret
    </user>
  </security>
</source>
<match t>
  @type copy
  <store>
    @type http
    endpoint http://user:hunter2@127.0.0.1:@CLOSED@/x?token=querysecret
    proxy http://p:proxysecret@127.0.0.1:@CLOSED@
    headers {"Authorization":"Bearer headersecret"}
    <auth>
      method basic
      username u
      password sesame
    </auth>
    <buffer>
      @type memory
      flush_mode immediate
      retry_wait 0.1
      retry_max_interval 0.2
    </buffer>
  </store>
  <store>
    @type forward
    <security>
      self_hostname me
      shared_key opensesame
    </security>
    <server>
      host 127.0.0.1
      port @CLOSED@
      username u
      password topsecret
    </server>
    <buffer>
      @type memory
      flush_mode immediate
      retry_wait 0.1
      retry_max_interval 0.2
    </buffer>
  </store>
  <store>
    @type mackerel
    api_key apikeysecret
    service svc
    <buffer>
      @type memory
      flush_mode immediate
    </buffer>
  </store>
</match>
<match **>
  @type file
  path @D@/out/${tag}
  append true
  <buffer tag>
    @type file
    path @D@/buffer
    flush_mode immediate
  </buffer>
</match>
"""


def get(port, path):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=10) as answer:
            return answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")


def main():
    d = tempfile.mkdtemp(prefix="agg-secrets-")
    ports = {name: free_port() for name in ("RPC", "MONITOR", "PROMETHEUS", "TCP", "HTTP", "FORWARD", "CLOSED")}
    text = CONF.replace("@D@", d)
    for name, port in ports.items():
        text = text.replace("@%s@" % name, str(port))
    place = Place(agg, d, text)
    secrets = [s for s in SECRETS if s in text]
    pages = {}
    for args in (["check"], ["check", "--dump"]):
        done = subprocess.run([agg, *args, d + "/agg.conf"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        pages["agg " + " ".join(args)] = done.stdout
        expect("agg %s: status" % " ".join(args), done.returncode == 0, done.stdout)
    expect("--dump shows the rest", "shared_key xxxxxx" in pages["agg check --dump"], pages["agg check --dump"])
    expect("the daemon runs", place.start("-vv"), place.log())
    with socket.create_connection(("127.0.0.1", ports["TCP"])) as s:
        s.sendall(b'{"a":1}\n')
    until(lambda: place.log().count("failed to flush") >= 2)
    for page in ("/api/plugins.json?debug=1&with_config=yes&with_ivars=1", "/api/plugins.json", "/api/config.json?debug=1", "/api/config", "/ledger.json", "/metrics"):
        pages["monitor_agent " + page] = get(ports["MONITOR"], page)
    pages["getDump"] = get(ports["RPC"], "/api/config.getDump")
    get(ports["RPC"], "/api/config.dump")
    pages["prometheus"] = get(ports["PROMETHEUS"], "/metrics")
    expect("the pages say something", all(len(p) > 10 for p in pages.values()) and "retry_count" in pages["monitor_agent /api/plugins.json"], {k: len(p) for k, p in pages.items()})
    until(lambda: "xxxxxx" in place.log())

    # Control characters in what clients send: whole records, tags, paths, header fields.
    hostile = b"\x1b]0;owned\x07\x1b[2J\xc2\x9b31m\r"
    with socket.create_connection(("127.0.0.1", ports["TCP"])) as s:
        s.sendall(hostile + b"not json\n2026-01-01 00:00:00 +0000 [error]: #0 forged\n")
    for path in (b"/a%1b[31m%0aforged2", b"/../../etc/passwd", b"/..%2f..%2fup", b"/a/%2e%2e/b"):
        with socket.create_connection(("127.0.0.1", ports["HTTP"])) as s:
            s.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nX-A: \x1b[31m\r\nContent-Type: application/json\r\nContent-Length: 9\r\nConnection: close\r\n\r\n" + b'{"b":"c"}')
            s.recv(1000)
    with socket.create_connection(("127.0.0.1", ports["HTTP"])) as s:
        s.sendall(b"POST /t2?json=%1b[31m HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\njson=%1b[31m")
        s.recv(1000)
    with socket.create_connection(("127.0.0.1", ports["FORWARD"])) as s:
        s.settimeout(5)
        s.recv(1000)
        s.sendall(b"\x95\xa4PING\xa5\x1b[31m\xa4salt\xa3abc\xa0\xa0"[:20])
        time.sleep(0.2)
    until(lambda: "not json" in place.log())
    time.sleep(1)
    expect("it ends", place.end())
    pages["log"] = place.log()
    for name, page in sorted(pages.items()):
        found = [s for s in secrets if s in page]
        expect("%s shows no secret" % name, not found, (found, [line[:300] for line in page.split("\n") if any(s in line for s in found)][:3]))
        expect("%s has no control character" % name, not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", page), name)
    log = open(d + "/log", "rb").read()
    expect("nobody forged a line", not re.search(rb"^2026-01-01", log, re.M) and not re.search(rb"^forged", log, re.M))
    expect("what was sent is in the log, written out", b"\\x1b" in log, log[-2000:])
    strays = [os.path.join(root, n) for root, _, names in os.walk(d) for n in names if os.path.dirname(os.path.join(root, n)) == d and n not in ("agg.conf", "log", "pid")]
    expect("no tag climbed out of its folder", strays == [] and not os.path.exists(os.path.dirname(d) + "/up"), strays)
    expect("they were written", sum(len(names) for _, _, names in os.walk(d + "/out")) >= 2, list(os.walk(d + "/out")))
    return d


folder = main()
if failures:
    sys.exit("%d failed; see %s" % (len(failures), folder))
shutil.rmtree(folder, ignore_errors=True)
