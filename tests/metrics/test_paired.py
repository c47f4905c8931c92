"""Intervals and p-values on numbers worked by hand, against scipy, and by how often they cover."""

import numpy as np
import pytest
import scipy.stats

from jaxlab.metrics import (
    percentile_interval,
    percentile_p_value,
    standard_error,
    t_interval,
    t_p_value,
    variance_factor,
)

DRAWS = np.random.default_rng(0).normal(0.3, 2.0, size=(4000, 8))


def test_the_interval_by_hand():
    # mean 2, sd 1, n 3: half width t(0.975, 2) / sqrt(3) = 4.30265 / 1.73205 = 2.48414
    np.testing.assert_allclose(t_interval(np.array([1.0, 2.0, 3.0])), (2 - 2.48414, 2 + 2.48414), rtol=1e-5)
    assert t_interval(np.array([1.0])) == (-np.inf, np.inf)
    low, high = t_interval(DRAWS[:5].reshape(5, 1, 8))
    assert low.shape == high.shape == (5, 1)
    np.testing.assert_allclose(low[2, 0], t_interval(DRAWS[2])[0])


def test_the_t_interval_covers_as_often_as_it_says():
    low, high = t_interval(DRAWS)
    assert abs(np.mean((low < 0.3) & (high > 0.3)) - 0.95) < 0.015  # four standard errors of 4,000 draws


def test_the_corrected_variance_by_hand():
    # sd of 1, 2, 3, 4 is 1.290994; (1/4 + 25/75) of its square, 5/3, is 0.972222, whose root is 0.986013.
    values = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(standard_error(values), 1.290994 / 2, rtol=1e-6)
    np.testing.assert_allclose(standard_error(values, resplit=(25, 75)), 0.986013, rtol=1e-6)
    low, high = t_interval(values, resplit=(25, 75))
    np.testing.assert_allclose(high - low, 2 * 3.182446 * 0.986013, rtol=1e-6)
    with pytest.raises(ValueError, match=r"resplit is \(0, 75\)"):
        variance_factor(4, resplit=(0, 75))


def test_the_corrected_interval_covers_where_splits_share_examples():
    """The score of a fixed rule on re-splits of one set: without the correction the interval is far too sure."""
    rng, inside = np.random.default_rng(1), {None: 0, (30, 70): 0}
    for _ in range(400):
        hits = rng.random(100) < 0.7
        scores = np.array([hits[rng.permutation(100)[:30]].mean() for _ in range(10)])
        for resplit in inside:
            low, high = t_interval(scores, resplit=resplit)
            inside[resplit] += low < 0.7 < high
    assert inside[None] / 400 < 0.85
    assert inside[(30, 70)] / 400 > 0.93


@pytest.mark.parametrize(
    ("tail", "alternative"), [("both", "two-sided"), ("above", "greater"), ("below", "less")]
)
def test_p_values_are_those_of_scipy(tail, alternative):
    expected = scipy.stats.ttest_1samp(DRAWS[:50], 0.5, axis=-1, alternative=alternative).pvalue
    np.testing.assert_allclose(t_p_value(DRAWS[:50], null=0.5, tail=tail), expected, rtol=1e-9)


@pytest.mark.parametrize("resplit", [None, (1, 4)])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_p_is_below_alpha_where_the_interval_excludes_the_null(alpha, resplit):
    low, high = t_interval(DRAWS, confidence=1 - alpha, resplit=resplit)
    outside = (low > 0) | (high < 0)
    assert 0 < outside.sum() < len(DRAWS)
    np.testing.assert_array_equal(outside, t_p_value(DRAWS, resplit=resplit) < alpha)


def test_p_values_at_the_edges():
    assert t_p_value(np.array([3.0])) == 1
    assert t_p_value(np.zeros(4)) == 1
    assert t_p_value(np.ones(4)) == 0
    for p_value in (t_p_value, percentile_p_value):
        with pytest.raises(ValueError, match="tail is 'up'"):
            p_value(np.arange(3.0), tail="up")


def test_percentiles_by_hand():
    replicates = np.arange(1.0, 100.0)  # 1 to 99
    np.testing.assert_allclose(percentile_interval(replicates, confidence=0.9), (5.9, 94.1))
    # None of 99 is at or below 0: (0 + 1) / 100 above, twice that for both tails.
    assert percentile_p_value(replicates) == pytest.approx(0.02)
    assert percentile_p_value(replicates, tail="above") == pytest.approx(0.01)
    assert percentile_p_value(replicates, tail="below") == 1
    assert percentile_p_value(replicates, null=10.0) == pytest.approx(0.22)  # ten of 99 at or below


def test_a_nan_stays_one():
    broken = np.array([1.0, np.nan, 3.0, 2.0])
    for tail in ("both", "above", "below"):
        assert np.isnan(t_p_value(broken, tail=tail))
        assert np.isnan(percentile_p_value(broken, tail=tail))
        assert np.isnan(percentile_p_value(np.arange(9.0), null=np.nan, tail=tail))
    assert np.isnan(percentile_p_value(np.stack([broken, np.ones(4)]))).tolist() == [True, False]
    assert np.isnan(t_interval(broken)).all()
    assert np.isnan(percentile_interval(broken)).all()
