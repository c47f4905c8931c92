"""The picture of a run: every logged metric over steps with a band per arm, and the claims' intervals."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlab.core.check import InputError
from jaxlab.metrics import performance_profile, stratified_bootstrap, t_interval
from jaxlab.training._disk import writing
from jaxlab.training.metrics import Row, series

_COLUMNS = 4
# Inches. Places are computed, not solved for: a solver draws every label three times, half of the picture's cost.
_WIDTH, _HEIGHT = 4.8, 3.4  # of a panel with its labels
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.9, 0.1, 0.3, 0.55  # of a panel, for its labels
_TITLE = 0.3
_DPI = 110
_LINES = ("-", "--", ":", "-.")  # ten colours of each
_MARKERS = ("", "o", "x", "^")  # forty lines of each
_MOST_BANDS = 20  # arms; the bands of more cover each other and the curves
_COLOURS = {
    "supported": "tab:green",
    "opposite": "tab:red",
    "no effect": "tab:blue",
}  # grey: nothing is decided


def plot(
    path: str | pathlib.Path,
    *,
    rows: Sequence[Row],
    panels: Mapping[str, Sequence[str]],
    claims: Sequence[Mapping[str, Any]] = (),
    title: str = "",
) -> None:
    """Write `curves.png`.

    Args:
      path: the file to write.
      rows: rows of metrics.jsonl, with `arm` and `step`.
      panels: a title, and the arms drawn under it; every metric is a panel, four in a line.
      claims: decided claims, drawn as intervals around zero, those about one metric on one scale.
      title: above everything.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    blocks = [_blocks(_metrics(rows, arms)) for arms in panels.values()]
    forests = _forests(claims)
    figure = Figure(dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    columns = max([1, *(len(line) for block in blocks for line in block)])
    labels = [_text_width(canvas, [claim["text"] for claim in forest]) + 0.3 for forest in forests.values()]
    width = max([columns * _WIDTH + _legend_width(canvas, panels), *(label + _WIDTH for label in labels)])
    # Two lines of text for each claim, however many there are.
    heights = [1.0 + 0.36 * len(forest) for forest in forests.values()]
    height = _TITLE + (sum(map(len, blocks)) * _HEIGHT + sum(heights) or _HEIGHT)
    figure.set_size_inches(width, height)
    below = _TITLE
    for block, (name, arms) in zip(blocks, panels.items()):
        own = [row for row in rows if row["arm"] in arms]
        for metrics in block:
            for column, metric in enumerate(metrics):
                last = column == len(block[0]) - 1  # beside a shorter line a legend would part the columns
                axes = _axes(figure, column * _WIDTH, below, _WIDTH, _HEIGHT)
                _panel(axes, own, arms, metric, name, legend=last)
            below += _HEIGHT
    for (metric, forest), label, tall in zip(forests.items(), labels, heights):
        _forest(_axes(figure, 0.0, below, width, tall, left=max(_LEFT, label)), forest, metric)
        below += tall
    figure.suptitle(title, y=1 - 0.08 / height)
    with writing(path):
        canvas.print_png(path)


def plot_rows(rows: Sequence[Row], metrics: Sequence[str] = ()) -> Any:
    """A figure of the metrics of one fit over steps: every seed thin, their mean on top.

    Args:
      rows: as `Fit.rows` has them.
      metrics: names in the rows; all of them when empty.

    Returns:
      A matplotlib Figure, one panel per metric.

    Raises:
      ValueError: a metric that no row has.

    Example:
      >>> rows = [{"step": 10, "loss": [2.0, 1.0]}, {"step": 20, "loss": [1.5, 0.5]}]
      >>> [axes.get_title() for axes in plot_rows(rows).axes]
      ['loss']
    """
    from matplotlib.figure import Figure

    known = sorted({name for row in rows for name in row} - {"arm", "step"})
    for name in metrics:
        if name not in known:
            raise InputError(f"no row has the metric {name!r}: there are {', '.join(known) or 'none'}")
    lines = _blocks(list(metrics) or known)
    figure = Figure((max(map(len, lines)) * _WIDTH or _WIDTH, len(lines) * _HEIGHT), dpi=_DPI)
    for down, line in enumerate(lines):
        for across, name in enumerate(line):
            axes = _axes(figure, across * _WIDTH, down * _HEIGHT, _WIDTH, _HEIGHT)
            steps, values = series(list(rows), name)
            axes.plot(steps, values, color="C0", linewidth=0.6, alpha=0.4)
            axes.plot(steps, values.mean(axis=1), color="C0", linewidth=1.6)
            axes.set_title(name, fontsize=10)
            axes.set_xlabel("step")
            axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _axes(figure: Any, x: float, y: float, width: float, height: float, *, left: float = _LEFT) -> Any:
    """Axes in a rectangle that has room for their labels; all in inches from the upper left corner."""
    across, down = figure.get_size_inches()
    low, inner = y + height - _BOTTOM, height - _TOP - _BOTTOM
    return figure.add_axes(
        ((x + left) / across, 1 - low / down, (width - left - _RIGHT) / across, inner / down)
    )


def _text_width(canvas: Any, lines: Sequence[str]) -> float:
    """Inches that the widest of some lines takes in the small print of legends and claims."""
    from matplotlib.font_manager import FontProperties

    measure = canvas.get_renderer().get_text_width_height_descent
    return max(measure(line, FontProperties(size=8), False)[0] for line in lines) / _DPI


def _legend_width(canvas: Any, panels: Mapping[str, Sequence[str]]) -> float:
    """Inches of the widest legend."""
    names = [[_short(arm) for arm in arms] for arms in panels.values() if arms]
    return max(
        [_legend_columns(len(arms)) * (_text_width(canvas, arms) + 0.6) for arms in names], default=0.0
    )


def _short(arm: str) -> str:
    return arm.rpartition("/")[2]


def _blocks(metrics: list[str]) -> list[list[str]]:
    """The metrics of a task in lines of a width that a page can show; one line at least."""
    return [metrics[start : start + _COLUMNS] for start in range(0, len(metrics), _COLUMNS)] or [[]]


def _metrics(rows: Sequence[Row], arms: Sequence[str]) -> list[str]:
    """What an arm logs at several steps: what each logs once, at whatever step it ends, is a number and no curve."""
    seen: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        if row["arm"] in arms:
            for name in row.keys() - {"arm", "step"}:
                seen.setdefault((row["arm"], name), set()).add(row["step"])
    return sorted({name for (_, name), steps in seen.items() if len(steps) > 1})


def _panel(
    axes: Any, rows: Sequence[Row], arms: Sequence[str], metric: str, name: str, *, legend: bool
) -> None:
    drawn = {}
    for number, arm in enumerate(arms):
        steps, values = series([row for row in rows if row["arm"] == arm], metric)
        colour = f"C{number % 10}"
        line = _LINES[number // 10 % len(_LINES)] + _MARKERS[number // 40 % len(_MARKERS)]
        mean = values.mean(axis=1) if len(steps) else []
        # An arm without this metric too: the legend beside a line of panels speaks for all of them.
        drawn[_short(arm)] = axes.plot(steps, mean, line, color=colour, linewidth=1.4, markersize=3)[0]
        if not len(steps):
            continue
        # Of two seeds a t interval is 13 standard errors wide, and hides the curves.
        if values.shape[1] > 2 and len(arms) <= _MOST_BANDS:
            axes.fill_between(steps, *t_interval(values), color=colour, alpha=0.15, linewidth=0)
    axes.set_title(f"{name}: {metric}" if name else metric, fontsize=10)
    axes.set_xlabel("step")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if legend:
        axes.legend(
            drawn.values(), drawn.keys(), fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1.0),
            ncols=_legend_columns(len(arms)),
        )  # fmt: skip


def _legend_columns(arms: int) -> int:
    return 1 + arms // 16


def _forests(claims: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The claims that have an effect, by metric, as metrics differ in their units."""
    forests: dict[str, list[Mapping[str, Any]]] = {}
    for claim in claims:
        if claim["effect"] is not None:
            forests.setdefault(claim["metric"], []).append(claim)
    return forests


def _forest(axes: Any, claims: Sequence[Mapping[str, Any]], metric: str) -> None:
    for line, claim in enumerate(reversed(claims)):
        colour = _COLOURS.get(claim["verdict"], "tab:gray")
        if claim["ci95"] is not None:
            axes.plot(claim["ci95"], [line, line], color=colour, linewidth=3)
        axes.plot(claim["effect"], line, "o", color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(
        range(len(claims)), [f"{claim['text']}\n{claim['verdict']}" for claim in reversed(claims)], fontsize=8
    )
    axes.set_ylim(-0.6, len(claims) - 0.4)
    axes.set_title(f"{metric}: paired differences, 95 % t intervals", fontsize=10)


def plot_map(
    path: str | pathlib.Path, points: Sequence[Mapping[str, Any]], *, condition: str, title: str = ""
) -> None:
    """Draw the effect of a claim over a condition, with its 95 % band: where does it hold?

    Args:
      path: the file to write.
      points: from `report.map_points`.
      condition: what varies, under the axis.
      title: above.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, _HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    known = [point for point in points if point["effect"] is not None and point["ci95"] is not None]
    values, effects = ([point[key] for point in known] for key in ("value", "effect"))
    axes.fill_between(
        values, *np.reshape([point["ci95"] for point in known], (-1, 2)).T, alpha=0.2, linewidth=0
    )
    axes.plot(values, effects, color="C0")
    for point in known:
        axes.plot(point["value"], point["effect"], "o", color=_COLOURS.get(point["verdict"], "tab:gray"))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel(condition)
    axes.set_title(title, fontsize=10)
    with writing(path):
        figure.savefig(path, dpi=110)


def plot_profiles(path: str | pathlib.Path, scores: Mapping[str, np.ndarray], *, metric: str) -> None:
    """Draw performance profiles over tasks: the share of runs above a score, with stratified bootstrap bands.

    Args:
      path: the file to write.
      scores: by arm, `[S, M]` of S seeds and M tasks, higher is better.
      metric: what the scores are, under the axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, _HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    every = np.concatenate([np.ravel(values) for values in scores.values()])
    thresholds = np.linspace(every.min(), every.max(), 101)
    profile = lambda values: performance_profile(values, thresholds)
    for number, (arm, values) in enumerate(scores.items()):
        line = _LINES[number // 10 % len(_LINES)]
        axes.plot(thresholds, profile(values), line, color=f"C{number % 10}", linewidth=1.4, label=arm)
        band = stratified_bootstrap(profile, values, resamples=500)
        axes.fill_between(thresholds, *band, color=f"C{number % 10}", alpha=0.15, linewidth=0)
    axes.set_xlabel(metric)
    axes.set_ylabel("share of runs above")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1.0), ncols=_legend_columns(len(scores)))
    with writing(path):
        figure.savefig(path, dpi=110)
