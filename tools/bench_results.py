"""What tools/bench has measured: values by measure, system and placement, and how they are printed."""
import statistics
import sys

from bench_groups import MEASURES

UNITS_THAT_SHRINK = {"records/s": (1e6, "M records/s")}
TITLES = {"ring": "bare ring"}
AGREEING = 5  # samples
TOLERANCE = 0.10  # of their median, to both sides


def note(text):
    print(f"# {text}", flush=True)


def agree(values):
    """Whether there are five samples of which none is further from their median than a tenth of it."""
    values = sorted(values)
    for first in range(len(values) - AGREEING + 1):
        some = values[first:first + AGREEING]
        middle = some[AGREEING // 2]
        if middle - some[0] <= TOLERANCE * middle and some[-1] - middle <= TOLERANCE * middle:
            return True
    return False


class Results:
    """One value per round."""

    def __init__(self, systems):
        self.systems = systems  # in the order of columns
        self.values = {}
        self.units = {}

    def add(self, measure, system, placement, value, unit):
        self.units[measure] = unit
        self.values.setdefault(measure, {}).setdefault(system, {}).setdefault(placement, []).append(value)

    def common_placement(self, measure):
        """Where all systems have rounds, and the most of them; if there is no such place, where most systems have some.
        None where placement is not told apart."""
        systems = self.values[measure].values()
        seen = {place for by_place in systems for place in by_place}
        if self.units[measure] != "ns" or seen == {"any"}:
            return None
        counts = {place: [len(by_place.get(place, [])) for by_place in systems] for place in ("near", "far")}
        return max(counts, key=lambda place: (min(counts[place]), sum(count > 0 for count in counts[place])))

    def chosen(self, measure, system):
        by_place = self.values[measure].get(system, {})
        place = self.common_placement(measure)
        if place is not None:
            return by_place.get(place, [])
        return [value for values in by_place.values() for value in values]

    def disagreeing(self, measure):
        """The systems whose samples of a measure do not agree, where systems are compared."""
        return [system for system in self.values.get(measure, {}) if not agree(self.chosen(measure, system))]

    def placements_note(self, measure):
        """One comment per measure whose systems ran on known cores: all medians, near and far."""
        parts = []
        for place in ("near", "far", "mixed"):
            texts = [f"{system} {statistics.median(by_place[place]):.6g} ({len(by_place[place])})"
                     for system, by_place in self.values[measure].items() if place in by_place]
            if texts:
                parts.append(f"{place}: " + ", ".join(texts))
        if parts:
            shown = self.common_placement(measure)
            which = f"; shown below: {shown}" if shown else ""
            note(f"{measure} medians (rounds) by placement; {'; '.join(parts)}{which}")

    def known(self, wanted):
        return [measure for measure in MEASURES if measure in wanted and measure in self.values]

    def print_lines(self, wanted):
        for measure in self.known(wanted):
            self.placements_note(measure)
            for system in self.systems:
                values = self.chosen(measure, system)
                if values:
                    print(f"{system}\t{measure}\t{statistics.median(values):.6g}\t{self.units[measure]}"
                          f"\t{min(values):.6g}\t{max(values):.6g}\t{len(values)}")
        sys.stdout.flush()

    def print_markdown(self, wanted, machine):
        print(f"\nMeasured by `tools/bench` on {machine}; medians.\n")
        titles = " | ".join(TITLES.get(system, system) for system in self.systems)
        print(f"| measure | {titles} | unit | cores |\n|{'---|' * (len(self.systems) + 3)}")
        for measure in self.known(wanted):
            scale, unit = UNITS_THAT_SHRINK.get(self.units[measure], (1, self.units[measure]))
            cells = []
            for system in self.systems:
                values = self.chosen(measure, system)
                cells.append(f"{statistics.median(values) / scale:.3g}" if values and scale != 1
                             else f"{statistics.median(values):.4g}" if values else "")
            print(f"| `{measure}` | {' | '.join(cells)} | {unit} | {self.common_placement(measure) or ''} |")
