"""Adjusted p-values on cases worked by hand."""

import numpy as np
import pytest

from jaxlab.metrics import benjamini_hochberg, holm, holm_levels

P = np.array([0.03, 0.005, np.nan, 0.04, 0.01])


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04 -> never falling: 0.06 at the end.
    np.testing.assert_allclose(holm(P), [0.06, 0.02, np.nan, 0.06, 0.03])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1.0, 1.0])


def test_benjamini_hochberg_by_hand():
    # Sorted times 4/1, 4/2, 4/3, 4/4: 0.02, 0.02, 0.04, 0.04.
    np.testing.assert_allclose(benjamini_hochberg(P), [0.04, 0.02, np.nan, 0.04, 0.02])


def test_levels_by_hand():
    # alpha p / p_holm: 0.05 * (0.03 / 0.06, 0.005 / 0.02, -, 0.04 / 0.06, 0.01 / 0.03)
    np.testing.assert_allclose(holm_levels(P), [0.025, 0.0125, np.nan, 0.1 / 3, 0.05 / 3])
    # Nothing rejected: all at about alpha / 2. The smallest p of all zeros: alpha / 2 as well.
    np.testing.assert_allclose(holm_levels(np.array([0.6, 0.7])), [0.025, 0.05 * 0.7 / 1.2])
    np.testing.assert_allclose(holm_levels(np.zeros(2)), 0.025)


def test_a_p_value_is_below_its_level_where_holm_rejects():
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 20):
        for _ in range(200):
            p = rng.random(count) ** 4
            levels = holm_levels(p, alpha=0.05)
            np.testing.assert_array_equal(p < levels, holm(p) < 0.05)
            assert (levels <= 0.05 * (1 + 1e-12)).all()


def test_holm_errs_anywhere_at_most_as_often_as_it_says():
    p = np.random.default_rng(1).random((4000, 6))
    assert np.mean([holm(row).min() < 0.05 for row in p]) < 0.05 + 0.014


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg, holm_levels])
def test_none_at_all_and_what_is_no_p_value(adjust):
    assert adjust(np.array([])).shape == (0,)
    assert np.isnan(adjust(np.array([np.nan]))).all()
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        adjust(np.array([1.5]))
