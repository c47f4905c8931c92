"""Standardised batches and their correlations: by numpy, constant features, masks, devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import cross_correlation, standardize_batch
from tests.core.compiled import compiled

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 9, 4)).astype(np.float32) * [1, 10, 0.1, 3] + np.float32(5)
WHERE = np.array([1, 0, 1, 1, 1, 0, 1, 1, 1], bool)
standardized, correlated = compiled(standardize_batch), compiled(cross_correlation)
graded = jax.jit(jax.grad(lambda x, w, eps: jnp.sum(w * standardize_batch(x, eps=eps))), static_argnums=2)


@pytest.mark.parametrize(("ddof", "eps"), [(0, 1e-5), (1, 0.0), (0, 0.5)])
def test_it_is_the_formula(ddof, eps):
    expected = (X - X.mean(0)) / np.sqrt(X.astype(np.float64).var(0, ddof=ddof) + eps)
    np.testing.assert_allclose(standardized(X, ddof=ddof, eps=eps), expected, rtol=1e-4, atol=1e-5)


def test_correlations_are_those_of_numpy():
    first, second = (standardized(x, eps=0.0) for x in (X, Y))
    np.testing.assert_allclose(
        correlated(first, second[:, :3]), np.corrcoef(X.T, Y.T)[:4, 4:7], rtol=1e-3, atol=1e-5
    )
    # The unbiased variance is larger by N / (N - 1).
    unbiased = standardized(X, ddof=1, eps=0.0)
    np.testing.assert_allclose(np.diagonal(correlated(unbiased, unbiased)), 8 / 9, rtol=1e-5)


@pytest.mark.parametrize("eps", [1e-5, 0.0])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4, 1e-40])
def test_a_constant_feature_is_0_without_gradient(eps, value):
    x = np.where(np.arange(4) == 2, np.float32(value), X)
    got, gradient = standardized(x, eps=eps), graded(x, Y, eps)
    assert np.abs(got[:, 2]).max() == 0 == np.abs(gradient[:, 2]).max()
    np.testing.assert_allclose(got[:, :2], standardized(X, eps=eps)[:, :2], rtol=1e-5)
    assert np.isfinite(gradient).all()
    assert np.abs(standardized(x[:1], eps=eps)).max() == 0  # and so is a batch of one


def test_rows_that_do_not_count_are_dropped_and_a_nan_that_does_stays():
    spoiled = np.where(WHERE[:, None], X, np.nan)
    got = standardized(spoiled, where=WHERE)
    np.testing.assert_allclose(got[WHERE], standardized(X[WHERE]), rtol=1e-5, atol=1e-6)
    assert np.abs(got[~WHERE]).max() == 0
    np.testing.assert_allclose(
        correlated(spoiled, spoiled, where=WHERE), X[WHERE].T @ X[WHERE] / WHERE.sum(), rtol=1e-5
    )
    assert np.isfinite(jax.grad(lambda x: standardized(x, where=WHERE).sum())(spoiled)).all()
    assert np.isnan(standardized(np.where(np.arange(9)[:, None] == 3, np.nan, X))).all()
    assert np.abs(correlated(X, Y, where=np.zeros(9))).max() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: standardize_batch(X[0]), r"x must be \[N, D\], got \(4,\)"),
        (lambda: standardize_batch(X, eps=-1.0), "eps must be at least 0, got -1.0"),
        (lambda: standardize_batch(X, ddof=2), "ddof must be 0 or 1, got 2"),
        (
            lambda: standardize_batch(X, where=WHERE[:3]),
            r"where \(3,\) must broadcast to the rows of x \(9,\)",
        ),
        (lambda: cross_correlation(X, Y[:3]), r"x \(9, 4\) and y \(3, 4\) must be \[N, D\] and \[N, E\]"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
