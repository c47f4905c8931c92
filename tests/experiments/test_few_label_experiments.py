"""Classification from few labels, from its configs: the smoke runs, and settings that make no sense."""

import json

import chex
import jax
import numpy as np
import pytest

from experiments._config import load
from experiments.semi_supervised import _clip_task, classify
from jaxlab.training._method import groups_of
from tests.experiments.arms import data_of, start
from tests.experiments.command import changed, finish

MEAN_TEACHER, SEFAR = "configs/semi_supervised/mean_teacher.py", "configs/semi_supervised/sefar.py"


@pytest.mark.slow
@pytest.mark.parametrize("config", [MEAN_TEACHER, SEFAR])
def test_the_smoke_run_reports_every_arm(tmp_path, config):
    status, _, error = finish(tmp_path / "run", config=f"{config}:smoke")
    assert status == 0, error
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    expected = load(f"{config}:smoke").config
    assert {arm.rpartition("/")[2] for arm in result["arms"]} == set(expected.arms)
    for arm in result["arms"].values():
        for metric in ("test/accuracy", "test/student_accuracy", "test/worst_recall"):
            assert len(arm["metrics"][metric]) == 2
            assert all(0 <= value <= 1 for value in arm["metrics"][metric])
    assert len(result["claims"]) == len(expected.claims) > 0
    (picture,) = (tmp_path / "run").glob("examples*.png")  # a task has its name in that of its picture
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        (MEAN_TEACHER, {"steps": 0}, "steps is 0"),
        (MEAN_TEACHER, {"labels_per_class": 0}, "labels_per_class is 0"),
        (
            MEAN_TEACHER,
            {"labels_per_class": 91},
            "labels_per_class is 91: it must be between 1 and the 90 examples",
        ),
        (MEAN_TEACHER, {"labelled_batch": 9}, "arm all_labels: labelled_batch is 9"),
        (MEAN_TEACHER, {"data__source": "poems"}, "data.source is 'poems': it must be one of digits"),
        (MEAN_TEACHER, {"data__part": "all"}, "data.part is 'all': it must be one of tuning, rest"),
        (MEAN_TEACHER, {"net__kind": "vit"}, "net.kind is 'vit': it must be one of mlp, convnet"),
        (MEAN_TEACHER, {"arms__fixmatch__method": "guess"}, "arm fixmatch: method is 'guess'"),
        (MEAN_TEACHER, {"arms__fixmatch__mix_weight": 1.0}, "images are not mixed"),
        (SEFAR, {"arms__sefar__perturb": "twist"}, "arm sefar: perturb is 'twist'"),
        (
            MEAN_TEACHER,
            {"arms__fixmatch__mix_on": "ideas"},
            "arm fixmatch: mix_on is 'ideas': it must be one of",
        ),
        (SEFAR, {"arms__sefar__ramp": "steep"}, "arm sefar: ramp is 'steep'"),
        (
            SEFAR,
            {"tasks__clips__data__reversals": 0.3},
            "data.reversals is 0.3: of 8 classes it must be an even",
        ),
    ],
)
def test_settings_that_make_no_sense_are_named(path, changes, message):
    with pytest.raises(ValueError, match=message):
        classify.build(changed(path, **changes))


def test_every_seed_has_examples_and_labels_of_its_own_and_every_arm_the_same():
    experiment = classify.build(changed(MEAN_TEACHER))
    of = lambda seed: data_of(experiment, jax.random.key(seed))
    first, other = of(0)["train"], of(1)["train"]
    assert np.bincount(first["labelled"]["label"]).tolist() == [3] * 10
    assert np.abs(first["labelled"]["input"] - other["labelled"]["input"]).max() > 0
    flat = lambda part: np.asarray(part["input"]).reshape(len(part["label"]), -1)
    train = flat(first["unlabelled"])
    for image in flat(first["labelled"]):  # they are among the training images
        assert (train == image).all(1).any()
    for name in ("val", "test"):
        held_out = flat(of(0)[name])
        assert not any((train == image).all(1).any() for image in held_out[:20])
    initial = [start(experiment, arm, jax.random.key(0), {}).params for arm in ("fixmatch", "mean_teacher")]
    chex.assert_trees_all_equal(*initial)


@pytest.mark.parametrize(("reversals", "pairs"), [(0.0, 0), (0.25, 1), (1.0, 4)])
def test_so_many_classes_are_another_classs_reversal(reversals, pairs):
    both = np.array([[0, 5], [1, 4], [2, 3], [6, 9], [7, 8]])
    orders = np.asarray(_clip_task._orders(jax.random.key(3), both, 4 if pairs < 4 else 8, pairs))
    back = {a: b for pair in both.tolist() for a, b in (pair, pair[::-1])}
    assert len(set(orders.tolist())) == len(orders)
    assert sum(back[order] in orders for order in orders.tolist()) == 2 * pairs


def test_settings_that_are_numbers_share_a_program():
    other = load(f"{MEAN_TEACHER}:smoke").config.arms.fixmatch
    config = changed(MEAN_TEACHER, arms__mean_teacher=other, arms__fixmatch__weight=0.7)
    groups = groups_of(classify.build(config))
    assert {group.names: group.varying() for group in groups} == {
        ("all_labels",): [],
        ("fixmatch", "mean_teacher"): [("weight",)],
        ("supervised",): [],
    }


def test_images_of_ones_own(tmp_path):
    label = np.arange(120) % 4
    image = np.broadcast_to(60 * label[:, None, None], (120, 5, 5)).astype(np.uint8)
    np.savez(
        tmp_path / "own.npz",
        train_image=image,
        train_label=label,
        test_image=image[:40],
        test_label=label[:40],
    )
    where = {
        "data__source": "npz",
        "data__path": str(tmp_path / "own.npz"),
        "data__train": 60,
        "data__val": 20,
    }
    experiment = classify.build(changed(MEAN_TEACHER, **where))
    splits = data_of(experiment, jax.random.key(0))
    assert splits["train"]["labelled"]["input"].shape[1:] == (5, 5, 1)
    assert np.bincount(splits["train"]["labelled"]["label"]).tolist() == [3] * 4
    assert [len(splits[name]["label"]) for name in ("val", "test")] == [20, 40]


def test_the_test_split_can_be_left_out():
    assert set(classify.build(changed(MEAN_TEACHER, test=False)).data) == {"train", "val"}


@pytest.mark.parametrize(("path", "variant"), [(MEAN_TEACHER, "fashion"), (SEFAR, "map")])
def test_the_other_variants_make_sense(path, variant):
    classify._check(load(f"{path}:{variant}").config)
