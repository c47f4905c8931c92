"""Drawings that drivers share, on matplotlib's axes, for people to look at."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def draw_panels(panels: list[tuple[str, str, Any]]) -> Any:
    """A figure with one example in a row and one panel `(title, kind, images)` in a column.

    Kinds: "grey" images, "change" images around 0, "class" integers with -1 for no label.
    """
    from matplotlib.figure import Figure

    rows, columns = len(panels[0][2]), len(panels)
    figure = Figure(figsize=(1.15 * columns, 1.2 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for column, (title, kind, images) in enumerate(panels):
        for row, image in enumerate(np.asarray(jax.device_get(images))):
            axes = grid[row, column]
            _KINDS[kind](axes, image)
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(title, fontsize=6)
    return figure


def draw_matrices(matrices: Mapping[str, np.ndarray], *, rows: str, columns: str) -> Any:
    """A figure of matrices of shares in [0, 1], every entry in per cent.

    Args:
      matrices: `[T, T]` by title.
      rows, columns: what they stand for.
    """
    from matplotlib.figure import Figure

    across = min(len(matrices), 5)
    down, side = -(-len(matrices) // across), max(0.32 * len(next(iter(matrices.values()))), 1.2)
    figure = Figure(figsize=((side + 0.4) * across + 0.4, (side + 0.5) * down + 0.4), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(matrices) :]:
        axes.set_axis_off()
    for axes, (title, matrix) in zip(grid.flat, matrices.items()):
        axes.imshow(matrix, cmap="viridis", vmin=0, vmax=1)
        axes.set_title(title, fontsize=8)
        ticks = range(len(matrix))
        axes.set_xticks(ticks, [n + 1 for n in ticks], fontsize=6)
        axes.set_yticks(ticks, [n + 1 for n in ticks], fontsize=6)
        for (row, column), share in np.ndenumerate(matrix):
            colour = "black" if share > 0.6 else "white"
            axes.text(column, row, f"{100 * share:.0f}", fontsize=6, ha="center", va="center", color=colour)
    figure.supylabel(rows, fontsize=8)
    figure.supxlabel(columns, fontsize=8)
    return figure


def _show_change(axes: Any, image: np.ndarray) -> None:
    limit = max(float(np.abs(image).max()), 1e-6)
    axes.imshow(image, cmap="coolwarm", vmin=-limit, vmax=limit)


_KINDS = {
    "grey": lambda axes, image: axes.imshow(image, cmap="gray"),
    "change": _show_change,
    "class": lambda axes, image: axes.imshow(
        np.ma.masked_less(image, 0), cmap="tab10", vmin=0, vmax=9, interpolation="nearest"
    ),
}


def draw_scene(axes: Any, image: np.ndarray, boxes: np.ndarray, classes: np.ndarray) -> None:
    """A frame of `data.AudioVisualScenes` with its boxes: the one that sounds full, silent ones dotted."""
    from matplotlib.patches import Rectangle

    axes.imshow(image, vmin=0, vmax=1)
    for place, (box, label) in enumerate(zip(boxes, classes)):
        if label >= 0:
            y0, x0, y1, x1 = box
            style = {"linestyle": ":", "linewidth": 0.8} if place else {"linestyle": "-", "linewidth": 1.6}
            corner, width, height = (x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0
            axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="white", **style))
    axes.set_axis_off()


def draw_points(axes: Any, points: np.ndarray) -> None:
    """Points `[P, 4]` from above, by their height."""
    axes.scatter(points[:, 0], points[:, 1], c=points[:, 2], s=2, cmap="viridis", vmin=0, vmax=1)
    axes.set_aspect("equal")
    axes.set(xticks=[], yticks=[])


def draw_boxes(axes: Any, boxes: np.ndarray, classes: np.ndarray, *, style: str = "-") -> None:
    """Boxes `[M, 4]` by their class, -1 of which is none: centre, length, width."""
    colours = ("tab:red", "tab:blue", "tab:orange")
    outline = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1], [1, 1]]) / 2
    for box, label in zip(boxes, classes):
        if label >= 0:
            axes.plot(*(box[:2] + outline * box[2:4]).T, style, color=colours[label % 3], linewidth=1.2)
