#!/usr/bin/env python3
"""Makes the tables of docs/PERFORMANCE.md and the charts of bench/results from what the benchmarks wrote there.

Usage: bench/report.py [--check]
Each table stands between markers of its own in the document and is written anew; the text between them is a person's. A result
that is not there leaves its table as it is. --check changes nothing and ends with 1 where a target is missed.
"""
import argparse, json, os, re, sys
import charts, machine

DOCUMENT = os.path.join(machine.HERE, "..", "docs", "PERFORMANCE.md")
PEERS = ("fluent-bit", "fluentd", "rsyslog")
TITLES = {"agg": "agg", "fluent-bit": "Fluent Bit", "fluentd": "Fluentd", "rsyslog": "rsyslog"}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def number(value, digits=2):
    return "–" if value is None else "{:,.{}f}".format(value, digits)


def spread(row, key, digits=2, by=1):
    """The median, and the least and most of the runs."""
    if not row or "cpu_us" not in row: return "–"
    text = number(row[key] / by, digits)
    least, most = row.get("least", {}).get(key), row.get("most", {}).get(key)
    return text if least is None or least == most else "%s (%s–%s)" % (text, number(least / by, digits), number(most / by, digits))


class Row:
    """One scenario: agg, the peers (of the same run where they were measured there), the floor, the targets."""

    def __init__(self, name, measured, known, floor):
        self.name = name
        self.agg = measured.get("agg", {})
        self.error = self.agg.get("error")
        self.peers, self.same = {}, set()
        for p in PEERS:
            if "cpu_us" in measured.get(p, {}):
                self.peers[p] = measured[p]
                self.same.add(p)
            elif p in known: self.peers[p] = known[p]
        self.floor = floor
        costs = [r["cpu_us"] for r in self.peers.values()]
        self.eighth = min(costs) / 8 if costs else None
        self.cpu_target = max(self.eighth or 0, 1.3 * (floor or 0)) or None
        self.rate_target = 4 * max(r["eps"] for r in self.peers.values()) if costs else None
        self.memory_target = self.peers.get("fluent-bit", {}).get("rss")

    def ratio(self, key, target):
        return None if target is None or key not in self.agg else self.agg[key] / target

    @property
    def cpu(self): return self.ratio("cpu_us", self.cpu_target)
    @property
    def rate(self): return self.ratio("eps", self.rate_target)
    @property
    def memory(self): return self.ratio("rss", self.memory_target)


def verdict(ratio, at_most=True):
    if ratio is None: return "–"
    if ratio <= 1 if at_most else ratio >= 1: return "met"
    return "%.2f × the target" % ratio


def rows_of(result, floors, peers):
    floor = {name: r["cpu_us"] for name, r in (floors or {}).get("rows", {}).items() if "cpu_us" in r}
    names = list(peers["rows"]) + [n for n in result["rows"] if n not in peers["rows"]]
    return [Row(n, result["rows"][n], peers["rows"].get(n, {}), floor.get(n)) for n in names if n in result["rows"]]


def about(result, peers, rows):
    same = sorted({p for r in rows for p in r.same})
    text = ["%s. agg %s." % (machine.sentence(result), result["versions"].get("agg", "?"))]
    if same: text.append("Measured in the same runs: %s." % ", ".join("%s %s" % (TITLES[p], result["versions"].get(p, "?")) for p in same))
    others = [p for p in PEERS if any(p in r.peers and p not in r.same for r in rows)]
    if others: text.append("Measured before, on such a machine, with the same script: %s." % ", ".join("%s %s" % (TITLES[p], peers["versions"][p]) for p in others))
    scale = result.get("scale", 1)
    if scale < 1: text.append("**Only %g of the usual input: a quick look, not the figures to quote.**" % scale)
    if scale > 1: text.append("%g times the usual input, so that a run is long enough for a rate." % scale)
    text.append("Medians of %d runs; least and most in brackets." % max([r.agg.get("runs", 1) for r in rows] or [1]))
    return " ".join(text)


def peerbench(result, floors, peers):
    rows = rows_of(result, floors, peers)
    cell = lambda r, p, key, digits=2, by=1: number(r.peers[p][key] / by, digits) + (" †" if r.peers[p].get("note") else "") if p in r.peers else "–"
    parts = [about(result, peers, rows), "**CPU-microseconds an event**, whole process tree. The target is an eighth of the best peer, or 1.3 × the floor where that is more.",
             table(["scenario", "agg", *[TITLES[p] for p in PEERS], "an eighth of the best", "floor", "target", "CPU"],
                   [[r.name, r.error or spread(r.agg, "cpu_us"), *[cell(r, p, "cpu_us") for p in PEERS], number(r.eighth), number(r.floor), number(r.cpu_target),
                     verdict(r.cpu)] for r in rows]),
             "**Thousand events a second**, between 10 % and 90 % of the output. The target is four times the best peer. The last column is the share of a core that "
             "generator and sink used: near 1 they are the limit.",
             table(["scenario", "agg", *[TITLES[p] for p in PEERS], "target", "rate", "generator and sink"],
                   [[r.name, spread(r.agg, "eps", 0, 1000), *[cell(r, p, "eps", 0, 1000) for p in PEERS], number(r.rate_target and r.rate_target / 1000, 0),
                     verdict(r.rate, at_most=False), number(r.agg.get("helpers"))] for r in rows]),
             "**Peak memory**, MB (VmHWM over the tree). The target is Fluent Bit's.",
             table(["scenario", "agg", *[TITLES[p] for p in PEERS], "memory"],
                   [[r.name, spread(r.agg, "rss", 0), *[cell(r, p, "rss", 0) for p in PEERS], verdict(r.memory)] for r in rows])]
    notes = sorted({"%s: %s" % (TITLES[p], v["note"]) for r in rows for p, v in r.peers.items() if v.get("note")})
    if notes: parts.append("† " + "; ".join(notes) + ".")
    for key, name, title, unit in (("cpu_us", "cpu.svg", "CPU an event", "microseconds (less is better)"), ("eps", "rate.svg", "Rate", "events a second (more is better)"),
                                   ("rss", "memory.svg", "Peak memory", "MB (less is better)")):
        target = {"cpu_us": "cpu_target", "eps": "rate_target", "rss": "memory_target"}[key]
        charts.bars(name, title, unit, [(r.name, {"agg": r.agg.get(key), **{p: v[key] for p, v in r.peers.items()}}) for r in rows], result,
                    log=key != "rss", marks={r.name: getattr(r, target) for r in rows})
        parts.append("![%s](../bench/results/%s)" % (title, name))
    return "\n\n".join(parts), rows


def floors_table(result):
    return "\n\n".join([machine.sentence(result) + ".", table(["row", "CPU µs an event", "events", "what it does"], [
        [name, spread(r, "cpu_us", 3), "{:,}".format(int(r["events"])), r["what"]] for name, r in result["rows"].items() if "cpu_us" in r])])


def growth(result):
    fit = result.get("fit")
    parts = [machine.sentence(result) + ". agg %s." % result["versions"]["agg"]]
    if fit:
        parts.append("Over %d sizes of batches and records (%s): **a = %.2f µs a batch, b = %.3f µs an event, c = %.2f ns a byte**; what the formula says is "
                     "at most %.0f %% beside what was measured, %.0f %% in the middle." % (
                         len(fit["points"]), fit["what"], fit["a_us"], fit["b_us"], fit["c_ns"], fit["worst"] * 100, fit["median"] * 100))
        parts.append(table(["events a batch", "bytes an event", "measured, µs an event", "formula"], [
            [p["events"], p["bytes"], number(p["us"], 3), number(p["predicted"], 3)] for p in fit["points"]]))
    for line in result.get("flat", []):
        first = line["points"][0]["value"]
        parts.append("**%s** (%s)" % (line["title"], line["unit"]))
        parts.append(table([line["axis"], *["{:,}".format(p["n"]) for p in line["points"]]], [
            [line["unit"], *[number(p["value"], 3) for p in line["points"]]],
            ["beside the first", *["%+.0f %%" % ((p["value"] / first - 1) * 100) for p in line["points"]]],
            *([["read calls an append, of all kinds", *[number(p["reads"], 2) for p in line["points"]]]] if "reads" in line["points"][0] else [])]))
    if result.get("quiet"):
        parts.append("One followed file that gets 100 lines a second, beside quiet ones: %s." % ", ".join(
            "**%.1f %% of a core** with %s in all" % (p["value"], "{:,}".format(p["n"])) for p in result["quiet"]))
    if "singles" in result:
        s = result["singles"]
        parts.append("Batches of one at %s events a second for %d s: **%.1f %% of a core** (target: 10 %%)." % ("{:,}".format(s["rate"]), s["seconds"], s["share"] * 100))
    if result.get("cores"):
        rates = result["cores"]["rates"]
        parts.append("Four tailed files of JSON into four files: %s%s." % (
            ", ".join("**%s events/s on %d core%s**" % (number(r["eps"], 0), r["cores"], "" if r["cores"] == 1 else "s") for r in rates),
            "; %.2f times as much" % (rates[-1]["eps"] / rates[0]["eps"]) if len(rates) > 1 else ""))
    parts.append("![Growth](../bench/results/growth.svg)")
    return "\n\n".join(parts)


def latency(result):
    parts = [machine.sentence(result) + ". agg %s." % result["versions"]["agg"],
             table(["events a second", "seconds", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "longest ms", "target"], [
                 ["{:,}".format(result["rate"]), result["seconds"], *[number(result["ms"][k], 2) for k in ("p50", "p90", "p99", "p99.9", "max")],
                  "p50 under 5: %s; p99 under 25: %s" % tuple("met" if result["ms"][k] < limit else "missed" for k, limit in (("p50", 5), ("p99", 25)))]]),
             "![Latency](../bench/results/latency.svg)"]
    return "\n\n".join(parts)


def soak(result):
    r = result["result"]
    return "\n\n".join([
        machine.sentence(result) + ". agg %s." % result["versions"]["agg"],
        "%s min, %s million events in and out, %.1f cores used by agg." % (number(r["minutes"], 0), number(sum(r["events"].values()) / 1e6, 0), r["cores"]),
        table(["after the first tenth, by ninths", *[str(i + 1) for i in range(len(r["middle_mb"]))]],
              [["VmRSS, middle, MB", *[number(v, 0) for v in r["middle_mb"]]], ["most, MB", *[number(v, 0) for v in r["most_mb"]]]]),
        "![Resident memory at full load](../bench/results/soak.svg)"])


def own_rows(result):
    return "\n\n".join([machine.sentence(result) + ". agg %s." % result["versions"]["agg"],
                        table(["row", "CPU µs an event", "thousand events/s", "peak MB", "floor µs", "beside it", "what"], [
                            [name, r.get("error") or spread(r, "cpu_us"), spread(r, "eps", 0, 1000), spread(r, "rss", 0), number(r.get("floor_us")),
                             "–" if not r.get("floor_us") or "cpu_us" not in r else "%.1f ×" % (r["cpu_us"] / r["floor_us"]), r.get("note", "")]
                            for name, r in result["rows"].items()])])


def idle(result):
    return "\n\n".join([machine.sentence(result) + ".", table(["program", "listening ms", "PSS MB", "private MB", "threads", "CPU ms in %d s" % result["seconds"]], [
        [TITLES.get(name, name), *[number(r[k], d) for k, d in (("listening_ms", 0), ("pss_mb", 1), ("private_mb", 1), ("threads", 0), ("cpu_ms", 0))]]
        for name, r in result["rows"].items()])])


def put(text, name, content):
    begin, end = "<!-- %s: begin, made by bench/report.py -->" % name, "<!-- %s: end -->" % name
    if begin not in text or end not in text: sys.exit("docs/PERFORMANCE.md has no markers for '%s': %s … %s" % (name, begin, end))
    before, rest = text.split(begin, 1)
    return before + begin + "\n\n" + content + "\n\n" + end + rest.split(end, 1)[1]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true")
    options = arguments.parse_args()
    with open(os.path.join(machine.HERE, "peers.json")) as f: peers = json.load(f)
    with open(DOCUMENT) as f: text = f.read()
    floors, rows = machine.load("floors.json"), []
    for name, make in (("floors", floors_table), ("growth", growth), ("latency", latency), ("soak", soak), ("rows", own_rows), ("idle", idle), ("peerbench", None)):
        result = machine.load(name + ".json")
        if result is None:
            print("%s: bench/results/%s.json is not there" % (name, name))
            continue
        if name == "peerbench": content, rows = peerbench(result, floors, peers)
        else: content = make(result)
        text = put(text, name, content)
    missed = ["%s: %s %s" % (r.name, what, verdict(v, at_most)) for r in rows
              for what, v, at_most in (("CPU", r.cpu, True), ("rate", r.rate, False), ("memory", r.memory, True)) if v is not None and verdict(v, at_most) != "met"]
    missed += ["%s: %s" % (r.name, r.error) for r in rows if r.error]
    for line in missed: print(line)
    if options.check: return 1 if missed else 0
    with open(DOCUMENT, "w") as f: f.write(text)
    print("wrote docs/PERFORMANCE.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
