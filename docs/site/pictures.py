"""Drawings of the paper pages, from published results: verdicts as intervals, curves, thumbnails."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxlab.training.report import verdict

matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
matplotlib.rcParams["svg.hashsalt"] = "jaxlab"

COLOURS = {
    "supported": "tab:green",
    "opposite": "tab:red",
    "no effect": "tab:blue",
}  # grey: nothing is decided
GATES = ("premise", "room")
MOST_PANELS = 6
MOST_CLAIMS = 60


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def verdicts(path: pathlib.Path, claims: Sequence[Mapping[str, Any]]) -> bool:
    """Every claim's interval and the band in which an effect is of no interest; False if there is nothing to draw."""
    drawn = [one for one in claims if one["effect"] is not None and one["verdict"] != "withdrawn"][
        :MOST_CLAIMS
    ]
    metrics = list(dict.fromkeys(one["metric"] for one in drawn))
    if not drawn:
        return False
    own = {metric: [one for one in drawn if one["metric"] == metric] for metric in metrics}
    figure = _figure(7.0, sum(0.8 + 0.42 * len(rows) for rows in own.values()))
    ratios = [0.8 + 0.42 * len(rows) for rows in own.values()]
    axes = figure.subplots(len(own), 1, squeeze=False, height_ratios=ratios)[:, 0]
    for panel, (metric, rows) in zip(axes, own.items()):
        _intervals(panel, rows)
        panel.set_title(f"difference in {metric}" if metric else "", fontsize=9, loc="left")
    figure.savefig(path, metadata={"Date": None})
    return True


def _intervals(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    for line, one in enumerate(reversed(rows)):
        colour = COLOURS.get(one["verdict"], "tab:gray")
        low, high = one["ci95"] or (None, None)
        if one["sesoi"] is not None:
            axes.barh(line, 2 * one["sesoi"], left=-one["sesoi"], height=0.75, color="0.93", zorder=0)
        if low is not None and high is not None:
            axes.plot([low, high], [line, line], color=colour, linewidth=3, solid_capstyle="butt")
        marker = "s" if one["kind"] in GATES else "o"
        axes.plot(one["effect"], line, marker, color=colour, markersize=6)
    labels = [f"{one['text']}\n{verdict(one).partition(':')[0]}" for one in reversed(rows)]
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), labels, fontsize=8.5)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _lines(curves: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, tuple[list, list, list | None]]]:
    """`{(task, metric): {arm: (steps, means, half widths)}}` of what was logged more than once."""
    found: dict[tuple[str, str], dict[str, tuple]] = {}
    for name, groups in curves.items():
        task, _, arm = name.rpartition("/")
        for group in groups:
            for metric, means in group["mean"].items():
                if len(means) > 1:
                    line = group["steps"], means, group.get("half", {}).get(metric)
                    found.setdefault((task, metric), {})[arm] = line
    return found


def _rank(key: tuple[str, str], lines: Mapping[str, Any]) -> tuple[bool, bool, int]:
    """Validation first, then the loss, then what most arms have."""
    return not key[1].startswith("val"), not key[1].endswith("loss"), -len(lines)


def curve_panels(curves: Mapping[str, Any]) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """The panels worth showing: of each task its foremost metrics."""
    lines = _lines(curves)
    ordered = sorted(lines.items(), key=lambda item: _rank(*item))
    tasks = list(dict.fromkeys(task for (task, _), _ in lines.items()))
    most = max(MOST_PANELS // max(len(tasks), 1), 1)
    return [panel for task in tasks for panel in [p for p in ordered if p[0][0] == task][:most]][
        : 2 * MOST_PANELS
    ]


def curves(path: pathlib.Path, panels: Sequence[tuple[tuple[str, str], Mapping[str, Any]]]) -> None:
    """Means over seeds with 95 % bands, two panels in a row, one legend."""
    rows = -(-len(panels) // 2)
    arms = list(dict.fromkeys(arm for _, lines in panels for arm in lines))
    figure = _figure(7.0, 2.4 * rows + 0.2 + 0.18 * -(-len(arms) // 5))
    grid = figure.subplots(rows, 2, squeeze=False)
    colours = {arm: f"C{number % 10}" for number, arm in enumerate(arms)}
    styles = {arm: ("-", "--", ":", "-.")[number // 10 % 4] for number, arm in enumerate(arms)}
    handles = {}
    for axes, ((task, metric), lines) in zip(grid.flat, panels):
        for arm, (steps, means, half) in lines.items():
            handles[arm] = axes.plot(steps, means, styles[arm], color=colours[arm], linewidth=1.2)[0]
            if half and len(lines) <= 12 and None not in half and None not in means:
                low, high = zip(*((m - h, m + h) for m, h in zip(means, half)))
                axes.fill_between(steps, low, high, color=colours[arm], alpha=0.15, linewidth=0)
        axes.set_title(f"{task}: {metric}" if task else metric, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=8, frameon=False
    )
    figure.savefig(path, metadata={"Date": None})


def thumbnail(path: pathlib.Path, panels: Sequence[Any], claims: Sequence[Mapping[str, Any]]) -> None:
    """A small picture without words: the first curves, or the intervals where there are none."""
    figure = _figure(2.6, 1.6)
    axes = figure.subplots()
    if panels:
        for steps, means, _ in panels[0][1].values():
            axes.plot(steps, means, linewidth=1.2)
    else:
        drawn = [
            one for one in claims if one["effect"] is not None and one["ci95"] and None not in one["ci95"]
        ]
        for line, one in enumerate(reversed(drawn[:8])):
            colour = COLOURS.get(one["verdict"], "tab:gray")
            axes.plot(one["ci95"], [line, line], color=colour, linewidth=3)
            axes.plot(one["effect"], line, "o", color=colour)
        axes.axvline(0, color="black", linewidth=0.6)
    axes.set(xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
