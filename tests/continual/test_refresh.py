"""Unlearning as in the code and as in the paper, and the objective of which other methods are cases."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import continual as c
from jaxlab.continual import refresh as r
from jaxlab.core import cross_entropy, gradient_learner, reverse_kl

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
PARAMS = {"w": RNG.normal(size=(3, 2)).astype(np.float32), "b": np.zeros(2, np.float32)}
GRADS = {"w": RNG.normal(size=(3, 2)).astype(np.float32), "b": np.ones(2, np.float32)}
FISHER = {"w": RNG.random((3, 2)).astype(np.float32), "b": np.zeros(2, np.float32)}
unlearn = jax.jit(r.unlearn)
LOGITS, STORED = RNG.normal(size=(2, 5, 4)).astype(np.float32)
LABELS = np.array([0, 3, 1, 1, 2])


def test_a_step_of_the_code_by_hand():
    got = unlearn(PARAMS, GRADS, FISHER, KEY, size=0.1, damping=2.0, noise=0.0)
    w, g = PARAMS["w"], GRADS["w"]
    length = np.linalg.norm(w)  # of the whole tensor
    expected = w + 0.1 * g * length / np.linalg.norm(g) / (1 + 2 * FISHER["w"])
    np.testing.assert_allclose(got["w"], expected, rtol=1e-5)
    np.testing.assert_array_equal(got["b"], PARAMS["b"])  # zeros do not move
    again = unlearn(
        PARAMS, jax.tree.map(lambda g: 100 * g, GRADS), FISHER, KEY, size=0.1, damping=2.0, noise=0.0
    )
    np.testing.assert_allclose(again["w"], got["w"], rtol=1e-5)  # a rate cancels


def test_it_climbs_the_loss():
    x, y = RNG.normal(size=(20, 3)).astype(np.float32), RNG.integers(0, 2, 20)
    loss = jax.jit(lambda p: jnp.mean(cross_entropy(x @ p["w"] + p["b"], y)))
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    grads = jax.grad(loss)(PARAMS)
    assert loss(unlearn(PARAMS, grads, zeros, KEY, size=0.01)) > loss(PARAMS)
    up = r.unlearn_langevin(PARAMS, jax.grad(loss), zeros, KEY, rate=1e-8, steps=3, damping=1e-6)
    assert loss(up) > loss(PARAMS)


def test_the_noise_is_that_of_the_code():
    """size times noise, over 1 + damping F, whatever the weights."""
    flat, zeros = np.full(20_000, 1e-6, np.float32), np.zeros(20_000, np.float32)
    moved = unlearn(flat, zeros, zeros + 3.0, KEY, size=0.5, damping=1.0, noise=0.2) - flat
    np.testing.assert_allclose([jnp.mean(moved), jnp.std(moved)], [0.0, 0.5 * 0.2 / 4], atol=5e-4)
    paper = r.unlearn_langevin(flat, lambda w: 0 * w, zeros + 3.0, KEY, rate=0.5, damping=1.0, steps=2) - flat
    np.testing.assert_allclose(jnp.std(paper), (2 * 2 * 0.5 / 4) ** 0.5, rtol=0.02)


def test_the_paper_has_steps_and_an_inverse():
    step = lambda w: np.float32([2.0])
    got = r.unlearn_langevin(
        np.float32([1.0]), step, np.float32([4.0]), KEY, rate=1e-12, steps=3, damping=1.0
    )
    noise = 1 + 3 * 1e-12 * 2 / 5
    np.testing.assert_allclose(got, [noise], atol=1e-5)
    same = r.unlearn_langevin(PARAMS, lambda p: p, FISHER, KEY, rate=0.1, steps=0)
    np.testing.assert_array_equal(same["w"], PARAMS["w"])


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e4])
def test_extremes_are_finite(scale):
    big = jax.tree.map(lambda x: scale * x, PARAMS)
    for grads in (jax.tree.map(lambda g: scale * g, GRADS), jax.tree.map(lambda g: 1e4 * g, GRADS)):
        moved = unlearn(big, grads, jax.tree.map(lambda f: 1e4 * f, FISHER), KEY, size=0.1)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(moved))
    half = unlearn(jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), PARAMS), GRADS, FISHER, KEY)
    assert half["w"].dtype == jnp.bfloat16


def test_a_learner_unlearns_then_learns():
    base = gradient_learner(
        lambda key, context: (np.float32([1.0, 2.0]), None),
        lambda p, memory, batch, step, key, context: (
            jnp.sum(p * batch) + jax.random.normal(key),
            (memory, {}),
        ),
        optax.sgd(0.5),
    )
    learner = r.refreshed(base, lambda state, batch, key, context: state.params + context)
    batch = np.float32([1.0, -1.0])
    state, metrics = learner.update(learner.init(KEY, 3.0), batch, KEY, 3.0)
    np.testing.assert_allclose(state.params, [1 + 3 - 0.5, 2 + 3 + 0.5])
    # The other learner's key stays its own.
    plain = base.update(base.init(KEY, 3.0)._replace(params=np.float32([4.0, 5.0])), batch, KEY, 3.0)
    assert plain[1]["loss"] == metrics["loss"]


def test_ewc_er_der_and_der_pp_are_cases():
    anchor = c.WeightAnchor(PARAMS, FISHER)
    here = jax.tree.map(lambda p, g: p + g, PARAMS, GRADS)
    task, one_hot = jnp.float32(0.7), np.eye(4, dtype=np.float32)[LABELS]

    ewc = lambda p: r.unified_objective(
        task, weights=(r.fisher_quadratic(FISHER), p, PARAMS), weight_weight=3.0
    )
    usual = lambda p: task + c.quadratic_penalty(p, anchor, strength=3.0)
    er = lambda z: r.unified_objective(task, outputs=(r.negative_entropy, one_hot, jax.nn.softmax(z)))
    replay = lambda z: task + jnp.mean(cross_entropy(z, LABELS))
    der = lambda z: r.unified_objective(task, outputs=(r.half_square, z, STORED), output_weight=0.3 * 2 / 4)
    dark = lambda z: task + 0.3 * jnp.mean(c.der_loss(z, STORED))
    both = lambda z: r.unified_objective(der(z), outputs=(r.negative_entropy, one_hot, jax.nn.softmax(z)))
    dark_both = lambda z: dark(z) + jnp.mean(cross_entropy(z, LABELS))
    for unified, plain, at in (
        (ewc, usual, here),
        (er, replay, LOGITS),
        (der, dark, LOGITS),
        (both, dark_both, LOGITS),
    ):
        got, expected = (jax.jit(jax.value_and_grad(f))(at) for f in (unified, plain))
        chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)
    assert r.unified_objective(task) == task


def test_divergences_by_potential():
    p, q = (np.asarray(jax.nn.softmax(z)) for z in (LOGITS, STORED))
    np.testing.assert_allclose(r.bregman(r.negative_entropy, p, q), reverse_kl(LOGITS, STORED), rtol=1e-4)
    np.testing.assert_allclose(
        r.bregman(r.half_square, LOGITS, STORED), np.sum((LOGITS - STORED) ** 2, 1) / 2, rtol=1e-4
    )
    for potential in (r.negative_entropy, r.half_square):
        np.testing.assert_allclose(r.bregman(potential, p, p), 0.0, atol=1e-6)
        assert (r.bregman(potential, p, q) >= 0).all()
    far = lambda z: jnp.sum(r.bregman(r.negative_entropy, np.eye(3, dtype=np.float32), jax.nn.softmax(z)))
    value, gradient = jax.value_and_grad(far)(1e4 * np.eye(3, dtype=np.float32)[::-1])
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: r.unlearn(PARAMS, GRADS["w"], FISHER, KEY), "grads must have the structure"),
        (lambda: r.unlearn(PARAMS["w"], GRADS["w"], FISHER["b"], KEY), "fisher must have the shapes"),
        (lambda: r.unlearn(PARAMS, GRADS, FISHER, KEY, damping=-1.0), "damping must be at least 0"),
        (lambda: r.unlearn_langevin(PARAMS, lambda p: p, FISHER, KEY, rate=-1.0), "rate must be at least 0"),
        (lambda: r.unlearn_langevin(PARAMS, lambda p: p, FISHER, KEY, rate=1.0, steps=-1), "steps must be"),
        (lambda: r.bregman(r.half_square, LOGITS, STORED[:2]), "q must have the shapes"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
