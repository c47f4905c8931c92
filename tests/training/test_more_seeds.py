"""More seeds in a workdir: only they are trained, and the numbers are those of a fresh run."""

import itertools
import json
import os
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import Learner
from jaxlab.training import Arm, Experiment, Fit, PerSeed, Plan, Workdir, _more_seeds
from jaxlab.training.metrics import read_rows
from jaxlab.training.run import PreemptedRun, run
from jaxlab.training.workdir import WorkdirError
from tests.training import toy

pytestmark = pytest.mark.slow


def plan(seeds):
    return Plan(seeds=tuple(range(seeds)), log_every=10, eval_every=20, checkpoint_every=20)


def experiment(seeds, *names):
    """Arms of one program, one that stays on the host, from a stage; rows of data that are a seed's own."""
    base, shift = toy.learner(), jnp.arange(10.0)[:seeds]
    on_host = jax.jit(base.update)

    def begin(key, context):
        state = base.init(key, context)
        return state._replace(params={"w": state.params["w"] + context["warm"]["w"]})

    def method(settings):
        def update(state, batch, key, context):
            state, metrics = base.update(state, batch, key, context)
            return state, {**metrics, "pulled": settings.pull * metrics["loss"]}

        return Learner(begin, update)

    arms = {
        "weak": Arm(method, {"pull": 0.5}, steps=40),
        "strong": Arm(method, {"pull": 2.0}, steps=40),
        "host": Arm(Learner(begin, lambda s, b, k, c: on_host(s, b, k, {}), jit=False), steps=20),
    }

    def evaluate(state, split, context):
        rows, shift = split
        return {"mse": toy.mse(state.params, rows) + shift}

    data = {name: (rows, PerSeed(rows=shift)) for name, rows in toy.data().items()}
    stage = Arm(base, steps=20, export=lambda state: state.params)
    return Experiment(
        data, draw=lambda train, key: toy.draw(train[0], key), evaluate=evaluate, prepare={"warm": stage},
        arms={name: arms[name] for name in names or arms},
    )  # fmt: skip


def go(folder, seeds, *names, **options):
    config = {
        "toy": 1,
        "first_seed": 0,
        "seeds": seeds,
        "arms": dict.fromkeys(names or ("weak", "strong", "host"), 0),
    }
    workdir = Workdir(folder, config)
    with workdir.opened():
        return run({"t": experiment(seeds, *names)}, plan(seeds), workdir, name="toy", **options)


def scores(result):
    return {
        (name, metric): values
        for name, facts in {**result["arms"], **result["prepare"]}.items()
        for metric, values in facts["metrics"].items()
    }


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, err_msg=str(name))


def rows(folder):
    return {(row["arm"], row["step"]): row for row in read_rows(folder / "metrics.jsonl")}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Five seeds at once."""
    folder = tmp_path_factory.mktemp("fresh")
    return folder, go(folder, 5)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The first three of them."""
    folder = tmp_path_factory.mktemp("three")
    return folder, go(folder, 3)


def test_they_alone_are_trained_and_give_what_a_fresh_run_gives(three, tmp_path, fresh):
    folder, expected = fresh
    shutil.copytree(three[0], tmp_path, dirs_exist_ok=True)
    found = go(tmp_path, 5)
    same(scores(found), scores(expected))
    for name, values in scores(three[1]).items():  # to the bit: they were not trained again
        assert scores(found)[name][:3] == values
    mine, theirs = rows(tmp_path), rows(folder)
    assert mine.keys() == theirs.keys()
    for key, row in mine.items():
        same(
            {k: v for k, v in row.items() if k != "arm"}, {k: v for k, v in theirs[key].items() if k != "arm"}
        )
    assert json.loads((tmp_path / "config.json").read_text())["seeds"] == 5
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("seeds-", "joined"))]
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert scores(go(tmp_path, 5)) == scores(found)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


@pytest.mark.wide
def test_a_stop_at_any_chunk_loses_nothing(three, tmp_path, fresh):
    shutil.copytree(three[0], tmp_path, dirs_exist_ok=True)
    stops = 0
    while True:
        count = itertools.count()
        try:
            found = go(tmp_path, 5, stop=lambda: next(count) == 1)  # noqa: B023
            break
        except PreemptedRun:
            stops += 1
            assert json.loads((tmp_path / "config.json").read_text())["seeds"] == 3
    assert stops >= 2
    same(scores(found), scores(fresh[1]))


def test_an_arm_that_had_not_ended_begins_anew_and_one_more_may_come(tmp_path, fresh):
    go(tmp_path, 3, "weak")
    with pytest.raises(PreemptedRun):
        go(tmp_path, 3, "weak", "host", stop=lambda: True)
    found = go(tmp_path, 5)
    same(scores(found), scores(fresh[1]))


def test_arms_of_the_folder_are_not_left_behind_nor_seeds_taken_away(tmp_path):
    go(tmp_path, 2, "weak", "host")
    with pytest.raises(WorkdirError, match="also holds t/host: more seeds are for all arms"):
        go(tmp_path, 3, "weak")
    with pytest.raises(WorkdirError, match="seeds: 2 -> 1"):
        go(tmp_path, 1, "weak", "host")


@pytest.mark.wide
def test_a_kill_while_the_joined_run_takes_its_place_is_made_good(three, tmp_path, fresh, monkeypatch):
    def killed(*paths):
        raise KeyboardInterrupt

    shutil.copytree(three[0], tmp_path, dirs_exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr(_more_seeds, "os", types.SimpleNamespace(rename=os.rename, replace=killed))
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path, 5)
    assert (tmp_path / "joined" / "complete").exists()
    same(scores(go(tmp_path, 5)), scores(fresh[1]))
    assert rows(tmp_path).keys() == rows(fresh[0]).keys()


def test_other_words_are_the_same_run(tmp_path):
    words = {
        "scale": "toy",
        "paper": "none",
        "minutes": 1,
        "open_edges": ["a"],
        "map": {"condition": "x"},
        "claims": [],
    }
    one, other = (Workdir(tmp_path, {"a": 1, **own}) for own in ({}, words))
    assert one.identity == other.identity
    assert one.identity_of("arm") == other.identity_of("arm")


def test_fits_that_ended_at_different_steps_share_the_steps_of_both():
    def one(steps, seeds):
        history = {
            "step": np.array(steps),
            "val/mse": np.ones((len(steps), seeds)) * np.array(steps)[:, None],
        }
        return Fit(np.zeros(seeds), [], {"val/mse": np.zeros(seeds)}, 1.0, history)

    joined = _more_seeds._joined(one([10, 20, 100], 2), one([10, 20, 30, 100], 3))
    assert joined.history["step"].tolist() == [10, 20, 100]
    np.testing.assert_array_equal(joined.history["val/mse"], np.outer([10, 20, 100], np.ones(5)))
