"""The gradient through the student's step is real: finite differences in x64, and a controller that learns from it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from jaxlab import core
from jaxlab.core import cross_entropy
from jaxlab.distillation import tgeo_kd

B, C, D = 12, 3, 4


@pytest.fixture(scope="module")
def problem():
    """A linear student, a teacher that is wrong on every third example, and images held out."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(C, D))
    labels = np.arange(2 * B) % C
    images = centres[labels] + 0.3 * rng.normal(size=(2 * B, D))
    taught = np.where(np.arange(2 * B) % 4 == 0, (labels + 1) % C, labels)
    teacher = 4.0 * np.eye(C)[taught]
    return images, labels.astype(np.int32), teacher


def _losses(images, labels, teacher):
    means = tgeo_kd.class_mean_teacher(jax.nn.softmax(teacher[:B]), labels[:B])

    def ratio(params, controller):
        probs = jax.nn.softmax(images[:B] @ params)
        state = tgeo_kd.trilateral_state(probs, jax.nn.softmax(teacher[:B]), labels[:B], means)
        return tgeo_kd.fusion_ratio(controller, state)

    def lower(params, controller):
        alpha = ratio(params, controller)
        return tgeo_kd.fused_kd_loss(images[:B] @ params, teacher[:B], labels[:B], alpha).mean()

    def upper(params):
        return cross_entropy(images[B:] @ params, labels[B:]).mean()

    return ratio, lower, upper


def test_the_upper_gradient_matches_finite_differences(problem):
    with jax.enable_x64(True):
        images, labels, teacher = (jnp.asarray(x) for x in problem)
        _, lower, upper = _losses(images, labels, teacher)
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)
        controller = wide(tgeo_kd.fusion_controller_init(jax.random.key(0), C, hidden=(4,)))
        params = wide(0.1 * jax.random.normal(jax.random.key(1), (D, C)))
        loss = jax.jit(lambda w: core.unrolled_loss(w, params, lower, upper, learning_rate=0.5))
        assert loss(controller).dtype == jnp.float64
        check_grads(loss, (controller,), order=1, modes=["rev"], rtol=1e-6)
        gradient = jax.grad(loss)(controller)
        assert all(np.abs(leaf).max() > 1e-9 for leaf in jax.tree.leaves(gradient))


def test_unrolled_loss_by_hand():
    # lower = w p, so the step is p - eta w = 3 - 0.5 * 2 = 2; upper = p^2 = 4, d/dw = 2 * 2 * (-0.5) = -2.
    lower, upper = lambda p, w: w * p, lambda p: p**2
    loss = lambda w: core.unrolled_loss(w, jnp.array(3.0), lower, upper, learning_rate=0.5)
    value, slope = jax.value_and_grad(loss)(jnp.array(2.0))
    assert (value, slope) == (4.0, -2.0)


def test_the_controller_learns_to_distrust_a_wrong_teacher(problem):
    images, labels, teacher = (
        jnp.asarray(x, jnp.int32 if x.dtype == np.int32 else jnp.float32) for x in problem
    )
    ratio, lower, upper = _losses(images, labels, teacher)
    init = lambda key: (jnp.zeros((D, C)), tgeo_kd.fusion_controller_init(key, C, hidden=(8,)))
    make = lambda optimizer: core.bilevel_learner(
        init,
        lambda params, controller, batch, context: (lower(params, controller), {}),
        lambda params, batch, context: upper(params),
        optax.sgd(0.1),
        optimizer,
    )

    def train(learner):
        state = learner.init(jax.random.key(0), {})
        step = lambda state, _: learner.update(state, None, jax.random.key(0), {})
        return jax.jit(lambda state: jax.lax.scan(step, state, None, length=150))(state)

    wrong = teacher[:B].argmax(-1) != labels[:B]
    gap = lambda state: float(
        ratio(state.params, state.controller)[~wrong].mean()
        - ratio(state.params, state.controller)[wrong].mean()
    )
    led, metrics = train(make(optax.adam(0.02)))
    held, held_metrics = train(make(None))
    assert gap(led) > gap(held) + 0.2
    assert metrics["upper_loss"][-1] < metrics["upper_loss"][0]
    assert "upper_loss" not in held_metrics
    # Without an optimizer the controller, and that alone, stays as it began.
    began = init(jax.random.key(0))
    chex.assert_trees_all_equal(held.controller, began[1])
    assert np.abs(held.params).max() > 0.1


def test_the_virtual_step_may_have_a_loss_of_its_own():
    # The student follows `lower` (towards 5) whatever the controller does; only `virtual` lets it lead anywhere.
    made = lambda virtual: core.bilevel_learner(
        lambda key: (jnp.zeros(()), jnp.zeros(())),
        lambda p, w, batch, context: ((p - context["goal"]) ** 2, {}),
        lambda p, batch, context: (p - 1) ** 2,
        optax.sgd(0.25),
        optax.sgd(0.1),
        learning_rate=0.5,
        virtual=virtual,
    )
    step = lambda learner: learner.update(
        learner.init(jax.random.key(0), {"goal": 5.0}), None, jax.random.key(0), {"goal": 5.0}
    )[0]
    alone, own = step(made(None)), step(made(lambda p, w, batch, context: ((p - w) ** 2, {})))
    assert alone.params == own.params == 2.5  # 0 - 0.25 * 2 * (0 - 5)
    assert alone.controller == 0.0
    # Virtual step: p' = 0 - 0.5 * 2 (0 - w) = w = 0; d (w - 1)^2 / dw = -2, times the rate 0.1.
    np.testing.assert_allclose(own.controller, 0.2, rtol=1e-6)


def test_a_lower_loss_without_metrics_says_what_to_write():
    learner = core.bilevel_learner(
        lambda key: (jnp.zeros(()), jnp.zeros(())),
        lambda p, w, batch, context: p**2,
        None,
        optax.sgd(1.0),
        None,
    )
    line = r"^lower returns a scalar: it must return \(scalar, metrics\), without metrics \(scalar, \{\}\)"
    with pytest.raises(ValueError, match=line):
        learner.update(learner.init(jax.random.key(0), {}), None, jax.random.key(0), {})


def test_a_rate_that_is_not_positive_is_named():
    with pytest.raises(ValueError, match="learning_rate must be positive, got 0"):
        core.bilevel_learner(lambda key: ({}, {}), None, None, optax.sgd(1.0), None, learning_rate=0)
