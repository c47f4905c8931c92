"""What a result leaves in the repository: settings, earlier looks, thin curves; and what all results say together."""

import json
import subprocess

import numpy as np
import pytest

from jaxlab.metrics import benjamini_hochberg, t_interval
from jaxlab.training import Claim, decide
from jaxlab.training.provenance import commit
from jaxlab.training.publish import completed, earlier_looks, load_results, publish, thin_curves

METRIC = "test/accuracy"
NOISE = np.array([0.0, 0.01, -0.01, 0.02, -0.02])


def result(effect=0.1, **changes):
    arms = {"a": 0.5 + effect + NOISE, "b": np.full(5, 0.5)}
    claims = [
        Claim("a_over_b", "a beats b", METRIC, "a", "b", needs=("converged",)),
        Claim("converged", "it has converged", METRIC, "b", 0.5, kind="premise", relation="equivalent"),
        Claim("c", "b beats a", METRIC, "b", "a", kind="secondary"),
    ]
    arms = {arm: {"steps": 1, "metrics": {METRIC: values.tolist()}} for arm, values in arms.items()}
    decided = decide(claims, {arm: facts["metrics"] for arm, facts in arms.items()})
    return {"config": "x/y", "variant": "default", "commit": "abc", "seeds": [0, 1, 2, 3, 4], "arms": arms,
            "claims": decided, **changes}  # fmt: skip


ROWS = [
    {"arm": arm, "step": step, "train/loss": [0.1 * step, 0.2 * step], "val/accuracy": [1 / step, 1 / step]}
    for arm in ("a", "b")
    for step in range(1, 121)
]


def test_a_result_is_written_with_settings_and_curves_and_read_again(tmp_path):
    target = tmp_path / "x" / "y.json"
    publish(target, result(), ROWS, settings={"arms": {"a": {"rate": 0.1}}})
    assert sorted(path.name for path in target.parent.iterdir()) == ["y.curves.json", "y.json"]
    (name,), (found,) = zip(*load_results(tmp_path).items())
    assert name == "x/y"
    assert found["settings"] == {"arms": {"a": {"rate": 0.1}}}
    assert (found["format"], found["earlier_looks"]) == (2, [])
    assert found["claims"][0]["effect"] == pytest.approx(0.1)
    curves = json.loads(target.with_suffix(".curves.json").read_text())
    assert curves == thin_curves(ROWS)


def test_what_is_replaced_is_an_earlier_look(tmp_path):
    target = tmp_path / "x" / "y.json"
    publish(target, result(), ROWS, settings={})
    publish(target, result(), ROWS, settings={})  # the same numbers again are the same look
    assert load_results(tmp_path)["x/y"]["earlier_looks"] == []
    publish(target, result(-0.2, commit="def", seeds=[5, 6, 7, 8, 9]), ROWS, settings={})
    publish(target, result(0.3), ROWS, settings={})
    first, second = load_results(tmp_path)["x/y"]["earlier_looks"]
    assert (first["commit"], first["seeds"]) == ("abc", [0, 1, 2, 3, 4])
    assert (second["commit"], second["seeds"]) == ("def", [5, 6, 7, 8, 9])
    assert first["claims"]["a_over_b"] == [pytest.approx(0.1), "not tested"]
    assert second["claims"]["c"] == [pytest.approx(0.2), "supported"]


def test_a_look_of_the_first_format_is_remembered_too():
    claim = {"text": "a beats b", "difference": 0.1, "verdict": "before"}
    before = {"arms": {}, "commit": "old", "seeds": [1], "claims": [claim]}
    assert earlier_looks(before, result()) == [
        {"commit": "old", "seeds": [1], "claims": {"a beats b": [0.1, "before"]}}
    ]
    assert earlier_looks(None, result()) == []


def test_curves_keep_means_half_widths_and_the_last_point():
    curves = thin_curves(ROWS)
    (group,) = curves["a"]
    assert len(group["steps"]) == 50
    assert (group["steps"][0], group["steps"][-1]) == (1, 120)
    assert group["mean"]["train/loss"][-1] == 18.0
    low, high = t_interval(np.array([12.0, 24.0]))
    assert group["half"]["train/loss"][-1] == pytest.approx((high - low) / 2, rel=1e-3)
    assert group["mean"]["val/accuracy"][1] == float(f"{1 / group['steps'][1]:.4g}")


def test_metrics_of_other_steps_and_single_numbers():
    rows = [{"arm": "a", "step": step, "loss": [1.0]} for step in (1, 2, 3)]
    rows += [{"arm": "a", "step": step, "val/accuracy": [None if step == 1 else 0.5]} for step in (1, 3)]
    rows += [{"arm": "a", "step": 3, "test/accuracy": [0.5]}]
    assert thin_curves(rows) == {
        "a": [
            {"steps": [1, 2, 3], "mean": {"loss": [1.0, 1.0, 1.0]}},
            {"steps": [1, 3], "mean": {"val/accuracy": [None, 0.5]}},
        ]
    }
    assert thin_curves([]) == {}


@pytest.mark.parametrize(("arms", "metrics", "halves"), [(10, 8, True), (60, 12, False), (120, 20, False)])
def test_curves_of_many_arms_stay_small(arms, metrics, halves):
    rng = np.random.default_rng(0)
    names = [f"{'val' if m % 4 == 0 else 'train'}/metric_{m}" for m in range(metrics)]
    rows = [
        {"arm": f"task/arm_{arm}", "step": step, **{name: rng.random(3).tolist() for name in names}}
        for arm in range(arms)
        for step in range(1, 61, 10 if arms > 50 else 1)
    ]
    curves = thin_curves(rows)
    assert len(json.dumps(curves, separators=(",", ":"))) < 60_000
    assert len(curves) == arms
    assert ("half" in curves["task/arm_0"][0]) == halves
    kept = curves["task/arm_0"][0]["mean"]
    assert "val/metric_0" in kept
    assert len(kept) < metrics if arms == 120 else len(kept) == metrics


def test_headlines_of_all_papers_are_adjusted_together():
    effects = {"x/one": 0.012, "x/two": 0.3, "x/three": -0.009}
    results = {name: result(effect) for name, effect in effects.items()}
    results["x/withdrawn"] = result()
    results["x/withdrawn"]["claims"][0] |= {"verdict": "withdrawn", "fragile": []}
    results["x/one-tune"] = result(variant="tune", claims=[])
    found = completed(results)
    expected = benjamini_hochberg(np.array([results[name]["claims"][0]["p"] for name in effects]))
    assert [found[name]["claims"][0]["p_bh"] for name in effects] == pytest.approx(list(expected))
    assert found["x/withdrawn"]["claims"][0]["p_bh"] is None
    assert all(claim["p_bh"] is None for claim in found["x/one"]["claims"][1:])
    assert completed(found) == found
    assert completed({}) == {}


def test_a_long_run_qualifies_the_verdict_of_the_default_one():
    default = result(edges=["a: rate"])
    assert default["claims"][0]["verdict"] == "not tested"  # b does not scatter, so its gate has no verdict
    other = {"b: rate 0.1": [{"name": "a_over_b", "effect": -1.0}]}
    long = result(0.2, variant="long", runners_up=other)
    found = completed({"x/y": default, "x/y-long": long})
    claim = found["x/y"]["claims"][0]
    assert (claim["verdict"], claim["long"]["effect"]) == ("supported", pytest.approx(0.2))
    assert claim["fragile"] == ["turns with b: rate 0.1", "winner at the edge of a: rate"]
    assert found["x/y-long"] == long
    assert claim["p_bh"] == pytest.approx(claim["p"])
    assert completed(found) == found


def test_a_commit_is_clean_whatever_was_published_and_dirty_with_code_that_git_does_not_know(tmp_path):
    for name in ("code.py", "results/x.json", "configs/family/a.py", ".gitignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("*.pyc\n" if name == ".gitignore" else "before")
    assert commit(tmp_path) is None or len(commit(tmp_path)) >= 40  # outside a checkout, or inside another
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    clean = commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "results" / "x.json").write_text("after")
    for name in ("results/new.json", "notes.txt", "configs/family/a.pyc"):
        (tmp_path / name).write_text("new")
    assert commit(tmp_path) == clean
    (tmp_path / "configs" / "family" / "b.py").write_text("new")
    assert commit(tmp_path) == clean + "-dirty"
    (tmp_path / "configs" / "family" / "b.py").unlink()
    (tmp_path / "code.py").write_text("after")
    assert commit(tmp_path) == clean + "-dirty"
