"""Alignment, uniformity and effective rank: by hand, by their definitions in loops, and on what is degenerate."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.metrics import alignment, effective_rank, uniformity

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 7, 4)).astype(np.float32)
WHERE = np.array([1, 1, 0, 1, 1, 0, 1], bool)
MEASURES = {
    "alignment": lambda x, where=None: alignment(x, Y[: len(x)], where=where),
    "uniformity": lambda x, where=None: uniformity(x, where=where),
    "effective_rank": lambda x, where=None: effective_rank(x, where=where),
}
MEASURES = {name: jax.jit(measure) for name, measure in MEASURES.items()}
every = pytest.mark.parametrize("name", MEASURES)


def _unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_alignment_and_uniformity_are_their_definitions():
    x, y = _unit(X.astype(np.float64)), _unit(Y.astype(np.float64))
    np.testing.assert_allclose(MEASURES["alignment"](X), ((x - y) ** 2).sum(1).mean(), rtol=1e-5)
    pairs = [np.exp(-2 * ((a - b) ** 2).sum()) for a, b in itertools.combinations(x, 2)]
    np.testing.assert_allclose(MEASURES["uniformity"](X), np.log(np.mean(pairs)), rtol=1e-5)
    pairs = [np.exp(-0.5 * ((a - b) ** 2).sum()) for a, b in itertools.combinations(x, 2)]
    np.testing.assert_allclose(uniformity(3 * X, t=0.5), np.log(np.mean(pairs)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(30, 6), (6, 30)])
def test_effective_rank_is_that_of_the_singular_values(shape):
    x = RNG.normal(size=shape).astype(np.float32) * np.geomspace(1, 30, shape[1], dtype=np.float32) + 5
    sigma = np.linalg.svd(x - x.mean(0), compute_uv=False)
    p = sigma[sigma > 1e-4 * sigma[0]] / sigma.sum()
    np.testing.assert_allclose(effective_rank(x), np.exp(-(p * np.log(p)).sum()), rtol=1e-3)


def test_effective_rank_counts_equal_directions():
    # Two rows of opposite sign for each of k axes: k equal singular values.
    for k in (1, 3):
        x = np.concatenate([np.eye(5)[:k], -np.eye(5)[:k]]).astype(np.float32)
        np.testing.assert_allclose(effective_rank(1e4 * x + 7), k, rtol=1e-3)
    line = np.outer(np.arange(50.0), RNG.normal(size=200)).astype(np.float32)
    np.testing.assert_allclose(effective_rank(line), 1, rtol=1e-5)  # rounding does not count


@every
def test_rows_that_do_not_count_are_dropped(name):
    spoiled = np.where(WHERE[:, None], X, np.nan)
    got = MEASURES[name](spoiled, WHERE)
    expected = {
        "alignment": lambda: alignment(X[WHERE], Y[WHERE]),
        "uniformity": lambda: uniformity(X[WHERE]),
        "effective_rank": lambda: effective_rank(X[WHERE]),
    }[name]()
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert np.isnan(MEASURES[name](spoiled))


@every
def test_what_is_degenerate_is_defined(name):
    least = 0.0
    for x in (
        np.zeros((0, 4), np.float32),
        X[:1],
        np.full((7, 4), 3.0, np.float32),
        np.zeros((7, 4), np.float32),
    ):
        value, gradient = jax.value_and_grad(lambda x: MEASURES[name](x))(jnp.asarray(x))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        if name != "alignment":
            assert value == least
    assert MEASURES[name](X, np.zeros(7, bool)) == least
    assert MEASURES[name](X.astype(jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alignment(X, Y[:3]), r"x \(7, 4\) and y \(3, 4\) must have the same shape"),
        (lambda: uniformity(X[0]), r"x must be \[N, D\], got \(4,\)"),
        (lambda: effective_rank(X, where=WHERE[:3]), r"where \(3,\) must broadcast to the rows of x \(7,\)"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
