"""Ways of pretraining beside Barlow Twins: views are equally many, teachers follow, gates stay; what is measured."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._config import load
from experiments.self_supervised import pretrain
from experiments.self_supervised._task import factor
from jaxlab.core import ema_value
from tests.experiments.arms import method, start

FOLDER = "configs/self_supervised"


def _built(name, variant=""):
    return pretrain.build(load(f"{FOLDER}/{name}.py{variant}").config)


def _one_step(experiment, arm):
    """First and next state, by one batch of the arm's."""
    key = jax.random.key(0)
    train = experiment.data["train"].make(key)
    first = start(experiment, arm, key, {})

    def step(state):
        return method(experiment, arm).learner.update(state, experiment.arms[arm].draw(train, key), key, {})[
            0
        ]

    return first, jax.jit(step)(first)


def test_a_teacher_follows_by_its_decay_and_prototypes_follow_too():
    experiment = _built("which_objective", ":smoke")
    decay = experiment.arms["dino"].settings["decay"]
    first, after = _one_step(experiment, "dino")
    assert set(first.params) == {"encoder", "projector", "prototypes"}
    expected = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, first.params, after.params)
    found = ema_value(after.memory["teacher"])
    chex.assert_trees_all_close(found, expected, atol=1e-6)
    assert np.abs(after.memory["center"]).max() > 0 == np.abs(first.memory["center"]).max()


def test_arms_encode_as_many_views_however_many_an_image_has():
    arms = _built("multiview_contrastive").arms
    trained = {name: arm for name, arm in arms.items() if arm.steps}
    assert {a.steps * a.settings["batch_size"] * a.settings["views"]["count"] for a in trained.values()} == {
        144_000
    }
    assert trained["dhel6"].draw is trained["pairwise6"].draw is not trained["dhel2"].draw
    mixed = _built("mixed_barlow_twins").arms
    assert 3 * mixed["mixed"].steps == 2 * mixed["bt_longer"].steps == 3 * mixed["bt"].steps


def test_tasks_differ_in_data_and_views_and_claims_may_be_about_one():
    tasks = _built("supremix")
    rows = {
        name: len(jax.eval_shape(task.data["train"].make, jax.random.key(0)).label)
        for name, task in tasks.items()
    }
    assert rows == {"n100": 100, "n1000": 1000}
    claims = {name: {claim.name for claim in task.claims} for name, task in _built("amcl").items()}
    assert claims["one"] == {"more_in_five"} < claims["five"]


def test_what_was_lost_is_judged_by_the_half_that_did_not_choose():
    history = {
        "step": np.array([0, 5, 10]),
        "val/knn_accuracy": np.array([[0.1], [0.9], [0.5]]),
        "val/knn_first_half": np.array([[0.1], [0.9], [0.5]]),
        "val/knn_second_half": np.array([[0.8], [0.7], [0.6]]),
    }
    found = pretrain._summary("knn_accuracy", history)
    np.testing.assert_allclose(found["val/knn_loss"], [0.1])
    np.testing.assert_allclose(
        found["val/late_change"], [-0.4]
    )  # from the last evaluation before the last fifth


def test_a_factor_that_images_do_not_have_is_named():
    with pytest.raises(ValueError, match="there is no factor 'angle': these images have none"):
        factor({"image": jnp.zeros((2, 4, 4, 1)), "label": jnp.zeros(2)}, "angle")
