"""Charts as SVG in bench/results; without matplotlib one line says what is missing, and the figures are there all the same."""
import os
import machine

COLORS = {"agg": "#0b62d6", "fluent-bit": "#e08a1e", "fluentd": "#8a5fb0", "rsyslog": "#5b8c5a", "floor": "#9aa0a6"}


def pyplot():
    """matplotlib.pyplot set up for quiet, reproducible SVG; None where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        print("no charts: matplotlib is missing (apt-get install python3-matplotlib, or make bench-packages)")
        return None
    matplotlib.use("svg")
    matplotlib.rcParams.update({
        "svg.hashsalt": "agg", "svg.fonttype": "none", "font.family": "sans-serif", "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans", "sans-serif"],
        "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e3e5e8", "axes.axisbelow": True,
        "axes.titlesize": 12, "axes.titlelocation": "left", "legend.frameon": False})
    import matplotlib.pyplot as plt
    return plt


def finish(plt, figure, name, about):
    figure.text(0.01, 0.004, machine.sentence(about), fontsize=7, color="#6b7177")
    os.makedirs(machine.RESULTS, exist_ok=True)
    path = os.path.join(machine.RESULTS, name)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    # matplotlib ends lines of the paths with blanks.
    with open(path) as f: lines = [line.rstrip() for line in f]
    with open(path, "w") as f: f.write("\n".join(lines) + "\n")
    print("wrote " + os.path.relpath(path))


def plain(ax, axis="x"):
    """Numbers on a logarithmic axis as people write them."""
    from matplotlib.ticker import FuncFormatter, NullFormatter
    which = ax.xaxis if axis == "x" else ax.yaxis
    which.set_major_formatter(FuncFormatter(lambda v, _: ("%g" % v) if v < 10000 else "{:,.0f}".format(v)))
    which.set_minor_formatter(NullFormatter())


def bars(name, title, unit, rows, about, log=True, marks=None):
    """Horizontal bars: rows [(label, {program: value})], one colour a program. `marks` {label: value} is drawn as a line (the target)."""
    plt = pyplot()
    if plt is None: return
    programs = [p for p in COLORS if any(p in values for _, values in rows)]
    step = 0.8 / max(1, len(programs))
    figure, ax = plt.subplots(figsize=(8.5, 0.55 + len(rows) * (0.22 + 0.13 * len(programs))))
    for n, program in enumerate(programs):
        places, lengths = [], []
        for i, (_, values) in enumerate(rows):
            if values.get(program):
                places.append(i + (n - (len(programs) - 1) / 2) * step)
                lengths.append(values[program])
        ax.barh(places, lengths, height=step * 0.92, color=COLORS[program], label=program)
        for y, value in zip(places, lengths):
            ax.annotate("%.3g" % value if value < 1000 else "{:,.0f}".format(value), (value, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)
    for i, (label, _) in enumerate(rows):
        if marks and marks.get(label):
            ax.plot([marks[label]] * 2, [i - 0.45, i + 0.45], color="#c0392b", linewidth=1.4, label="target" if i == 0 else None)
    if log:
        ax.set_xscale("log")
        plain(ax)
    ax.grid(axis="y", visible=False)
    ax.set_yticks(range(len(rows)), [label for label, _ in rows])
    ax.invert_yaxis()
    ax.set_xlabel(unit)
    ax.set_title(title)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    finish(plt, figure, name, about)


def over_time(name, title, axis, unit, points, about):
    """One line from zero up: points [(x, y)]."""
    plt = pyplot()
    if plt is None: return
    figure, ax = plt.subplots(figsize=(8.5, 2.6))
    ax.plot([x for x, _ in points], [y for _, y in points], color=COLORS["agg"], linewidth=1.2)
    ax.set_xlim(left=0)
    ax.set_ylim(0, max(y for _, y in points) * 1.15)
    ax.set_xlabel(axis)
    ax.set_ylabel(unit)
    ax.set_title(title)
    finish(plt, figure, name, about)
