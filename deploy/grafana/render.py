"""Draws the dashboards' panels from their own JSON and a Prometheus that runs, a picture for each dashboard.

    usage: render.py --prometheus http://127.0.0.1:9090 --start SECONDS --end SECONDS --out DIR dashboards/*.json

deploy/grafana/render.sh runs it. It is no Grafana: places, titles, queries, legends, units, thresholds, stacks and second axes
are those of the files, the look is its own. What a panel has no data for is said in it."""

import argparse
import datetime
import io
import json
import math
import pathlib
import re
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({
    # Texts stay texts: small, sharp, and found by a search.
    "svg.fonttype": "none",
    # The same data give the same file.
    "svg.hashsalt": "anytime",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "path.simplify_threshold": 0.4,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "axes.edgecolor": "#cccccc",
    "axes.linewidth": 0.5,
    "xtick.color": "#666666",
    "ytick.color": "#666666",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.formatter.useoffset": False,
})

from matplotlib import pyplot  # noqa: E402
from matplotlib.colors import PowerNorm  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, NullFormatter  # noqa: E402

COLUMNS = 24
# Pixels of a row of the grid, as in Grafana, and the width of the page.
ROW_PIXELS = 30
PAGE_PIXELS = 1400
PIXELS_PER_INCH = 100
GAP_PIXELS = 8
# So many points a line has at most; more make a larger file and no other picture.
MOST_POINTS = 120
# Lines of a legend; those beyond are counted.
MOST_NAMES = 6
COLOURS = ["#3274d9", "#e0752d", "#56a64b", "#a352cc", "#c4162a", "#0fa5a5", "#b8860b", "#705da0", "#e55400", "#37872d"]
NAMED = {"green": "#37872d", "red": "#c4162a", "orange": "#e55400", "yellow": "#b8860b", "text": "#1f1f1f", "blue": "#3274d9"}


class Prometheus:
    """What is asked of it, over the time that is drawn."""

    def __init__(self, address, start, end):
        self.address, self.start, self.end = address, start, end
        self.step = max(1, math.ceil((end - start) / MOST_POINTS))

    def fill_in(self, expression):
        """Grafana's variables: all processes, and intervals for a scrape every second."""
        interval = f"{max(10, 4 * self.step)}s"
        for name, value in {
            "$__rate_interval": interval,
            "$__interval": f"{self.step}s",
            "$__range": f"{math.ceil(self.end - self.start)}s",
            "$job": ".*",
            "$instance": ".*",
        }.items():
            expression = expression.replace(name, value)
        if "$" in expression:
            raise SystemExit(f"render: an unknown variable in {expression}")
        return expression

    def ask(self, path, **arguments):
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            document = json.load(answer)
        if document["status"] != "success":
            raise SystemExit(f"render: {arguments}: {document}")
        result = document["data"]["result"]
        return result if document["data"]["resultType"] in ("matrix", "vector") else [{"metric": {}, "value": result}]

    def lines(self, expression):
        """The series of an expression: labels, and points (seconds, value). What is no number is a gap."""
        found = self.ask("query_range", query=self.fill_in(expression), start=self.start, end=self.end, step=self.step)
        for series in found:
            points = [(float(at), float(value)) for at, value in series.get("values", [])]
            if any(math.isfinite(value) for _, value in points):
                yield series["metric"], points

    def last(self, expression):
        found = self.ask("query", query=self.fill_in(expression), time=self.end)
        return [(one["metric"], float(one["value"][1])) for one in found if math.isfinite(float(one["value"][1]))]


def name_of(target, labels):
    """A legend with its labels filled in."""
    template = target.get("legendFormat") or ""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match.group(1), ""), template).strip()


def scaled(value, base, units):
    for unit in units[:-1]:
        if abs(value) < base:
            return f"{value:.3g} {unit}".strip()
        value /= base
    return f"{value:.4g} {units[-1]}".strip()


def written(value, unit):
    """A value as Grafana would write it in this unit."""
    if not math.isfinite(value):
        return "–"
    match unit:
        case "percentunit":
            return f"{100 * value:.3g} %"
        case "s" if 0 < abs(value) < 1e-3:
            return f"{1e6 * value:.3g} µs"
        case "s" if 0 < abs(value) < 1:
            return f"{1e3 * value:.3g} ms"
        case "s" if abs(value) >= 86400:
            return f"{value / 86400:.3g} d"
        case "s" if abs(value) >= 3600:
            return f"{value / 3600:.3g} h"
        case "s" if abs(value) >= 60:
            return f"{value / 60:.3g} min"
        case "s":
            return f"{value:.3g} s"
        case "bytes":
            return scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"])
        case "Bps":
            return scaled(value, 1000, ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"])
        case "watt":
            return f"{value:.3g} W"
        case "celsius":
            return f"{value:.3g} °C"
        case "d":
            return f"{value:.3g} d"
        case "none":
            return f"{value:.4g}"
        case "short":
            if 0 < abs(value) < 0.01:
                return f"{value:.2e}"
            return scaled(value, 1000, ["", "K", "Mil", "Bil"])
        case _:
            raise SystemExit(f"render: the unit {unit} is not known")


def slim(svg):
    """Half the bytes of the same picture: tenths of a point, no comments, and of a level line its two ends."""
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    # Places alone: what is written in the picture stays as it is.
    svg = re.sub(r'\b(?:d|x|y|transform)="[^"]*"', lambda match: in_tenths(match.group()), svg)
    return re.sub(r'd="(M [^"]*)"', lambda match: f'd="{level_ends(match.group(1))}"', svg)


def in_tenths(places):
    return re.sub(r"\d+\.\d\d+", lambda match: f"{float(match.group()):.1f}", places)


def level_ends(path):
    """The path without the points that lie on a level line between two others."""
    steps = [step.split() for step in path.strip().split("\n")]
    kept = []
    for index, step in enumerate(steps):
        around = steps[index - 1:index + 2] if index else []
        is_between = (
            len(around) == 3
            and all(len(one) == 3 for one in around)
            and around[1][0] == around[2][0] == "L"
            and len({one[2] for one in around}) == 1
        )
        if not is_between:
            kept.append(step)
    return " ".join(" ".join(step) for step in kept)


def properties(panel, name):
    """What the overrides of a panel say of the series with this name."""
    found = {}
    for override in panel["fieldConfig"].get("overrides", []):
        if override["matcher"] == {"id": "byName", "options": name}:
            found.update({one["id"]: one["value"] for one in override["properties"]})
    return found


class Page:
    """One dashboard."""

    def __init__(self, dashboard, prometheus):
        self.dashboard, self.prometheus = dashboard, prometheus
        self.rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
        self.head = 54
        self.height = self.head + self.rows * ROW_PIXELS + GAP_PIXELS
        self.figure = pyplot.figure(figsize=(PAGE_PIXELS / PIXELS_PER_INCH, self.height / PIXELS_PER_INCH))
        self.without_data = []

    def place(self, left, top, width, height):
        """Pixels from the left and the top, as the figure takes them."""
        return [left / PAGE_PIXELS, 1 - (top + height) / self.height, width / PAGE_PIXELS, height / self.height]

    def text(self, left, top, text, **how):
        self.figure.text(left / PAGE_PIXELS, 1 - top / self.height, text, va="top", **how)

    def draw(self):
        prometheus = self.prometheus
        when = datetime.datetime.fromtimestamp(prometheus.end, datetime.UTC)
        self.text(GAP_PIXELS, 8, self.dashboard["title"], fontsize=13, weight="bold")
        self.text(
            GAP_PIXELS, 34,
            f"{self.dashboard['description']} Here: {prometheus.end - prometheus.start:.0f} s up to {when:%Y-%m-%d %H:%M} UTC.",
            fontsize=8, color="#444444",
        )
        for panel in self.dashboard["panels"]:
            grid = panel["gridPos"]
            column = PAGE_PIXELS / COLUMNS
            left, top = grid["x"] * column, self.head + grid["y"] * ROW_PIXELS
            width, height = grid["w"] * column, grid["h"] * ROW_PIXELS
            if panel["type"] == "row":
                self.text(GAP_PIXELS, top + 8, panel["title"], fontsize=10, weight="bold", color="#333333")
                continue
            box = (left + GAP_PIXELS / 2, top + GAP_PIXELS / 2, width - GAP_PIXELS, height - GAP_PIXELS)
            x, y, w, h = self.place(*box)
            self.figure.add_artist(Rectangle((x, y), w, h, facecolor="white", edgecolor="#dddddd", linewidth=0.6, zorder=-2))
            self.text(box[0] + 6, box[1] + 5, panel["title"], fontsize=8, weight="bold", color="#333333")
            kinds = {"timeseries": self.timeseries, "stat": self.stat, "heatmap": self.heatmap, "barchart": self.barchart}
            if not kinds[panel["type"]](panel, box):
                self.without_data.append(panel["title"])
                self.text(box[0] + 6, box[1] + box[3] / 2, "no data in this run", fontsize=8, color="#999999")

    def axes(self, box, legend_lines):
        left, top, width, height = box
        below = 20 + 11 * legend_lines
        axes = self.figure.add_axes(self.place(left + 56, top + 24, width - 56 - 46, height - 24 - below))
        axes.set_xlim(self.prometheus.start, self.prometheus.end)
        every = max(1, round((self.prometheus.end - self.prometheus.start) / 40)) * 10
        axes.xaxis.set_major_locator(MultipleLocator(every, offset=self.prometheus.start))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at - self.prometheus.start:.0f} s"))
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return axes

    def timeseries(self, panel, box):
        series = [
            (name_of(target, labels), points)
            for target in panel["targets"]
            for labels, points in self.prometheus.lines(target["expr"])
        ]
        if not series:
            return False
        defaults = panel["fieldConfig"]["defaults"]
        names = min(len(series), MOST_NAMES + 1)
        axes = self.axes(box, names)
        second = None
        stacked = defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal"
        below = {}
        legend = []
        for index, (name, points) in enumerate(series):
            colour = COLOURS[index % len(COLOURS)]
            special = properties(panel, name)
            unit = special.get("unit", defaults["unit"])
            target = axes
            if special.get("custom.axisPlacement") == "right":
                if second is None:
                    second = axes.twinx()
                    second.grid(False)
                    self.scale(second, unit, {})
                target = second
            times = [at for at, _ in points]
            values = [value if math.isfinite(value) else math.nan for _, value in points]
            if stacked:
                bottom = [below.get(at, 0.0) for at in times]
                values = [0.0 if math.isnan(value) else value for value in values]
                values = [low + value for low, value in zip(bottom, values)]
                target.fill_between(times, bottom, values, color=colour, alpha=0.25, linewidth=0)
                below.update(zip(times, values))
            marker = "." if sum(map(math.isfinite, values)) < 3 else None
            target.plot(times, values, color=colour, linewidth=1, marker=marker, markersize=3)
            finite = [value for _, value in points if math.isfinite(value)]
            legend.append((colour, name, finite[-1], sum(finite) / len(finite), unit))
        self.scale(axes, defaults["unit"], defaults)
        self.legend(box, legend, names)
        return True

    def scale(self, axes, unit, defaults):
        if defaults.get("custom", {}).get("scaleDistribution", {}).get("type") == "log":
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))
        low, high = axes.get_ylim()
        axes.set_ylim(defaults.get("min", low), defaults.get("max", high))

    def legend(self, box, entries, lines):
        left, top, width, height = box
        at = top + height - 11 * lines - 4
        for index, (colour, name, last, mean, unit) in enumerate(entries):
            if index == MOST_NAMES and len(entries) > MOST_NAMES:
                self.text(left + 18, at, f"and {len(entries) - MOST_NAMES} more", fontsize=6.5, color="#666666")
                break
            x, y, w, h = self.place(left + 6, at + 3, 8, 2)
            self.figure.add_artist(Rectangle((x, y), w, h, facecolor=colour, linewidth=0))
            self.text(left + 18, at, name, fontsize=6.5, color="#333333")
            figures = f"last {written(last, unit)}   mean {written(mean, unit)}"
            self.figure.text((left + width - 6) / PAGE_PIXELS, 1 - at / self.height, figures, va="top", ha="right",
                             fontsize=6.5, color="#666666")
            at += 11

    def stat(self, panel, box):
        left, top, width, height = box
        defaults = panel["fieldConfig"]["defaults"]
        values = [
            (name_of(target, labels), value, properties(panel, name_of(target, labels)).get("unit", defaults["unit"]))
            for target in panel["targets"]
            for labels, value in self.last_of(target["expr"])
        ]
        if not values:
            return False
        share = (width - 12) / len(values)
        for index, (name, value, unit) in enumerate(values):
            colour = "text"
            for step in defaults.get("thresholds", {}).get("steps", []):
                if step["value"] is None or value >= step["value"]:
                    colour = step["color"]
            middle = left + 6 + share * (index + 0.5)
            text = written(value, unit)
            for mapping in defaults.get("mappings", []):
                if mapping["type"] == "value" and f"{value:g}" in mapping["options"]:
                    text = mapping["options"][f"{value:g}"].get("text", text)
                    colour = mapping["options"][f"{value:g}"].get("color", colour)
            self.figure.text(middle / PAGE_PIXELS, 1 - (top + height * 0.55) / self.height, text, ha="center", va="center",
                             fontsize=15, color=NAMED.get(colour, colour))
            self.figure.text(middle / PAGE_PIXELS, 1 - (top + height * 0.85) / self.height, name, ha="center", va="center",
                             fontsize=7, color="#666666")
        return True

    def last_of(self, expression):
        """The last value of every series that is a number, as the reduction lastNotNull has it."""
        for labels, points in self.prometheus.lines(expression):
            yield labels, [value for _, value in points if math.isfinite(value)][-1]

    def heatmap(self, panel, box):
        bounds = {}
        for target in panel["targets"]:
            for labels, points in self.prometheus.lines(target["expr"]):
                bounds[float(labels["le"])] = dict(points)
        edges = sorted(bounds)
        times = sorted({at for points in bounds.values() for at in points})
        # Buckets count everything up to their bound: what is in one is the difference to the one below.
        rows, before = [], {}
        for edge in edges:
            rows.append([max(0.0, bounds[edge].get(at, 0.0) - before.get(at, 0.0)) for at in times])
            before = bounds[edge]
        used = [index for index, row in enumerate(rows) if any(value > 1e-9 for value in row)]
        if not used or len(times) < 2:
            return False
        first, last = max(0, used[0] - 1), used[-1]
        unit = panel["options"]["yAxis"]["unit"]
        axes = self.axes(box, 0)
        axes.grid(False)
        cells = [[value if value > 1e-9 else math.nan for value in row] for row in rows[first:last + 1]]
        axes.imshow(
            cells, origin="lower", aspect="auto", cmap="Oranges", norm=PowerNorm(0.5, vmin=0), interpolation="none",
            extent=(times[0], times[-1], 0, last + 1 - first),
        )
        axes.set_xlim(self.prometheus.start, self.prometheus.end)
        step = max(1, math.ceil((last + 1 - first) / 6))
        marks = list(range(first, last + 1, step))
        axes.set_yticks([mark + 1 - first for mark in marks])
        axes.set_yticklabels(["more" if math.isinf(edges[mark]) else written(edges[mark], unit) for mark in marks])
        return True

    def barchart(self, panel, box):
        field = panel["options"]["xField"]
        values = sorted((float(labels[field]), value) for target in panel["targets"]
                        for labels, value in self.prometheus.last(target["expr"]))
        if not values:
            return False
        defaults = panel["fieldConfig"]["defaults"]
        left, top, width, height = box
        axes = self.figure.add_axes(self.place(left + 56, top + 24, width - 56 - 20, height - 24 - 24))
        axes.bar(range(len(values)), [value for _, value in values], width=0.6, color=COLOURS[0])
        axes.set_xticks(range(len(values)))
        axes.set_xticklabels([f"{place:g} {field}" for place, _ in values])
        for index, (_, value) in enumerate(values):
            axes.text(index, value, written(value, defaults["unit"]), ha="center", va="bottom", fontsize=7)
        axes.grid(axis="x", visible=False)
        self.scale(axes, defaults["unit"], defaults)
        return True

    def save(self, path):
        # Without a date: the time that is drawn stands in the picture.
        text = io.StringIO()
        self.figure.savefig(text, format="svg", dpi=PIXELS_PER_INCH, facecolor="#f6f7f8",
                            metadata={"Date": None, "Title": self.dashboard["title"]})
        pyplot.close(self.figure)
        path.write_text(slim(text.getvalue()), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prometheus", required=True)
    parser.add_argument("--start", type=float, required=True)
    parser.add_argument("--end", type=float, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("dashboards", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    prometheus = Prometheus(arguments.prometheus.rstrip("/"), arguments.start, arguments.end)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in arguments.dashboards:
        page = Page(json.loads(path.read_text(encoding="utf-8")), prometheus)
        page.draw()
        picture = arguments.out / f"{path.stem}.svg"
        page.save(picture)
        print(f"{picture}: {picture.stat().st_size // 1000} kB; without data: {', '.join(page.without_data) or 'none'}")


if __name__ == "__main__":
    main()
