#!/usr/bin/env python3
"""Runs the fuzz targets under libFuzzer with AddressSanitizer, and keeps what reaches something new.

fuzz_cover.py [--seconds N] [--core] [--jobs N] [--keep N] [TARGET...]

Builds agg-fuzz (AGG_FUZZ_COVER=1) and gives each target N seconds, beginning with its seeds and Tests/fixtures/fuzz/TARGET. Of what
it finds, a least set with the same coverage is kept there, the smallest inputs first, at most --keep files. An input that fails is
saved in Tests/fixtures/fuzz/TARGET as fail-…, and printed with the command that meets it again.
"""
import argparse
import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIXTURES = os.path.join(ROOT, "Tests", "fixtures", "fuzz")
LARGEST = 2048


def build(core):
    scratch = os.path.join(ROOT, ".build-cover")
    env = dict(os.environ, AGG_FUZZ_COVER="1", SWIFT_BACKTRACE="enable=no", **({"AGG_CORE_ONLY": "1"} if core else {}))
    command = ["swift", "build", "--manifest-cache", "none", "--product", "agg-fuzz", "-Xswiftc", "-sanitize=fuzzer,address", "--scratch-path", scratch]
    subprocess.run(command + os.environ.get("SWIFT_FLAGS", "").split(), cwd=ROOT, env=env, check=True)
    return os.path.join(scratch, "debug", "agg-fuzz")


def targets(program):
    env = dict(os.environ, AGG_FUZZ_TARGET="?")
    text = subprocess.run([program], env=env, capture_output=True, text=True).stdout
    return text.split("one of ", 1)[1].strip().split(", ")


def names(directory):
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def fuzz(program, target, seconds, keep):
    kept = os.path.join(FIXTURES, target)
    with tempfile.TemporaryDirectory() as work:
        corpus, least = os.path.join(work, "corpus"), os.path.join(work, "least")
        os.mkdir(corpus)
        os.mkdir(least)
        for name in names(kept):
            shutil.copy(os.path.join(kept, name), corpus)
        seeds = os.path.join(work, "seeds")
        os.mkdir(seeds)
        env = dict(os.environ, AGG_FUZZ_TARGET=target, AGG_FUZZ_SEEDS=seeds, SWIFT_BACKTRACE="enable=no", ASAN_OPTIONS="detect_leaks=0")
        log = os.path.join(work, "log")
        options = ["-timeout=20", "-rss_limit_mb=2560", "-max_len=8192", f"-artifact_prefix={work}/", "-print_final_stats=1"]
        # To files: what a dying process leaves behind may hold a pipe for minutes.
        with open(log, "w") as out:
            subprocess.run([program, "-runs=0"] + options, env=env, stdout=out, stderr=out)
            code = subprocess.run([program, f"-max_total_time={seconds}", corpus, seeds] + options, env=env, stdout=out, stderr=out).returncode
        text = open(log, errors="replace").read()
        failures = []
        for name in names(work):
            if re.match(r"(crash|timeout|oom|slow-unit)-", name):
                digest = hashlib.sha1(open(os.path.join(work, name), "rb").read()).hexdigest()[:12]
                os.makedirs(kept, exist_ok=True)
                path = os.path.join(kept, f"fail-{digest}")
                shutil.copy(os.path.join(work, name), path)
                if not name.startswith("slow-unit"):
                    failures.append(path)
        if failures or code != 0:
            return target, failures, text[-6000:], ""
        with open(log, "w") as out:
            subprocess.run([program, "-merge=1", least, corpus, seeds] + options, env=env, stdout=out, stderr=out)
        # Inputs that once failed stay whatever they reach.
        os.makedirs(kept, exist_ok=True)
        old = [name for name in names(kept) if name.startswith("cover-")]
        found = sorted((os.path.getsize(os.path.join(least, name)), name) for name in names(least))
        wanted = {f"cover-{name[:12]}": name for size, name in found[:keep] if size <= LARGEST}
        for name in old:
            if name not in wanted:
                os.remove(os.path.join(kept, name))
        for name, source in wanted.items():
            shutil.copy(os.path.join(least, source), os.path.join(kept, name))
        runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text)
        cover = re.findall(r"cov: (\d+)", text)
        return target, [], "", f"{runs[-1] if runs else '?'} inputs, coverage {cover[0] if cover else '?'} -> {cover[-1] if cover else '?'}, {len(wanted)} kept"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--core", action="store_true", help="without the targets that need the network's libraries")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=int, default=40)
    parser.add_argument("--program", help="an agg-fuzz that is built already")
    parser.add_argument("targets", nargs="*")
    options = parser.parse_args()
    program = options.program or build(options.core)
    failed = False
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(fuzz, program, target, options.seconds, options.keep) for target in options.targets or targets(program)]
        for run in concurrent.futures.as_completed(runs):
            target, failures, text, said = run.result()
            print(f"fuzz-cover {target}: {said or 'FAILED'}", flush=True)
            if not said:
                failed = True
                print(text)
                for path in failures:
                    print(f"saved: {path}; again with: make fuzz TARGET={target} INPUT={path}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
