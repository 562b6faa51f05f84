#!/usr/bin/env python3
"""What a service manager sees of agg: READY, RELOADING, STOPPING, MAINPID and the watchdog's signs on NOTIFY_SOCKET (a path and an abstract
name), and sockets that it passes (LISTEN_FDS). The watchdog's signs stop when the engine does not answer any more.

Usage: systemd.py AGG.  Exit status 1 when anything is not as expected. Python 3 standard library only."""
import fcntl
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

from load import Place, alive, free_port, until

agg = os.path.abspath(sys.argv[1])
failures = []


def expect(what, good, detail=""):
    print(("ok   " if good else "FAIL ") + what + ("" if good or not detail else ": %s" % (detail,)), flush=True)
    if not good:
        failures.append(what)


class Manager:
    """The datagram socket of a service manager and what came on it, as dictionaries."""
    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.messages = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            try:
                text = self.socket.recv(65536).decode()
            except OSError:
                return
            self.messages.append((time.monotonic(), dict(line.split("=", 1) for line in text.split("\n"))))

    def got(self, key, value=None, after=0):
        return [at for at, m in self.messages if key in m and (value is None or m[key] == value) and at >= after]

    def last(self, key):
        return [m[key] for _, m in self.messages if key in m][-1:]


def conf(d, port, more="", format="json"):
    return more + """<source>
 @type tcp
 @id tcp
 bind 127.0.0.1
 port %d
 tag t
 <parse>
  @type %s
 </parse>
</source>
<match t>
 @type file
 path %s/out
 append true
 <format>
  @type json
 </format>
 <buffer []>
  @type file
  path %s/buffer
  flush_mode immediate
 </buffer>
</match>
""" % (port, format, d, d)


def send(address, text, family=socket.AF_INET):
    with socket.socket(family) as s:
        s.settimeout(30)
        s.connect(address)
        s.sendall(text.encode())
        s.shutdown(socket.SHUT_WR)
        return s.recv(1) == b""


def notices(d, address, name, workers):
    manager = Manager(address)
    port = free_port()
    more = "<system>\n workers %d\n</system>\n" % workers if workers > 1 else ""
    place = Place(agg, d, conf(d, port, more).replace(d + "/out", d + "/out#{worker_id}").replace("path /", 'path "/').replace("worker_id}\n", 'worker_id}"\n').replace("/buffer\n", '/buffer"\n'))
    expect("%s: the daemon runs" % name, place.start(environment={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"}))
    expect("READY=1", until(lambda: manager.got("READY", "1")), manager.messages)
    pid = place.pid
    begun = time.monotonic()
    expect("WATCHDOG=1 comes again and again", until(lambda: len(manager.got("WATCHDOG", "1")) >= 4), manager.messages)
    expect("from one process", all("MAINPID" not in m for _, m in manager.messages))
    now = time.monotonic()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    os.kill(pid, signal.SIGHUP)
    expect("RELOADING=1", until(lambda: manager.got("RELOADING", "1", now)), manager.messages)
    expect("with the time", before <= int(manager.last("MONOTONIC_USEC")[0]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
    expect("READY=1 after it", until(lambda: manager.got("READY", "1", now)), manager.messages)
    place.write(conf(d, port, more, format="nothing_like_this"))
    now = time.monotonic()
    os.kill(pid, signal.SIGUSR2)
    expect("READY=1 after a reload that was refused", until(lambda: manager.got("RELOADING", "1", now) and manager.got("READY", "1", now)))
    place.write(conf(d, port, more).replace(d + "/out", d + "/out#{worker_id}").replace("path /", 'path "/').replace("worker_id}\n", 'worker_id}"\n').replace("/buffer\n", '/buffer"\n'))
    threading.Thread(target=place.process.wait, daemon=True).start()
    done = subprocess.run([agg, "upgrade", "--pid-file", d + "/pid"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect("an upgrade", done.returncode == 0, done.stdout)
    expect("MAINPID= is the new process", until(lambda: manager.last("MAINPID") == [str(place.pid)]) and place.pid != pid, manager.last("MAINPID"))
    now = time.monotonic()
    expect("WATCHDOG=1 goes on", until(lambda: len(manager.got("WATCHDOG", "1", now)) >= 3), manager.messages[-3:])
    expect("a status", manager.last("STATUS") == ["Running"], manager.last("STATUS"))
    expect("it ends", place.end())
    expect("STOPPING=1", bool(manager.got("STOPPING", "1")), manager.messages[-3:])
    manager.socket.close()


def stuck(d):
    """A file under a buffer that does not open: the lane of the buffer hangs while timers and threads go on, and no sign comes."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    d = tempfile.mkdtemp(prefix="agg-stuck-", dir="/dev/shm")
    manager = Manager("\0agg-test-stuck-%d" % os.getpid())
    port = free_port()
    place = Place(agg, d, conf(d, port).replace("<buffer []>", "<buffer e>").replace("flush_mode immediate", "flush_interval 1h").replace("/out\n", "/out.${e}\n"))
    if not place.start(environment={"NOTIFY_SOCKET": "@agg-test-stuck-%d" % os.getpid(), "WATCHDOG_USEC": "600000"}):
        return expect("the daemon runs", False, place.log())
    events = "".join(json.dumps({"e": "k%d" % n}) + "\n" for n in range(1200))
    expect("1200 chunks are begun", send(("127.0.0.1", port), events), place.log())
    expect("signs come", until(lambda: len(manager.got("WATCHDOG", "1")) >= 3), place.log())
    # agg keeps 1024 of them open at most; opening one of the others waits for whoever has a lease on it.
    fds = "/proc/%d/fd" % place.pid
    opened = {os.path.realpath(fds + "/" + n) for n in os.listdir(fds)}
    closed = [n for n in os.listdir(d + "/buffer") if n.startswith("buffer.b") and os.path.realpath(d + "/buffer/" + n) not in opened]
    held = os.open(d + "/buffer/" + closed[0], os.O_RDONLY)
    fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(events.encode())
    expect("a buffer whose file does not open gives no sign", until(lambda: time.monotonic() - manager.got("WATCHDOG", "1")[-1] > 2), manager.messages[-4:])
    expect("though the process runs", "does not answer its own question" in place.log() or until(lambda: "does not answer its own question" in place.log()))
    fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    now = time.monotonic()
    expect("when it opens, signs come", until(lambda: manager.got("WATCHDOG", "1", now)))
    s.close()
    expect("it ends", place.end())
    manager.socket.close()
    shutil.rmtree(d, ignore_errors=True)


def activated(d, workers):
    """Sockets that this test bound, as a service manager does; agg finds them by their addresses."""
    tcp, unused, unix = socket.socket(), socket.socket(), socket.socket(socket.AF_UNIX)
    tcp6 = socket.socket(socket.AF_INET6)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for s in (tcp, unused, udp):
        s.bind(("127.0.0.1", 0))
    tcp6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    tcp6.bind(("::", 0))
    unix.bind(d + "/s.sock")
    for s in (tcp, unused, unix, tcp6):
        s.listen(1000)
    port, any_port = tcp.getsockname()[1], tcp6.getsockname()[1]
    text = conf(d, port) if workers == 1 else "<system>\n workers %d\n</system>\n" % workers + conf(d, port)
    text = text.replace("path %s/out" % d, 'path "%s/out#{worker_id}"' % d)
    text += "<source>\n @type udp\n bind 127.0.0.1\n port %d\n tag t\n <parse>\n  @type json\n </parse>\n</source>\n" % udp.getsockname()[1]
    if workers == 1:
        text += "<source>\n @type unix\n path %s/s.sock\n</source>\n" % d
    text += "<source>\n @type tcp\n @id any\n bind 0.0.0.0\n port %d\n tag t\n <parse>\n  @type json\n </parse>\n</source>\n" % any_port
    place = Place(agg, d, text)
    # What comes before the daemon is there waits in the sockets.
    early = socket.create_connection(("127.0.0.1", port))
    early.sendall(b'{"e":"early"}\n')
    early.shutdown(socket.SHUT_WR)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b'{"e":"early udp"}', udp.getsockname())
    passed = [tcp, udp, tcp6, unused, unix]
    # The shell puts its own number into LISTEN_PID, and the sockets at 3, 4, …
    high = [os.dup(s.fileno()) for s in passed]
    script = d + "/start"
    place.agg = script
    high_base = [os.dup2(fd, 100 + i) for i, fd in enumerate(high)]
    with open(script, "w") as f:
        f.write("#!/bin/bash\nexport LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=a:b:c:d:e\nexec %s \"$@\" %s\n" % (
            len(passed), agg, " ".join("%d<&%d" % (3 + i, 100 + i) for i in range(len(passed)))))
    os.chmod(script, 0o755)
    expect("the daemon runs with sockets that it was given, workers %d" % workers, place.start(fds=high_base), place.log()[-2000:])
    out = lambda: "".join(open(d + "/" + n).read() for n in os.listdir(d) if n.startswith("out"))
    expect("what came before is there", until(lambda: '"early"' in out() and '"early udp"' in out()) and early.recv(1) == b"", out())
    expect("it accepts", send(("127.0.0.1", port), '{"e":"later"}\n') and until(lambda: '"later"' in out()), out())
    expect("a socket for both families serves 0.0.0.0", send(("127.0.0.1", any_port), '{"e":"any"}\n') and until(lambda: '"any"' in out()))
    expect("what nobody listens on is named", "127.0.0.1:%d" % unused.getsockname()[1] in place.log(), place.log()[-2000:])
    for s in passed:
        s.close()
    for fd in set(high + high_base):
        os.close(fd)
    if workers == 1:
        now = place.log().count("reloaded;")
        place.write(text.replace("@id tcp\n", "@id tcp\n source_address_key peer\n"))
        os.kill(place.pid, signal.SIGHUP)
        until(lambda: place.log().count("reloaded;") > now)
        expect("after a reload of that input it still does", send(("127.0.0.1", port), '{"e":"reloaded"}\n') and until(lambda: '"reloaded"' in out()), out())
        threading.Thread(target=place.process.wait, daemon=True).start()
        done = subprocess.run([agg, "upgrade", "--pid-file", d + "/pid"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        expect("and after an upgrade", done.returncode == 0 and send(("127.0.0.1", port), '{"e":"upgraded"}\n') and until(lambda: '"upgraded"' in out()), done.stdout)
        expect("its children have no such variables", "LISTEN_FDS" not in open("/proc/%d/environ" % place.pid).read())
    expect("it ends", place.end())
    if workers == 1:
        expect("the service manager's socket file stays", os.path.exists(d + "/s.sock"))


def inside(body, *args):
    d = tempfile.mkdtemp(prefix="agg-systemd-")
    body(d, *args)
    if failures:
        if os.path.exists(d + "/log"):
            print(open(d + "/log").read()[-5000:])
        sys.exit("%d failed; see %s" % (len(failures), d))
    shutil.rmtree(d, ignore_errors=True)


socket_folder = tempfile.mkdtemp(prefix="agg-notify-")
inside(notices, socket_folder + "/n.sock", socket_folder + "/n.sock", 1)
inside(notices, "\0agg-test-%d" % os.getpid(), "@agg-test-%d" % os.getpid(), 2)
inside(stuck)
inside(activated, 1)
inside(activated, 2)
shutil.rmtree(socket_folder, ignore_errors=True)
