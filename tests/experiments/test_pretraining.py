"""Pretraining without labels, from its config: a run, what arms share, whose images are whose, what makes no sense."""

import functools
import gzip
import json

import chex
import jax
import numpy as np
import pytest

from experiments import run
from experiments._config import load
from experiments.self_supervised import pretrain
from experiments.self_supervised._image_sets import load_sets
from jaxlab import data
from tests.experiments.arms import make_all, method, programs, start
from tests.experiments.command import ROOT, changed

PATH = "configs/self_supervised/barlow_twins.py"


@functools.cache
def _experiment():
    return pretrain.build(load(f"{PATH}:smoke").config)


@functools.cache
def _train(seed=0):
    return _experiment().data["train"].make(jax.random.key(seed))


@functools.cache
def _batch(arm="bt"):
    return jax.jit(_experiment().arms[arm].draw)(_train(), jax.random.key(1))


@functools.cache
def _steps(arm, count=20):
    """First and last state, and the metrics of every step on one and the same batch."""
    learner, first = method(_experiment(), arm).learner, start(_experiment(), arm, jax.random.key(2), {})

    batch = _batch()

    def step(state, key):
        return learner.update(state, batch, key, {})

    last, metrics = jax.jit(lambda: jax.lax.scan(step, first, jax.random.split(jax.random.key(3), count)))()
    return first, last, metrics


def test_the_smoke_run_reports_every_arm(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run.main([f"--config={PATH}:smoke", f"--workdir={tmp_path}"]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    metrics = {name: arm["metrics"] for name, arm in result["arms"].items()}
    assert set(metrics) == {"bt", "lambda0", "labels", "random", "pixels"}
    probe = {name: np.array(own["test/probe_accuracy"]) for name, own in metrics.items()}
    # What is not trained does not change; what is trained is not what it was, and no two arms are the same.
    for name in ("random", "pixels"):
        assert metrics[name]["val/late_change"] == [0.0, 0.0]
    ranks = [metrics[name]["test/output_rank"] for name in ("bt", "lambda0", "labels", "random")]
    assert len({tuple(rank) for rank in ranks}) == 4
    assert (np.array(ranks) >= 1).all()
    assert "test/output_rank" not in metrics["pixels"]
    assert all(values.shape == (2,) and np.ptp(values) >= 0 for values in probe.values())
    assert {claim["name"] for claim in result["claims"]} >= {
        "bt_over_random",
        "room",
        "converged",
        "decorrelated",
    }


def test_the_loss_falls_the_term_decorrelates_and_both_views_are_used():
    first, last, metrics = _steps("bt")
    assert metrics["loss"][-1] < 0.8 * metrics["loss"][0]
    weight = load(f"{PATH}:smoke").config.arms.bt.off_diagonal_weight
    assert weight > 0
    np.testing.assert_allclose(
        metrics["loss"], metrics["invariance"] + weight * metrics["redundancy"], rtol=1e-5
    )
    *_, without = _steps("lambda0")
    assert metrics["redundancy"][-1] < without["redundancy"][-1]
    assert without["invariance"][-1] < metrics["invariance"][-1]
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), first.params, last.params)
    assert moved["projector"]["params"]["classifier"]["kernel"] > 0
    # The encoder's own classifier reads labels, which nobody showed it.
    assert moved["encoder"]["params"]["classifier"]["bias"] == 0


def test_arms_start_alike_and_see_the_same_views_and_as_many_images():
    for other in ("lambda0", "labels"):
        chex.assert_trees_all_equal(_steps("bt")[0].params, _steps(other)[0].params)
    experiment, config = _experiment(), load(f"{PATH}:smoke").config
    assert experiment.arms["bt"].draw is experiment.arms["labels"].draw
    views = np.asarray(_batch()["views"])
    assert views.shape == (2, 16, 16, 16, 1)
    assert np.abs(views[0] - views[1]).max() > 0.1
    whole = pretrain.build(load(PATH).config)
    assert {arm.steps * arm.settings["batch_size"] for arm in whole.arms.values() if arm.steps} == {300 * 256}
    assert whole.arms["batch32"].steps == 2400
    assert whole.arms["random"].steps == 0 == experiment.arms["pixels"].steps
    assert config.examples == 320


def test_every_seed_has_its_own_images_and_its_own_few_labels():
    splits = _experiment().data
    for name in ("val", "test"):
        seen = {part: own.make(jax.random.key(0)) for part, own in splits[name].items()}
        chex.assert_trees_all_equal(seen["train"], _train())  # the rows are of the training images
        label = np.asarray(_train().label)[np.asarray(seen["few"])]
        np.testing.assert_array_equal(np.bincount(label, minlength=6), np.full(6, 3))
        assert len(set(seen["few"].tolist())) == 18
        assert np.abs(np.asarray(seen["score"].image)[:48] - _train().image[:48]).max() > 0.1
        assert set(seen["few"].tolist()) != set(splits[name]["few"].make(jax.random.key(1)).tolist())
    assert np.abs(_train(0).image - _train(1).image).max() > 0.1


def _write(folder, name, array):
    kind = {3: 3, 1: 1}[array.ndim]
    head = bytes([0, 0, 8, kind]) + b"".join(int(side).to_bytes(4, "big") for side in array.shape)
    (folder / f"{name}-idx{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))


def _of_files(folder, **changes):
    config = changed(PATH, "fashion", data__path=str(folder), data__val=40, **changes)
    return load_sets(config.data, 2, False)


def test_searches_and_comparisons_on_files_share_no_image(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 400), ("t10k", 50)):
        _write(tmp_path, f"{prefix}-images", rng.integers(0, 256, (count, 28, 28), np.uint8))
        _write(tmp_path, f"{prefix}-labels", np.arange(count, dtype=np.uint8) % 10)
    tuning, rest = (
        _of_files(tmp_path, data__part=part, data__train=train)
        for part, train in (("tuning", 60), ("rest", 200))
    )
    rows = lambda images: {one.tobytes() for one in np.asarray(images.image)}
    of = lambda splits: [rows(splits["train"]), rows(splits["val"]["score"]), rows(splits["test"]["score"])]
    parts = of(tuning.splits) + of(rest.splits)
    assert [len(part) for part in parts] == [60, 40, 50, 200, 40, 50]
    assert len(set.union(*parts)) == 60 + 40 + 200 + 40 + 50  # one test file
    assert (rest.num_classes, rest.shape) == (10, (16, 16, 1))
    half, whole = (
        np.asarray(rest.splits["test"]["score"].image),
        data.fashion_mnist(tmp_path, split="test").image,
    )
    assert np.abs(half[:, [0, -1]]).max() == 0
    np.testing.assert_allclose(half[0, 1, 1, 0], whole[0, :2, :2].mean(), rtol=1e-6)
    with pytest.raises(ValueError, match="data.train and data.val are 90 and 40: tuning has 100 images"):
        _of_files(tmp_path, data__part="tuning", data__train=90)


def test_few_labels_of_images_that_stay_in_files(tmp_path):
    rng, label = np.random.default_rng(0), np.arange(80) % 4
    for split in ("train", "test"):
        np.save(tmp_path / f"{split}_image.npy", rng.integers(0, 256, (80, 4, 4, 1), np.uint8))
        np.save(tmp_path / f"{split}_label.npy", label)
    spec = changed(PATH, "paper", data__path=str(tmp_path), data__train=40, data__val=12).data
    sets = load_sets(spec, 2, False, batch_sizes=(8, 8))
    assert (sets.num_classes, sets.shape) == (4, (4, 4, 1))
    known, few = sets.splits["val"]["train"], sets.splits["val"]["few"]
    own = [np.asarray(few.make(jax.random.key(seed))) for seed in range(2)]
    assert [np.bincount(known.label[rows]).tolist() for rows in own] == [[2] * 4] * 2
    assert set(own[0].tolist()) != set(own[1].tolist())
    pixels = lambda images: {image.tobytes() for image in (255 * np.asarray(images)).round().astype(np.uint8)}
    read = sets.splits["train"].source.stacked(np.asarray(sets.splits["train"].rows(jax.random.key(0), 0)))[
        "image"
    ]
    assert len(read) == 8
    assert not pixels(read / 255) & pixels(sets.splits["val"]["score"].image)
    with pytest.raises(
        ValueError, match="batch_size has 8, 16: images of source npy are read once for all arms"
    ):
        load_sets(spec, 2, False, batch_sizes=(8, 16))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data__source": "photos"},
            "data.source is 'photos': it must be one of factors, fashion_mnist, npz",
        ),
        ({"data__label": "place"}, "data.label is 'place': it must be one of shape, texture, label"),
        (
            {"labels_per_class": 0},
            "labels_per_class is 0: it must be between 1 and the 16 images of the rarest class",
        ),
        ({"net__kind": "unet"}, "net.kind is 'unet': it must be one of mlp, convnet, resnet"),
        ({"warm_up": 2.0}, r"warm_up is 2.0: a share of the steps, it must be in \[0, 1\]"),
        (
            {"arms__bt__method": "moco"},
            "arm bt: method is 'moco': it must be one of barlow_twins, mixed_barlow_twins, vicreg, nt_xent",
        ),
        (
            {"arms__bt__probe_on": "logits"},
            "arm bt: probe_on is 'logits': it must be one of features, pixels",
        ),
        (
            {"arms__bt__batch_size": 999},
            "arm bt: batch_size is 999: it must be between 1 and the 320 examples",
        ),
        ({"net__patch": 3}, "net.patch is 3: it must divide the sides of images"),
        ({"data__val": 0}, "data.val must be at least 1, got 0"),
        ({"arms__bt__optimizer": "sgd"}, "optimizer is 'sgd': it must be one of adamw, lars"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make_all(pretrain.build(changed(PATH, **changes)))


def test_settings_that_differ_in_numbers_alone_are_one_program():
    """Nine settings for each of five arms; `bt` and `lambda0` are one method, `random` and `pixels` read two things."""
    assert programs(pretrain.build(load(f"{PATH}:tune").config)) == {"": (45, 4)}
