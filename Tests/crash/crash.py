#!/usr/bin/env python3
"""Kills a running agg with SIGKILL, at named points and at random moments, starts it again, and counts what came out.

Usage: crash.py AGG [--seconds N] [--seed N] [--only NAME] [--keep] [--prove]
Every accepted event must come out, and none twice. Accepted: a line in a file that existed, a request that was answered with 2xx.
Exit status 1 when an event is lost or comes twice, or when too few kills hit a busy daemon. With --prove, agg's protections
are switched off one after the other, and a run that finds nothing wrong then is the failure. Standard library only."""
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
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon import POINTS, PROTECTIONS, Daemon  # noqa: E402
from power import Power, files_in  # noqa: E402
from scenarios import FORMS, PROOFS  # noqa: E402

# Points that no pipeline here comes to; the rest must each have killed five times in a full run.
ELSEWHERE = set()
EACH_POINT = 5
# A run this long is a full one: of a shorter one the shares say little.
FULL_SECONDS = 240


class Run:
    """One pipeline, killed again and again for its share of the time."""

    def __init__(self, agg, kind, form, seed, seconds, totals, lock, without=None):
        self.without = without
        self.agg, self.form, self.seed, self.seconds = agg, form, seed, seconds
        self.rng = random.Random(seed)
        self.folder = tempfile.mkdtemp(prefix="agg-crash-")
        self.scenario = kind(self.folder, self.rng, form)
        self.scenario.agg = agg
        self.totals, self.lock = totals, lock
        self.kills = self.busy = 0
        self.cuts = self.taken_back = 0
        # How often each daemon comes to a point in one life, as its lives so far tell.
        self.reached = {}
        self.powers = {}
        self.states = collections.Counter()
        self.failure = None

    def title(self):
        return f"{self.scenario.name} {' '.join(f'{k}={v}' for k, v in self.form.items())}".strip()

    def start(self, which):
        path = f"{self.folder}/{which}.conf"
        with open(path, "w") as f:
            f.write(self.scenario.config(which))
        environment = None
        if self.form.get("power"):
            self.powers[which] = Power(self.folder, f"{self.folder}/power-{which}")
            environment = self.powers[which].environment()
        daemon = Daemon(self.agg, path, f"{self.folder}/{which}.log", environment, self.without)
        daemon.write(20, self.scenario.commit_log_limit)
        return daemon

    def choose(self, daemons):
        """A daemon, and the point that killed least so far among those that it comes to."""
        which = self.rng.choice(list(daemons))
        if self.rng.random() >= 0.7:
            return which, None, 0
        met = [(which, point, often) for which in daemons for point, often in self.reached.get(which, {}).items()
               if often > 0.3 and (not self.without or point in PROOFS[self.without][2])]
        if not met:
            return which, None, 0
        with self.lock:
            which, point, often = min(met, key=lambda m: (self.totals[m[1]], self.rng.random()))
        return which, point, self.rng.randrange(1, 2 + min(5, int(often / 3)))

    def kill_one(self, daemons):
        which, point, countdown = self.choose(daemons)
        daemon = daemons[which]
        if point:
            daemon.arm(point, countdown)
            end = time.monotonic() + 2
            while daemon.is_alive() and time.monotonic() < end:
                time.sleep(0.01)
        else:
            time.sleep(self.rng.uniform(0.0, 0.8))
        at_point = not daemon.is_alive()
        if at_point:
            daemon.process.wait()
            if daemon.process.returncode != -9:
                self.failure = f"{which} ended with {daemon.process.returncode}: {daemon.text()[-2000:]}"
        else:
            if not daemon.wait_running(0.01):
                pass  # killed while it starts: as good a moment as any
            daemon.kill()
        gauges = daemon.gauges()
        known = self.reached.setdefault(which, collections.Counter())
        for name, n in daemon.hits().items():
            known[name] = max(n, known[name] * 0.8) if n else known[name] * 0.8
        if which in self.powers:
            names, size = self.powers[which].cut(self.rng)
            self.cuts += 1
            self.taken_back += size + names
        self.kills += 1
        self.states["staged"] += gauges["staged"] > 0
        self.states["uncommitted"] += gauges["uncommitted"] > 0
        self.states["in flight"] += gauges["in_flight"] > 0
        self.states["unread"] += self.scenario.unread() > 0
        # Dying at a point is being busy with it.
        self.busy += at_point or any(n > 0 for n in gauges.values()) or self.scenario.unread() > 0
        with self.lock:
            if point and at_point:
                self.totals[point] += 1
            self.totals["kills"] += 1
        daemon.close()
        self.scenario.between()
        daemons[which] = self.start(which)

    def evidence(self):
        """Of a run that lost or doubled: which numbers, what is left in the folder, and what the daemons said last."""
        yield self.scenario.counted.ranges(self.scenario.each)
        for path, status in sorted(files_in(self.folder)):
            if "/power-" not in path:
                yield f"{status.st_size:12} {os.path.relpath(path, self.folder)}"
        for path in sorted(glob.glob(f"{self.folder}/*.log")):
            if os.path.basename(path) != "in.log":
                with open(path, "rb") as f:
                    f.seek(max(0, os.path.getsize(path) - 6000))
                    yield from (f"{os.path.basename(path)}: {line}" for line in f.read().decode(errors="replace").splitlines()[-40:])

    def run(self):
        daemons = {which: self.start(which) for which in self.scenario.daemons()}
        try:
            self.scenario.start_load()
            end = time.monotonic() + self.seconds
            for daemon in daemons.values():
                daemon.wait_running()
            while time.monotonic() < end and not self.failure:
                self.kill_one(daemons)
                if self.rng.random() < 0.8:
                    for daemon in daemons.values():
                        if not daemon.wait_running() and daemon.process.returncode != -9:
                            self.failure = f"does not start: {daemon.text()[-2000:]}"
                    time.sleep(self.rng.uniform(0, 0.3))
            self.scenario.finish_load()
            # As long as more arrives: an instrumented daemon takes minutes for its backlog.
            least, end = None, 0
            while not self.failure:
                self.events, self.lost, self.duplicated = self.scenario.check()
                if least is None or self.lost < least:
                    least, end = self.lost, time.monotonic() + 60
                if not self.lost or self.without or time.monotonic() > end:
                    break
                time.sleep(0.5)
            for which, daemon in reversed(list(daemons.items())):
                if daemon.wait_running() and daemon.stop() != 0:
                    self.failure = f"{which} stopped with {daemon.process.returncode}"
            if not self.failure:
                self.events, self.lost, self.duplicated = self.scenario.check()
        except Exception:  # noqa: BLE001: told as the run's failure
            self.failure = traceback.format_exc()
        for daemon in daemons.values():
            daemon.close()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("agg")
    options.add_argument("--seconds", type=float, default=300)
    options.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options.add_argument("--only", help="part of a pipeline's title")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--prove", action="store_true", help="switch agg's protections off, one a run: each run has to fail")
    options.add_argument("--keep", action="store_true", help="keep the folders of runs that failed")
    o = options.parse_args()
    agg = os.path.abspath(o.agg)
    print(f"seed {o.seed}", flush=True)
    totals, lock = collections.Counter(), threading.Lock()
    share = lambda n: max(3.0, (o.seconds * o.jobs / n) - 4)
    runs = [Run(agg, kind, form, o.seed + i, 0, totals, lock) for i, (kind, form) in enumerate(FORMS)]
    if o.prove:
        runs = [Run(agg, kind, form, o.seed + i, 0, totals, lock, without) for i, (without, (kind, form, _)) in enumerate(PROOFS.items())]
    if o.only:
        runs = [run for run in runs if o.only in run.title()]
    for run in runs:
        run.seconds = share(len(runs))
    waiting = list(runs)

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                run = waiting.pop(0)
            run.run()
            if run.failure:
                print(f"FAIL {run.title()} seed {run.seed}: {run.failure}; folder {run.folder}", flush=True)
                continue
            good = (run.lost == 0 and run.duplicated == 0) != bool(run.without)
            if run.without:
                print(f"{'ok  ' if good else 'FAIL'} without {run.without}, {run.title()}: kills {run.kills}, events {run.events}, lost {run.lost}, "
                      f"duplicated {run.duplicated}: {'noticed' if good else 'not noticed (seed %d)' % run.seed}", flush=True)
                shutil.rmtree(run.folder, ignore_errors=True)
                continue
            cuts = f", power cuts {run.cuts} that took {run.taken_back} bytes and names" if run.cuts else ""
            print(f"{'ok  ' if good else 'FAIL'} {run.title()}: kills {run.kills}, busy {run.busy}, events {run.events}, lost {run.lost}, "
                  f"duplicated {run.duplicated}{cuts}" + ("" if good else f" (seed {run.seed}, folder {run.folder})"), flush=True)
            if not good:
                print("".join(f"  | {line}\n" for line in run.evidence()), end="", flush=True)
            if good or not o.keep:
                shutil.rmtree(run.folder, ignore_errors=True)

    workers = [threading.Thread(target=work) for _ in range(o.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done = [run for run in runs if not run.failure]
    kills, busy = sum(r.kills for r in done), sum(r.busy for r in done)
    lost, duplicated = sum(r.lost for r in done), sum(r.duplicated for r in done)
    states = sum((r.states for r in done), collections.Counter())
    print("when killed: " + ", ".join(f"{name} {n}" for name, n in states.items()))
    print("kills at each point:")
    for p in POINTS:
        print(f"  {p:16} {totals[p]:4}" + ("  no pipeline here comes to it" if p in ELSEWHERE else ""))
    is_full = o.seconds >= FULL_SECONDS and not o.only and not o.prove
    rare = [p for p in POINTS if totals[p] < EACH_POINT and p not in ELSEWHERE]
    print(f"kills {kills}, busy {100 * busy // max(1, kills)} %, events {sum(r.events for r in done)}, lost {lost}, duplicated {duplicated}")
    bad = [r for r in runs if r.failure or bool(r.lost or r.duplicated) != bool(r.without)]
    print(f"{len(runs) - len(bad)} passed, {len(bad)} failed")
    if is_full and rare:
        print(f"killed fewer than {EACH_POINT} times at: {', '.join(rare)}")
    return 1 if bad or is_full and (rare or busy * 100 < kills * 80) else 0


sys.exit(main())
