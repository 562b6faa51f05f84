#!/usr/bin/env python3
"""Peers that want too much: hundreds that never end what they begin, more than the limit, more than there are file descriptors.

Usage: connections.py AGG [--only NAME].  Exit status 1 when a drill fails. Standard library only."""
import os
import resource
import select
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from drill import Forward, Place, Posts, check, count, free_port, numbers, run, until  # noqa: E402

CONF = """
<source>
  @type tcp
  @id tcp
  tag t.tcp
  bind 127.0.0.1
  port @TCP@
  @MORE@
  <parse>
    @type json
  </parse>
</source>
<source>
  @type http
  @id http
  bind 127.0.0.1
  port @HTTP@
  @MORE@
</source>
<source>
  @type forward
  @id forward
  bind 127.0.0.1
  port @FORWARD@
  @MORE@
</source>
<match **>
  @type file
  @id out
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
"""


def place(agg, more="", **values):
    ports = {name: free_port() for name in ("TCP", "HTTP", "FORWARD")}
    p = Place(agg, CONF, **{"MORE": more, **ports, **values})
    p.ports = ports
    return p


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=30)
    s.settimeout(30)
    return s


def ends(s, seconds=30):
    """Waits until the other side has closed or reset it."""
    s.settimeout(seconds)
    try:
        while s.recv(65536):
            pass
    except socket.timeout:
        return False
    except OSError:
        pass
    s.close()
    return True


def counters(p, plugin):
    return next(one for one in p.ledger()["plugins"] if one["id"] == plugin)


def finish(p, key, written):
    """All of a source's events once, and the ledger."""
    until(lambda: len(set(numbers(f'"{key}":', p.d + "/out/o.log"))) >= written, f"all of {key} is out")
    lost, duplicated = count(written, numbers(f'"{key}":', p.d + "/out/o.log"))
    check(not lost and not duplicated, f"{key}: {written} events, lost {lost}, duplicated {duplicated}")
    return f"{written} {key}"


def slow_loris(agg, options):
    """Hundreds of connections that begin a line, a forward message, a head, a body, and send a byte now and then; others work beside them."""
    with place(agg, "message_timeout 2s") as p:
        p.start()
        begun = [
            ("TCP", b'{"never":"'), ("FORWARD", b"\xdd\x00\x00\xff\xff\xda\xff\xff"), ("HTTP", b"POST /x HTTP/1.1\r\nX-Long: "),
            ("HTTP", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"),
        ]
        slow = []
        for n in range(400):
            name, start = begun[n % len(begun)]
            s = connect(p.ports[name])
            s.sendall(start)
            slow.append(s)
        forward, posts = Forward(p.ports["FORWARD"]), Posts(p.ports["HTTP"])
        forward.start()
        posts.start()
        quiet = connect(p.ports["TCP"])
        quiet.sendall(b'{"q":0}\n')
        left, end = set(slow), time.monotonic() + 60
        while left and time.monotonic() < end:
            for s in select.select(left, [], [], 0)[0]:
                if ends(s, 5):
                    left.discard(s)
            for s in list(left):
                try:
                    s.send(b"a")
                except OSError:
                    left.discard(s)
            time.sleep(0.2)
        check(not left, f"{len(left)} of {len(slow)} slow connections are still open")
        quiet.sendall(b'{"q":1}\n')
        quiet.close()
        figures = [finish(p, "f", forward.finish()), finish(p, "h", posts.finish()), finish(p, "q", 2)]
        timed_out = sum(counters(p, name)["timed_out_connections"] for name in ("tcp", "http", "forward"))
        check(timed_out == len(slow), f"{timed_out} were counted")
        # A half line of a TCP sender is told, not one a peer but a few and their number.
        said = len(p.complaints())
        check(said < 60, f"{said} complaints")
        p.balance()
        p.stop()
        return f"{len(slow)} cut off, {said} complaints, " + ", ".join(figures)


def limit(agg, options):
    """connection_limit: what is beyond it is closed at once, counted, told once; room that comes is used."""
    with place(agg, "connection_limit 5") as p:
        p.start()
        for turn in range(2):
            kept = [connect(p.ports["TCP"]) for _ in range(5)]
            for n, s in enumerate(kept):
                s.sendall(b'{"t":%d}\n' % (turn * 6 + n))
            until(lambda: len(set(numbers('"t":', p.d + "/out/o.log"))) == turn * 6 + 5, "five are served")
            for _ in range(20):
                check(ends(connect(p.ports["TCP"])), "a connection beyond the limit stays open")
            check(counters(p, "tcp")["refused_connections"] == 20 * (turn + 1), f"counted: {counters(p, 'tcp')}")
            check(p.metric("agg_connections_refused_total") == 20 * (turn + 1), "the metric is another")
            kept.pop().close()
            until(lambda: counters(p, "tcp")["open_connections"] == 4, "one has ended")
            # Longer than what counts as the same trouble.
            time.sleep(2.1)
            late = connect(p.ports["TCP"])
            late.sendall(b'{"t":%d}\n' % (turn * 6 + 5))
            until(lambda: len(set(numbers('"t":', p.d + "/out/o.log"))) == turn * 6 + 6, "the room is used")
            for s in kept + [late]:
                s.close()
            until(lambda: counters(p, "tcp")["open_connections"] == 0, "all have ended")
        told = [len(p.log("5 connections are open, the limit")), len(p.log("connections are accepted again"))]
        check(told == [2, 2], f"told {told}")
        figures = finish(p, "t", 12)
        p.balance()
        p.stop()
        return f"40 refused, told {told}, {figures}"


def half_of_descriptors(agg, options):
    """Under a low limit of descriptors one listener takes half of them; further connections wait, and the other listeners go on."""
    with place(agg) as p:
        p.prefix = ["prlimit", "--nofile=128:128"]
        p.start()
        slow = [connect(p.ports["TCP"]) for _ in range(100)]
        for n, s in enumerate(slow):
            s.sendall(b'{"t":%d}\n' % n)
        # It accepts a few at a time, and those are its own before it can wait.
        taken = lambda: len(numbers('"t":', p.d + "/out/o.log"))
        until(lambda: taken() >= 64, "half of the descriptors are used")
        posts = Posts(p.ports["HTTP"])
        posts.start()
        until(lambda: posts.accepted > 100, "others are served")
        check(taken() <= 68, f"{taken()} were accepted")
        told = len(p.log("64 connections are open, half of the file descriptors"))
        check(told == 1, f"told {told}")
        for s in slow:
            s.close()
        figures = [finish(p, "t", 100), finish(p, "h", posts.finish())]
        p.balance()
        p.stop()
        return ", ".join(figures)


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def no_descriptors(agg, options):
    """No descriptor is left for a connection: listeners wait without spinning, say so once, and go on when there are some."""
    with place(agg) as p:
        p.start()
        pid = p.daemon.process.pid
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        one = connect(p.ports["TCP"])
        one.sendall(b'{"t":0}\n')
        until(lambda: len(numbers('"t":', p.d + "/out/o.log")) == 1, "it works")
        highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(highest - 8, 3), usual[1]))
        # The kernel accepts them; agg cannot.
        waiting = [connect(p.ports["TCP"]) for _ in range(30)]
        for n, s in enumerate(waiting):
            s.sendall(b'{"t":%d}\n' % (n + 1))
        until(lambda: p.log("too many open files .*connections wait"), "it says so")
        before = cpu(pid)
        time.sleep(2)
        used = cpu(pid) - before
        check(used < 1, f"{used:.2f} s of a processor in two seconds of waiting")
        told = len(p.log("connections wait"))
        check(told == 1, f"told {told}")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        finish(p, "t", 31)
        last = connect(p.ports["TCP"])
        time.sleep(2.1)
        last.sendall(b'{"t":31}\n')
        again = connect(p.ports["TCP"])
        until(lambda: p.log("connections are accepted again"), "it says that it is over")
        figures = finish(p, "t", 32)
        for s in [one, last, again] + waiting:
            s.close()
        p.balance()
        p.stop()
        return f"{used:.2f} s of a processor while waiting, {figures}"


if __name__ == "__main__":
    run([(f.__name__, f) for f in (slow_loris, limit, half_of_descriptors, no_descriptors)], sys.argv)
