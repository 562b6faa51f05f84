#!/usr/bin/env python3
"""Memory at rest and time from start to listening, with a tail and a forward input; of agg also with the host's metrics each minute.

    bench/idle.py .build/release/agg [--runs 5] [--seconds 10] [--json [FILE]]

Prints, of the median run: milliseconds until a connection is accepted, PSS at the end (memory shared with other
processes counted in part), private memory, threads, and the CPU milliseconds used in 10 s of rest (a part of --seconds:
with 60 every run has a round of metrics). fluent-bit and fluentd are measured beside agg where they are installed.
--json without a name writes bench/results/idle.json.
"""
import argparse, os, shutil, signal, socket, statistics, subprocess, tempfile, time
import machine

AGG = """
<source>
  @type tail
  path {dir}/in.log
  tag t
  <parse>
    @type json
  </parse>
</source>
<source>
  @type forward
  port {port}
  bind 127.0.0.1
</source>
<match **>
  @type file
  path {dir}/out
  <buffer>
    @type memory
  </buffer>
</match>
"""
METRICS = """
<source>
  @type host_metrics
  tag metrics.host
  interval 60s
</source>
"""
FLUENT_BIT = """
[INPUT]
    Name tail
    Path {dir}/in.log
[INPUT]
    Name forward
    Port {port}
    Listen 127.0.0.1
[OUTPUT]
    Name file
    Match *
    Path {dir}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pids(root):
    """The process and its descendants (Fluentd's workers)."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += [int(c) for c in open(f"/proc/{pid}/task/{task}/children").read().split()]
        except OSError:
            pass
    return found


def memory(root):
    pss = private = threads = 0
    for pid in pids(root):
        try:
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith("Pss:"): pss += int(line.split()[1])
                if line.startswith(("Private_Clean:", "Private_Dirty:")): private += int(line.split()[1])
            threads += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            pass
    return pss / 1024, private / 1024, threads


def cpu(root):
    ticks = 0
    for pid in pids(root):
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def measure(command, text, seconds):
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        open(f"{folder}/in.log", "w").close()
        conf = f"{folder}/test.conf"
        open(conf, "w").write(text.format(dir=folder, port=port))
        begun = time.monotonic()
        process = subprocess.Popen(command + ["-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None: raise SystemExit(f"{command[0]} ended with {process.returncode}")
                    if time.monotonic() - begun > 30: raise SystemExit(f"{command[0]} does not listen")
                    time.sleep(0.001)
            ready = (time.monotonic() - begun) * 1000
            time.sleep(3)
            before = cpu(process.pid)
            time.sleep(seconds)
            used = (cpu(process.pid) - before) * 10 / seconds
            return ready, *memory(process.pid), used
        finally:
            process.send_signal(signal.SIGTERM)
            try: process.wait(10)
            except subprocess.TimeoutExpired: process.kill()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("agg")
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--json", nargs="?", const="idle.json")
    arguments.add_argument("--seconds", type=int, default=10)
    options = arguments.parse_args()
    rows, versions = {}, {}
    programs = [("agg", [options.agg], AGG), ("agg, metrics", [options.agg], METRICS + AGG)]
    for name, text in (("fluent-bit", FLUENT_BIT), ("fluentd", AGG)):
        if shutil.which(name): programs.append((name, [shutil.which(name)], text))
    print(f"{'program':<12} {'listening ms':>12} {'PSS MB':>8} {'private MB':>11} {'threads':>8} {'CPU ms in 10 s':>15}")
    for name, command, text in programs:
        runs = [measure(command, text, options.seconds) for _ in range(options.runs)]
        ready, pss, private, threads, used = (statistics.median(column) for column in zip(*runs))
        rows[name] = {"listening_ms": ready, "pss_mb": pss, "private_mb": private, "threads": threads, "cpu_ms": used}
        versions[name] = machine.version(name.split(",")[0], command[0])
        print(f"{name:<12} {ready:>12.0f} {pss:>8.1f} {private:>11.1f} {threads:>8.0f} {used:>15.1f}")
    if options.json: machine.save(options.json, {"machine": machine.facts(), "versions": versions, "seconds": options.seconds, "rows": rows})


if __name__ == "__main__":
    main()
