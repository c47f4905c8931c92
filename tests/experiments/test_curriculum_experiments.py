"""Curricula from their configs: what every seed has, what is drawn, what makes no sense."""

import functools
import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments import run
from experiments._config import load
from experiments.curriculum import federate, pace_samples
from jaxlab import data
from jaxlab.curriculum import transfer_difficulty
from tests.experiments.arms import make_all, method, programs
from tests.experiments.command import ROOT, changed

CYCLES, CLIENTS = (f"configs/curriculum/{name}_curriculum.py" for name in ("cyclical", "federated"))


@functools.cache
def _cycles():
    return pace_samples.build(load(f"{CYCLES}:smoke").config)["noisy"]


def test_paced_arms_see_as_many_examples_of_another_choice(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run.main([f"--config={CYCLES}:smoke", f"--workdir={tmp_path}"]) == 0
    arms = json.loads((tmp_path / "result.json").read_text())["arms"]
    drawn = {
        name: {
            key: np.array(arms[f"noisy/{name}"]["metrics"][f"drawn/{key}"])
            for key in ("wrong_labels", "difficulty")
        }
        for name in ("vanilla", "ccl_easy", "constant_easy")
    }
    # Two passes over all: every example twice, 13 wrong labels of 64.
    np.testing.assert_allclose(drawn["vanilla"]["difficulty"], 0.5, atol=1e-6)
    np.testing.assert_allclose(drawn["vanilla"]["wrong_labels"], 13 / 64, atol=1e-6)
    for name in ("ccl_easy", "constant_easy"):
        assert (drawn[name]["difficulty"] < 0.5).all()
    assert {arm.steps for arm in _cycles().arms.values()} == {16}


def test_every_seed_has_its_own_images_and_its_own_wrong_labels():
    splits = _cycles().data
    rows = lambda images: [{one.tobytes() for one in np.asarray(seed)} for seed in images]
    parts = [splits["train"]["image"].rows, splits["val"].rows.image, splits["test"].rows.image]
    for one in zip(*map(rows, parts)):
        assert [len(part) for part in one] == [64, 40, 40]
        assert len(set.union(*one)) == 144
    label, true = splits["train"]["label"].rows, np.asarray(splits["train"]["true_label"].rows)
    assert (label != true).sum(1).tolist() == [13, 13]
    assert ((label >= 0) & (label < 10)).all()
    assert ((label != true)[0] != (label != true)[1]).any()


def test_searches_and_comparisons_share_no_digit():
    def rows(**changes):
        config = changed(CYCLES, **changes)
        splits = pace_samples.build(config)["noisy"].data
        images = [splits["train"]["image"].rows, splits["val"].rows.image, splits["test"].rows.image]
        return {one.tobytes() for part in images for seed in np.asarray(part) for one in seed}

    assert not rows() & rows(tasks__noisy__data__part="tuning", tasks__noisy__data__train=80)


def test_arms_that_differ_in_rates_alone_are_one_program():
    """Twenty settings of seven arms: 140 arms in seven programs."""
    assert set(programs(pace_samples.build(load(f"{CYCLES}:tune").config)).values()) == {(140, 7)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tasks__noisy__arms__vanilla__method": "spiral"},
            "arm vanilla: method is 'spiral': it must be one of constant",
        ),
        (
            {"tasks__noisy__arms__vanilla__prefer": "odd"},
            "arm vanilla: prefer is 'odd': it must be one of easy",
        ),
        (
            {"tasks__noisy__arms__ccl_easy__share": 0.0},
            "arm ccl_easy: share is 0.0 and passes 2.0: a share is in",
        ),
        ({"tasks__noisy__arms__ccl_easy__share": 0.01}, "the 0 examples of the shortest epoch"),
        ({"tasks__noisy__wrong_labels": 1.5}, "wrong_labels is 1.5: it must be between 0 and 1.0"),
        ({"tasks__noisy__data__part": "all"}, "data.part is 'all': it must be one of tuning, rest"),
        (
            {"tasks__noisy__data__source": "photos"},
            "data.source is 'photos': it must be one of digits, fashion",
        ),
        (
            {"tasks__noisy__data__train": 2000},
            "data.train, data.val, data.test are 2000, 40, 40: rest has 1346 images",
        ),
        ({"batch_size": 0}, "batch_size is 0: it must be at least 1"),
    ],
)
def test_settings_of_paced_arms_that_make_no_sense_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        _one_step_of_each(changed(CYCLES, **changes))


def _one_step_of_each(config):
    """In shapes, as before a run."""
    for experiment in pace_samples.build(config).values():
        make_all(experiment)
        train = {name: part.rows[0] for name, part in experiment.data["train"].items()}
        scores = dict.fromkeys(("loss", "rank"), np.ones(len(train["label"]), np.float32))
        for name in experiment.arms:
            jax.eval_shape(_first_step(method(experiment, name).learner, train, scores), jax.random.key(0))


def _first_step(learner, train, scores):
    context = {"difficulty": scores}
    return lambda key: learner.update(learner.init(key, context), {"train": train, "key": key}, key, context)


def test_federated_arms_average_shards_that_every_image_is_in_once(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run.main([f"--config={CLIENTS}:smoke", f"--workdir={tmp_path}"]) == 0
    arms = json.loads((tmp_path / "result.json").read_text())["arms"]
    found = {name: arms[f"apart/{name}"]["metrics"] for name in ("random", "easy_first")}
    # The order is all that differs: what is drawn is easier, and another model comes of it.
    assert np.mean(found["easy_first"]["drawn/loss"]) < np.mean(found["random"]["drawn/loss"])
    assert found["easy_first"]["test/late_accuracy"] != found["random"]["test/late_accuracy"]
    train = federate.build(load(f"{CLIENTS}:smoke").config)["apart"].data["train"]
    for row, where in zip(train["row"].rows, train["where"].rows):
        assert sorted(row[where]) == list(range(100))
        assert 5 <= where.sum(1).min() <= where.sum(1).max() <= 60


def test_clients_of_the_difficulty_task_differ_in_it():
    images = data.digits()
    train = jax.tree.map(lambda x: np.asarray(x)[None, :300], images)
    spec = ConfigDict({"clients": 3})
    ((rows, where),) = federate.PARTITIONS["difficulty"](train, 10, spec, (0,))
    assert where.all()
    pixels, label = train.image[0].reshape(300, -1), train.label[0]
    loss = transfer_difficulty(pixels, label, num_classes=10)
    means = [float(loss[row].mean()) for row in rows]
    assert means == sorted(means)
    assert means[2] > 2 * means[0]


def test_federated_arms_that_differ_in_pace_and_rate_alone_are_one_program():
    """`none` and `random`; every other arm has an order or a pool of its own."""
    built = federate.build(changed(CLIENTS, "tune"))
    assert set(programs(built).values()) == {(30, 5)}
    assert built["apart"].arms["none_0"].steps == 31 * 80


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks__apart__partition": "odd"}, "partition is 'odd': it must be one of labels, difficulty"),
        (
            {"tasks__apart__arms__random__order": "odd"},
            "arm random: order is 'odd': it must be one of easy_first",
        ),
        ({"tasks__apart__largest": 10}, "4 clients with at most 10 examples each cannot have all 100"),
        ({"tasks__apart__members": 9}, r"members 9 in \[1, K\]"),
        ({"log_every": 5}, "log_every is 5: it is the steps of a round, of which the largest client takes"),
        ({"rounds": 0}, "rounds is 0: it must be at least 1"),
    ],
)
def test_settings_of_federated_arms_that_make_no_sense_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        federate.build(changed(CLIENTS, **changes))
