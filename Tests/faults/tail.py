#!/usr/bin/env python3
"""What is done to files that are followed: ten thousand of them under a low limit of open files, rotation every millisecond, copy and
truncate, compression of the rotated file, inodes that are used again, links that are switched, rights that go and come, a line of a
gigabyte, files of NUL bytes, a million tags, a kernel that tells nothing.

Usage: tail.py AGG [--only NAME] [--long].  Exit status 1 when a drill fails. Standard library only."""
import glob
import mmap
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from drill import Failed, Lines, Place, check, count, numbers, run, until  # noqa: E402

CONF = """
<source>
  @type tail
  @id tail
  tag @TAG@
  path @PATH@
  pos_file @D@/pos
  read_from_head true
  refresh_interval 1s
  rotate_wait @WAIT@
  @MORE@
  <parse>
    @type @PARSE@
  </parse>
</source>
<match **t>
  @type file
  @id out
  path @D@/out/@NAME@
  append true
  <format>
    @type json
  </format>
  <buffer @KEYS@>
    @type file
    path @D@/buffer
    flush_mode @FLUSH@
    @BUFFER@
  </buffer>
</match>
"""
DEFAULTS = {"TAG": "t", "PATH": "@D@/in.log", "WAIT": "1s", "PARSE": "json", "MORE": "", "NAME": "o", "KEYS": "[]", "FLUSH": "immediate", "BUFFER": ""}


# How many files are followed beside the drill's own: of more than two a pass looks at those that inotify names.
others = threading.local()


def place(agg, **values):
    values = {**DEFAULTS, **values}
    beside = getattr(others, "count", 0)
    if beside:
        values["PATH"] += ",@D@/beside/*.log"
    p = Place(agg, CONF, **values)
    if beside:
        os.mkdir(p.d + "/beside")
    for i in range(beside):
        open(f"{p.d}/beside/{i}.log", "w").close()
    return p


def among_others(drill):
    """The drill, with eight quiet files beside its own."""

    def changed(agg, options):
        others.count = 8
        try:
            return drill(agg, options)
        finally:
            others.count = 0

    return changed


def out(p):
    return numbers('"t":', *glob.glob(p.d + "/out/*"))


def line(n, pad=""):
    return '{"t":%d,"pad":"%s"}\n' % (n, pad)


def descriptors(p):
    return len(os.listdir(f"/proc/{p.daemon.process.pid}/fd"))


def memory(p):
    """The most resident memory so far, in MiB."""
    text = open(f"/proc/{p.daemon.process.pid}/status").read()
    return int(text.split("VmHWM:")[1].split()[0]) >> 10


def finish(p, written, seconds=60, may_lose=None):
    """Waits until all is out and the ledger balances, stops, and returns the figures; `may_lose`: a reason that must then be counted."""
    try:
        until(lambda: len(set(out(p))) >= written, "all is out", seconds if may_lose is None else 10)
    except Failed:
        pass
    time.sleep(0.5)
    p.balance()
    dropped = p.dropped()
    p.stop()
    lost, duplicated = count(written, out(p))
    figures = f"{written} events, lost {lost}, duplicated {duplicated}, given up {dropped}"
    if may_lose is None:
        check(not lost and not duplicated and not dropped, figures)
    else:
        check(not duplicated and (not lost or dropped.get(may_lose)), figures)
    return figures


def many_files(agg, options):
    """10,000 files with 256 descriptors: some are open, all are read; then each grows, is rotated, and grows again."""
    files = 10_000
    with place(agg, PATH="@D@/in/*.log", TAG="t") as p:
        p.prefix = ["prlimit", "--nofile=256:256"]
        os.mkdir(p.d + "/in")
        n = 0

        def write(suffix=""):
            nonlocal n
            for i in range(files):
                with open(f"{p.d}/in/{i}.log{suffix}", "a") as f:
                    f.write(line(n) + line(n + 1))
                n += 2

        write()
        p.start()
        until(lambda: len(out(p)) >= n, "all files are read", 90)
        write()
        until(lambda: len(out(p)) >= n, "all files are read on", 90)
        for i in range(0, files, 10):
            os.rename(f"{p.d}/in/{i}.log", f"{p.d}/in/{i}.log.1")
            # A writer that has not noticed yet.
            with open(f"{p.d}/in/{i}.log.1", "a") as f:
                f.write(line(n))
            with open(f"{p.d}/in/{i}.log", "a") as f:
                f.write(line(n + 1))
            n += 2
        until(lambda: len(set(out(p))) >= n, "rotated files are read on", 90)
        most = descriptors(p)
        check(most < 256, f"{most} descriptors")
        said = len(p.complaints())
        check(said <= 3, f"{said} complaints: {p.complaints()[:3]}")
        return f"{files} files, {most} descriptors, {memory(p)} MiB, " + finish(p, n)


def every_millisecond(agg, options):
    """Rotation by rename every millisecond, each time to a new name."""
    with place(agg, PATH="@D@/in/a.log", WAIT="1s") as p:
        os.mkdir(p.d + "/in")
        open(p.d + "/in/a.log", "w").close()
        p.start()
        until(lambda: p.log("following tail"), "the log is followed")
        n, rotations, seconds = 0, 0, 20 if options["long"] else 4
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with open(p.d + "/in/a.log", "a") as f:
                for _ in range(20):
                    f.write(line(n))
                    n += 1
            time.sleep(0.001)
            rotations += 1
            os.rename(p.d + "/in/a.log", f"{p.d}/in/a.log.{rotations}")
        open(p.d + "/in/a.log", "w").close()
        return f"{rotations} rotations in {seconds} s, " + finish(p, n)


def shifting(agg, options):
    """Rotation as logrotate does it: .2 becomes .3, .1 becomes .2; a writer that goes on for a moment in the renamed file."""
    with place(agg, PATH="@D@/in/a.log", WAIT="1s") as p:
        os.mkdir(p.d + "/in")
        open(p.d + "/in/a.log", "w").close()
        p.start()
        until(lambda: p.log("following tail"), "the log is followed")
        n, times = 0, 400 if options["long"] else 80
        f = open(p.d + "/in/a.log", "a")
        for turn in range(times):
            for _ in range(50):
                f.write(line(n))
                n += 1
            f.flush()
            for i in range(turn, 0, -1):
                if i >= 30:
                    continue
                if os.path.exists(f"{p.d}/in/a.log.{i}"):
                    os.rename(f"{p.d}/in/a.log.{i}", f"{p.d}/in/a.log.{i + 1}")
            os.rename(p.d + "/in/a.log", p.d + "/in/a.log.1")
            f.write(line(n))
            n += 1
            f.close()
            f = open(p.d + "/in/a.log", "a")
            time.sleep(0.02)
        f.close()
        return f"{times} rotations, " + finish(p, n)


def compressed(agg, options):
    """The rotated file is compressed and removed at once, while it is still read."""
    with place(agg, PATH="@D@/in/a.log", WAIT="1s") as p:
        os.mkdir(p.d + "/in")
        open(p.d + "/in/a.log", "w").close()
        p.start()
        until(lambda: p.log("following tail"), "the log is followed")
        n, times = 0, 30
        for turn in range(times):
            with open(p.d + "/in/a.log", "a") as f:
                for _ in range(2000):
                    f.write(line(n, "x" * 100))
                    n += 1
            # It is found, and most likely not read to its end: pos_file names its inode.
            until(lambda: open(p.d + "/pos").read().split()[-1:] == ["%016x" % os.stat(p.d + "/in/a.log").st_ino], "the log is followed")
            os.rename(p.d + "/in/a.log", f"{p.d}/in/a.log.{turn}")
            subprocess.run(["gzip", "-1", f"{p.d}/in/a.log.{turn}"], check=True)
        return f"{times} rotations, " + finish(p, n)


def copy_truncate(agg, options):
    """Copy and truncate once all of it is read: nothing is lost. Then blindly: what is lost is told."""
    with place(agg) as p:
        open(p.d + "/in.log", "w").close()
        p.start()
        n, times = 0, 10
        with open(p.d + "/in.log", "a") as f:
            for turn in range(times):
                for _ in range(1000):
                    f.write(line(n))
                    n += 1
                f.flush()
                until(lambda: len(set(out(p))) >= n, "all of it is read")
                shutil.copy(p.d + "/in.log", f"{p.d}/copy.{turn}")
                f.truncate(0)
            lost, duplicated = count(n, out(p))
            check(not lost and not duplicated, f"lost {lost}, duplicated {duplicated}")
            told = p.dropped().get("possible_loss", 0)
            # Blindly, and filled again beyond where it was read: only the bytes before the position show it.
            for turn in range(20):
                for _ in range(500):
                    f.write(line(n, "y" * (turn % 7)))
                    n += 1
                f.flush()
                time.sleep(0.005)
                f.truncate(0)
            for _ in range(100):
                f.write(line(n))
                n += 1
        until(lambda: max(out(p)) == n - 1, "what came after the last truncation is read")
        complaints = len(p.complaints())
        p.balance()
        dropped = p.dropped()
        p.stop()
        lost, duplicated = count(n, out(p))
        figures = f"{n} events, {times + 20} truncations, lost {lost} by blind ones, duplicated {duplicated}, told {dropped}, {complaints} complaints"
        check(not duplicated and dropped.get("possible_loss", 0) > told, figures)
        check(complaints <= times + 20 + 5, figures)
        return figures


def inode_reuse(agg, options):
    """A file is removed and made anew until it gets the same inode, with agg down and running."""
    with place(agg, MORE="follow_inodes true" if options.get("follow") else "") as p:
        path = p.d + "/in.log"
        n = same = 0

        def anew():
            nonlocal n, same
            before = os.stat(path).st_ino if os.path.exists(path) else 0
            if before:
                os.remove(path)
            with open(path, "w") as f:
                same += os.fstat(f.fileno()).st_ino == before
                for _ in range(500):
                    f.write(line(n))
                    n += 1

        anew()
        p.start()
        until(lambda: len(out(p)) >= n, "it is read")
        for _ in range(6):
            p.stop()
            anew()
            p.start()
            until(lambda: len(set(out(p))) >= n, "the new file is read after a start", 20)
        for _ in range(20):
            anew()
            until(lambda: len(set(out(p))) >= n, "the new file is read while agg runs", 20)
        p.balance()
        p.stop()
        lost, duplicated = count(n, out(p))
        figures = f"{n} events in 27 files, {same} with the inode of the one before, lost {lost}, duplicated {duplicated}"
        check(not lost and not duplicated, figures)
        return figures


def gone(agg, options):
    """A file is replaced while agg is down: its line leaves pos_file with it, since another file may get its inode later."""
    with place(agg, MORE="follow_inodes true") as p:
        n = 0
        for turn in range(3):
            # Beside the old one, so that it cannot have its inode.
            with open(p.d + "/new", "w") as f:
                for _ in range(500):
                    f.write(line(n))
                    n += 1
            os.replace(p.d + "/new", p.d + "/in.log")
            p.start()
            until(lambda: len(set(out(p))) >= n, "the new file is read")
            p.stop()
        lines = [l.split("\t") for l in open(p.d + "/pos")]
        known = [int(inode, 16) for _, position, inode in lines if position != "f" * 16]
        check(known == [os.stat(p.d + "/in.log").st_ino], f"pos_file has the inodes {known}")
        lost, duplicated = count(n, out(p))
        check(not lost and not duplicated, f"lost {lost}, duplicated {duplicated}")
        return f"{n} events in 3 files, lost {lost}, duplicated {duplicated}"


def links(agg, options):
    """The path is a link that is switched from file to file, as docker and cronolog do it."""
    with place(agg, PATH="@D@/current") as p:
        n = 0
        for turn in range(20):
            with open(f"{p.d}/file.{turn}", "w") as f:
                for _ in range(200):
                    f.write(line(n))
                    n += 1
            os.symlink(f"{p.d}/file.{turn}", p.d + "/new")
            os.rename(p.d + "/new", p.d + "/current")
            if turn == 0:
                p.start()
            until(lambda: len(set(out(p))) >= n - 50 * (turn % 2), "it is read")
            with open(f"{p.d}/file.{turn}", "a") as f:
                for _ in range(50):
                    f.write(line(n))
                    n += 1
            if turn % 5 == 4:
                until(lambda: len(set(out(p))) >= n, "the last lines are read")
                p.daemon.kill()
                p.daemon.close()
                p.start()
            until(lambda: len(set(out(p))) >= n, "the last lines are read")
        return "20 switches, 4 kills, " + finish(p, n)


def rights(agg, options):
    """The right to read the file, and to enter its directory, goes and comes, for a daemon that is not root."""
    if os.getuid() != 0:
        return "skipped: needs to be root, to run agg as somebody else"
    with place(agg, PATH="@D@/in/a.log") as p:
        os.chown(p.d, 65534, 65534)
        os.mkdir(p.d + "/in")
        p.prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        n = 0

        def write(count=100):
            nonlocal n
            with open(p.d + "/in/a.log", "a") as f:
                for _ in range(count):
                    f.write(line(n))
                    n += 1

        write()
        os.chmod(p.d + "/in/a.log", 0)
        p.start()
        until(lambda: p.log("Permission denied"), "it says that it may not read")
        time.sleep(2.5)
        check(len(p.log("Permission denied")) == 1, f"told {len(p.log('Permission denied'))} times")
        os.chmod(p.d + "/in/a.log", 0o644)
        until(lambda: len(out(p)) >= n, "it reads once it may", 20)
        for _ in range(3):
            os.chmod(p.d + "/in", 0)
            write()
            time.sleep(1.5)
            os.chmod(p.d + "/in", 0o755)
            write()
            until(lambda: len(set(out(p))) >= n, "it reads on once it may enter again", 20)
        complaints = len(p.complaints())
        check(complaints <= 6, f"{complaints} complaints: {p.complaints()[:3]}")
        return f"4 times, {complaints} complaints, " + finish(p, n)


def long_line(agg, options):
    """A line of a gigabyte: bounded memory, counted, and the rest of the file goes on, over a kill in the middle of it."""
    with place(agg) as p:
        size = 1 << 30
        with open(p.d + "/in.log", "w") as f:
            f.write(line(0))
            f.write('{"long":"')
            for _ in range(64):
                f.write("x" * (1 << 20))
            f.flush()
            # The rest is a hole: NUL bytes that take no room on the test's disk.
            f.truncate(size)
            f.seek(size)
            f.write('"}\n' + line(1))
        p.start()
        until(lambda: p.log("longer than"), "the line is skipped")
        p.daemon.kill()
        p.daemon.close()
        p.start()
        until(lambda: len(set(out(p))) >= 2, "the rest is read", 60)
        with open(p.d + "/in.log", "a") as f:
            f.write(line(2))
        until(lambda: len(set(out(p))) >= 3, "what comes then is read", 20)
        most = memory(p)
        ledger = p.ledger()["totals"]["inputs"]
        told = len(p.log("longer than"))
        p.balance()
        p.stop()
        lost, duplicated = count(3, out(p))
        text = "".join(open(path).read() for path in glob.glob(p.d + "/out/*"))
        figures = f"{most} MiB, {ledger['dropped']}, told {told} times, lost {lost}, duplicated {duplicated}"
        check(not lost and not duplicated and ledger["dropped"] == {"line_too_long": 1} and told == 1 and most < 300, figures)
        check(text.count("\n") == 3, f"a piece of the long line came out: {text[:200]!r}")
        return figures


def nul_bytes(agg, options):
    """A file that a crash of the machine left full of NUL bytes, and lines around them."""
    with place(agg, MORE="max_line_size 1m") as p:
        with open(p.d + "/in.log", "wb") as f:
            f.write(line(0).encode())
            f.write(bytes(5000) + b"\n" + line(1).encode())
            f.truncate(200 << 20)
            f.seek(0, 2)
            f.write(b"\n" + line(2).encode())
        p.start()
        until(lambda: len(set(out(p))) >= 3, "lines around NUL bytes are read", 30)
        ledger, most, complaints = p.ledger()["totals"]["inputs"], memory(p), len(p.complaints())
        p.balance()
        p.stop()
        lost, duplicated = count(3, out(p))
        figures = f"{most} MiB, rejected {ledger['rejected']}, {ledger['dropped']}, {complaints} complaints, lost {lost}, duplicated {duplicated}"
        check(not lost and not duplicated and complaints <= 4, figures)
        check(ledger["rejected"] == 1 and ledger["dropped"] == {"line_too_long": 1} and most < 200, figures)
        return figures


def shrinking(agg, options):
    """A file is truncated again and again while it is read."""
    with place(agg) as p:
        open(p.d + "/in.log", "w").close()
        p.start()
        n, times = 0, 0
        end = time.monotonic() + (20 if options["long"] else 4)
        with open(p.d + "/in.log", "a") as f:
            while time.monotonic() < end:
                for _ in range(2000):
                    f.write(line(n, "x" * 50))
                    n += 1
                f.flush()
                time.sleep(0.002)
                f.truncate(os.path.getsize(p.d + "/in.log") // 3 if times % 2 else 0)
                times += 1
            f.truncate(0)
            for _ in range(100):
                f.write(line(n))
                n += 1
        until(lambda: max(out(p), default=0) == n - 1, "what came after the last truncation is read", 30)
        p.alive()
        # Half a line with the start of another is told once a block: that is what such a writer makes.
        complaints = sum("pattern not matched" not in line for line in p.complaints())
        p.balance()
        dropped = p.dropped()
        p.stop()
        check(dropped.get("possible_loss", 0) > 0, f"nothing told: {dropped}")
        check(complaints <= 60, f"{complaints} complaints for {times} truncations: {p.complaints()[:2]}")
        return f"{times} truncations, told {dropped}, {complaints} complaints"


def many_tags(agg, options):
    """As many tags as there are events, each a chunk of its own: bounded memory and descriptors, all of them written."""
    tags = 1_000_000 if options["long"] else 20_000
    with Place(agg, "") as p:
        from drill import free_port
        port = free_port()
        p.write("""
<source>
  @type http
  @id http
  bind 127.0.0.1
  port @PORT@
</source>
<source>
  @type tail
  @id tail
  tag t
  path @D@/in.log
  pos_file @D@/pos
  read_from_head true
  <parse>
    @type json
  </parse>
</source>
<match t>
  @type rewrite_tag_filter
  <rule>
    key tag
    pattern /^(.+)$/
    tag x.$1
  </rule>
</match>
<match x.**>
  @type file
  @id out
  path @D@/out/${tag[1]}/o
  append true
  <format>
    @type json
  </format>
  <buffer tag>
    @type file
    path @D@/buffer
    flush_interval 1s
    chunk_limit_size 64k
    flush_thread_count 2
    total_limit_size 64m
  </buffer>
</match>
""", PORT=port)
        p.prefix = ["prlimit", "--nofile=512:512"]
        with open(p.d + "/in.log", "w") as f:
            f.write("".join('{"t":%d,"tag":"g%d.%d"}\n' % (n, n % 97, n) for n in range(tags)))
        p.start()
        most = 0
        seconds = 900 if options["long"] else 120

        def written():
            nonlocal most
            most = max(most, descriptors(p))
            p.alive()
            # Each by rewrite_tag_filter and by the file output.
            return p.ledger()["totals"]["outputs"]["delivered"] >= 2 * tags

        until(written, "all tags are written", seconds)
        resident = memory(p)
        p.balance()
        complaints = len(p.complaints())
        p.stop()
        lost, duplicated = count(tags, numbers('"t":', *glob.glob(p.d + "/out/*/*")))
        figures = f"{tags} tags, {resident} MiB, {most} descriptors, {complaints} complaints, lost {lost}, duplicated {duplicated}"
        check(not lost and not duplicated and most < 512 and complaints <= 3, figures)
        check(resident < 400, figures)
        return figures


def later_listing(agg, options):
    """skip_refresh_on_startup over a restart: what was followed goes on at once, and is not read twice when the paths are listed."""
    with place(agg, PATH="@D@/in/*.log", MORE="skip_refresh_on_startup true") as p:
        os.mkdir(p.d + "/in")
        n = 0

        def write(name, count=500):
            nonlocal n
            with open(f"{p.d}/in/{name}.log", "a") as f:
                for _ in range(count):
                    f.write(line(n))
                    n += 1

        write("a")
        write("b")
        p.start()
        until(lambda: len(set(out(p))) >= n, "files are read after refresh_interval", 20)
        for how in ("TERM", "KILL", "rotated"):
            if how == "KILL":
                p.daemon.kill()
                p.daemon.close()
            else:
                p.stop()
            write("a")
            if how == "rotated":
                os.rename(p.d + "/in/b.log", p.d + "/in/b.log.1")
                with open(p.d + "/in/b.log.1", "a") as f:
                    f.write(line(n))
                    n += 1
            write("b")
            p.start()
            write("a")
            until(lambda: len(set(out(p))) >= n, f"reading goes on after {how}", 20)
            time.sleep(1.5)
        return "3 restarts, " + finish(p, n)


def renamed_unread(agg, options):
    """A log is opened while it is empty, and renamed; another one has its name when agg is killed. What its writer, who has not noticed,
    writes to it meanwhile is read after the start."""
    with place(agg, PATH="@D@/in/a.log", WAIT="600s") as p:
        os.mkdir(p.d + "/in")
        writer = open(p.d + "/in/a.log", "a")
        p.start()
        until(lambda: len(p.log("following tail of .*/a.log$")) == 1, "the empty log is opened")
        os.rename(p.d + "/in/a.log", p.d + "/in/a.log.1")
        with open(p.d + "/in/a.log", "w") as f:
            f.write(line(0))
        # The line of that name in pos_file is the new file's now.
        until(lambda: p.log("a.log: rotated or removed") and out(p) == [0], "the new log is read")
        p.daemon.kill()
        p.daemon.close()
        n = 1
        for _ in range(500):
            writer.write(line(n))
            n += 1
        writer.close()
        p.start()
        return finish(p, n, 20)


def lost_bytes(agg, options):
    """What was seen of a log and is gone before it is read is counted in bytes: a log that is emptied, and one that is removed while it is
    not held open."""
    figures = []
    for reason, more in (("possible_loss", ""), ("tail_rotation_lost", "open_on_every_update true")):
        with place(agg, MORE="read_bytes_limit_per_second 8192\n" + more) as p:
            path = p.d + "/in.log"
            with open(path, "w") as f:
                f.write("".join(line(i, "x" * 100) for i in range(4000)))
            size = os.path.getsize(path)
            p.start()
            until(lambda: len(out(p)) > 10, "a part is read")
            if reason == "possible_loss":
                os.truncate(path, 0)
            else:
                os.remove(path)
            until(lambda: p.dropped().get(reason), f"{reason} is counted")
            p.balance()
            ledger = p.ledger()["totals"]["inputs"]
            metrics = p.metric(f"agg_{reason}_bytes_total")
            p.stop()
            taken = sum(len(line(i, "x" * 100)) for i in range(len(out(p))))
            found = (ledger["dropped"][reason], ledger[f"{reason}_bytes"], metrics)
            check(found == (1, size - taken, size - taken), f"{reason}: {found}, where {size} - {taken} bytes were lost")
            figures.append(f"{reason} {size - taken} of {size} bytes")
    return ", ".join(figures)


def untold(agg, options):
    """Writes that inotify does not report, the end of a line stored into a mapped file, are seen some time."""
    files = 10
    with place(agg, PATH="@D@/in/*.log") as p:
        os.mkdir(p.d + "/in")
        for i in range(files):
            with open(f"{p.d}/in/{i}.log", "w") as f:
                f.write(line(i) + line(files + i)[:-1] + " ")
        p.start()
        until(lambda: len(out(p)) >= files, "whole lines are read")
        for i in range(files):
            with open(f"{p.d}/in/{i}.log", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
                m[-1:] = b"\n"
        return finish(p, 2 * files)


def unwatched(agg, options):
    """The kernel has no watches, or one, for the directory: new files, growth and rotation are seen all the same, and it is told once."""
    limit = ["unshare", "--user", "--map-root-user", "sh", "-c", 'echo "$1" > /proc/sys/user/max_inotify_watches && shift && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run(limit + ["0", "true"], capture_output=True).returncode:
        return "skipped: user namespaces are not allowed here"
    figures = []
    for watches in ("0", "1"):
        with place(agg, PATH="@D@/in/*.log") as p:
            os.mkdir(p.d + "/in")
            p.prefix = limit + [watches]
            n = 0

            def write(i):
                nonlocal n
                with open(f"{p.d}/in/{i}.log", "a") as f:
                    f.write(line(n) + line(n + 1))
                n += 2

            write(0)
            p.start()
            for turn in range(6):
                for i in range(6):
                    write(i)
                until(lambda: len(set(out(p))) >= n, "all is read")
                os.rename(p.d + "/in/3.log", f"{p.d}/in/3.log.{turn}")
            said = [text for text in p.complaints() if "cannot be watched" in text]
            check(len(said) == 1 and "No space left on device (fs.inotify.max_user_watches)" in said[0], f"said {said}")
            figures.append(f"{watches}: " + finish(p, n))
    return "; ".join(figures)


def watched(p, path):
    """Whether the kernel tells the daemon of it."""
    inode = "ino:%x " % os.stat(path).st_ino
    folder = f"/proc/{p.daemon.process.pid}/fdinfo/"
    for name in os.listdir(folder):
        try:
            if inode in open(folder + name).read():
                return True
        except OSError:
            pass  # closed since it was listed
    return False


def directory_anew(agg, options):
    """The directory is removed and made again: it is watched again."""
    with place(agg, PATH="@D@/in/*.log") as p:
        n = 0
        for turn in range(4):
            # Under another inode than the one before.
            os.mkdir(p.d + "/new")
            for i in range(3):
                with open(f"{p.d}/new/{i}.log", "w") as f:
                    f.write(line(n))
                n += 1
            if turn:
                os.rename(p.d + "/in", p.d + "/old")
                shutil.rmtree(p.d + "/old")
            os.rename(p.d + "/new", p.d + "/in")
            if turn == 0:
                p.start()
            until(lambda: len(set(out(p))) >= n, "all is read")
            until(lambda: watched(p, p.d + "/in"), "the directory is watched")
        return "3 times, " + finish(p, n)


def directories_moved(agg, options):
    """Directories take each other's names, and of two names of one directory one goes: what is there then is watched."""
    with place(agg, PATH="@D@/in/*/a.log,@D@/both/*.log,@D@/link/*.txt") as p:
        n = 0

        def write(name):
            nonlocal n
            with open(f"{p.d}/{name}", "a") as f:
                f.write(line(n))
            n += 1

        names = [f"in/{i}" for i in range(1, 7)]
        for name in names + ["both"]:
            os.makedirs(f"{p.d}/{name}")
        os.symlink(p.d + "/both", p.d + "/link")
        for name in names:
            write(name + "/a.log")
        write("both/a.log")
        write("both/a.txt")
        p.start()
        until(lambda: len(set(out(p))) >= n, "all is read")
        for turn in range(3):
            shutil.rmtree(f"{p.d}/in/6")
            for i in range(5, 0, -1):
                os.rename(f"{p.d}/in/{i}", f"{p.d}/in/{i + 1}")
            os.mkdir(p.d + "/in/1")
            if turn == 1:
                os.remove(p.d + "/link")
            for name in names:
                write(name + "/a.log")
            write("both/a.log")
            until(lambda: len(set(out(p))) >= n, "all is read")
            for name in names + ["both"]:
                until(lambda: watched(p, f"{p.d}/{name}"), f"{name} is watched")
        return "3 times, " + finish(p, n)


DRILLS = [
    ("10,000 files", many_files), ("rotation every millisecond", every_millisecond), ("rotation with shifting names", shifting),
    ("rotation with gzip", compressed), ("copytruncate", copy_truncate), ("inode reuse", inode_reuse),
    ("inode reuse, follow_inodes", lambda agg, options: inode_reuse(agg, {**options, "follow": True})), ("replaced while down, follow_inodes", gone), ("links", links), ("rights", rights),
    ("a line of 1 GiB", long_line), ("NUL bytes", nul_bytes), ("truncated while read", shrinking), ("many tags", many_tags),
    ("skip_refresh_on_startup", later_listing), ("renamed before it was read", renamed_unread), ("lost bytes", lost_bytes),
    ("writes that inotify does not report", untold), ("no more watches", unwatched), ("a directory made anew", directory_anew),
    ("directories that change their names", directories_moved),
    ("among others: shifting names", among_others(shifting)), ("among others: copytruncate", among_others(copy_truncate)),
    ("among others: inode reuse", among_others(inode_reuse)), ("among others: links", among_others(links)),
    ("among others: rights", among_others(rights)), ("among others: truncated while read", among_others(shrinking)),
    ("among others: renamed before it was read", among_others(renamed_unread)), ("among others: lost bytes", among_others(lost_bytes)),
]

if __name__ == "__main__":
    run(DRILLS, sys.argv)
