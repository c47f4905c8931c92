"""Barlow Twins: the authors' numbers, by hand, what changes nothing, what is degenerate, devices, what it learns."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.metrics import effective_rank
from jaxlab.self_supervised import BarlowTwinsTerms, barlow_twins_loss

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "barlow_twins.npz"))
RNG = np.random.default_rng(0)
Z1, Z2 = RNG.normal(size=(2, 12, 6)).astype(np.float32)
WHERE = np.arange(12) % 4 > 0
STATIC = ("ddof", "eps")


def _value(z1, z2, **options):
    return barlow_twins_loss(z1, z2, **options)[0]


loss = jax.jit(barlow_twins_loss, static_argnames=STATIC)
graded = jax.jit(jax.value_and_grad(_value, argnums=(0, 1)), static_argnames=STATIC)


@pytest.mark.parametrize("case", ["z", "h"])
def test_the_authors_numbers(case):
    """`h`: twice the same view, one feature of which is constant."""
    value, gradients = graded(*(np.float32(GOLDEN[f"in_{case}{view}"]) for view in (1, 2)))
    np.testing.assert_allclose(value, GOLDEN["out_loss" if case == "z" else "out_loss_h"], rtol=1e-5)
    for view, gradient in enumerate(gradients, start=1):
        expected = GOLDEN[f"grad_{case}{view}"]
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_by_hand():
    # Both features are the first view's first: correlations of 1 in the first column and -1 in the second.
    z1 = np.array([[1.0, 3.0], [-1.0, -3.0]], np.float32)
    z2 = np.array([[2.0, -1.0], [0.0, 1.0]], np.float32)
    total, terms = loss(z1, z2, off_diagonal_weight=0.5, eps=0.0)
    # Diagonal 1 and -1: 0 + 4. Off the diagonal -1 and 1: 2.
    np.testing.assert_allclose([total, *terms], [5.0, 4.0, 2.0], rtol=1e-6)
    # With N - 1 in the variance all correlations are halved: (1/2 - 1)^2 + (-1/2 - 1)^2, and 2 / 4.
    total, terms = loss(z1, z2, off_diagonal_weight=0.5, eps=0.0, ddof=1)
    np.testing.assert_allclose([total, *terms], [2.75, 2.5, 0.5], rtol=1e-6)
    # eps is added to variances of 1, 9, 1 and 1.
    _, terms = loss(z1, z2, eps=1.0)
    np.testing.assert_allclose(terms.invariance, (1 / 2 - 1) ** 2 + (-3 / 20**0.5 - 1) ** 2, rtol=1e-6)
    assert isinstance(terms, BarlowTwinsTerms)


def test_the_least_value_is_that_of_independent_features_that_agree():
    basis = np.linalg.qr(np.concatenate([np.ones((12, 1)), Z1], axis=1))[0][:, 1:].astype(np.float32)
    for options, least in (({"eps": 0.0}, 0.0), ({"eps": 0.0, "ddof": 1}, 6 / 144)):
        value, gradients = graded(basis, 3 * basis + 5, **options)
        np.testing.assert_allclose(value, least, atol=1e-6)
        if not least:
            assert max(np.abs(g).max() for g in gradients) < 1e-4


def test_what_changes_nothing():
    value, _ = loss(Z1, Z2, eps=0.0)
    order, features = RNG.permutation(12), RNG.permutation(6)
    same = {
        "order of the batch": (Z1[order], Z2[order]),
        "order of the features": (Z1[:, features], Z2[:, features]),
        "views": (Z2, Z1),
        "scale and place of a feature": (Z1 * np.float32([1, 2, 3, 4, 5, 6]) - 7, Z2 + 3),
    }
    for name, views in same.items():
        np.testing.assert_allclose(loss(*views, eps=0.0)[0], value, rtol=1e-4, err_msg=name)
    assert abs(loss(Z1, Z2[order], eps=0.0)[0] - value) > 1e-2  # but which view goes with which does
    with jax.disable_jit():
        np.testing.assert_allclose(barlow_twins_loss(Z1, Z2, eps=0.0)[0], value, rtol=1e-5)


def test_examples_that_do_not_count_are_dropped():
    spoiled = [np.where(WHERE[:, None], z, np.nan) for z in (Z1, Z2)]
    value, gradients = graded(*spoiled, where=WHERE)
    expected, expected_gradients = graded(Z1[WHERE], Z2[WHERE])
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for gradient, own in zip(gradients, expected_gradients):
        np.testing.assert_allclose(gradient[WHERE], own, rtol=1e-4, atol=1e-6)
        assert np.abs(gradient[~WHERE]).max() == 0
    assert np.isnan(loss(*spoiled)[0])


@pytest.mark.parametrize("options", [{}, {"eps": 0.0, "ddof": 1}])
@pytest.mark.parametrize(
    "make",
    [
        lambda: np.full((12, 6), 3.0, np.float32),
        lambda: np.zeros((12, 6), np.float32),
        lambda: Z1[:1],
        lambda: Z1[:0],
    ],
    ids=["equal", "zero", "one", "none"],
)
def test_without_spread_it_is_the_dimension_without_gradient(make, options):
    value, gradients = graded(make(), make(), **options)
    assert value == 6
    assert all(np.abs(g).max(initial=0) == 0 for g in gradients)
    assert loss(Z1, Z2, where=np.zeros(12))[0] == 6


def test_types_and_extremes():
    for z1, z2 in ((1e4 * Z1, -1e4 * Z2), (Z1 + 1e4, Z2), (1e-20 * Z1, Z2)):
        value, gradients = graded(z1, z2)
        assert np.isfinite(value)
        assert all(np.isfinite(g).all() for g in gradients)
    half = loss(Z1.astype(jnp.bfloat16), Z2.astype(jnp.float16))[0]
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, loss(Z1.astype(jnp.bfloat16).astype(np.float32), Z2)[0], rtol=1e-2)


def test_redundancy_reduction_fills_the_directions_that_invariance_alone_leaves_empty():
    """Noisy views of eight factors, one of them strong, seen by a linear map that begins with equal outputs."""
    factors = RNG.normal(size=(256, 8)).astype(np.float32) * np.float32([4, 1, 1, 1, 1, 1, 1, 1])
    begin = (1 + 0.1 * RNG.normal(size=(8, 8))).astype(np.float32)
    adam = optax.adam(3e-2)

    def learn(weight):
        def step(carry, key):
            w, state = carry
            views = factors + 0.3 * jax.random.normal(key, (2, *factors.shape))
            gradient = jax.grad(lambda w: _value(*(views @ w), off_diagonal_weight=weight))(w)
            updates, state = adam.update(gradient, state)
            return (w + updates, state), None

        (w, _), _ = jax.lax.scan(step, (begin, adam.init(begin)), jax.random.split(jax.random.key(0), 150))
        return effective_rank(factors @ w / jnp.std(factors @ w, axis=0))

    without, with_it = jax.jit(jax.vmap(learn))(jnp.array([0.0, 0.5]))
    assert without < 4 < 6 < with_it


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: loss(Z1, Z2[:3]), r"z1 \(12, 6\) and z2 \(3, 6\) must have the same shape \[N, D\]"),
        (lambda: loss(Z1[0], Z2[0]), r"z1 \(6,\) and z2 \(6,\) must have the same shape \[N, D\]"),
        (lambda: loss(Z1, Z2, where=WHERE[:5]), r"where \(5,\) must broadcast to the rows of x \(12,\)"),
        (lambda: loss(Z1, Z2, ddof=2), "ddof must be 0 or 1, got 2"),
        (lambda: loss(Z1, Z2, eps=-1.0), "eps must be at least 0, got -1.0"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_eps_may_be_traced():
    traced = jax.jit(lambda eps: _value(Z1, Z2, eps=eps))(0.1)
    np.testing.assert_allclose(traced, _value(Z1, Z2, eps=0.1), rtol=1e-5)
