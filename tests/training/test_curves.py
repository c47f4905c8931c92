"""The picture of a run: everything that is drawn can be read."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jaxlab.training import curves


def rows_of(arms, metrics, steps=3, seeds=3):
    rng = np.random.default_rng(0)
    return [
        {"arm": arm, "step": 100 * step, **{name: (rng.normal(size=seeds) * scale).tolist() for name, scale in metrics}}
        for arm in arms
        for step in range(1, steps + 1)
    ]  # fmt: skip


def claim(text, verdict="inconclusive"):
    return {
        "text": text,
        "metric": "test/accuracy",
        "effect": 0.1,
        "ci95": (-0.1, 0.3),
        "verdict": verdict,
    }


SCALES = [("a", 1e-9), ("b", 2e-4), ("c", 0.05), ("d", 7.0), ("e", 30_000.0), ("f", 1e12)]


@pytest.mark.parametrize(
    ("tasks", "arms", "metrics", "claims"),
    [
        (1, 1, 1, 0),
        (1, 2, 1, 3),
        (1, 3, 6, 2),
        (2, 4, 5, 4),
        (1, 50, 3, 0),
        (0, 0, 0, 2),
    ],
)
def test_nothing_is_cut_off_and_nothing_covers_another(tmp_path, monkeypatch, tasks, arms, metrics, claims):
    """Every panel with its title, labels and legend has a place of its own on the page."""
    drawn = []
    save = FigureCanvasAgg.print_png
    monkeypatch.setattr(
        FigureCanvasAgg, "print_png", lambda canvas, path: (drawn.append(canvas), save(canvas, path))
    )
    panels = {f"task{t}": [f"task{t}/an_arm_{a}" for a in range(arms)] for t in range(tasks)}
    rows = [row for names in panels.values() for row in rows_of(names, SCALES[:metrics])]
    texts = [f"{'a claim of more words than there is room for ' * 2}{number}" for number in range(claims)]
    curves.plot(
        tmp_path / "c.png", rows=rows, panels=panels, claims=[claim(text) for text in texts], title="title"
    )
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    (canvas,) = drawn
    page = canvas.figure.bbox
    boxes = [axes.get_tightbbox(canvas.get_renderer()) for axes in canvas.figure.axes]
    boxes.append(canvas.figure.texts[0].get_window_extent())
    assert len(boxes) == tasks * metrics + bool(claims) + 1
    for box in boxes:
        assert min(box.x0, box.y0, page.x1 - box.x1, page.y1 - box.y1) > -1, "cut off"
    for a, b in itertools.combinations(boxes, 2):
        wide, tall = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(wide, tall) < 1, "one covers another"
    for axes in canvas.figure.axes:
        assert axes.get_position().width * page.width > 300


def test_rows_of_one_fit_show_every_seed_and_the_mean():
    rows = rows_of(["a"], SCALES[:5], seeds=4)
    figure = curves.plot_rows(rows)
    assert [axes.get_title() for axes in figure.axes] == list("abcde")
    *seeds, mean = figure.axes[2].get_lines()
    values = np.asarray([row["c"] for row in rows])
    np.testing.assert_array_equal([line.get_ydata() for line in seeds], values.T)
    np.testing.assert_allclose(mean.get_ydata(), values.mean(axis=1))
    assert [axes.get_title() for axes in curves.plot_rows(rows, ["e", "a"]).axes] == ["e", "a"]
    assert curves.plot_rows([]).axes == []
    with pytest.raises(ValueError, match="no row has the metric 'loss': there are a, b, c, d, e"):
        curves.plot_rows(rows, ["loss"])
