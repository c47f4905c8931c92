"""Classification from few labels, from its configs: the smoke runs, and settings that make no sense."""

import json

import chex
import jax
import numpy as np
import pytest

from experiments._config import load
from experiments.semi_supervised import classify
from jaxlab.training._method import group_of, groups_of
from tests.experiments.command import changed, finish

MEAN_TEACHER, SEFAR = "configs/semi_supervised/mean_teacher.py", "configs/semi_supervised/sefar.py"


@pytest.mark.slow
@pytest.mark.parametrize("config", [MEAN_TEACHER, SEFAR])
def test_the_smoke_run_reports_every_arm(tmp_path, config):
    status, _, error = finish(tmp_path / "run", config=f"{config}:smoke")
    assert status == 0, error
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    expected = load(f"{config}:smoke").config
    assert set(result["arms"]) == set(expected.arms)
    for arm in result["arms"].values():
        for metric in ("test/accuracy", "test/student_accuracy", "test/worst_recall"):
            assert len(arm["metrics"][metric]) == 2
            assert all(0 <= value <= 1 for value in arm["metrics"][metric])
    assert len(result["claims"]) == len(expected.claims) > 0
    assert (tmp_path / "run" / "examples.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        (MEAN_TEACHER, {"steps": 0}, "steps is 0"),
        (MEAN_TEACHER, {"labels_per_class": 0}, "labels_per_class is 0"),
        (MEAN_TEACHER, {"labels_per_class": 500}, "labels_per_class is 500: it must be between 1 and the"),
        (MEAN_TEACHER, {"labelled_batch": 9}, "arm all_labels: labelled_batch is 9"),
        (MEAN_TEACHER, {"data__source": "poems"}, "data.source is 'poems': it must be one of digits"),
        (MEAN_TEACHER, {"data__pool": 3}, "data.pool is 3: it must divide the 8 x 8 pixels"),
        (MEAN_TEACHER, {"net__kind": "vit"}, "net.kind is 'vit': it must be one of mlp, convnet"),
        (MEAN_TEACHER, {"arms__fixmatch__method": "guess"}, "arm fixmatch: method is 'guess'"),
        (MEAN_TEACHER, {"arms__fixmatch__mix_weight": 1.0}, "images are not mixed"),
        (SEFAR, {"arms__sefar__perturb": "twist"}, "arm sefar: perturb is 'twist'"),
        (SEFAR, {"arms__sefar__ramp": "steep"}, "arm sefar: ramp is 'steep'"),
    ],
)
def test_settings_that_make_no_sense_are_named(path, changes, message):
    with pytest.raises(ValueError, match=message):
        classify.build(changed(path, **changes))


def test_every_seed_has_labels_of_its_own_and_every_arm_the_same():
    experiment = classify.build(changed(MEAN_TEACHER))
    learner = lambda arm: group_of(arm, experiment.arms[arm], experiment).method().learner
    of = lambda arm, seed: jax.jit(learner(arm).init)(jax.random.key(seed), {})
    first, same, other = of("fixmatch", 0), of("mean_teacher", 0), of("fixmatch", 1)
    labelled = first.memory.own["labelled"]
    assert np.bincount(labelled["label"]).tolist() == [3] * 10
    np.testing.assert_array_equal(labelled["input"], same.memory.own["labelled"]["input"])
    assert np.abs(labelled["input"] - other.memory.own["labelled"]["input"]).max() > 0
    chex.assert_trees_all_equal(first.params, same.params)
    # They are among the training images.
    train = np.asarray(experiment.data["train"]["input"]).reshape(-1, 64)
    for image in np.asarray(labelled["input"]).reshape(-1, 64):
        assert (train == image).all(1).any()


def test_settings_that_are_numbers_share_a_program():
    other = load(f"{MEAN_TEACHER}:smoke").config.arms.fixmatch
    config = changed(MEAN_TEACHER, arms__mean_teacher=other, arms__fixmatch__weight=0.7)
    groups = groups_of(classify.build(config))
    assert {group.names: group.varying() for group in groups} == {
        ("all_labels",): [],
        ("fixmatch", "mean_teacher"): [("weight",)],
        ("supervised",): [],
    }


def test_the_test_split_can_be_left_out():
    assert set(classify.build(changed(MEAN_TEACHER, test=False)).data) == {"train", "val"}


@pytest.mark.parametrize(("path", "variant"), [(MEAN_TEACHER, "fashion"), (SEFAR, "quick")])
def test_the_other_variants_make_sense(path, variant):
    classify._check(load(f"{path}:{variant}").config)
