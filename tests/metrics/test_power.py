"""Power against published numbers and by simulation."""

import numpy as np
import pytest

from jaxlab.metrics import detectable_effect, seeds_needed, t_interval


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_are_those_of_the_tables(effect, seeds):
    """Two-sided paired t test, alpha 0.05, power 0.8: the numbers that G*Power gives."""
    assert seeds_needed(effect, 1.0) == seeds_needed(-effect, 1.0) == seeds
    assert detectable_effect(1.0, seeds) <= effect < detectable_effect(1.0, seeds - 1)


@pytest.mark.parametrize(("seeds", "power"), [(5, 0.8), (8, 0.8), (16, 0.9)])
def test_the_detectable_effect_is_found_as_often_as_it_says(seeds, power):
    effect = detectable_effect(2.0, seeds, power=power)
    low, _ = t_interval(np.random.default_rng(seeds).normal(effect, 2.0, (20_000, seeds)))
    assert abs(np.mean(low > 0) - power) < 0.012


def test_the_effect_scales_with_the_spread_and_grows_with_shared_examples():
    spreads = np.array([0.5, 1.0])
    np.testing.assert_allclose(detectable_effect(spreads, 8), spreads * detectable_effect(1.0, 8))
    # sqrt(1/8 + 1/4) for sqrt(1/8)
    ratio = detectable_effect(1.0, 8, resplit=(20, 80)) / detectable_effect(1.0, 8)
    np.testing.assert_allclose(ratio, np.sqrt(3), rtol=1e-9)


def test_what_no_number_of_seeds_can_show():
    assert detectable_effect(1.0, 1) == np.inf
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.001, 1.0) is None
    assert seeds_needed(1.0, 1.0, resplit=(20, 80)) is None  # 2.8 * sqrt(1/4) is 1.4, however many
    assert seeds_needed(1.5, 1.0, resplit=(20, 80)) is not None
    assert seeds_needed(1.0, 0.0) == 2
