#!/usr/bin/env python3
"""A disk of some megabytes that holds what agg writes is filled and released again and again while events arrive by tail, by forward
with acknowledgements and over HTTP. Nothing that was accepted is lost or comes twice, the daemon goes on, and it says so once a change.

Usage: full_disk.py AGG [--only NAME] [--long].  Exit status 1 when a drill fails. Needs to mount: as root, or with `unshare -rm`."""
import http.server
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from drill import Failed, Forward, Lines, Place, Posts, check, count, free_port, numbers, run, until, with_mounts  # noqa: E402

SOURCES = """
<source>
  @type tail
  @id tail
  tag t.t
  path @D@/in.log
  pos_file @POS@/pos
  read_from_head true
  refresh_interval 1s
  <parse>
    @type json
  </parse>
</source>
<source>
  @type forward
  @id forward
  bind 127.0.0.1
  port @FORWARD@
</source>
<source>
  @type http
  @id http
  bind 127.0.0.1
  port @HTTP@
</source>
"""

FILE = """
<match *.t>
  @type file
  @id out
  path @OUT@/out
  append true
  <format>
    @type json
  </format>
  <buffer @KEYS@>
    @type file
    path @BUFFER@/buffer
    flush_mode immediate
    chunk_limit_size 256k
    retry_wait 0.1
    retry_max_interval 0.5
    retry_forever true
  </buffer>
</match>
"""


class Load:
    """The three senders, and what they were told."""

    def __init__(self, place, forward, http):
        self.tail, self.forward, self.http = Lines(place.d + "/in.log"), Forward(forward), Posts(http)
        for sender in (self.tail, self.forward, self.http):
            sender.start()

    def finish(self):
        return {"t": self.tail.finish(), "f": self.forward.finish(), "h": self.http.finish()}


def verdict(accepted, out):
    """Waits until everything is out; (events, lost, duplicated)."""
    found = lambda: {key: numbers(f'"{key}":', *out) for key in accepted}
    try:
        until(lambda: all(len(set(n)) >= accepted[key] for key, n in found().items()), "all is out", 60)
    except Failed:
        pass
    time.sleep(1)  # what would come twice has come by then
    results = [count(accepted[key], n) for key, n in found().items()]
    return sum(accepted.values()), sum(r[0] for r in results), sum(r[1] for r in results)


def said(place, fills, most):
    """Complaints in the log: bounded by the changes of state, whatever the number of events and attempts."""
    lines = place.complaints()
    if len(lines) > most * fills:
        kinds = {}
        for line in lines:
            kinds.setdefault(line[27:90], []).append(line)
        worst = sorted(kinds.values(), key=len, reverse=True)[:4]
        raise Failed(f"{len(lines)} complaints for {fills} fills: " + " | ".join(f"{len(w)}x {w[0]}" for w in worst))
    return len(lines)


def fills(agg, options, size, where, most, keys="[]", times=10, hold=0.8, conf=FILE, http_refuses=True):
    """`where`: which of POS, OUT, BUFFER are on the small disk."""
    forward, http = free_port(), free_port()
    times = times * 3 if options["long"] else times
    at = {name: "@D@/disk" if name in where else "@D@" for name in ("POS", "OUT", "BUFFER")}
    with Place(agg, "", disk=size) as place:
        place.write(SOURCES + conf, FORWARD=forward, HTTP=http, KEYS=keys, **{k: v.replace("@D@", place.d) for k, v in at.items()})
        place.start()
        load = Load(place, forward, http)
        out = [f"{place.d}/{folder}out{name}.log" for folder in ("disk/", "") for name in ["", *[f".{n}" for n in range(7)]]]
        until(lambda: numbers('"h":', *out), "events come out before the disk is full")
        refused = 0
        for _ in range(times):
            place.disk.fill()
            before = load.http.answers.get(503, 0)
            if http_refuses:
                until(lambda: load.http.answers.get(503, 0) > before, f"a 503 while the disk is full: {load.http.answers}", 20)
            time.sleep(hold)
            place.alive()
            place.disk.fill()
            place.disk.release()
            written, h, f = load.tail.written, load.http.accepted, load.forward.acknowledged
            until(lambda: load.http.accepted > h and load.forward.acknowledged > f, "senders go on after the release", 20)
            until(lambda: max(numbers('"t":', *out), default=0) > written, "the tail goes on after the release", 20)
        accepted = load.finish()
        events, lost, duplicated = verdict(accepted, out)
        totals = place.balance()
        lines = said(place, times, most)
        wrong = {k: v for k, v in load.http.answers.items() if k not in (200, 503)}
        place.stop()
        figures = f"{times} fills, {events} events, lost {lost}, duplicated {duplicated}, HTTP {load.http.answers}, forward repeats {load.forward.repeats}, {lines} complaints"
        check(not lost and not duplicated, figures)
        check(not wrong, f"other answers than 200 and 503: {figures}")
        dropped = {kind: totals[kind]["dropped"] for kind in totals if totals[kind].get("dropped")}
        check(not dropped, f"something was dropped: {dropped}")
        return figures


def all_on_it(agg, options):
    return fills(agg, options, 24 << 20, ("POS", "OUT", "BUFFER"), 8)


def many_chunks(agg, options):
    """A batch falls into several chunks: the frames that were appended before the disk was full are taken back."""
    return fills(agg, options, 24 << 20, ("POS", "OUT", "BUFFER"), 8, keys="n", times=5, conf=FILE.replace("@OUT@/out", "@OUT@/out.${n}").replace("<match *.t>", """<filter *.t>
  @type record_transformer
  enable_ruby true
  auto_typecast false
  <record>
    n ${((record["t"] || record["f"] || record["h"]) % 7).to_s}
  </record>
</filter>
<match *.t>"""))


def buffer_on_it(agg, options):
    return fills(agg, options, 24 << 20, ("BUFFER",), 8, times=3)


def output_on_it(agg, options):
    """The buffer takes events on while out_file cannot write."""
    return fills(agg, options, 32 << 20, ("OUT",), 20, times=3, hold=1.5, http_refuses=False)


def positions_on_it(agg, options):
    """pos_file alone: reading goes on, and a restart resumes where the commit log says."""
    with Place(agg, SOURCES + FILE, disk=1 << 20) as place:
        place.write(SOURCES.replace("path @D@/in.log", "path @D@/*.log") + FILE, FORWARD=free_port(), HTTP=free_port(), KEYS="[]", POS=place.d + "/disk", OUT=place.d + "/to",
                    BUFFER=place.d)
        place.disk.fill()
        # More files than fit into the room of pos_file's first page, were there one.
        total = 0
        for i in range(50):
            with open(f"{place.d}/{i}.log", "w") as f:
                f.write("".join('{"t":%d}\n' % n for n in range(total, total + 100)))
            total += 100
        place.start()
        out = [place.d + "/to/out.log"]
        until(lambda: len(numbers('"t":', *out)) >= total, "reading goes on without positions")
        complaints = len(place.complaints())
        check(complaints <= 4, f"{complaints} complaints: {place.complaints()[:5]}")
        place.stop()
        with open(place.d + "/7.log", "a") as f:
            f.write("".join('{"t":%d}\n' % n for n in range(total, total + 100)))
        total += 100
        place.start()
        until(lambda: len(set(numbers('"t":', *out))) >= total, "reading goes on where it was after a restart")
        place.disk.release()
        with open(place.d + "/8.log", "a") as f:
            f.write("".join('{"t":%d}\n' % n for n in range(total, total + 100)))
        total += 100
        until(lambda: len(set(numbers('"t":', *out))) >= total, "reading goes on after the release")
        until(lambda: len(open(place.d + "/disk/pos").read().splitlines()) == 50, "pos_file has its 50 lines again", 20)
        lost, duplicated = count(total, numbers('"t":', *out))
        place.balance()
        place.stop()
        figures = f"50 files, {total} events, lost {lost}, duplicated {duplicated}, {complaints} complaints while full"
        check(not lost and not duplicated, figures)
        return figures


class Server:
    """An HTTP destination that refuses with 503 until it is let."""

    def __init__(self):
        server = self
        self.open, self.bodies = False, {}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if server.open:
                    server.bodies[self.headers["Idempotency-Key"]] = body
                self.send_response(200 if server.open else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


HTTP = """
<match *.t>
  @type http
  @id out
  endpoint http://127.0.0.1:@TO@/
  <buffer []>
    @type file
    path @BUFFER@/buffer
    flush_mode immediate
    chunk_limit_size 256k
    retry_wait 0.1
    retry_max_interval 0.3
    retry_forever true
  </buffer>
</match>
"""


def sending_goes_on(agg, options):
    """What is stored leaves for its destination while the disk is full, and that alone makes room again: no release."""
    server, forward, http = Server(), free_port(), free_port()
    with Place(agg, "", disk=8 << 20) as place:
        place.write(SOURCES + HTTP, FORWARD=forward, HTTP=http, TO=server.port, POS=place.d, BUFFER=place.d + "/disk")
        place.start()
        load = Load(place, forward, http)
        # The destination refuses: the buffer itself fills what is left of the disk.
        time.sleep(1)
        place.disk.fill()
        with open(place.disk.filler, "r+b") as f:
            f.truncate(os.path.getsize(place.disk.filler) - (1 << 20))
        until(lambda: load.http.answers.get(503, 0) > 3, "the buffer fills the disk", 60)
        time.sleep(1)
        written = load.tail.written
        server.open = True
        got = lambda key: numbers_of(server, key)
        until(lambda: max(got("t"), default=0) > written, "what is delivered makes room", 30)
        place.disk.release()
        accepted = load.finish()
        until(lambda: all(len(set(got(key))) >= n for key, n in accepted.items()), "all is delivered", 60)
        totals = place.balance()
        results = [count(n, got(key)) for key, n in accepted.items()]
        lost, duplicated = sum(r[0] for r in results), sum(r[1] for r in results)
        lines = said(place, 1, 20)
        place.stop()
        figures = f"{sum(accepted.values())} events, lost {lost}, duplicated {duplicated}, HTTP {load.http.answers}, {lines} complaints"
        check(not lost and not duplicated, figures)
        check(not totals["outputs"]["dropped"], f"dropped: {totals['outputs']['dropped']}")
        return figures


def numbers_of(server, key):
    import re
    return [int(n) for body in list(server.bodies.values()) for n in re.findall(rb'"%s":(\d+)' % key.encode(), body)]


def secondary_on_it(agg, options):
    """The destination is dead for good and the secondary's disk is full: nothing is dropped, and it goes there after the release."""
    conf = SOURCES + HTTP.replace("    retry_forever true\n", "    retry_timeout 30s\n    retry_secondary_threshold 0.05\n").replace("</match>", """  <secondary>
    @type secondary_file
    directory @D@/disk
    basename left
    append true
  </secondary>
</match>""")
    server = Server()
    with Place(agg, "", disk=1 << 20) as place:
        place.write(conf, FORWARD=free_port(), HTTP=free_port(), TO=server.port, POS=place.d, BUFFER=place.d)
        place.disk.fill()
        with open(place.d + "/in.log", "w") as f:
            f.write("".join('{"t":%d}\n' % n for n in range(5000)))
        place.start()
        # From 1.5 s on it is the secondary that is tried; only the first failure is told.
        time.sleep(4)
        place.disk.release()
        until(lambda: len(numbers('"t":', place.d + "/disk/left")) >= 5000, "the secondary has it after the release", 30)
        totals = place.balance()
        lost, duplicated = count(5000, numbers('"t":', place.d + "/disk/left"))
        place.stop()
        figures = f"5000 events, lost {lost}, duplicated {duplicated}, dropped {totals['outputs']['dropped']}"
        check(not lost and not duplicated and not totals["outputs"]["dropped"], figures)
        return figures


def restart_when_full(agg, options):
    """agg is killed on a full disk and started on it: it comes up, and nothing is lost or comes twice."""
    forward, http = free_port(), free_port()
    with Place(agg, "", disk=16 << 20) as place:
        disk = place.d + "/disk"
        place.write(SOURCES + FILE, FORWARD=forward, HTTP=http, KEYS="[]", POS=disk, OUT=disk, BUFFER=disk)
        place.start()
        load = Load(place, forward, http)
        out = [disk + "/out.log"]
        until(lambda: numbers('"h":', *out), "events come out")
        starts = 0
        for _ in range(3):
            place.disk.fill()
            until(lambda: place.log("No space left"), "the disk is full")
            time.sleep(0.3)
            place.daemon.kill()
            place.daemon.close()
            place.start()
            starts += 1
            time.sleep(1)
            place.alive()
            place.disk.release()
            n = len(numbers('"t":', *out))
            until(lambda: len(numbers('"t":', *out)) > n, "it goes on after the release")
        events, lost, duplicated = verdict(load.finish(), out)
        place.balance()
        place.stop()
        figures = f"{starts} starts on a full disk, {events} events, lost {lost}, duplicated {duplicated}"
        check(not lost and not duplicated, figures)
        return figures


if __name__ == "__main__":
    with_mounts()
    run([("all on the full disk", all_on_it), ("many chunks a batch", many_chunks), ("buffer and commit log", buffer_on_it), ("out_file", output_on_it),
         ("pos_file", positions_on_it), ("sending goes on", sending_goes_on), ("secondary", secondary_on_it), ("restart when full", restart_when_full)],
        sys.argv)
