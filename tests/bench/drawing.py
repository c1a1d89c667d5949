"""A dashboard as Grafana lays it out, drawn from what Prometheus answered: panels of 24 columns, a line a series."""

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

_COLUMNS = 24
_WIDTH_IN, _ROW_IN = 18.0, 0.42  # the whole picture is wide, one row of the grid is high
_STYLE = {
    "font.size": 7,
    "axes.prop_cycle": mpl.cycler(
        color=["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffcb7d"]
    ),
    "figure.facecolor": "#111217",
    "axes.facecolor": "#181b1f",
    "axes.edgecolor": "#2c3036",
    "grid.color": "#24272d",
    "text.color": "#ccccdc",
    "axes.labelcolor": "#ccccdc",
    "xtick.color": "#8e8e9c",
    "ytick.color": "#8e8e9c",
}
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"))
_UNITS = {"reqps": "/s", "s": "s", "bytes": "B", "short": ""}
_MOST_NAMES = 8  # of a legend


def draw(panels: Sequence[Mapping[str, Any]], path: Path, rows: int) -> None:
    """The first `rows` rows of the grid. Each target of a panel has its `series`, as query_range answers them."""
    shown = [panel for panel in panels if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= rows]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, rows * _ROW_IN))
        for panel in shown:
            place = panel["gridPos"]
            left, width = place["x"] / _COLUMNS, place["w"] / _COLUMNS
            bottom, height = 1 - (place["y"] + place["h"]) / rows, place["h"] / rows
            if panel["type"] == "row":
                figure.text(left + 0.006, bottom + height / 2, panel["title"], size=10, va="center", weight="bold")
                continue
            edge = 0.03 if panel["type"] == "timeseries" else 0.004
            box = (left + edge, bottom + 0.75 / rows, width - edge - 0.005, height - 1.7 / rows)
            axes = figure.add_axes(box)
            axes.set_title(panel["title"], loc="left", size=8, pad=4)
            (_lines if panel["type"] == "timeseries" else _number)(axes, panel)
        figure.savefig(path, dpi=100)


def _lines(axes: Axes, panel: Mapping[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    series = list(_series(panel))
    if defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal" and series:
        times = sorted({time for _, points in series for time in points})
        axes.stackplot(
            [_clock(time) for time in times],
            [[points.get(time, 0.0) for time in times] for _, points in series],
            labels=[name for name, _ in series],
            alpha=0.7,
        )
    else:
        for name, points in series:
            axes.plot([_clock(time) for time in points], list(points.values()), linewidth=1, label=name)
    unit = defaults.get("unit", "short")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _with_unit(value, unit)))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.grid(visible=True, linewidth=0.5)
    axes.set_ylim(bottom=0)
    if not series:
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center")
        return
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[:_MOST_NAMES], labels[:_MOST_NAMES], loc="upper left", ncols=2, frameon=False, fontsize=6)


def _number(axes: Axes, panel: Mapping[str, Any]) -> None:
    axes.set_axis_off()
    values = [list(points.values())[-1] for _, points in _series(panel)]
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    text = _with_unit(sum(values), unit) if values else "No data"
    axes.text(0.5, 0.4, text, transform=axes.transAxes, ha="center", va="center", size=20, color="#73bf69")


def _series(panel: Mapping[str, Any]) -> Iterator[tuple[str, dict[float, float]]]:
    """(name in the legend, values by time), without those that are no number."""
    for target in panel["targets"]:
        for each in target["series"]:
            labels = each["metric"]
            name = re.sub(r"{{\s*(\w+)\s*}}", lambda found, of=labels: of.get(found[1], ""), target["legendFormat"])
            points = {time: float(value) for time, value in each["values"] if value not in ("NaN", "+Inf", "-Inf")}
            if points:
                yield name, points


def _clock(time: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(time, datetime.UTC)


def _with_unit(value: float, unit: str) -> str:
    """0.0042, "s" -> 4.2 ms"""
    if unit == "percentunit":
        return f"{value:.0%}"
    size, prefix = next(((size, prefix) for size, prefix in _PREFIXES if abs(value) >= size), (1.0, ""))
    if unit in ("reqps", "short") and size < 1:
        size, prefix = 1.0, ""
    return f"{value / size:.3g} {prefix}{_UNITS.get(unit, unit)}".strip()
