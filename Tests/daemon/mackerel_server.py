#!/usr/bin/env python3
"""A stand-in for Mackerel's API, because nothing real can be installed: what mackerel.io's API documents say, and no more.

It is strict. It refuses what the documents refuse: a wrong key (403), names, units, statuses and roles that cannot be, unknown and
retired hosts, bodies that are no JSON, more than 100 reports, messages over 1,024 characters, metadata over 100 KB (413) or more
than 50 namespaces; it ignores points older than 24 hours and reports older than six, with 200. What it has been given is read
through the documented GETs; beside those, for tests:

  GET  /_test/posts      every point in the order it arrived: [target, name, time, value, post number]
  GET  /_test/reports    every report in the order it arrived
  GET  /_test/calls      method and path of every call
  POST /_test/fail       {"path": regexp, "status": n, "times": n, "retryAfter": s, "match": text}: such calls are answered so
  POST /_test/fail       {"path": regexp, "times": n, "lose": true}: such calls are taken, and the connection is reset without an answer
  POST /_test/fail       {} ends all of that

Usage: mackerel_server.py [PORT].  Prints the port. The key is "test-key". Python 3 standard library only."""
import json, re, socket, struct, sys, threading, time, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "test-key"
PLAIN = re.compile(r"[a-zA-Z0-9_-]+\Z")
METRIC = re.compile(r"[a-zA-Z0-9._-]+\Z")
SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,62}\Z")
GRAPH = re.compile(r"custom(\.([-a-zA-Z0-9_]+|[*#]))+\Z")
UNITS = "float integer percentage seconds milliseconds bytes bytes/sec bits/sec iops".split()
STATUSES = ["standby", "working", "maintenance", "poweroff"]


class Refused(Exception):
    def __init__(self, status, message): self.status, self.message = status, message


def need(condition, message, status=400):
    if not condition: raise Refused(status, message)


def is_number(value): return isinstance(value, (int, float)) and not isinstance(value, bool)


class Store:
    def __init__(self):
        self.lock = threading.Lock()
        self.hosts, self.services = {}, {}
        self.points, self.graphs, self.metadata = {}, {}, {}
        self.posts, self.reports, self.seen_reports, self.calls, self.faults = [], [], set(), [], []
        self.post_number = 0
        self.offset = 0  # seconds that its clock is ahead: tests step it

    def now(self): return time.time() + self.offset

    # Hosts

    def host(self, id, retired_too=False):
        need(id in self.hosts, "host not found", 404)
        if not retired_too: need(not self.hosts[id]["isRetired"], "the host has been retired")
        return self.hosts[id]

    def apply(self, host, body):
        need(isinstance(body, dict), "an object is needed")
        need(isinstance(body.get("name"), str) and body["name"], "name is needed")
        need(isinstance(body.get("meta"), dict), "meta is needed: an object")
        for i in body.get("interfaces", []):
            need(isinstance(i, dict) and isinstance(i.get("name"), str), "an interface needs a name")
        for c in body.get("checks", []):
            need(isinstance(c, dict) and isinstance(c.get("name"), str) and PLAIN.match(c["name"]), "a check has a bad name")
        roles = body.get("roleFullnames", [])
        for role in roles:
            parts = role.split(":")
            need(len(parts) == 2 and all(SERVICE.match(p) for p in parts), "bad role: %r" % role)
        if body.get("customIdentifier"):
            other = [h for h in self.hosts.values()
                     if h["customIdentifier"] == body["customIdentifier"] and not h["isRetired"] and h is not host]
            need(not other, "the custom identifier is in use")
        for key in ("name", "displayName", "memo", "meta", "interfaces", "customIdentifier"):
            if key in body: host[key] = body[key] or ("" if key == "memo" else None if key != "meta" else {})
        if "checks" in body: host["_checks"] = body["checks"]
        for role in roles:
            service, name = role.split(":")
            self.services.setdefault(service, set()).add(name)
            names = host["roles"].setdefault(service, [])
            if name not in names: names.append(name)

    def create(self, body):
        host = {"id": "h%09dAgg" % (len(self.hosts) + 1), "name": "", "displayName": None, "customIdentifier": None, "memo": "", "size": "standard",
                "status": "working", "roles": {}, "isRetired": False, "createdAt": int(time.time()), "meta": {}, "interfaces": [], "_checks": []}
        self.apply(host, body)
        self.hosts[host["id"]] = host
        return {"id": host["id"]}

    # Points

    def tsdb(self, body, service=None):
        need(isinstance(body, list), "an array is needed")
        if service is not None: need(service in self.services, "service not found", 404)
        for p in body:
            need(isinstance(p, dict), "a point is an object")
            need(isinstance(p.get("name"), str) and METRIC.match(p["name"]), "bad metric name: %r" % p.get("name"))
            need(isinstance(p.get("time"), int) and is_number(p.get("value")), "time and value are numbers")
            if service is None: self.host(p.get("hostId"))
        self.post_number += 1
        for p in body:
            target = service or p["hostId"]
            self.posts.append([target, p["name"], p["time"], p["value"], self.post_number])
            if p["time"] >= self.now() - 86400: self.points.setdefault((target, p["name"]), {})[p["time"]] = p["value"]
        return {"success": True}

    def series(self, target, query):
        name = query.get("name", [""])[0]
        need((target, name) in self.points, "metric not found", 404)
        low, high = int(query["from"][0]), int(query["to"][0])
        return {"metrics": [{"time": t, "value": v} for t, v in sorted(self.points[target, name].items()) if low <= t <= high]}

    def graph_defs(self, body):
        need(isinstance(body, list), "an array is needed")
        for g in body:
            need(isinstance(g.get("name"), str) and GRAPH.match(g["name"]) and g["name"].count("#") < 2, "bad graph name: %r" % g.get("name"))
            need(g.get("unit", "float") in UNITS, "bad unit: %r" % g.get("unit"))
            for m in g.get("metrics", []):
                need(isinstance(m.get("name"), str) and GRAPH.match(m["name"]) and m["name"].startswith(g["name"] + "."), "bad metric: %r" % m.get("name"))
                need(isinstance(m.get("isStacked", False), bool), "isStacked is a boolean")
        for g in body: self.graphs[g["name"]] = g
        return {"success": True}

    def report(self, body):
        reports = body.get("reports") if isinstance(body, dict) else None
        need(isinstance(reports, list), "reports is an array")
        need(len(reports) <= 100, "more than 100 reports")
        for r in reports:
            need(r.get("source", {}).get("type") == "host", "source.type must be host")
            self.host(r["source"].get("hostId"))
            need(isinstance(r.get("name"), str) and PLAIN.match(r["name"]), "bad check name: %r" % r.get("name"))
            need(r.get("status") in ("OK", "WARNING", "CRITICAL", "UNKNOWN"), "bad status: %r" % r.get("status"))
            need(isinstance(r.get("message"), str) and len(r["message"]) <= 1024, "the message is too long")
            need(isinstance(r.get("occurredAt"), int), "occurredAt is a number")
            need(1 <= r.get("maxCheckAttempts", 1) <= 10, "maxCheckAttempts is 1 to 10")
            need(is_number(r.get("notificationInterval", 10)), "notificationInterval is a number")
        for r in reports:
            key = (r["source"]["hostId"], r["name"], r["occurredAt"])
            if key in self.seen_reports or r["occurredAt"] < self.now() - 6 * 3600: continue
            self.seen_reports.add(key)
            self.reports.append(r)
        return {"success": True}

    def put_metadata(self, id, namespace, raw, body):
        self.host(id)
        need(PLAIN.match(namespace), "bad namespace")
        need(len(raw) <= 100 * 1024, "the metadata exceeds 100KB", 413)
        have = self.metadata.setdefault(id, {})
        need(namespace in have or len(have) < 50, "the metadata limit has been exceeded")
        have[namespace] = (body, time.time())
        return {"success": True}

    # Dispatch

    def show(self, host): return {k: v for k, v in host.items() if not k.startswith("_") and v is not None}

    def listed(self, query):
        statuses = query.get("status") or ["working", "standby"]
        found = [h for h in self.hosts.values() if not h["isRetired"] and h["status"] in statuses]
        if "name" in query: found = [h for h in found if h["name"] == query["name"][0]]
        if "customIdentifier" in query: found = [h for h in found if h["customIdentifier"] == query["customIdentifier"][0]]
        if "service" in query:
            service = query["service"][0]
            found = [h for h in found if service in h["roles"] and (not query.get("role") or set(query["role"]) & set(h["roles"][service]))]
        return {"hosts": [self.show(h) for h in found]}

    def call(self, method, parts, query, raw):
        body = None
        if method in ("POST", "PUT"):
            try: body = json.loads(raw.decode("utf-8"), parse_constant=lambda c: need(False, "%s is not JSON" % c))
            except ValueError: raise Refused(400, "the body is not JSON")
        p = [urllib.parse.unquote(x) for x in parts]
        key = method + " /" + "/".join(p)
        if key == "POST /hosts": return self.create(body)
        if key in ("GET /hosts", "GET /hosts.json"): return self.listed(query)
        if key == "POST /tsdb": return self.tsdb(body)
        if key == "GET /tsdb/latest": return {"tsdbLatest": {h: {n: self.latest(h, n) for n in query.get("name", [])} for h in query.get("hostId", [])}}
        if key == "POST /graph-defs/create": return self.graph_defs(body)
        if key == "POST /monitoring/checks/report": return self.report(body)
        if key == "GET /services": return {"services": [{"name": s, "memo": "", "roles": sorted(r)} for s, r in sorted(self.services.items())]}
        if key == "POST /services":
            need(isinstance(body.get("name"), str) and SERVICE.match(body["name"]), "bad service name")
            self.services.setdefault(body["name"], set())
            return {"name": body["name"], "memo": body.get("memo", ""), "roles": []}
        if len(p) == 3 and p[0] == "services" and p[2] == "tsdb" and method == "POST": return self.tsdb(body, p[1])
        if len(p) == 3 and p[0] == "services" and p[2] == "metrics" and method == "GET": return self.series(p[1], query)
        if len(p) == 3 and p[0] == "services" and p[2] == "metric-names" and method == "GET":
            return {"names": sorted(n for t, n in self.points if t == p[1])}
        if len(p) == 2 and p[0] == "hosts-by-custom-identifier" and method == "GET":
            found = [h for h in self.hosts.values() if h["customIdentifier"] == p[1] and not h["isRetired"]]
            need(found, "host not found", 404)
            return {"host": self.show(found[0])}
        if len(p) >= 2 and p[0] == "hosts": return self.host_call(method, p[1], p[2:], query, raw, body)
        raise Refused(404, "no such path")

    def latest(self, host, name):
        points = self.points.get((host, name))
        if not points: return None
        t = max(points)
        return {"time": t, "value": points[t]}

    def host_call(self, method, id, rest, query, raw, body):
        key = method + " " + "/".join(rest[:1])
        if key == "GET " and not rest: return {"host": self.show(self.host(id, True))}
        if key == "PUT " and not rest:
            self.apply(self.host(id), body)
            return {"id": id}
        host = self.host(id, method == "GET")
        if key == "POST status":
            need(isinstance(body, dict) and body.get("status") in STATUSES, "bad status")
            host["status"] = body["status"]
            return {"success": True}
        if key == "POST retire":
            host["isRetired"], host["retiredAt"] = True, int(time.time())
            return {"success": True}
        if key == "PUT role-fullnames":
            host["roles"] = {}
            self.apply(host, {"name": host["name"], "meta": host["meta"], "roleFullnames": body.get("roleFullnames", [])})
            return {"success": True}
        if key == "GET metrics": return self.series(id, query)
        if key == "GET metric-names": return {"names": sorted(n for t, n in self.points if t == id)}
        if key == "GET metadata" and len(rest) == 1: return {"metadata": [{"namespace": n} for n in sorted(self.metadata.get(id, {}))]}
        if key == "GET metadata":
            need(rest[1] in self.metadata.get(id, {}), "metadata not found", 404)
            return self.metadata[id][rest[1]][0]
        if key == "PUT metadata" and len(rest) == 2: return self.put_metadata(id, rest[1], raw, body)
        raise Refused(404, "no such path")

    def test_call(self, method, what, body):
        if what == "fail":
            if body: self.faults.append(dict(body))
            else: self.faults.clear()
            return {}
        if what == "checks": return {h["id"]: h["_checks"] for h in self.hosts.values()}
        return {"posts": self.posts, "reports": self.reports, "calls": self.calls, "graphs": self.graphs}[what]

    def fault(self, method, path, raw):
        for f in self.faults:
            if f.get("times", 1) <= 0 or not re.search(f.get("path", ""), method + " " + path): continue
            if "match" in f and f["match"].encode() not in raw: continue
            f["times"] = f.get("times", 1) - 1
            return f


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a): pass

    def answer(self, status, value, fields={}):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for k, v in fields.items(): self.send_header(k, str(v))
        self.end_headers()
        self.wfile.write(body)

    def handle_call(self):
        store = self.server.store
        url = urllib.parse.urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with store.lock:
            if url.path.startswith("/_test/"):
                return self.answer(200, store.test_call(self.command, url.path[7:], json.loads(raw) if raw else None))
            store.calls.append([self.command, self.path])
            fault = store.fault(self.command, url.path, raw)
            if fault and fault.get("lose"):
                store.call(self.command, url.path[8:].split("/"), urllib.parse.parse_qs(url.query), raw)
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return self.connection.close()
            if fault:
                fields = {"Retry-After": fault["retryAfter"]} if "retryAfter" in fault else {}
                return self.answer(fault["status"], {"error": {"message": "as the test wants it"}}, fields)
            try:
                need(self.headers.get("X-Api-Key") == KEY, "the API key is not right", 403)
                need(url.path.startswith("/api/v0/"), "no such path", 404)
                value = store.call(self.command, url.path[8:].split("/"), urllib.parse.parse_qs(url.query), raw)
                self.answer(200, value)
            except (TypeError, AttributeError, KeyError, IndexError, ValueError) as e:
                self.answer(400, {"error": {"message": "malformed: %r" % e}})
            except Refused as r:
                self.answer(r.status, {"error": {"message": r.message}})

    do_GET = do_POST = do_PUT = do_DELETE = handle_call


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port=0, store=None):
        self.store = store or Store()
        super().__init__(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    server = Server(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(server.server_address[1], flush=True)
    server.serve_forever()
