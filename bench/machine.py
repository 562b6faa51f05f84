"""What a figure was measured on: the processor, the system, the programs' versions. No host name, no path."""
import datetime, json, os, platform, re, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "results")
# Where `make bench-packages` puts what the distribution does not have.
PACKAGES = os.path.join(HERE, "..", ".build", "python")
if os.path.isdir(PACKAGES) and PACKAGES not in sys.path:
    sys.path.append(PACKAGES)


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def facts():
    model = re.search(r"^model name\s*:\s*(.+)$", read("/proc/cpuinfo"), re.M)
    system = re.search(r'^PRETTY_NAME="?([^"\n]+)', read("/etc/os-release"), re.M)
    memory = re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))
    return {"cpu": model.group(1).strip() if model else platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "memory_gb": round(int(memory.group(1)) / 1048576) if memory else None, "kernel": platform.release(),
            "distribution": system.group(1) if system else platform.system(), "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")}


def said(command, cwd=None):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, cwd=cwd).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def version(program, command):
    """What the program says of itself; agg's with the commit that this tree is at."""
    found = re.search(r"\d+\.\d+[\d.]*", said(command.split() + ["-v" if program == "rsyslog" else "--version"]))
    text = found.group(0).rstrip(".") if found else "?"
    if program == "agg":
        commit = said(["git", "rev-parse", "--short", "HEAD"], cwd=HERE).strip()
        if re.fullmatch(r"[0-9a-f]{7,40}", commit):
            text += " (%s)" % commit
    return text


def cpu_seconds(pid):
    """CPU time of a process of any user's own, to the nanosecond (clock_getcpuclockid): children are not in it."""
    import time
    return time.clock_gettime((~pid << 3) | 2)


def read_calls(pid):
    """System calls that read, so far."""
    found = re.search(r"^syscr: (\d+)", read("/proc/%d/io" % pid), re.M)
    return int(found.group(1)) if found else 0


def peak_mb(pid):
    found = re.search(r"VmHWM:\s+(\d+)", read("/proc/%d/status" % pid))
    return int(found.group(1)) / 1024 if found else 0.0


def resident_mb(pid):
    found = re.search(r"VmRSS:\s+(\d+)", read("/proc/%d/status" % pid))
    return int(found.group(1)) / 1024 if found else 0.0


def save(name, content):
    """bench/results/NAME, with the machine beside the rows."""
    os.makedirs(RESULTS, exist_ok=True)
    path = name if os.sep in name else os.path.join(RESULTS, name)
    with open(path, "w") as f:
        json.dump(content, f, indent=1, sort_keys=True)
        f.write("\n")
    print("wrote " + os.path.relpath(path))


def load(name):
    try:
        with open(os.path.join(RESULTS, name)) as f:
            return json.load(f)
    except FileNotFoundError:
        return None


def sentence(about):
    """The machine of a result in one line."""
    m = about["machine"]
    return "%s, %d cores, %s GB, Linux %s, %s; %s" % (m["cpu"], m["cores"], m["memory_gb"], m["kernel"], m["distribution"], m["date"])
