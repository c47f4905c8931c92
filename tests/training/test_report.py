"""What people read: the report of a run, the tables over all papers, effects over a condition, and the curves."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxlab.metrics import interquartile_mean, probability_of_improvement
from jaxlab.training import Claim, curves, decide, report
from jaxlab.training.claims import of_run

METRIC = "test/accuracy"
CLAIM = Claim("a_over_b", "a beats b", METRIC, "a", "b", needs=("room",)).within("t")
ROOM = Claim("room", "there is room", METRIC, "top", "b", kind="room").within("t")


def result(**changes):
    """One task: a is 0.1 ahead, the room is seen, c stopped at step 7."""
    b = np.array([0.5, 0.52, 0.48, 0.51, 0.49])
    values = {"a": b + [0.1, 0.11, 0.09, 0.1, 0.1], "b": b, "top": b + [0.3, 0.31, 0.29, 0.3, 0.3]}
    arms = {
        f"t/{arm}": {"steps": 10, "metrics": {METRIC: list(map(float, own))}} for arm, own in values.items()
    }
    arms["t/c"] = {"steps": 7, "metrics": {}, "diverged": {"step": 7, "seed": 1, "metric": "loss"}}
    claims = [CLAIM, ROOM, Claim("c", "c beats b", METRIC, "c", "b", kind="ablation").within("t")]
    found = {
        "config": "x/y", "variant": "default", "scale": "toy (nothing at all)", "device": "cpu", "commit": "0123456789",
        "seeds": [0, 1, 2, 3, 4], "wall_s": 90.0, "arms": arms, "prepare": {},
        "claims": decide(claims, {arm: facts["metrics"] for arm, facts in arms.items()}),
    }  # fmt: skip
    return {**found, **changes}


def row(text, *words):
    """The cells of the one line of a table that holds all the words."""
    (line,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_report_shows_scale_means_intervals_and_the_arm_that_stopped():
    text = report.markdown(result())
    assert "toy (nothing at all). 5 seeds, cpu, 90 s." in text
    # mean 0.5, sd 0.015811: half width 2.776445 * 0.015811 / sqrt(5) = 0.0196
    assert row(text, "| t/b ")[1:] == ["10", "0.5000 ± 0.0196"]
    assert "7 (diverged: loss, seed 1)" in text


def test_the_table_has_the_metrics_of_claims_and_a_line_names_the_others():
    more = result()
    for facts in more["arms"].values():
        facts["metrics"]["train/loss"] = [1.0] * 5
    text = report.markdown(more)
    assert row(text, "arm", "steps") == ["arm", "steps", METRIC]
    assert "- result.json also has train/loss." in text
    assert row(report.markdown(more | {"claims": []}), "arm", "steps") == [
        "arm",
        "steps",
        METRIC,
        "train/loss",
    ]
    assert "also has" not in report.markdown(result())


def test_the_report_shows_every_claim_with_what_decided_it():
    text = report.markdown(result())
    # sd 0.0070711: half width 0.00878; detectable 3.761 * 0.0070711 / sqrt(5) = 0.0119
    assert row(text, "a beats b") == [
        "t: a beats b", "headline", METRIC, "+0.1000", "[+0.0912, +0.1088]", "greater by 0.01", "100 %", "0.012",
        "supported",
    ]  # fmt: skip
    assert row(text, "there is room")[-1] == "passed"
    assert row(text, "c beats b")[-1] == "none: t/c has no test/accuracy"
    assert text.index("there is room") < text.index("a beats b")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "undecided"),
        ({"kind": "room"}, "failed (undecided)"),
        ({"kind": "premise", "verdict": "supported"}, "passed"),
        ({"kind": "room", "verdict": "none", "why": "4 seeds, fewer than 5"}, "none: 4 seeds, fewer than 5"),
        ({"verdict": "supported", "fragile": ["fails Holm", "x"]}, "supported, fragile: fails Holm; x"),
        ({"verdict": "not tested", "why": "room is opposite"}, "not tested: room is opposite"),
        ({"verdict": "withdrawn", "why": "refuted.", "kind": "room"}, "withdrawn: refuted."),
    ],
)
def test_a_verdict_in_words(changes, words):
    assert report.verdict({"verdict": "undecided", "kind": "headline", "fragile": [], **changes}) == words


def test_limits_and_earlier_looks_are_said():
    look = {"commit": "abcdef0123", "seeds": [3, 4], "claims": {"a": [0.5, "undecided"], "b": [None, "none"]}}
    text = report.markdown(result(limits=["One split."], earlier_looks=[look]))
    assert (
        "- One split.\n- Looked at before, seeds 3 to 4 at abcdef0: a +0.5000 undecided, b – none.\n" in text
    )


def several(tasks=3):
    """The same comparison on several tasks, with other numbers."""
    rng = np.random.default_rng(0)
    values = {f"t{i}/{arm}": rng.normal(0.1 * (arm == "a"), 0.1, 6) for i in range(tasks) for arm in "ab"}
    claim = Claim("a_over_b", "a beats b", METRIC, "a", "b", kind="benchmark")
    arms = {name: {"steps": 1, "metrics": {METRIC: own.tolist()}} for name, own in values.items()}
    claims = decide(
        of_run({f"t{i}": (claim,) for i in range(tasks)}), {k: v["metrics"] for k, v in arms.items()}
    )
    return values, result(arms=arms, claims=claims)


def test_three_tasks_are_summed_up():
    values, found = several()
    (_, (text, tasks, better, middle)) = report.across_tasks(found)
    one, other = (np.stack([values[f"t{i}/{arm}"] for i in range(3)], axis=1) for arm in "ab")
    assert (text, tasks) == ("a beats b", "3")
    value, low, high = map(float, re.findall(r"[-+\d.]+", better))
    assert value == pytest.approx(probability_of_improvement(one, other), abs=0.005)
    assert low < value < high
    assert float(middle.split()[0]) == pytest.approx(interquartile_mean(one - other), abs=1e-4)
    assert "| a beats b  | 3 " in report.markdown(found)
    assert report.across_tasks(several(2)[1]) == []


def test_profiles_are_of_arms_that_every_task_has(tmp_path):
    values, found = several()
    del found["arms"]["t1/b"]
    metric, scores = report.over_tasks(found)
    assert (metric, list(scores)) == (METRIC, ["a"])
    np.testing.assert_array_equal(scores["a"][:, 2], values["t2/a"])
    assert report.over_tasks(several(2)[1])[1] == {}
    curves.plot_profiles(tmp_path / "p.png", scores, metric=metric)
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_the_readme_shows_headlines_and_the_page_shows_all():
    old = result(code="unknown")
    old["claims"][0] |= {"verdict": "withdrawn", "why": "refuted.", "fragile": []}
    new = result()
    new["claims"][0] |= {"fragile": ["fails Holm"], "p_bh": 0.01}
    results = {"x/new": new, "x/old": old}
    table = report.summary_table(results)
    assert table.count("\n") == 3
    assert row(table, "x/new") == [
        "[new](results/x/new.md)", "toy", "t: a beats b", "+0.100", "[+0.091, +0.109]",
        "supported, fragile", "1.5",
    ]  # fmt: skip
    assert row(table, "x/old")[0] == "[old †](results/x/old.md)"
    page = report.published_claims_table(new)
    assert page.count("\n") == 4
    assert row(page, "a beats b")[1] == "headline *"
    assert row(report.published_claims_table(old), "a beats b")[-1] == "withdrawn: refuted."
    new["earlier_looks"] = [{"claims": {"t/a_over_b": [-0.02, "opposite"]}}]
    page = report.published_claims_table(new)
    assert row(page, "a beats b")[-1] == "-0.0200 opposite"
    assert row(page, "claim")[-1] == "before"
    assert [line.split("|")[-2].strip() for line in page.splitlines()[3:]] == ["–", "–"]


def condition():
    """The claim at three shares of wrong labels, of which the last diverged."""
    claim = Claim("a_over_b", "a beats b", METRIC, "a", "b", kind="benchmark")
    noise = np.array([0.0, 0.01, -0.01, 0.02, -0.02])
    scores = {f"{task}/{arm}": {METRIC: noise * (arm == "a") + gain * (arm == "a")}
              for task, gain in (("half", -0.3), ("none", 0.2)) for arm in "ab"}  # fmt: skip
    claims = decide(of_run({task: (claim,) for task in ("half", "none", "most")}), scores)
    values = {"half": 0.5, "most": 0.9, "none": 0.0}
    return result(variant="map", claims=claims, map={"condition": "share of wrong labels", "values": values})


def test_a_map_is_read_in_the_order_of_its_condition(tmp_path):
    points = report.map_points(condition(), "a_over_b")
    assert [point["value"] for point in points] == [0.0, 0.5, 0.9]
    assert [point["effect"] for point in points] == [pytest.approx(0.2), pytest.approx(-0.3), None]
    assert [point["verdict"] for point in points] == ["supported", "opposite", "none"]
    table = report.map_table(condition(), "a_over_b")
    assert row(table, "share of wrong labels")[1:] == ["effect", "95 % interval", "verdict"]
    assert row(table, "| 0.5 ") == ["0.5", "-0.3000", "[-0.3196, -0.2804]", "opposite"]
    assert report.mapped(condition()) == []  # a benchmark does not count
    counts = condition()
    counts["claims"] = [one | {"kind": "headline"} for one in counts["claims"]]
    assert report.mapped(counts) == ["a_over_b"]
    assert row(report.markdown(counts), "| 0.5 ") == row(table, "| 0.5 ")
    curves.plot_map(tmp_path / "m.png", points, condition="share of wrong labels", title="a beats b")
    assert (tmp_path / "m.png").read_bytes()[:4] == b"\x89PNG"


def test_texts_take_their_numbers_from_the_result():
    text = "a is {claim:t/a_over_b}; p {claim:t/a_over_b:p}, {claim:t/room:verdict}, b has {arm:t/b:test/accuracy}."
    filled = report.filled(text, result())
    p = float(re.search(r"p ([^,]+),", filled).group(1))
    assert p == pytest.approx(result()["claims"][0]["p"], rel=1e-2)
    assert filled.startswith("a is +0.100 [+0.091, +0.109], supported; p ")
    assert filled.endswith(", supported, b has 0.500.")
    for wrong in (
        "{claim:t/typo}",
        "{claim:t/a_over_b:typo}",
        "{arm:t/b:typo}",
        "{arm:t/typo:test/accuracy}",
    ):
        with pytest.raises(ValueError, match=re.escape(f"{wrong} names nothing in the result of x/y")):
            report.filled(wrong, result())
    assert report.filled("{braces} stay", result()) == "{braces} stay"
    longer = result()
    longer["claims"][0]["long"] = {
        "effect": 0.2,
        "ci95": [0.1, 0.3],
        "by_interval": "supported",
        "n_seeds": 8,
    }
    assert report.filled("{claim:t/a_over_b:long}", longer) == "+0.200 [+0.100, +0.300], supported"
    longer["claims"][0]["long"]["failed_gates"] = ["learns"]
    assert report.filled("{claim:t/a_over_b:long}", longer) == "+0.200 [+0.100, +0.300], not tested"
    unsure = result()
    unsure["claims"][0] |= {"kind": "secondary", "ci_holm": [-0.01, 0.21], "fragile": ["fails Holm"]}
    said = report.filled("{claim:t/a_over_b}; {claim:t/a_over_b:verdict}", unsure)
    assert (
        said == "+0.100 [-0.010, +0.210], supported, fragile; supported, fragile"
    )  # the interval that decides


def test_texts_show_no_number_that_is_missing_or_withdrawn():
    missing = "{claim:t/c}; p {claim:t/c:p}; {arm:t/c:test/accuracy}; {claim:t/c:why}"
    assert report.filled(missing, result()) == "none; p –; –; t/c has no test/accuracy"
    told = result()
    told["claims"][0] |= {"verdict": "withdrawn", "why": "refuted."}
    assert report.filled("{claim:t/a_over_b}: {claim:t/a_over_b:why}", told) == "withdrawn: refuted."
    told["claims"][1] |= {"ci95": None, "verdict": "none"}  # of one seed
    assert report.filled("{claim:t/room}", told) == "+0.300, none"


def test_curves_are_drawn(tmp_path):
    rows = [
        {"arm": arm, "step": s, "train/loss": [s * 0.1, s * 0.2]} for arm in ("t/a", "t/b") for s in (1, 2, 3)
    ]
    decided = decide([CLAIM], {"t/a": {METRIC: [1.0, 1.2]}, "t/b": {METRIC: [0.5, 0.4]}})
    curves.plot(tmp_path / "c.png", rows=rows, panels={"t": ["t/a", "t/b"]}, claims=decided, title="a title")
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    curves.plot(tmp_path / "empty.png", rows=[], panels={"": []})
    assert (tmp_path / "empty.png").stat().st_size > 0


def test_claims_about_different_metrics_have_scales_of_their_own(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(
        curves, "_forest", lambda axes, claims, metric: drawn.append((metric, [c["text"] for c in claims]))
    )
    common = {"effect": 0.1, "ci95": (0.0, 0.2), "verdict": "undecided"}
    claims = [
        common | {"text": text, "metric": metric}
        for text, metric in (("x", "acc"), ("y", "norm"), ("z", "acc"))
    ]
    lost = common | {"text": "w", "metric": "nll", "effect": None}
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


def test_resamples_are_not_called_seeds_and_have_no_t_intervals():
    plain, resampled = result(), result()
    resampled["claims"][0] |= {"rule": "percentile"}
    assert " seeds, " in report.markdown(plain)
    assert "±" in report.markdown(plain)
    page = report.markdown(resampled)
    assert " resamples of the data, " in page
    assert "±" not in page
