#!/usr/bin/env python3
"""The wall clock is stepped forwards and backwards by minutes, hours and days while events flow: flushes, retries and heartbeats go by
the monotonic clock, so they neither stop nor storm.

Usage: clock.py AGG [--only NAME] [--long].  Exit status 1 when a drill fails. Needs libfaketime (Debian: faketime)."""
import atexit
import glob
import http.server
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from drill import Lines, Place, check, count, free_port, numbers, run, until  # noqa: E402

MINUTE, HOUR, DAY = 60, 3600, 86400
STEPS = [0, HOUR, -5 * HOUR, 2 * DAY, -3 * DAY, 30 * DAY, -MINUTE, 0]


def library():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        print(f"SKIPPED {sys.argv[0]}: libfaketime is not installed (Debian: faketime); nothing was tested", flush=True)
        sys.exit(0)
    return found[0]


class Clock:
    """The wall clock of the daemons that have its environment."""

    def __init__(self, folder):
        self.path = folder + "/clock"
        self.step(0)
        # Through env: the library changes the environment of the first program that it is in, and Swift looks for its arguments there.
        self.prefix = ["env"]
        self.environment = {"LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}

    def step(self, seconds):
        with open(self.path + ".new", "w") as f:
            f.write(f"{seconds:+d}\n")
        os.rename(self.path + ".new", self.path)


TAIL = """
<source>
  @type tail
  @id tail
  tag t
  path @D@/in.log
  pos_file @D@/pos
  read_from_head true
  refresh_interval 1s
  <parse>
    @type json
  </parse>
</source>
"""


def stepping(agg, conf, steps, each, done, **values):
    """Runs the configuration over the steps; `done(place)` gives the numbers that came out."""
    with Place(agg, "", **values) as place:
        clock = Clock(place.d)
        place.environment, place.prefix = clock.environment, clock.prefix
        place.write(conf, **values)
        place.start()
        writer = Lines(place.d + "/in.log", rate=1000)
        writer.start()
        began = len(place.complaints())
        for step in steps:
            clock.step(step)
            time.sleep(0.3)
            mark = writer.written
            until(lambda: max(done(place), default=0) >= mark, f"events of now come out after a step to {step:+d} s", 30)
            time.sleep(each)
            place.alive()
        written = writer.finish()
        until(lambda: len(set(done(place))) >= written, "all is out", 60)
        lost, duplicated = count(written, done(place))
        place.balance()
        complaints = len(place.complaints()) - began
        place.stop()
        figures = f"{len(steps)} steps, {written} events, lost {lost}, duplicated {duplicated}, {complaints} complaints"
        check(not lost and not duplicated, figures)
        check(complaints == 0, f"{figures}: {place.complaints()[:5]}")
        return figures


def files(place):
    return numbers('"t":', *glob.glob(place.d + "/out/*"))


def by_interval(agg, options):
    return stepping(agg, TAIL + """
<match t>
  @type file
  path @D@/out/o
  append true
  <format>
    @type json
  </format>
  <buffer []>
    @type file
    path @D@/buffer
    flush_interval 1s
  </buffer>
</match>
""", STEPS * (4 if options["long"] else 1), 0.2, files)


def by_slice(agg, options):
    """Slices end by the wall clock. Set back, it would reach the end of a slice only in hours: a slice is never kept longer than it is."""
    return stepping(agg, TAIL + """
<match t>
  @type file
  path @D@/out/%Y%m%d%H%M%S
  append true
  <format>
    @type json
  </format>
  <buffer time>
    @type file
    path @D@/buffer
    timekey 2s
    timekey_wait 1s
  </buffer>
</match>
""", STEPS * (4 if options["long"] else 1), 0.2, files)


def retries(agg, options):
    """A destination that refuses is asked at the pace of retry_wait, whatever the clock says."""
    times, taken = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            times.append(time.monotonic())
            self.send_response(200 if Handler.opened else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    Handler.opened = False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Place(agg, "") as place:
        clock = Clock(place.d)
        place.environment, place.prefix = clock.environment, clock.prefix
        place.write(TAIL + """
<match t>
  @type http
  endpoint http://127.0.0.1:@TO@/
  <buffer []>
    @type file
    path @D@/buffer
    flush_mode immediate
    retry_type periodic
    retry_wait 1s
    retry_randomize false
    retry_timeout 1h
  </buffer>
</match>
""", TO=server.server_address[1])
        place.start()
        with open(place.d + "/in.log", "w") as f:
            f.write("".join('{"t":%d}\n' % n for n in range(1000)))
        until(lambda: times, "the first attempt")
        for step in STEPS:
            clock.step(step)
            n = len(times)
            # Neither an attempt at once because a moment is past, nor none because it is far off.
            until(lambda: len(times) > n, f"the next attempt after a step to {step:+d} s", 20)
        gaps = [b - a for a, b in zip(times, times[1:])]
        check(min(gaps) > 0.5, f"attempts {min(gaps):.2f} s apart, with retry_wait 1s")
        check(not place.log("gave up"), "gave up, though retry_timeout is an hour")
        Handler.opened = True
        taken.clear()
        until(lambda: place.log("retry succeeded"), "it is delivered", 20)
        place.balance()
        place.stop()
        import re
        found = [int(n) for body in taken for n in re.findall(rb'"t":(\d+)', body)]
        lost, duplicated = count(1000, found)
        figures = f"{len(times)} attempts, least gap {min(gaps):.2f} s, lost {lost}, duplicated {duplicated}"
        check(not lost and not duplicated, figures)
        return figures


def heartbeats(agg, options):
    """A forward server stays in, and goes on getting events, while the sender's clock is stepped."""
    port = free_port()
    with Place(agg, """
<source>
  @type forward
  bind 127.0.0.1
  port @PORT@
</source>
<match t>
  @type file
  path @D@/out/o
  append true
  <format>
    @type json
  </format>
  <buffer []>
    @type file
    path @D@/buffer
    flush_mode immediate
  </buffer>
</match>
""", PORT=port) as receiver:
        receiver.start()
        figures = stepping(agg, TAIL + """
<match t>
  @type forward
  require_ack_response true
  heartbeat_type transport
  heartbeat_interval 0.2s
  hard_timeout 10s
  <server>
    host 127.0.0.1
    port @PORT@
  </server>
  <buffer tag>
    @type file
    path @D@/buffer
    flush_mode immediate
    retry_wait 0.2
  </buffer>
</match>
""", STEPS * (4 if options["long"] else 1), 1.0, lambda _: files(receiver), PORT=port)
        receiver.balance()
        receiver.stop()
        return figures


def remove_leftovers(before):
    """The library leaves its shared memory behind when the program ends."""
    for path in set(glob.glob("/dev/shm/*faketime*")) - before:
        if not os.path.exists("/proc/" + path.rsplit("_", 1)[1]):
            os.remove(path)


if __name__ == "__main__":
    library()
    atexit.register(remove_leftovers, set(glob.glob("/dev/shm/*faketime*")))
    run([("flush_interval", by_interval), ("time slices", by_slice), ("retries", retries), ("heartbeats", heartbeats)], sys.argv)
