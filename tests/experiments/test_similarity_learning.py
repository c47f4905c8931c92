"""Learning from answers, from its config: a run, worlds of the seeds' own, as many answers for all."""

import json

import jax
import numpy as np
import pytest

from experiments import run
from experiments._config import load
from experiments.self_supervised import learn_similarity
from tests.experiments.arms import make_all, programs
from tests.experiments.command import ROOT, changed

PATH = "configs/self_supervised/sirl.py"


def test_the_smoke_run_reports_every_arm(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run.main([f"--config={PATH}:smoke", f"--workdir={tmp_path}"]) == 0
    arms = json.loads((tmp_path / "result.json").read_text())["arms"]
    found = {name.rpartition("/")[2]: own["metrics"] for name, own in arms.items()}
    assert set(found) == {"sirl", "single", "multi", "vae", "random"}
    assert len({tuple(own["test/feature_error"]) for own in found.values()}) == 5
    assert all(0.3 < np.mean(own["test/reward_accuracy"]) <= 1 for own in found.values())


def test_every_kind_has_as_many_answers_and_every_seed_a_world():
    train = learn_similarity.build(load(f"{PATH}:smoke").config)["mild_300"].data["train"]
    one, other = (train.make(jax.random.key(seed)) for seed in (0, 1))
    assert len(one.triple) == len(one.pair["single"]) == len(one.pair["multi"]) == 20
    np.testing.assert_array_equal(np.bincount(one.reward["multi"]), np.full(10, 2))
    assert not np.array_equal(one.triple, other.triple)


def test_arms_of_one_method_share_a_program():
    built = learn_similarity.build(load(f"{PATH}:tune").config)
    make_all(built)
    assert programs(built) == {"mild_1000": (64, 4)}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"arms__sirl__method": "guess"}, "arm sirl: method is 'guess': it must be one of similarity"),
        ({"arms__single__answers": "both"}, "arm single: answers is 'both': it must be one of single, multi"),
        (
            {"tasks__mild_300__answers": 25},
            "tasks.mild_300.answers is 25: it must be a multiple of the 10 rewards",
        ),
        ({"tasks__mild_300__behaviours": 2}, "tasks.mild_300.behaviours is 2: it must be between 3"),
        ({"tasks__mild_300__error_rate": 2.0}, r"tasks.mild_300.error_rate must be in \[0, 1\], got 2.0"),
        ({"batch_size": 0}, "batch_size is 0: it must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_one_line(flags, message):
    with pytest.raises(ValueError, match=message):
        learn_similarity.build(changed(PATH, **flags))
