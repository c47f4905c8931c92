"""Studies of learning, from their configs: real labels give the published numbers, worlds are what they say."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import run
from experiments._config import load
from experiments.education import _studies, measure
from jaxlab.data import SIGHT_CATEGORIES
from jaxlab.training._method import Settings
from tests.experiments.arms import make_all, programs
from tests.experiments.command import ROOT, changed

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "sight.npz")
FOLDER = "configs/education"


def test_a_run_on_the_real_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run.main([f"--config={FOLDER}/sight.py:smoke", f"--workdir={tmp_path}"]) == 0
    arms = json.loads((tmp_path / "result.json").read_text())["arms"]
    found = {name: own["metrics"] for name, own in arms.items()}
    people, model = GOLDEN["out_kappa_HH"], GOLDEN["out_kappa_HM_bin_zeroshot"]
    r = np.corrcoef(people, model)[0, 1]
    np.testing.assert_allclose(found["as_they_are"]["test/correlation"], r, rtol=1e-4)
    agreed, doubtful = [1, 3, 4, 7], [0, 2, 5, 8]
    gap = model[agreed].mean() - model[doubtful].mean()
    np.testing.assert_allclose(found["as_they_are"]["test/model_gap"], gap, rtol=1e-4)
    # Resamples scatter around it, each by its own key.
    for name in ("zero_shot", "categories", "both"):
        values = np.array(found[name]["test/correlation"])
        assert len(set(values)) > 30
        assert abs(values.mean() - r) < 0.25
    for who, kappas in (("people", people), ("model", model)):
        own = [found["as_they_are"][f"test/{who}_{name}"][0] for name in SIGHT_CATEGORIES]
        np.testing.assert_allclose(own, kappas, rtol=1e-4)
    assert "test/model_gap" not in found["categories"]


def test_a_correlation_from_the_means_of_assignments_is_that_of_all_submissions():
    x, y = np.random.default_rng(0).normal(size=(2, 6, 9)).astype(np.float32)
    x, y = x + 1, y + x
    moments = jnp.stack([z.mean(1) for z in (x, y, x * x, y * y, x * y)], axis=1)
    where = np.arange(6) < 4
    expected = np.corrcoef(x[:4].ravel(), y[:4].ravel())[0, 1]
    np.testing.assert_allclose(_studies._from_moments(moments, where), expected, rtol=1e-4)


def test_tests_of_ten_models_err_as_often_as_they_say():
    settings = {"studies": 2000, "models": 10, "effect": 0.0, "bound": 10.0}
    rates = jax.jit(_studies.ratings(Settings(settings)).fn)
    found = rates(None, {}, jax.random.key_data(jax.random.key(0)))
    assert 0.035 < found["t_test"] < 0.065
    assert found["equivalent"] > 0.999  # within ten deviations


@pytest.mark.parametrize(
    ("paper", "shared"),
    [
        ("synthetic_video_study", (6, 3)),
        ("mooc_graders", (8, 5)),
        ("scale_feedback", (6, 3)),
        ("sight", (6, 6)),
    ],
)
def test_arms_that_differ_in_numbers_share_a_program(paper, shared):
    built = measure.build(load(f"{FOLDER}/{paper}.py").config)
    make_all(built)
    assert programs(built) == {"": shared}


@pytest.mark.parametrize(
    ("paper", "flags", "message"),
    [
        ("synthetic_video_study", {"data__source": "people"}, "data.source is 'people': it must be one of"),
        (
            "synthetic_video_study",
            {"arms__n83_0__people": 1},
            "arm n83_0: people is 1: it must be at least 2",
        ),
        (
            "synthetic_video_study",
            {"arms__n83_0__bound": -1.0},
            "arm n83_0: bound must be at least 0, got -1.0",
        ),
        (
            "mooc_graders",
            {"arms__off10__grader": "cats"},
            "arm off10: grader is 'cats': it must be one of rubric",
        ),
        ("mooc_graders", {"arms__off10__studies": 0}, "arm off10: studies is 0: it must be at least 1"),
        ("scale_feedback", {"arms__blind__share": 1.5}, r"arm blind: share must be in \[0, 1\], got 1.5"),
        (
            "scale_feedback",
            {"arms__blind__method": "marking"},
            "arm blind: method is 'marking': it must be one of",
        ),
        (
            "sight",
            {"arms__both__labels": "human1"},
            "arm both: labels is 'human1': it must be one of zero_shot",
        ),
        (
            "sight",
            {"arms__both__resample": ("people",)},
            "arm both: resample is 'people': it must be one of comments",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(paper, flags, message):
    with pytest.raises(ValueError, match=message):
        measure.build(changed(f"{FOLDER}/{paper}.py", **flags))
