"""Verdicts on numbers worked by hand, and what people read."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxlab.training import Claim, curves, report


def scores(arm, versus, metric="test/accuracy"):
    return {"a": {metric: np.asarray(arm)}, "b": {metric: np.asarray(versus)}}


def claim(**changes):
    return Claim(**{"text": "a beats b", "metric": "test/accuracy", "arm": "a", "versus": "b", **changes})


def test_the_interval_by_hand():
    # mean 2, sd 1, n 3: half width t(0.975, 2) / sqrt(3) = 4.30265 / 1.73205 = 2.48414
    np.testing.assert_allclose(
        report.t_interval(np.array([1.0, 2.0, 3.0])), (2 - 2.48414, 2 + 2.48414), rtol=1e-5
    )
    assert report.t_interval(np.array([1.0])) == (-np.inf, np.inf)


def test_the_t_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.normal(0.3, 2.0, size=(4000, 8))
    inside = np.mean([low < 0.3 < high for low, high in map(report.t_interval, draws)])
    assert abs(inside - 0.95) < 0.015  # four standard errors of 4,000 draws


def test_the_bootstrap_is_the_same_every_time_and_near_the_t_interval():
    values = np.random.default_rng(1).normal(size=40)
    first = report.bootstrap_interval(values)
    assert first == report.bootstrap_interval(values)
    np.testing.assert_allclose(first, report.t_interval(values), atol=0.06)


@pytest.mark.parametrize(
    ("differences", "changes", "verdict"),
    [
        ([1.0, 2.0, 3.0, 2.0], {}, "reproduced"),
        ([-1.0, -2.0, -3.0, -2.0], {}, "contradicted"),
        ([-1.0, 2.0, -3.0, 2.0], {}, "inconclusive"),
        ([1.0, 2.0, 3.0, 2.0], {"margin": 1.5}, "inconclusive"),
        ([1.0, 2.0, 3.0, 2.0], {"margin": 0.5}, "reproduced"),
        ([-1.0, -2.0, -3.0, -2.0], {"margin": 0.5}, "contradicted"),
        ([-1.0, -2.0, -3.0, -2.0], {"margin": 5.0}, "inconclusive"),
        ([1.0, 2.0, 3.0, 2.0], {"lower_is_better": True}, "contradicted"),
        ([0.1, -0.1, 0.05, 0.0], {"band": 1.0}, "reproduced"),
        ([0.1, -0.1, 0.05, 0.0], {"band": 0.01}, "inconclusive"),
        ([2.0, 2.1, 2.05, 2.0], {"band": 1.0}, "contradicted"),
        ([5.0], {}, "inconclusive"),
        ([0.0, 0.0, 0.0], {}, "inconclusive"),
    ],
)
def test_verdicts(differences, changes, verdict):
    versus = np.array([10.0, 20.0, 30.0, 40.0])[: len(differences)]
    decided = report.decide(claim(**changes), scores(versus + differences, versus))
    assert decided["verdict"] == verdict
    sign = -1 if changes.get("lower_is_better") else 1
    assert decided["difference"] == pytest.approx(sign * np.mean(differences))
    assert decided["n"] == len(differences)


def test_pairing_matters():
    """Seeds differ by tens, the arms by one: paired it is certain, and the verdict must see that."""
    versus = np.array([10.0, 50.0, 90.0, 130.0])
    paired = report.decide(claim(), scores(versus + [1.0, 1.1, 0.9, 1.0], versus))
    shuffled = report.decide(claim(), scores((versus + [1.0, 1.1, 0.9, 1.0])[::-1], versus))
    assert (paired["verdict"], shuffled["verdict"]) == ("reproduced", "inconclusive")


def test_an_arm_without_the_metric_decides_nothing():
    decided = report.decide(claim(), {"a": {"test/accuracy": np.ones(3)}, "b": {}})
    assert (decided["verdict"], decided["difference"], decided["why"]) == (
        "inconclusive",
        None,
        "b has no test/accuracy",
    )


@pytest.mark.parametrize("changes", [{"margin": -0.1}, {"band": 0.0}, {"band": -1.0}])
def test_impossible_claims(changes):
    with pytest.raises(ValueError, match="it must be"):
        claim(**changes)


def result():
    arms = {
        "a": {"steps": 10, "metrics": {"test/accuracy": [0.5, 0.7]}},
        "b": {"steps": 7, "metrics": {}, "diverged": {"step": 7, "seed": 1, "metric": "loss"}},
    }
    decided = [report.decide(claim(), {name: arm["metrics"] for name, arm in arms.items()})]
    return {"config": "x/y", "variant": "default", "device": "cpu", "seeds": [0, 1], "wall_s": 3.0, "arms": arms,
            "claims": decided}  # fmt: skip


def test_the_table_shows_means_intervals_and_the_arm_that_stopped():
    text = report.markdown(result())
    # mean 0.6, sd 0.1414, n 2: half width 12.7062 * 0.1414 / 1.4142 = 1.2706
    assert "| a   | 10" in text
    assert "0.6000 ± 1.2706" in text
    assert "7 (diverged: loss, seed 1)" in text
    assert "inconclusive: b has no test/accuracy" in text


def test_the_summary_reads_published_results(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "y.json").write_text(json.dumps(result()))
    table = report.summary_table(report.load_results(tmp_path))
    assert "`x/y`" in table
    assert "a beats b" in table


def test_curves_are_drawn(tmp_path):
    rows = [
        {"arm": arm, "step": s, "train/loss": [s * 0.1, s * 0.2]} for arm in ("t/a", "t/b") for s in (1, 2, 3)
    ]
    decided = [report.decide(claim(), scores([1.0, 1.2], [0.5, 0.4]))]
    curves.plot(tmp_path / "c.png", rows=rows, panels={"t": ["t/a", "t/b"]}, claims=decided, title="a title")
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    curves.plot(tmp_path / "empty.png", rows=[], panels={"": []})
    assert (tmp_path / "empty.png").stat().st_size > 0


def test_claims_about_different_metrics_have_scales_of_their_own(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(
        curves, "_forest", lambda axes, claims, metric: drawn.append((metric, [c["text"] for c in claims]))
    )
    common = {"difference": 0.1, "ci95": (0.0, 0.2), "verdict": "inconclusive"}
    claims = [
        common | {"text": text, "metric": metric}
        for text, metric in (("x", "acc"), ("y", "norm"), ("z", "acc"))
    ]
    lost = common | {"text": "w", "metric": "nll", "difference": None}
    curves.plot(tmp_path / "c.png", rows=[], panels={"": []}, claims=[*claims, lost])
    assert drawn == [("acc", ["x", "z"]), ("norm", ["y"])]


def test_what_every_arm_logs_once_is_no_curve(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(curves, "_panel", lambda axes, rows, arms, metric, name, legend: drawn.append(metric))
    rows = [
        {"arm": "a", "step": 1, "test/score": [0.1]},  # the two arms end at different steps
        {"arm": "b", "step": 4, "train/loss": [2.0]},
        {"arm": "b", "step": 8, "train/loss": [1.0], "test/score": [0.2]},
    ]
    curves.plot(tmp_path / "c.png", rows=rows, panels={"": ["a", "b"]})
    assert drawn == ["train/loss"]


@pytest.mark.parametrize(("seeds", "bands"), [(2, 0), (3, 1)])
def test_a_legend_names_every_arm_in_its_colour_and_bands_need_three_seeds(seeds, bands):
    rows = [{"arm": "t/b", "step": step, "loss": [0.1 * step] * seeds} for step in (1, 2)]
    axes = Figure().add_subplot()
    curves._panel(axes, rows, ["t/a", "t/b"], "loss", "", legend=True)
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert [line.get_color() for line in legend.get_lines()] == ["C0", "C1"]
    assert len(axes.collections) == bands


def test_eighty_arms_look_different_and_have_no_bands():
    arms = [f"t/{number}" for number in range(80)]
    rows = [{"arm": arm, "step": step, "loss": [0.1, 0.2, 0.3]} for step in (1, 2) for arm in arms]
    axes = Figure().add_subplot()
    curves._panel(axes, rows, arms, "loss", "", legend=True)
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.get_lines()}
    assert len(looks) == 80
    assert not axes.collections
