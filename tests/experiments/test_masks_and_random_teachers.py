"""Masked classifiers and students of untrained teachers, from their configs: smoke runs, and what makes no sense."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import run
from experiments._config import load
from experiments.distillation import distill_random_teacher, train_masked
from jaxlab import data
from tests.experiments.arms import compiled, data_of, make_all, method, start
from tests.experiments.command import changed

RANDOM, MASK = "configs/distillation/random_teacher.py", "configs/distillation/noise_mask.py"
METRICS = {
    RANDOM: ("probe_accuracy", "knn_accuracy"),
    MASK: ("accuracy", "inverted_accuracy", "textured_accuracy"),
}


@pytest.fixture(scope="module", params=[RANDOM, MASK])
def smoke(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    assert run.main([f"--config={request.param}:smoke", f"--workdir={folder / 'run'}"]) == 0
    return request.param, folder / "run"


def test_the_smoke_run_reports_every_arm(smoke):
    path, folder = smoke
    result, expected = json.loads((folder / "result.json").read_text()), load(f"{path}:smoke").config
    assert set(result["arms"]) == set(expected.arms)
    for arm in result["arms"].values():
        for metric in METRICS[path]:
            assert len(arm["metrics"][f"test/{metric}"]) == 2
            assert all(0 <= value <= 1 for value in arm["metrics"][f"test/{metric}"])
    assert len(result["claims"]) == len(expected.claims) > 0
    assert (folder / "examples.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("driver", "path", "changes", "message"),
    [
        (distill_random_teacher, RANDOM, {"steps": 0}, "steps is 0"),
        (
            distill_random_teacher,
            RANDOM,
            {"batch_size": 0},
            "batch_size is 0: it must be between 1 and the 200 training images",
        ),
        (distill_random_teacher, RANDOM, {"probe__train_examples": 9999}, "probe.train_examples is 9999"),
        (
            distill_random_teacher,
            RANDOM,
            {"net__outputs": 4},
            "net.outputs is 4: it must be above the bottleneck",
        ),
        (
            distill_random_teacher,
            RANDOM,
            {"arms__between__inputs": "music"},
            "arm between: inputs is 'music'",
        ),
        (distill_random_teacher, RANDOM, {"arms__between__alpha": 2.0}, "arm between: alpha is 2.0"),
        (train_masked, MASK, {"steps": 0}, "steps is 0"),
        (train_masked, MASK, {"masked_fraction": 1.5}, "masked_fraction is 1.5"),
        (train_masked, MASK, {"batch_size": 999}, "batch_size is 999: it must be between 1 and the 300"),
        (train_masked, MASK, {"texture": 2.0}, "texture is 2.0"),
        (train_masked, MASK, {"mask__grid": 0}, "mask.grid is 0"),
        (train_masked, MASK, {"arms__uniform__method": "holes"}, "arm uniform: method is 'holes'"),
        (train_masked, MASK, {"arms__uniform__schedule": "none"}, "arm uniform: schedule is 'none'"),
    ],
)
def test_settings_that_make_no_sense_are_named(driver, path, changes, message):
    with pytest.raises(ValueError, match=message):
        make_all(driver.build(changed(path, **changes)))


def test_arms_share_the_teacher_and_the_fresh_draw():
    config = changed(RANDOM, arms__noise__alpha=1.0, arms__between__alpha=0.3)
    experiment = distill_random_teacher.build(config)
    begin = lambda arm: start(experiment, arm, jax.random.key(0), {})
    between, fresh, untrained = begin("between"), begin("noise"), begin("pixels")
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)  # each is a program of its own
    jax.tree.map(same, between.memory, fresh.memory)
    jax.tree.map(same, untrained.params, between.memory)
    mixed = jax.tree.map(lambda t, f: (0.7 * t + 0.3 * f) / np.sqrt(0.58), between.memory, fresh.params)
    jax.tree.map(same, between.params, mixed)


def test_modalities_by_hand():
    images = data.Images(jnp.full((200, 8, 8, 1), 0.25), jnp.arange(200) % 10)
    made = train_masked.two_modalities(jax.random.key(0), images, 0.6)
    inverted = np.asarray(made["modality"]) == 0
    assert 60 < inverted.sum() < 140
    np.testing.assert_allclose(made["image"][inverted], 0.75)
    # 0.4 of the image and 0.6 of a grating in [0, 1].
    textured = np.asarray(made["image"][~inverted])
    assert textured.min() >= 0.1 - 1e-6
    assert textured.max() <= 0.7 + 1e-6
    assert textured.std(axis=(1, 2)).min() > 0.01


def test_the_policy_and_the_bases_rest_once_the_masks_are_gone():
    config = changed(MASK, weight_decay=0.0, momentum=0.0, masked_fraction=0.25)
    experiment = train_masked.build(config)
    learner, state = (
        method(experiment, "reinforce").learner,
        start(experiment, "reinforce", jax.random.key(0), {}),
    )
    batch = experiment.draw(data_of(experiment, jax.random.key(0))["train"], jax.random.key(1))
    update = jax.jit(lambda state, seed: learner.update(state, batch, jax.random.key(seed), {})[0])
    masked = update(state, 2)  # one of four steps has masks
    clean, other = update(masked, 3), update(masked, 4)
    apart = lambda a, b: max(
        float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b))
    )
    assert apart(state.memory, masked.memory) > 0
    assert apart(state.params["policy"], masked.params["policy"]) > 0
    assert apart(masked.memory, clean.memory) == 0
    assert apart(masked.params["policy"], clean.params["policy"]) == 0
    # Without masks the step's key changes nothing.
    assert apart(clean.params, other.params) == 0


def test_settings_that_differ_in_numbers_alone_are_one_program():
    assert compiled(distill_random_teacher.build(load(f"{RANDOM}:tune").config)) == {"": 5}
    assert compiled(train_masked.build(load(f"{MASK}:tune").config)) == {"": 6}
