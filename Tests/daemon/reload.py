#!/usr/bin/env python3
"""Reloads of a busy agg: twenty changes of the file (inputs, outputs and filters added, changed, removed; bad files; files that cannot
start) under connections, HTTP posts, datagrams and followed files. No connection is refused, nothing is lost, nothing comes twice; a
connection to an input that does not change lasts through all of it.

Usage: reload.py AGG [SEED].  Exit status 1 when anything is not as expected. Python 3 standard library only."""
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time

from load import Load, Place, free_port, outcome, until

agg = os.path.abspath(sys.argv[1])
seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
dice = random.Random(seed)
print("seed %d" % seed)
failures = []


def expect(what, good, detail=""):
    print(("ok   " if good else "FAIL ") + what + ("" if good or not detail else ": %s" % (detail,)), flush=True)
    if not good:
        failures.append(what)


def tcp(port, name, extra=""):
    return "<source>\n @type tcp\n @id %s\n bind 127.0.0.1\n port %d\n tag t.%s\n%s <parse>\n  @type json\n </parse>\n</source>\n" % (name, port, name, extra)


def conf(d, ports, round):
    """The inputs `kept`, `kept_udp`, `kept_tail` and the output of t.kept* never change; the others do, in turns."""
    extra = " source_address_key peer%d\n" % round if round % 3 == 1 else ""
    text = tcp(ports["kept"], "kept") + tcp(ports["changing"], "changing", extra)
    text += "<source>\n @type udp\n @id kept_udp\n bind 127.0.0.1\n port %d\n tag t.kept_udp\n <parse>\n  @type json\n </parse>\n</source>\n" % ports["udp"]
    text += "<source>\n @type http\n @id web\n bind 127.0.0.1\n port %d\n%s</source>\n" % (ports["http"], " add_remote_addr true\n" if round % 4 == 2 else "")
    for name in ("kept_tail", "tail"):
        text += "<source>\n @type tail\n @id %s\n path %s/%s.log\n pos_file %s/%s.pos\n tag t.%s\n read_from_head true\n%s <parse>\n  @type json\n </parse>\n</source>\n" % (
            name, d, name, d, name, name, " read_lines_limit %d\n" % (500 + round) if name == "tail" and round % 2 else "")
    if round % 5 == 3:
        text += tcp(ports["new"], "new")
    text += tcp(ports["multi"], "kept_multi")
    text += "<filter t.kept_multi>\n @type concat\n @id joined\n key e\n multiline_start_regexp /^start/\n separator \"\"\n flush_interval 600\n</filter>\n"
    if round % 2:
        text += "<filter t.**>\n @type record_transformer\n <record>\n  round %d\n </record>\n</filter>\n" % round
    file = lambda name, how: """<match %s>
 @type file
 @id out_%s
 path %s/out.%s
 append true
 <format>
  @type json
 </format>
 <buffer []>
  @type file
  path %s/buffer.%s
  flush_at_shutdown true
  flush_mode interval
  flush_interval %s
 </buffer>
</match>
""" % ("t.kept*" if name == "kept" else "t.** t" if name == "rest" else "t.web*", name, d, name, d, name, how)
    text += file("kept", "0.2")
    text += file("rest", "0.%d" % (1 + round % 3))
    return text


def multi(load, port, joined):
    """Events of four lines, slowly: reloads fall between the lines of one."""
    n = 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        while not load.stopping:
            for part in ("start-%d:" % n, "a", "b", "c"):
                s.sendall(json.dumps({"e": part}).encode() + b"\n")
                time.sleep(0.07)
            joined.append("start-%d:abc" % n)
            n += 1
        # The last one is held until another begins.
        s.sendall(json.dumps({"e": "start-end"}).encode() + b"\n")
        s.shutdown(socket.SHUT_WR)
        s.recv(1)


def main():
    d = tempfile.mkdtemp(prefix="agg-reload-")
    ports = {name: free_port() for name in ("kept", "changing", "http", "new", "multi")}
    ports["udp"] = free_port(socket.SOCK_DGRAM)
    place = Place(agg, d, conf(d, ports, 0))
    load, states = Load(), []
    expect("the daemon runs", place.start())
    load.start(load.long_connection, ports["kept"], "long", states)
    load.start(load.connections, ports["kept"], "kept")
    load.start(load.connections, ports["changing"], "changing")
    load.start(load.posts, ports["http"], "web")
    load.start(load.datagrams, ports["udp"], "udp")
    load.start(load.lines, d + "/kept_tail.log", "kept_tail")
    load.start(load.lines, d + "/tail.log", "tail")
    joined = []
    load.start(multi, load, ports["multi"], joined)
    taken, refused = 0, 0
    blocker = socket.socket()
    blocker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    blocker.bind(("127.0.0.1", 0))
    blocker.listen()
    for round in range(1, 21):
        time.sleep(dice.random() * 0.3)
        kind = "bad" if round in (4, 9) else "port" if round in (6, 14) else "good"
        text = conf(d, ports, round)
        if kind == "bad":
            text += "<match x>\n @type nothing_like_this\n</match>\n"
        if kind == "port":
            text += tcp(blocker.getsockname()[1], "taken")
        place.write(text)
        before = place.log()
        os.kill(place.pid, dice.choice([signal.SIGUSR2, signal.SIGHUP]))
        word = "reloaded;" if kind == "good" else "the new configuration was not taken"
        if not until(lambda: place.log().count(word) > before.count(word) or place.process.poll() is not None):
            expect("reload %d (%s) ends" % (round, kind), False)
        if place.process.poll() is not None:
            expect("the daemon lives", False, place.log()[-3000:])
            return d
        taken += kind == "good"
        refused += kind != "good"
    blocker.close()
    time.sleep(0.5)
    load.stop()
    expect("%d files were taken, %d were not" % (taken, refused), (taken, refused) == (16, 4))
    out = [d + "/out.kept.log", d + "/out.rest.log"]
    until(lambda: not outcome(out, load)[0], 60)
    expect("it ends in order", place.end())
    lost, twice, unknown, count = outcome(out, load)
    starts = [e for e in unknown if e.startswith("start-") and e != "start-end"]
    unknown = [e for e in unknown if not e.startswith("start-")]
    expect("%d events of several lines are whole, whatever came between the lines" % len(joined), len(joined) > 10 and sorted(starts) == sorted(joined), (sorted(starts), sorted(joined)))
    print("%d events accepted, %d unanswered, %d came out" % (len(load.accepted), len(load.unanswered), count))
    expect("the load was one", len(load.accepted) > 2000, len(load.accepted))
    expect("no connection was refused", load.refused == [], load.refused[:5])
    expect("no other error", load.errors == [], load.errors[:5])
    expect("lost 0", lost == [], (len(lost), sorted(lost)[:10]))
    expect("duplicated 0", twice == [], (len(twice), twice[:10]))
    expect("nothing else came out", unknown == [], unknown[:10])
    expect("the connection to the input that stayed lasted", states == ["closed in order"], states)
    # Connections to what stayed are never cut; what changed may cut one that it has not heard of for a moment.
    expect("no connection to it was cut", not [e for e in load.unanswered if e.startswith("kept")], sorted(load.unanswered)[:10])
    return d


folder = main()
if failures:
    print(open(folder + "/log").read()[-6000:])
    sys.exit("%d failed; see %s" % (len(failures), folder))
shutil.rmtree(folder, ignore_errors=True)
