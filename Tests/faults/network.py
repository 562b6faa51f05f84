#!/usr/bin/env python3
"""The network's faults: two agg nodes whose connection is cut again and again, and destinations that misbehave.

Usage: network.py AGG [--cuts N] [--seed N] [--only DRILL] [--keep]
Every drill prints a line with its figures. Exit status 1 when an event is lost or comes twice, a ledger does not balance, or a change
of a destination's state is not told in exactly one line. Standard library only; the drills with a name server of their own need root
(port 53 of a loopback address, a mount namespace) and say so where they are left out."""
import argparse
import collections
import glob
import os
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bad_server import BadServer  # noqa: E402
from cut_proxy import CutProxy  # noqa: E402
from name_server import NameServer, can_have_namespaces, with_name_server  # noqa: E402
from node import Checks, Node, free_port, json_lines, numbers_in, tally, until  # noqa: E402

OPENED, CLOSED = "failed to flush the buffer", "retry succeeded"

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

BUFFER = """
  <buffer @KEYS@>
    @type file
    path @D@/buffer-@NAME@
    flush_mode immediate
    chunk_limit_records 50
    flush_thread_count @THREADS@
    retry_wait 0.1
    retry_max_interval 0.4
    retry_forever true
    overflow_action block
  </buffer>
"""

FORWARD = """
<match t>
  @type forward
  @id out
  require_ack_response true
  ack_response_timeout 1s
  send_timeout 2s
  connect_timeout 1s
  heartbeat_type none
  <server>
    host @HOST@
    port @PORT@
  </server>
""" + BUFFER + "</match>\n"

RECEIVER = """
<source>
  @type forward
  @id in
  bind @HOST@
  port @PORT@
</source>
<match t>
  @type file
  @id out
  path @D@/out/@NAME@
  append true
  <format>
    @type json
  </format>
  <buffer []>
    @type file
    path @D@/buffer-@NAME@
    flush_mode immediate
  </buffer>
</match>
"""

HTTP = """
<match t>
  @type http
  @id out
  endpoint http://@HOST@:@PORT@/
  open_timeout 1
  read_timeout 1
""" + BUFFER + "</match>\n"


def fill(text, **values):
    for name, value in dict({"KEYS": "[]", "THREADS": 4, "NAME": "out", "HOST": "127.0.0.1"}, **values).items():
        text = text.replace(f"@{name}@", str(value))
    return text


def write(folder, text):
    with open(f"{folder}/in.log", "a") as f:
        f.write(text)


def arrived(folder):
    out = []
    for path in glob.glob(f"{folder}/out/*.log"):
        with open(path, "rb") as f:
            out += numbers_in(f.read())
    return out


class Drill:
    """One drill's place, checks and line."""

    def __init__(self, options, name):
        self.options, self.name, self.checks = options, name, Checks()
        self.folder = tempfile.mkdtemp(prefix="agg-net-")
        self.closing = []

    def own(self, thing):
        self.closing.append(thing)
        return thing

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


# MARK: Two nodes, cut again and again

class Feeder(threading.Thread):
    """Keeps the log growing, slowly enough that 50 cuts see work."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.written, self.stopping = folder, 0, False

    def run(self):
        rng = random.Random(1)
        while not self.stopping:
            n = rng.randrange(20, 200)
            write(self.folder, json_lines(self.written, n))
            self.written += n
            time.sleep(0.01)


def two_nodes(options):
    drill = Drill(options, "two nodes")
    d, checks, rng = drill.folder, drill.checks, random.Random(options.seed)
    port = free_port()
    receiver = drill.own(Node(options.agg, d, "receiver", fill(RECEIVER, D=d, PORT=port, NAME="receiver")))
    proxy = drill.own(CutProxy(("127.0.0.1", port)))
    sender = drill.own(Node(options.agg, d, "sender", fill(TAIL + FORWARD, D=d, PORT=proxy.port, KEYS="tag", THREADS=2)))
    feeder = Feeder(d)
    feeder.start()
    kinds = ["rst", "half-close", "black-hole", "mid-send", "mid-ack", "trickle", "accept-close", "refuse", "no-ack"]
    cuts, busy = collections.Counter(), 0
    for number in range(options.cuts):
        kind = kinds[number % len(kinds)]
        # In the middle of a chunk: the receiver has bytes that it has not answered.
        until(proxy.busy, 5, 0.0005)
        busy += proxy.busy()
        proxy.set(kind)
        until(lambda: proxy.hit > 0, 2, 0.002)
        # Some are longer than ack_response_timeout, most are not.
        time.sleep(1.5 if number % 10 == 2 else rng.uniform(0.02, 0.3))
        proxy.set("rst")  # what hangs in a dead connection is cut at last
        proxy.set("pass")
        cuts[kind] += 1
        time.sleep(rng.uniform(0, 0.2))
    feeder.stopping = True
    feeder.join()
    total = feeder.written
    done = until(lambda: sender.row("out").get("delivered") == total and receiver.row("out").get("delivered", 0) >= total, 120, 0.2)
    checks.expect("all is delivered", done or (sender.row("out"), receiver.row("out")))
    lost, duplicated, strange = tally(arrived(d), total)
    checks.expect("lost, duplicated, strange", (lost, duplicated, strange), (0, 0, 0))
    checks.expect("cuts in the middle of a chunk, %", 100 * busy // max(1, options.cuts), lambda share: share >= 80)
    checks.balanced(sender, receiver)
    opened, closed, opens = len(sender.lines(OPENED)), len(sender.lines(CLOSED)), int(sender.metric("agg_output_breaker_opens_total", "out") or 0)
    # A line that repeats is written 20 times a minute at most.
    checks.expect("failures and their ends are told", (opened, closed, opens), lambda n: 0 < n[0] <= n[2] and 0 < n[1] <= n[2])
    suppressed = int(receiver.metric("agg_input_duplicate_events_total", "in") or 0)
    for node in (sender, receiver):
        checks.expect("stop", node.stop(), None)
    return drill.end(f"cuts {sum(cuts.values())} ({', '.join(f'{k} {n}' for k, n in cuts.items())}), {busy} in the middle of a chunk, events {total}, "
                     f"came again and left out {suppressed}, lost {lost}, duplicated {duplicated}, the breaker opened {opens} times, told {opened} and {closed} ends")


# MARK: Destinations that misbehave

def one_at_a_time(checks, server, bad, lingering=0):
    """`lingering`: of connections that the server still sees while the client has given them up.

    While the destination fails, one attempt is under way at most, and the others wait for it."""
    checks.expect("the breaker opens", until(lambda: bad() >= 1, 20))
    # Those that began before the first failure may still be under way.
    until(lambda: server.open == 0, 20, 0.002)
    server.most_open = 0
    before = bad()
    checks.expect("it is probed", until(lambda: bad() >= before + 3, 30))
    checks.expect("attempts at once while it fails", server.most_open, lambda n: n <= 1 + lingering)


def http_fails(options, how, title, events=1000):
    """A server that answers everything like this until it is mended."""
    drill = Drill(options, f"http {title}")
    d, checks = drill.folder, drill.checks
    state = {"failing": True, "bad": 0}

    def behave(number, body):
        if not state["failing"]:
            return 200
        state["bad"] += 1
        return how

    server = drill.own(BadServer(behave))
    write(d, json_lines(0, events))
    node = drill.own(Node(options.agg, d, "agg", fill(TAIL + HTTP, D=d, PORT=server.port)))
    one_at_a_time(checks, server, lambda: state["bad"], 3 if how == "half-close" else 0)
    checks.expect("the breaker is seen", node.metric("agg_output_breaker_open", "out"), 1)
    state["failing"] = False
    finish_http(drill, node, server, events)
    return drill.end(http_figures(node, server, events, drill))


def finish_http(drill, node, server, events, dropped=0, lines=1):
    checks = drill.checks
    done = until(lambda: node.row("out").get("delivered") == events - dropped and node.row("out").get("buffered") == 0, 60)
    checks.expect("all is delivered", done or node.row("out"))
    lost, duplicated, strange = tally(server.numbers(), events)
    drill.counts = (lost, duplicated)
    checks.expect("lost, duplicated, strange", (lost, duplicated, strange), (dropped, 0, 0))
    checks.balanced(node)
    checks.expect("told once that it fails, once that it works", (len(node.lines(OPENED)), len(node.lines(CLOSED))), (lines, lines))
    checks.expect("the breaker is closed", node.metric("agg_output_breaker_open", "out"), 0)


def http_figures(node, server, events, drill):
    lost, duplicated = getattr(drill, "counts", (None, None))
    row = node.row("out")
    text = (f"events {events}, requests {server.requests}, repeated keys {server.repeated}, attempts that failed "
            f"{int(node.metric('agg_output_write_errors_total', 'out') or 0)}, lost {lost}, duplicated {duplicated}, dropped {row.get('dropped')}")
    drill.checks.expect("stop", node.stop(), None)
    return text


def http_refuses(options):
    drill = Drill(options, "http refuses")
    d, checks, events = drill.folder, drill.checks, 1000
    server = drill.own(BadServer(lambda number, body: 200))
    server.refuse()
    write(d, json_lines(0, events))
    node = drill.own(Node(options.agg, d, "agg", fill(TAIL + HTTP, D=d, PORT=server.port)))
    checks.expect("it is tried again", until(lambda: (node.metric("agg_output_write_errors_total", "out") or 0) >= 4, 30))
    server.listen()
    finish_http(drill, node, server, events)
    return drill.end(http_figures(node, server, events, drill))


def http_stragglers(options):
    """Attempts that began before the server was mended and fail after it: they say nothing of the server as it is now."""
    drill = Drill(options, "http mended while attempts hang")
    d, checks, events, first = drill.folder, drill.checks, 1000, threading.Event()

    def behave(number, body):
        if number == 0:
            until(lambda: server.requests >= 3, 10)
            first.set()
            return 503
        if number < 3:
            until(lambda: len(server.taken) >= 3, 10)
            return 503
        # Nothing succeeds before the first has failed, or nothing would be closed by it.
        first.wait(10)
        time.sleep(0.05)
        return 200

    server = drill.own(BadServer(behave))
    write(d, json_lines(0, events))
    node = drill.own(Node(options.agg, d, "agg", fill(TAIL + HTTP, D=d, PORT=server.port)))
    finish_http(drill, node, server, events)
    checks.expect("attempts that failed", int(node.metric("agg_output_write_errors_total", "out") or 0), 3)
    return drill.end(http_figures(node, server, events, drill))


def http_slow(options):
    drill = Drill(options, "http answers byte by byte")
    d, events = drill.folder, 500
    server = drill.own(BadServer(lambda number, body: "slow"))
    write(d, json_lines(0, events))
    node = drill.own(Node(options.agg, d, "agg", fill(TAIL + HTTP, D=d, PORT=server.port)))
    finish_http(drill, node, server, events, lines=0)
    return drill.end(http_figures(node, server, events, drill))


def http_retry_after(options):
    drill = Drill(options, "http 429 with Retry-After")
    d, checks, events = drill.folder, drill.checks, 500
    server = drill.own(BadServer(lambda number, body: (429, "Retry-After: 2\r\n") if number < 2 else 200))
    write(d, json_lines(0, events))
    node = drill.own(Node(options.agg, d, "agg", fill(TAIL + HTTP, D=d, PORT=server.port, THREADS=1)))
    finish_http(drill, node, server, events)
    waits = [round(b - a, 1) for a, b in zip(server.times, server.times[1:])][:2]
    # A lower bound: however slow the machine is, agg comes no sooner than it was told.
    checks.expect("waits as long as it is told", waits, lambda waits: all(wait >= 1.9 for wait in waits))
    return drill.end(f"waits {waits} s, " + http_figures(node, server, events, drill))


def http_too_large(options):
    """413 above some size, a part that fails, and a kill: the parts keep their keys, and one event that is too large harms no other."""
    drill = Drill(options, "http 413, with a kill")
    d, checks, events, limit = drill.folder, drill.checks, 400, 700
    state = {"taken": 0, "failing": True}

    def behave(number, body):
        if len(body) > limit:
            return 413
        state["taken"] += 1
        # Some parts are through when the server begins to fail; those that are then taken are not answered.
        if state["failing"] and state["taken"] > 5:
            return 503 if state["taken"] % 2 else "close"
        return 200

    server = drill.own(BadServer(behave))
    write(d, json_lines(0, 120) + json_lines(120, 1, 2000) + json_lines(121, events - 121))
    conf = fill(TAIL + HTTP, D=d, PORT=server.port, THREADS=2)
    node = drill.own(Node(options.agg, d, "agg", conf))
    checks.expect("some parts are taken, some are not answered", until(lambda: state["taken"] >= 9, 30))
    node.daemon.kill()
    node.close()
    state["failing"] = False
    node = drill.own(Node(options.agg, d, "agg", conf))
    done = until(lambda: node.row("out").get("buffered") == 0 and len(set(server.numbers())) == events - 1, 60)
    checks.expect("all but the one is delivered", done or node.row("out"))
    lost, duplicated, strange = tally(server.numbers(), events)
    drill.counts = (lost, duplicated)
    checks.expect("lost, duplicated, strange", (lost, duplicated, strange), (1, 0, 0))
    checks.expect("the one that is too large", sorted(set(range(events)) - set(server.numbers())), [120])
    row = node.row("out")
    checks.expect("it is counted", sum(row["dropped"].values()) + row["dead_lettered"], 1)
    checks.expect("the largest body that was taken", max(len(b) for b in [b""] + [b"x" * n for n in server.bodies if n <= limit]), lambda n: n <= limit)
    checks.expect("keys come again after the kill", server.repeated, lambda n: n > 0)
    checks.balanced(node)
    return drill.end(http_figures(node, server, events, drill))


def http_endless(options, how, title):
    """An answer that never ends is given up without filling the memory."""
    drill = Drill(options, f"http {title}")
    d, checks, events = drill.folder, drill.checks, 500
    server = drill.own(BadServer(lambda number, body: how if number < 2 else 200))
    write(d, json_lines(0, events))
    node = drill.own(Node(options.agg, d, "agg", fill(TAIL + HTTP, D=d, PORT=server.port, THREADS=1)))
    finish_http(drill, node, server, events)
    poured, memory = server.poured >> 20, node.memory() >> 20
    checks.expect("MiB until agg hung up", poured, lambda n: n < 64)
    checks.expect("peak memory, MiB", memory, lambda n: n < 160)
    return drill.end(f"hung up after {poured} MiB, peak memory {memory} MiB, " + http_figures(node, server, events, drill))


def forward_fails(options):
    """One pair of nodes, one misbehaviour after the other between them."""
    modes = ["refuse", "accept-close", "black-hole", "half-close", "mid-send", "mid-ack", "no-ack", "slow-ack", "garbage", "wrong-ack", "endless-ack"]
    drill = Drill(options, "forward nodes")
    d, checks = drill.folder, drill.checks
    port = free_port()
    receiver = drill.own(Node(options.agg, d, "receiver", fill(RECEIVER, D=d, PORT=port, NAME="receiver")))
    proxy = drill.own(CutProxy(("127.0.0.1", port)))
    write(d, "")
    sender = drill.own(Node(options.agg, d, "sender", fill(TAIL + FORWARD, D=d, PORT=proxy.port, KEYS="tag")))
    written, good = 0, True
    for mode in modes:
        own = Checks()
        opened, closed = len(sender.lines(OPENED)), len(sender.lines(CLOSED))
        errors = lambda: sender.metric("agg_output_write_errors_total", "out") or 0  # noqa: E731
        before, suppressed = errors(), receiver.metric("agg_input_duplicate_events_total", "in") or 0
        proxy.set(mode)
        write(d, json_lines(written, 500))
        written += 500
        fails = mode != "slow-ack"
        if fails:
            own.expect("attempts fail", until(lambda: errors() >= before + 3, 40))
            own.expect("the breaker is open", sender.metric("agg_output_breaker_open", "out"), 1)
        else:
            own.expect("answers come slowly", until(lambda: proxy.hit >= 3, 40))
        if mode in ("black-hole", "half-close"):
            proxy.set("rst")
        proxy.set("pass")
        done = until(lambda: sender.row("out").get("delivered") == written and receiver.row("out").get("delivered", 0) >= written, 60)
        own.expect("all is delivered", done or (sender.row("out"), receiver.row("out")))
        lost, duplicated, strange = tally(arrived(d), written)
        own.expect("lost, duplicated, strange", (lost, duplicated, strange), (0, 0, 0))
        told = (len(sender.lines(OPENED)) - opened, len(sender.lines(CLOSED)) - closed)
        own.expect("told once that it fails, once that it works", told, (1, 1) if fails else (0, 0))
        again = int((receiver.metric("agg_input_duplicate_events_total", "in") or 0) - suppressed)
        print(f"{'FAIL' if own.wrong else 'ok  '} forward {mode}: events 500, attempts that failed {int(errors() - before)}, came again and left out {again}, "
              f"lost {lost}, duplicated {duplicated}", flush=True)
        for wrong in own.wrong:
            print(f"     {wrong}", flush=True)
        good = good and not own.wrong
    checks.balanced(sender, receiver)
    memory = sender.memory() >> 20
    checks.expect("peak memory, MiB", memory, lambda n: n < 160)
    for node in (sender, receiver):
        checks.expect("stop", node.stop(), None)
    return drill.end(f"events {written}, lost {lost}, duplicated {duplicated}, peak memory of the sender {memory} MiB") and good


# MARK: Names

def names_forward(options):
    """What was looked up once is not kept for ever: the receiver goes, and its name points to another one, after a failure of names."""
    drill = Drill(options, "forward, names")
    d, checks = drill.folder, drill.checks
    names = drill.own(NameServer("nxdomain"))
    port = free_port()
    agg = with_name_server(options.agg, d, names.host)

    def receiver(number):
        return drill.own(Node(options.agg, d, f"receiver{number}", fill(RECEIVER, D=d, PORT=port, NAME=f"receiver{number}", HOST=f"127.0.0.{number}")))

    write(d, "")
    sender = drill.own(Node(agg, d, "sender", fill(TAIL + FORWARD, D=d, PORT=port, KEYS="tag", HOST="receiver.test")))
    written, running = 0, None
    steps = [("nxdomain", 1), ("stale", 2), ("servfail", 3), ("silent", 4)]
    errors = lambda: sender.metric("agg_output_write_errors_total", "out") or 0  # noqa: E731
    for number, (failure, place) in enumerate(steps):
        if failure != "stale":  # else the name goes on pointing to the receiver that went
            names.address = failure
        if running:
            checks.expect(f"{failure}: stop", running.stop(), None)
        before = errors()
        write(d, json_lines(written, 300))
        written += 300
        checks.expect(f"{failure}: it fails", until(lambda: errors() >= before + 2, 40))
        running = receiver(place)
        names.address = f"127.0.0.{place}"
        checks.expect(f"{failure}: all is delivered", until(lambda: sender.row("out").get("delivered") == written, 60) or sender.row("out"))
        checks.expect(f"{failure}: told once", len(sender.lines(OPENED)), number + 1)
    checks.expect("told each time that it works", len(sender.lines(CLOSED)), len(steps))
    until(lambda: len(arrived(d)) >= written, 30)
    lost, duplicated, strange = tally(arrived(d), written)
    checks.expect("lost, duplicated, strange", (lost, duplicated, strange), (0, 0, 0))
    checks.balanced(sender, running)
    checks.expect("stop", sender.stop(), None)
    return drill.end(f"changes {len(steps)}, questions {names.questions}, events {written}, lost {lost}, duplicated {duplicated}")


def names_http(options):
    drill = Drill(options, "http, names")
    d, checks = drill.folder, drill.checks
    names = drill.own(NameServer("servfail"))
    port = free_port()
    servers = [drill.own(BadServer(lambda number, body: 200, f"127.0.0.{i}", port)) for i in (1, 2)]
    agg = with_name_server(options.agg, d, names.host)
    write(d, "")
    node = drill.own(Node(agg, d, "agg", fill(TAIL + HTTP, D=d, PORT=port, HOST="receiver.test")))
    written = 0
    for number, (failure, address) in enumerate([("servfail", "127.0.0.1"), ("nxdomain", "127.0.0.2"), ("silent", "127.0.0.1")]):
        errors = node.metric("agg_output_write_errors_total", "out") or 0
        names.address = failure
        write(d, json_lines(written, 300))
        written += 300
        checks.expect(f"{failure}: it fails", until(lambda: (node.metric("agg_output_write_errors_total", "out") or 0) >= errors + 2, 40))
        names.address = address
        checks.expect(f"{failure}: all is delivered", until(lambda: node.row("out").get("delivered") == written, 60) or node.row("out"))
        checks.expect(f"{failure}: told once", len(node.lines(OPENED)), number + 1)
    counts = [len(server.numbers()) for server in servers]
    checks.expect("where they went", counts, [600, 300])
    lost, duplicated, strange = tally(servers[0].numbers() + servers[1].numbers(), written)
    checks.expect("lost, duplicated, strange", (lost, duplicated, strange), (0, 0, 0))
    checks.balanced(node)
    checks.expect("stop", node.stop(), None)
    return drill.end(f"questions {names.questions}, events {written} ({counts[0]} to the one address, {counts[1]} to the other), lost {lost}, duplicated {duplicated}")


def drills(options):
    yield "two nodes", lambda: two_nodes(options)
    yield "http refuses", lambda: http_refuses(options)
    for how, title in [("hang", "hangs"), ("close", "takes and closes"), ("half-close", "takes and half-closes"), ("reset-mid-answer", "resets amid the answer"),
                       ("cut-body", "cuts its answer short"), (503, "503"), ("garbage", "answers garbage")]:
        yield f"http {title}", lambda how=how, title=title: http_fails(options, how, title)
    yield "http stragglers", lambda: http_stragglers(options)
    yield "http slow", lambda: http_slow(options)
    yield "http 429", lambda: http_retry_after(options)
    yield "http 413", lambda: http_too_large(options)
    for how, title in [("endless-header", "answers with headers without end"), ("endless-line", "answers with one header line without end"),
                       ("endless-body", "answers with a body without end")]:
        yield f"http {how}", lambda how=how, title=title: http_endless(options, how, title)
    yield "forward nodes", lambda: forward_fails(options)
    if can_have_namespaces():
        yield "names forward", lambda: names_forward(options)
        yield "names http", lambda: names_http(options)
    else:
        print("left out: the drills with a name server need root and unshare", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agg")
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--only", help="part of a drill's name")
    parser.add_argument("--keep", action="store_true", help="keep the folders of drills that failed")
    options = parser.parse_args()
    options.agg = os.path.abspath(options.agg)
    print(f"seed {options.seed}", flush=True)
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
