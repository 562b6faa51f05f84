"""Whether what came out is what went in: every line of the output files, as often as it was sent; messages over forward in samples."""
import collections, json, os, re

NGINX = re.compile(r'^(?P<remote>[^ ]*) (?P<host>[^ ]*) (?P<user>[^ ]*) \[[^\]]*\] "(?P<method>\S+)(?: +(?P<path>[^\"]*?)(?: +\S*)?)?" (?P<code>[^ ]*) '
                   r'(?P<size>[^ ]*)(?: "(?P<referer>[^\"]*)" "(?P<agent>[^\"]*)")')
SYSLOG = re.compile(r"^<\d+>\S+ +\d+ [\d:]+ (?P<host>\S+) (?P<ident>[^\[:]+)\[(?P<pid>\d+)\]: (?P<message>.*)$")


def record(kind, line):
    """What Fluentd's parser makes of a line, without its time."""
    if kind == "raw": return {"message": line}
    if kind == "nginx": return NGINX.match(line).groupdict()
    if kind == "syslog": return SYSLOG.match(line).groupdict()
    return json.loads(line)


def filtered(sent):
    """tail-json-filter-file's two filters; None for what the first leaves out."""
    if sent["level"] == "info": return None
    return {**{k: v for k, v in sent.items() if k != "latency_ms"}, "cluster": "tokyo-1", "origin": sent["host"]}


def canonical(value):
    return json.dumps(value, sort_keys=True)


def expected(records):
    """{canonical record: times} of an iterable of (record, times)."""
    wanted = collections.Counter()
    for sent, times in records:
        if sent is not None and times: wanted[canonical(sent)] += times
    return wanted


def pooled(pool, n):
    """How often each of a pool's items stands in n that go round it."""
    return [(item, n // len(pool) + (i < n % len(pool))) for i, item in enumerate(pool)]


def files(folder, prefix="out"):
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.startswith(prefix) and not name.endswith(".pos")]


def compare(folder, wanted, duplicates_allowed=0):
    """None, or what is wrong with the lines in the output files."""
    lines = collections.Counter()
    for path in files(folder):
        if not os.path.isfile(path): continue
        with open(path, "rb") as f: lines.update(f)
    found = collections.Counter()
    for line, times in lines.items():
        try:
            found[canonical(json.loads(line))] += times
        except ValueError:
            return "a line is no JSON: %.200r" % line
    if found == wanted: return None
    missing, extra = wanted - found, found - wanted
    if not missing and sum(extra.values()) <= duplicates_allowed and not extra.keys() - wanted.keys(): return None
    return "%d events are missing, %d are too many; %.300s" % (sum(missing.values()), sum(extra.values()), next(iter(missing or extra)))


def compare_samples(folder, wanted):
    """Messages that the forward sink kept whole, as (claimed events, entries): each claim is true and each record was sent."""
    import gzip, msgpack
    names = [name for name in os.listdir(folder) if name.startswith("sample.")]
    if not names: return "the sink kept no message"
    for name in names:
        with open(os.path.join(folder, name), "rb") as f: message = f.read()
        _, body, option = msgpack.unpackb(message, raw=False, strict_map_key=False)
        option = {k.decode(): v.decode() if isinstance(v, bytes) else v for k, v in option.items()}
        if option.get("compressed") == "gzip": body = gzip.decompress(body)
        if "size" not in option: return "a message does not say how many events it holds"
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=0, ext_hook=lambda code, data: None)
        unpacker.feed(body)
        count = 0
        for entry in unpacker:
            count += 1
            if canonical(entry[1]) not in wanted: return "an event was not sent like this: %.300s" % canonical(entry[1])
        if count != option["size"]: return "a message says it holds %s events and holds %d" % (option["size"], count)
    return None
