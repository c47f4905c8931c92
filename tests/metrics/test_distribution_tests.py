"""Two samples and tables of counts: the oracle's and scipy's numbers with ties, masks, NaN, nothing."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxlab.metrics import chi_squared_test, kolmogorov_smirnov, wasserstein_distance

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
RNG = np.random.default_rng(0)
counts = jax.jit(chi_squared_test)
both = jax.jit(lambda v, g, w: (*kolmogorov_smirnov(v, g, where=w), wasserstein_distance(v, g, where=w)))


def test_marks_of_two_sides():
    marks = np.load(FOLDER / "scale_feedback.npz")
    values = np.float32(np.concatenate([marks["in_mark_real"], marks["in_mark_syn"]]))
    *test, distance = both(values, np.repeat([0, 1], 40), np.ones(80, bool))
    np.testing.assert_allclose(test, marks["out_ks"], rtol=1e-5)
    np.testing.assert_allclose(distance, marks["out_wasserstein"], rtol=1e-5)


@pytest.mark.parametrize(("sizes", "shift"), [((7, 13), 0.5), ((15, 5), 2.0), ((3, 17), 9.0)])
def test_scipys_numbers_with_ties_and_gaps(sizes, shift):
    x, y = (RNG.normal(size=n).round(1).astype(np.float32) for n in sizes)
    y += np.float32(shift)
    order, unknown = RNG.permutation(24), np.full(4, np.nan, np.float32)
    values, group = np.concatenate([x, y, unknown])[order], np.repeat([0, 1, 0], [*sizes, 4])[order]
    *test, distance = both(values, group, ~np.isnan(values))
    expected = scipy.stats.ks_2samp(x, y, method="exact")
    np.testing.assert_allclose(test, [expected.statistic, expected.pvalue], rtol=1e-5)
    np.testing.assert_allclose(distance, scipy.stats.wasserstein_distance(x, y), rtol=1e-5)
    assert np.isnan(both(values, group, np.ones(24, bool))).all()


def test_nobody_is_no_distance_apart():
    for group in (np.zeros(3, int), np.full(3, -1)):
        assert [float(x) for x in both(jnp.arange(3.0), group, np.ones(3, bool))] == [0, 1, 0]
    assert [float(x) for x in both(jnp.ones(0), np.ones(0, int), np.ones(0, bool))] == [0, 1, 0]
    # All values equal: no distance, whatever the groups.
    assert [float(x) for x in both(jnp.ones(3), np.array([0, 1, 0]), np.ones(3, bool))] == [0, 1, 0]


def test_counts():
    trial = np.load(FOLDER / "synthetic_video_study.npz")
    np.testing.assert_allclose(counts(trial["in_ct"]), trial["out_chi2"], rtol=1e-5)
    table = np.array([[3, 9, 1], [4, 2, 8], [7, 7, 7]])
    expected = scipy.stats.chi2_contingency(table, correction=False)[:3]
    np.testing.assert_allclose(counts(table), expected, rtol=1e-5)
    wide = np.insert(np.insert(table, 1, 0, axis=0), 2, 0, axis=1)  # with an empty row and an empty column
    np.testing.assert_allclose(counts(wide), expected, rtol=1e-5)
    for nothing in (np.zeros((3, 3), int), np.diag([1, 0, 0]), np.zeros((0, 3))):
        assert [float(x) for x in counts(nothing)] == [0, 1, 0]
    assert np.isnan(counts(np.where(table > 8, np.nan, table))[:2]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kolmogorov_smirnov(np.ones(3), np.ones(2, int)), r"\(3,\) and group \(2,\) must both be \[N\]"),
        (lambda: wasserstein_distance(np.ones(1), np.array([2])), r"group must be in \[0, 2\)"),
        (lambda: chi_squared_test(np.ones(3)), r"table must be \[R, C\], got \(3,\)"),
        (lambda: chi_squared_test(np.array([[1, -2]])), "counts of at least 0, got -2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
