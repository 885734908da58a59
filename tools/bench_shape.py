"""How costs grow with the shape of the work, for tools/bench --shape: runs bench_shape_towpath, judges, table, plot."""
import math
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

from bench_results import note

NOISE = 0.15  # of an exponent: ten times the shape for 14 times the cost is still linear
FLAT = 2  # times the smallest point's cost is still flat


class Cost(NamedTuple):
    text: str
    of_all: bool  # for the whole shape, so it may grow as that does; else for one operation, which should stay as it is


def whole(text):
    return Cost(text, True)


def each(text):
    return Cost(text, False)


SHAPES = {
    "partitions": {
        "create": whole("making the topic"),
        "first_send": whole("the first record of every partition, which makes its files"),
        "send": each("a send, to all partitions in turn"),
        "memory": each("room in files, per partition"),
        "first_read": whole("the first batch of every partition, 16 records"),
        "read": each("a record read after that, in batches of 16"),
        "quiet_poll": whole("a poll that finds nothing"),
        "waiting": whole("processor time of waiting a second, with maintenance"),
        "open": each("opening bus and topic"),
        "subscribe": whole("making a consumer of all"),
        "assign": whole("the same, each named by number"),
        "maintain_first": whole("first round of maintenance"),
        "maintain": whole("a round, once a second"),
        "maintain_not_due": whole("a round between"),
    },
    "topics": {
        "create": whole("making them"),
        "memory": each("room in files, per topic without a record"),
        "open_bus": each("opening the bus"),
        "open": each("opening one topic"),
        "list": whole("list_topics"),
        "subscribe": whole("a consumer of a pattern that all match"),
        "quiet_poll": whole("a poll that finds nothing new"),
        "empty_poll": whole("the same before the first record of each"),
        "maintain_first": whole("first round of maintenance"),
        "maintain": whole("a round, once a second"),
    },
    "consumers": {
        "wake_send": whole("a send while all sleep"),
        "wake": whole("from there until all have the record"),
        "send": each("a send of a burst while none polls"),
        "read": each("records read by all together"),
    },
    "size": {
        "send": whole("a send"),
        "raw_send": whole("memcpy into a ring"),
        "read": whole("a read that sums the bytes"),
        "raw_read": whole("the sum alone, in the ring"),
        "rate": None,  # for people: bytes by the time of both
        "raw_rate": None,
    },
    "history": {
        "open": each("opening topic and consumer at the end"),
        "seek": each("a seek to the first record of a random segment, read"),
        "seek_time": each("offsets_for_times of such a record's time"),
        "send": each("a send of 64 bytes at the end"),
        "first_visit": whole("a read in every segment, the first in this process"),
        "maintain": whole("a round of maintenance of a log that moves"),
        "segments": None,
        "memory": None,
    },
}
UNITS = {"ns": [("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9)], "us": [("us", 1), ("ms", 1e3), ("s", 1e6)],
         "records/s": [("M records/s", 1e6)]}
PLOTTED = [("partitions", "send"), ("partitions", "quiet_poll"), ("partitions", "subscribe"),
           ("partitions", "maintain"), ("topics", "open"), ("topics", "list"), ("consumers", "send"),
           ("consumers", "wake"), ("size", "send"), ("history", "send"), ("history", "seek"), ("history", "seek_time")]


class Points:
    """All values of a run: by shape, what and size, one per round."""

    def __init__(self):
        self.values = {}
        self.units = {}

    def add(self, measure, unit, values):
        match = re.fullmatch(r"shape_([a-z]+)_(\d+)_(\w+)", measure)
        if not match or match.group(3) not in SHAPES.get(match.group(1), {}):
            sys.exit(f"bench: unknown measure {measure}")
        shape, size, what = match.group(1), int(match.group(2)), match.group(3)
        self.units[shape, what] = unit
        self.values.setdefault((shape, what), {}).setdefault(size, []).extend(values)

    def print_lines(self, shape):
        for (of, what), sizes in self.values.items():
            for size, values in sizes.items():
                if of == shape:
                    print(f"towpath\tshape_{shape}_{size}_{what}\t{statistics.median(values):.6g}"
                          f"\t{self.units[of, what]}\t{min(values):.6g}\t{max(values):.6g}\t{len(values)}", flush=True)

    def read_lines(self, path):
        """What print_lines() printed; of each measure its least, median and greatest value."""
        for line in open(path, encoding="utf-8"):
            if line.startswith("towpath\tshape_"):
                _, measure, median, unit, least, most, _ = line.rstrip("\n").split("\t")
                self.add(measure, unit, [float(least), float(median), float(most)])

    def costs(self, shape, what):
        """(size, values that grow as it gets worse), ascending."""
        sizes = self.values[shape, what]
        is_rate = self.units[shape, what].endswith("/s") and self.units[shape, what] != "ms/s"
        return [(size, [1 / value if is_rate else value for value in sizes[size]]) for size in sorted(sizes)]


def slope(small, large, small_cost, large_cost):
    return math.log(large_cost / small_cost) / math.log(large / small)


def judge(cost, points):
    """(exponent over the last decade, how many times the smallest point's cost, a verdict)."""
    last, values = points[-1]
    before = [point for point in points if point[0] * 8 <= last]
    if not before:
        return None
    size, earlier = before[-1]
    exponent = slope(size, last, statistics.median(earlier), statistics.median(values))
    growth = statistics.median(values) / statistics.median(points[0][1])
    surely = slope(size, last, max(earlier), min(values))  # what the rounds that speak against it leave
    if surely > 1 + NOISE:
        return exponent, growth, "super-linear"
    if cost.of_all:
        return exponent, growth, "linear" if exponent > 1 - NOISE else "less than linear"
    if growth <= FLAT:
        return exponent, growth, "flat"
    return exponent, growth, "linear, should be flat" if surely > 1 - NOISE else "grows"


def judged(points):
    """(shape, what, cost, judgement) of every cost that was measured at enough sizes."""
    for shape, costs in SHAPES.items():
        for what, cost in costs.items():
            if cost and (shape, what) in points.values:
                if judgement := judge(cost, points.costs(shape, what)):
                    yield shape, what, cost, judgement


def print_judgements(points):
    for shape, what, _, (exponent, growth, verdict) in judged(points):
        note(f"shape_{shape} {what}: exponent {exponent:.2f} over the last decade, {growth:.3g} x the smallest: "
             f"{verdict}")
    bad = [f"{shape} {what}" for shape, what, _, judgement in judged(points) if judgement[2] == "super-linear"]
    note(f"super-linear: {', '.join(bad) or 'nothing'}")


def size_text(shape, size):
    if shape not in ("size", "history"):
        return f"{size:,}"
    base, names = (1024, ["B", "KiB", "MiB"]) if shape == "size" else (1000, ["B", "KB", "MB", "GB"])
    power = min(len(names) - 1, int(math.log(size, base) + 1e-9))
    return f"{size // base ** power} {names[power]}"


def value_text(values, unit):
    median = statistics.median(values)
    name, scale = next(((name, scale) for name, scale in reversed(UNITS.get(unit, [(unit, 1)])) if median >= scale),
                       (unit, 1))
    median /= scale
    digits = 0 if median >= 10 or median == int(median) else 1
    return f"{median:.{digits}f} {name}"


def print_markdown(points, machine):
    print(f"\nMeasured by `tools/bench --shape` on {machine}; medians.\n")
    print("| cost | at each size | last decade | verdict |\n|---|---|---|---|")
    verdicts = {(shape, what): judgement for shape, what, _, judgement in judged(points)}
    for shape, costs in SHAPES.items():
        known = [what for what in costs if (shape, what) in points.values]
        if not known:
            continue
        sizes = " / ".join(size_text(shape, size) for size in sorted(points.values[shape, known[0]]))
        print(f"| **{shape}** | **{sizes}** | | |")
        for what in known:
            values = points.values[shape, what]
            cells = " / ".join(value_text(values[size], points.units[shape, what]) for size in sorted(values))
            exponent, _, verdict = verdicts.get((shape, what), (None, None, ""))
            power = f"{exponent:.2f}" if exponent is not None else ""
            print(f"| `{what}`{': ' + costs[what].text if costs[what] else ''} | {cells} | {power} | {verdict} |")


def draw(points, path):
    """One plot: cost by size, both relative to the smallest point. The same points make the same file."""
    try:
        import matplotlib
    except ImportError:
        sys.exit("bench: --plot needs matplotlib for this Python: apt-get install python3-matplotlib, "
                 "and /usr/bin/python3 tools/bench ... if another Python comes first")
    matplotlib.use("svg")
    from matplotlib import pyplot
    matplotlib.rcParams.update({"svg.hashsalt": "towpath", "svg.fonttype": "none", "font.size": 9})
    figure, axes = pyplot.subplots(figsize=(8, 5.5))
    colours = dict(zip(SHAPES, ("tab:blue", "tab:purple", "tab:green", "tab:orange", "tab:red")))
    drawn = {}
    for shape, what in PLOTTED:
        if (shape, what) not in points.values:
            continue
        costs = [(size, statistics.median(values)) for size, values in points.costs(shape, what)]
        style = ("-o", "--s", ":^", "-.v")[drawn.setdefault(shape, 0) % 4]
        drawn[shape] += 1
        axes.plot([size / costs[0][0] for size, _ in costs], [cost / costs[0][1] for _, cost in costs], style,
                  color=colours[shape], markersize=3.5, linewidth=1.2, label=f"{shape}: {what}")
    most = axes.get_xlim()[1]
    axes.set(xscale="log", yscale="log", xlabel="size of the shape, smallest = 1", ylabel="cost, smallest = 1")
    low, high = axes.get_ylim()
    axes.plot([1, most], [1, most], "--", color="grey", linewidth=1, label="linear")
    axes.set_ylim(low, high)
    axes.minorticks_off()
    axes.grid(True, which="major", linewidth=0.3)
    axes.legend(fontsize=7, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def measure(points, program, options, folder):
    """Runs the wanted shapes, rounds in turn."""
    for shape in SHAPES:
        if options.only and f"shape_{shape}" not in options.only:
            continue
        group = "shape_history_100gb" if shape == "history" and options.full else f"shape_{shape}"
        for _ in range(options.rounds):
            data = tempfile.mkdtemp(dir=folder)
            try:
                done = subprocess.run([program, group, "--dir", data] + (["--quick"] if options.quick else []),
                                      stdout=subprocess.PIPE, text=True, timeout=3600, check=False)
            finally:
                shutil.rmtree(data, ignore_errors=True)
            if done.returncode != 0:
                sys.exit(f"bench: {group} failed with status {done.returncode}")
            for line in done.stdout.splitlines():
                measured, value, unit, _ = line.split("\t")
                points.add(measured, unit, [float(value)])
        points.print_lines(shape)


def report(points, options, machine):
    print_judgements(points)
    if options.markdown:
        print_markdown(points, machine)
    if options.plot:
        draw(points, options.plot)
