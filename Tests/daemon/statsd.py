#!/usr/bin/env python3
"""statsd's unix sockets while agg is reloaded and upgraded: datagrams and streams find them at any moment, what waits in them is the next
one's, and every line counts once.

Usage: statsd.py AGG.  Exit status 1 when anything is not as expected. Python 3 standard library only."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from load import Load, Place, alive, until

agg = os.path.abspath(sys.argv[1])
failures = []


def expect(what, good, detail=""):
    print(("ok   " if good else "FAIL ") + what + ("" if good or not detail else ": %s" % (detail,)), flush=True)
    if not good:
        failures.append(what)


def conf(d, round):
    """Both inputs change with each round: they are made anew."""
    text = ""
    for carrier in ("unix", "unix_stream"):
        text += "<source>\n @type statsd\n @id %s\n protocol %s\n path %s/%s\n tag m\n interval 0.5\n percentiles %d\n</source>\n" % (carrier, carrier, d, carrier, 10 + round)
    return text + """<match m>
 @type file
 @id out
 path %s/out
 append true
 <format>
  @type json
 </format>
 <buffer []>
  @type file
  path %s/buffer
  flush_mode interval
  flush_interval 0.2
  flush_at_shutdown true
 </buffer>
</match>
""" % (d, d)


def datagrams(load, path):
    """A series of its own for every datagram: its value says how often it came."""
    n = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(30)
        while not load.stopping:
            try:
                s.sendto(b"d%d:1|c" % n, path)
                load.note("d%d" % n, True)
            except OSError as error:
                load.refused.append("d%d: %s" % (n, error))
            n += 1
            time.sleep(0.005)


def streams(load, path):
    n = 0
    while not load.stopping:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.settimeout(30)
                s.connect(path)
                s.sendall(b"s%d:1|c\n" % n)
                s.shutdown(socket.SHUT_WR)
                load.note("s%d" % n, s.recv(1) == b"")
        except ConnectionResetError:
            # Its input was exchanged before it was read.
            load.note("s%d" % n, False)
        except OSError as error:
            load.refused.append("s%d: %s" % (n, error))
        n += 1
        time.sleep(0.01)


def main():
    d = tempfile.mkdtemp(prefix="agg-statsd-")
    place = Place(agg, d, conf(d, 0))
    expect("the daemon runs", place.start())
    # The first process ends with an upgrade: nobody waits for it otherwise.
    threading.Thread(target=place.process.wait, daemon=True).start()
    inodes = {name: os.stat(d + "/" + name).st_ino for name in ("unix", "unix_stream")}
    load = Load()
    load.start(datagrams, load, d + "/unix")
    load.start(streams, load, d + "/unix_stream")
    for round in range(1, 7):
        time.sleep(0.4)
        if round % 3 == 0:
            before = place.pid
            done = subprocess.run([agg, "upgrade", "--pid-file", d + "/pid"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            expect("upgrade", done.returncode == 0 and until(lambda: place.pid != before and not alive(before)), done.stdout)
            continue
        place.write(conf(d, round))
        count = place.log().count("reloaded;")
        os.kill(place.pid, signal.SIGHUP)
        expect("reload", until(lambda: place.log().count("reloaded;") > count), place.log()[-2000:])
    time.sleep(0.4)
    load.stop()
    expect("the sockets are the same ones", inodes == {name: os.stat(d + "/" + name).st_ino for name in inodes})

    def seen():
        """By series, the values that were ever told. Each instance tells all that it knows, every interval."""
        values = {}
        for line in open(d + "/out.log") if os.path.exists(d + "/out.log") else []:
            event = json.loads(line)
            values.setdefault(event["name"], set()).add(event["value"])
        return values

    until(lambda: load.accepted <= set(seen()), 30)
    expect("it ends in order", place.end())
    expect("its sockets are gone", not os.path.exists(d + "/unix") and not os.path.exists(d + "/unix_stream"))
    values = seen()
    lost = load.accepted - set(values)
    print("%d lines sent, %d unanswered, %d came out" % (len(load.accepted), len(load.unanswered), len(values)))
    expect("the load was one", len(load.accepted) > 300, len(load.accepted))
    expect("no sender was refused", load.refused == [], load.refused[:5])
    expect("lost 0", not lost, sorted(lost)[:10])
    expect("each counts once", all(v == {1} or v == {1.0} for v in values.values()), [n for n, v in values.items() if v != {1}][:10])
    expect("nothing else came out", not set(values) - load.accepted - load.unanswered)
    return d


folder = main()
if failures:
    print(open(folder + "/log").read()[-6000:])
    sys.exit("%d failed; see %s" % (len(failures), folder))
shutil.rmtree(folder, ignore_errors=True)
