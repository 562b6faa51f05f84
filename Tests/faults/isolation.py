#!/usr/bin/env python3
"""One dead output of five, every overflow_action, ten times the load that the outputs take, and memory_limit under all of it.

Usage: isolation.py AGG [--only DRILL] [--keep]
Every drill prints a line with its figures. Exit status 1 when an output stalls another one, an action does something else than its page
says, an event is unaccounted for, or the process grows beyond its limit. Standard library only."""
import argparse
import http.client
import os
import shutil
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bad_server import BadServer  # noqa: E402
from node import Checks, Node, free_port, json_lines, numbers_in, until  # noqa: E402

TAIL = """
<source>
  @type tail
  @id in
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

TCP = """
<source>
  @type tcp
  @id in
  bind 127.0.0.1
  port @IN@
  tag t
  <parse>
    @type json
  </parse>
</source>
"""

HTTP_IN = """
<source>
  @type http
  @id in
  bind 127.0.0.1
  port @IN@
</source>
"""

OUTPUT = """
@type http
@id out@N@
endpoint http://127.0.0.1:@PORT@/
open_timeout 2
read_timeout 2
<buffer []>
  @type @TYPE@
  @PATH@
  flush_mode immediate
  flush_thread_count 2
  chunk_limit_size 32k
  retry_wait 0.1
  retry_max_interval 0.4
  retry_forever true
  @MORE@
</buffer>
"""


def output(drill, number, port, kind="file", more=""):
    path = f"path {drill.folder}/buffer{number}" if kind == "file" else ""
    text = OUTPUT
    for name, value in {"N": number, "PORT": port, "TYPE": kind, "PATH": path, "MORE": more}.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def copy_to(stores):
    """`stores`: pairs of a store's arguments and its inside."""
    return "<match t>\n@type copy\n" + "".join(f"<store {arguments}>\n{inside}\n</store>\n" for arguments, inside in stores) + "</match>\n"


class Drill:
    def __init__(self, options, name):
        self.options, self.name, self.checks = options, name, Checks()
        self.folder = tempfile.mkdtemp(prefix="agg-iso-")
        self.closing, self.written = [], 0

    def own(self, thing):
        self.closing.append(thing)
        return thing

    def servers(self, count, how=lambda number, body: 200):
        return [self.own(BadServer(how)) for _ in range(count)]

    def node(self, configuration, **values):
        for name, value in dict({"D": self.folder}, **values).items():
            configuration = configuration.replace(f"@{name}@", str(value))
        return self.own(Node(self.options.agg, self.folder, "agg", configuration))

    def write(self, count, pad=200):
        with open(f"{self.folder}/in.log", "a") as f:
            f.write(json_lines(self.written, count, pad))
        self.written += count

    def end(self, figures):
        for thing in reversed(self.closing):
            thing.close()
        good = not self.checks.wrong
        print(f"{'ok  ' if good else 'FAIL'} {self.name}: {figures}", flush=True)
        for wrong in self.checks.wrong:
            print(f"     {wrong}", flush=True)
        if good or not self.options.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"     folder {self.folder}", flush=True)
        return good


def dead(drill):
    """A destination that takes connections and never answers."""
    return drill.own(BadServer(lambda number, body: "hang"))


# MARK: One dead of five

def copied(options, kind):
    """copy to five, the third dead: the others have everything until its total_limit_size; then it blocks all, as `block` says."""
    drill = Drill(options, f"one dead of five, copy, {kind} buffers")
    checks = drill.checks
    servers = drill.servers(5)
    state = {"dead": True}
    servers[2].behave = lambda number, body: "hang" if state["dead"] else 200
    stores = [("", output(drill, n, servers[n].port, kind, "overflow_action block\ntotal_limit_size " + ("400k" if n == 2 else "64m"))) for n in range(5)]
    drill.write(500)
    node = drill.node(TAIL + copy_to(stores))
    alive = [0, 1, 3, 4]
    rows = lambda: [node.row(f"out{n}") for n in range(5)]  # noqa: E731
    checks.expect("the first events are through", until(lambda: all(node.row(f"out{n}").get("delivered") == 500 for n in alive), 60) or rows())
    # Far more than the dead one's limit takes.
    drill.write(5000)
    checks.expect("the dead one's buffer is full", until(lambda: (node.metric("agg_buffer_staged_bytes", "out2") or 0) + (node.metric("agg_buffer_queued_bytes", "out2") or 0) >= 400 << 10, 60))
    taken = lambda: node.row("out2").get("offered")  # noqa: E731
    # Everything it has taken, the others have delivered: it stalls them no sooner than its limit.
    checks.expect("the others have all that it took", until(lambda: all(row.get("delivered") == taken() for row in [node.row(f"out{n}") for n in alive]), 60) or rows())
    stalled_at = taken()
    checks.expect("it blocked at its limit, before the end", stalled_at, lambda n: 500 < n < drill.written)
    checks.balanced(node)
    state["dead"] = False
    checks.expect("all is delivered when it is back", until(lambda: all(row.get("delivered") == drill.written for row in rows()), 90) or rows())
    checks.expect("nothing twice", [len(s.numbers()) for s in servers], [drill.written] * 5)
    checks.balanced(node)
    checks.expect("stop", node.stop(), None)
    return drill.end(f"events {drill.written}, the others went on until {stalled_at}, delivered to each {drill.written}")


def separate(options):
    """Five matches of their own: a dead one stalls nobody, even when its buffer is full."""
    drill = Drill(options, "one dead of five, separate matches")
    checks = drill.checks
    servers = drill.servers(4)
    servers.insert(2, dead(drill))
    match = lambda n: f"<match t{n}.**>\n" + output(drill, n, servers[n].port, more=f"total_limit_size {'200k' if n == 2 else '64m'}\noverflow_action block") + "</match>\n"  # noqa: E731
    sources = "".join(TAIL.replace("@id in", f"@id in{n}").replace("tag t", f"tag t{n}.x").replace("/in.log", f"/in{n}.log").replace("/pos", f"/pos{n}") for n in range(5))
    for n in range(5):
        with open(f"{drill.folder}/in{n}.log", "w") as f:
            f.write(json_lines(0, 4000, 200))
    node = drill.node(sources + "".join(match(n) for n in range(5)))
    alive = [0, 1, 3, 4]
    checks.expect("the others have everything", until(lambda: all(node.row(f"out{n}").get("delivered") == 4000 for n in alive), 90) or [node.row(f"out{n}") for n in range(5)])
    taken = node.row("out2").get("offered")
    checks.expect("the dead one is full", taken, lambda n: 0 < n < 4000)
    checks.balanced(node)
    checks.expect("stop", node.stop(), None)
    return drill.end(f"events 4000 each, the dead one took {taken}, the others delivered {[len(servers[n].numbers()) for n in alive]}")


# MARK: Every overflow_action

def blocks(options):
    drill = Drill(options, "overflow_action block")
    checks = drill.checks
    server, state = drill.servers(1)[0], {"dead": True}
    server.behave = lambda number, body: 503 if state["dead"] else 200
    drill.write(4000)
    node = drill.node(TAIL + "<match t>\n" + output(drill, 0, server.port, "memory", "total_limit_size 200k\noverflow_action block") + "</match>\n")
    full = until(lambda: (node.metric("agg_buffer_queued_bytes", "out0") or 0) + (node.metric("agg_buffer_staged_bytes", "out0") or 0) >= 200 << 10, 60)
    checks.expect("it is full", full)
    taken = node.row("out0")["offered"]
    state["dead"] = False
    checks.expect("all is delivered", until(lambda: node.row("out0")["delivered"] == 4000, 60) or node.row("out0"))
    checks.expect("nothing is dropped", node.row("out0")["dropped"], {})
    checks.balanced(node)
    checks.expect("stop", node.stop(), None)
    return drill.end(f"events 4000, blocked at {taken}, delivered {len(server.numbers())}")


def throws(options):
    """throw_exception: the sender is told, and keeps what was not taken."""
    drill = Drill(options, "overflow_action throw_exception")
    checks, port = drill.checks, free_port()
    server, state = drill.servers(1)[0], {"dead": True}
    server.behave = lambda number, body: 503 if state["dead"] else 200
    node = drill.node(HTTP_IN + "<match t>\n" + output(drill, 0, server.port, "memory", "total_limit_size 100k\noverflow_action throw_exception") + "</match>\n", IN=port)

    def post(first, count):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        body = "[" + ",".join(json_lines(first, count, 200).split("\n")[:-1]) + "]"
        connection.request("POST", "/t", body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        return status

    answers, accepted = [], []
    for i in range(60):
        answers.append(post(i * 20, 20))
        if answers[-1] == 200:
            accepted += range(i * 20, i * 20 + 20)
    checks.expect("some are taken, the rest refused", sorted(set(answers)), [200, 500])
    checks.expect("what is refused is not stored", node.row("out0")["offered"], len(accepted))
    state["dead"] = False
    checks.expect("what is accepted is delivered", until(lambda: sorted(server.numbers()) == accepted, 60) or len(server.numbers()))
    checks.balanced(node)
    checks.expect("stop", node.stop(), None)
    return drill.end(f"requests 60, answered 200 {answers.count(200)}, 500 {answers.count(500)}, delivered {len(server.numbers())} of {len(accepted)} accepted")


def drops_oldest(options):
    drill = Drill(options, "overflow_action drop_oldest_chunk")
    checks = drill.checks
    server, state = drill.servers(1)[0], {"dead": True}
    server.behave = lambda number, body: 503 if state["dead"] else 200
    drill.write(4000)
    node = drill.node(TAIL + "<match t>\n" + output(drill, 0, server.port, "file", "total_limit_size 200k\noverflow_action drop_oldest_chunk\nchunk_limit_records 100") + "</match>\n")
    checks.expect("all is taken in", until(lambda: node.row("out0").get("offered") == 4000, 60) or node.row("out0"))
    state["dead"] = False
    checks.expect("the rest is delivered", until(lambda: node.row("out0")["buffered"] == 0, 60) or node.row("out0"))
    row = node.row("out0")
    dropped = row["dropped"].get("overflow_dropped", 0)
    checks.expect("what is dropped is counted", (row["delivered"] + dropped, row["dropped"]), (4000, {"overflow_dropped": dropped}))
    numbers = set(server.numbers())
    checks.expect("delivered", len(numbers), row["delivered"])
    # What a flush task had in its hands is not dropped; of the others the oldest go.
    newest = range(4000 - 100, 4000)
    checks.expect("the newest are there, old ones are not", (all(n in numbers for n in newest), dropped > 0), (True, True))
    checks.balanced(node)
    checks.expect("stop", node.stop(), None)
    return drill.end(f"events 4000, delivered {row['delivered']}, dropped {dropped}")


def ignores(options):
    """<store ignore_error>: a full store drops and counts for itself alone, whatever its overflow_action."""
    drill = Drill(options, "copy ignore_error")
    checks = drill.checks
    good, bad = drill.servers(2)
    bad.behave = lambda number, body: 503
    drill.write(4000)
    stores = [("", output(drill, 0, good.port, "file", "overflow_action block")), ("ignore_error", output(drill, 1, bad.port, "file", "total_limit_size 200k\noverflow_action throw_exception"))]
    node = drill.node(TAIL + copy_to(stores))
    checks.expect("the good one has everything", until(lambda: node.row("out0").get("delivered") == 4000, 60) or node.row("out0"))
    checks.expect("everything is counted at the bad one", until(lambda: node.row("out1").get("offered") == 4000, 30) or node.row("out1"))
    row = node.row("out1")
    dropped = row["dropped"].get("overflow_dropped", 0)
    checks.expect("what does not fit is dropped there", (row["buffered"] + dropped, dropped > 0), (4000, True))
    checks.balanced(node)
    checks.expect("stop", node.stop(), None)
    return drill.end(f"events 4000, good delivered {len(good.numbers())}, bad kept {row['buffered']} and dropped {dropped}")


# MARK: Ten times the load

def slow_server(drill, rate):
    """Takes `rate` events a second, whatever is offered."""
    lock, due = threading.Lock(), [time.monotonic()]

    def behave(number, body):
        with lock:
            due[0] = max(due[0], time.monotonic()) + body.count(b"\n") / rate
            wait = due[0] - time.monotonic()
        time.sleep(max(0, wait))
        return 200
    return drill.own(BadServer(behave))


class Senders:
    """Posts as fast as agg takes, or with a pause between two requests; what is refused is counted and sent again."""

    def __init__(self, port, threads, pause):
        self.port, self.pause, self.stopping = port, pause, False
        self.sent = self.refused = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        connection, n = None, 0
        body = "[" + ",".join(json_lines(0, 50, 100).split("\n")[:-1]) + "]"
        while not self.stopping:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("POST", "/t", body, {"Content-Type": "application/json"})
                reply = connection.getresponse()
                reply.read()
                with self.lock:
                    if reply.status == 200:
                        self.sent += 50
                    else:
                        self.refused += 1
                if reply.headers.get("Connection", "").lower() == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException):
                connection = None
            time.sleep(self.pause)
            n += 1

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(60)


def goodput(options, action):
    """What comes out of a slow destination in a time, at once its rate and at ten times its rate: the same."""
    drill = Drill(options, f"ten times the load, {action}")
    checks, rate, span = drill.checks, 500, 6.0
    server, port = slow_server(drill, rate), free_port()
    node = drill.node(HTTP_IN + "<match t>\n" + output(drill, 0, server.port, "file", f"total_limit_size 1m\noverflow_action {action}") + "</match>\n", IN=port)
    delivered = lambda: node.row("out0").get("delivered", 0)  # noqa: E731
    figures = []
    # One request of 50 events each 0.1 s: the rate; 20 senders of that kind want ten times that and more.
    for threads, pause in ((1, 0.1), (20, 0.05)):
        senders = Senders(port, threads, pause)
        until(lambda: delivered() > (figures[0][1] if figures else 0) + 500, 60)
        before, sent, at = delivered(), senders.sent + senders.refused * 50, time.monotonic()
        time.sleep(span)
        seconds = time.monotonic() - at
        figures.append(((senders.sent + senders.refused * 50 - sent) / seconds, delivered(), (delivered() - before) / seconds))
        senders.stop()
    (load1, _, good1), (load10, _, good10) = figures
    # Not a timed assertion: the two rates are compared with each other, on the same machine, one after the other.
    checks.expect("the goodput at many times the load, of that at once the load", good10 / max(1, good1), lambda share: share > 0.7)
    checks.expect("all that is accepted is delivered or counted", until(lambda: node.row("out0")["buffered"] == 0, 120))
    checks.balanced(node)
    checks.expect("stop", node.stop(), None)
    return drill.end(f"offered {load1:.0f}/s -> delivered {good1:.0f}/s; offered {load10:.0f}/s -> delivered {good10:.0f}/s")


# MARK: memory_limit

LIMIT = 48


def memory(options, kind, action):
    """Load from everywhere, one dead destination, and a limit: the process stays within the limit and its base, and comes back."""
    drill = Drill(options, f"memory_limit {LIMIT}m, {kind} buffers, {action}")
    checks = drill.checks
    alive = drill.servers(1)[0]
    alive.behave = lambda number, body: 200
    lost = {"dead": True}
    gone = drill.own(BadServer(lambda number, body: "hang" if lost["dead"] else 200))
    http_port, tcp_port = free_port(), free_port()
    system = f"<system>\n  memory_limit {LIMIT}m\n</system>\n"
    stores = [("", output(drill, 0, alive.port, kind, "chunk_limit_size 1m")), ("ignore_error" if action == "ignore_error" else "",
              output(drill, 1, gone.port, kind, "chunk_limit_size 1m\n" + ("overflow_action block" if action == "ignore_error" else f"overflow_action {action}")))]
    stores = [(a, s.replace("chunk_limit_size 32k\n", "")) for a, s in stores]
    configuration = system + HTTP_IN + TCP.replace("@id in", "@id tcp").replace("@IN@", "@TCP@") + TAIL.replace("@id in", "@id tail") + copy_to(stores)
    drill.write(1000)
    node = drill.node(configuration, IN=http_port, TCP=tcp_port)
    until(lambda: node.row("out0").get("delivered") == 1000, 30)
    base = node.memory()
    senders = Senders(http_port, 8, 0)
    sockets, stopping = [], []

    def pour(number):
        with socket.create_connection(("127.0.0.1", tcp_port)) as s:
            sockets.append(s)
            s.settimeout(1)
            # Lines of a megabyte, each begun long before it ends: what waits in the connection counts too.
            line = b'{"n":0,"pad":"' + b"x" * (1 << 20) + b'"}\n'
            at = 0
            while not stopping:
                try:
                    at = (at + s.send(line[at:at + 65536])) % len(line)
                except TimeoutError:
                    pass
                except OSError:
                    return

    pourers = [threading.Thread(target=pour, args=(i,), daemon=True) for i in range(24)]
    for pourer in pourers:
        pourer.start()
    for _ in range(8):
        drill.write(10_000, 400)
        time.sleep(1)
    peak, held = node.memory(), node.metric("agg_memory_held_bytes")
    suspensions = int(node.metric("agg_memory_suspensions_total") or 0)
    delivered = node.row("out0")["delivered"]
    stopping.append(True)
    senders.stop()
    for pourer in pourers:
        pourer.join(10)
    lost["dead"] = False
    checks.expect("peak beyond the base, MiB", (peak - base) >> 20, lambda n: n <= LIMIT + 16)
    checks.expect("the living destination got something", delivered, lambda n: n > 1000)
    rest = lambda: [node.metric("agg_tail_lag_bytes", "tail"), node.row("out0")["buffered"], node.row("out1")["buffered"], node.metric("agg_memory_suspended")]  # noqa: E731
    checks.expect("it goes on to the end when the destination is back", until(lambda: not any(rest()), 180, 0.2) or rest())
    if action != "drop_oldest_chunk":  # which may hit the living one too, counted
        missing = drill.written - len(set(alive.numbers()) & set(range(drill.written)))
        checks.expect("lines of the log that are missing", missing, 0)
    checks.balanced(node)
    told, changes = (len(node.lines("memory_limit is reached")), len(node.lines("there is memory again"))), node.metric("agg_memory_suspensions_total")
    # A line that repeats is written 20 times a minute at most.
    checks.expect("told, each change once", told, lambda n: n == (changes, changes) or changes > 15)
    checks.expect("stop", node.stop(), None)
    return drill.end(f"base {base >> 20} MiB, peak {peak >> 20} MiB, held {int(held or 0) >> 20} MiB, suspended {suspensions} times, HTTP answered 200 "
                     f"{senders.sent // 50} and refused {senders.refused}, delivered by the living one {delivered}")


def drills(options):
    for kind in ("file", "memory"):
        yield f"copy {kind}", lambda kind=kind: copied(options, kind)
    yield "separate", lambda: separate(options)
    yield "block", lambda: blocks(options)
    yield "throw_exception", lambda: throws(options)
    yield "drop_oldest_chunk", lambda: drops_oldest(options)
    yield "ignore_error", lambda: ignores(options)
    for action in ("throw_exception", "block"):
        yield f"goodput {action}", lambda action=action: goodput(options, action)
    for kind, action in (("memory", "block"), ("memory", "throw_exception"), ("memory", "drop_oldest_chunk"), ("memory", "ignore_error"), ("file", "block")):
        yield f"memory_limit {kind} {action}", lambda kind=kind, action=action: memory(options, kind, action)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agg")
    parser.add_argument("--only", help="part of a drill's name")
    parser.add_argument("--keep", action="store_true", help="keep the folders of drills that failed")
    options = parser.parse_args()
    options.agg = os.path.abspath(options.agg)
    passed = failed = 0
    for name, run in drills(options):
        if options.only and options.only not in name:
            continue
        try:
            good = run()
        except Exception as error:  # noqa: BLE001: told as the drill's failure
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
            good = False
        passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
