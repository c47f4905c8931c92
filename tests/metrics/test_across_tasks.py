"""Scores over tasks: the published formulas written out as loops, and resampling that stays within a task."""

import itertools

import numpy as np
import pytest
import scipy.stats

from jaxlab.metrics import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
)

RNG = np.random.default_rng(0)
ONE, OTHER = RNG.integers(0, 5, (7, 3)).astype(float), RNG.integers(0, 5, (5, 3)).astype(float)


@pytest.mark.parametrize("shape", [(8, 3), (7, 3), (5, 1), (1, 1)])
def test_the_interquartile_mean_is_the_trimmed_mean(shape):
    scores = RNG.normal(size=shape)
    assert interquartile_mean(scores) == pytest.approx(scipy.stats.trim_mean(scores, 0.25, axis=None))


def test_one_outlier_does_not_move_the_interquartile_mean():
    assert interquartile_mean(np.array([1.0, 2.0, 3.0, 1e9])) == 2.5
    assert np.isnan(interquartile_mean(np.array([])))


def test_the_probability_of_improvement_as_a_loop():
    total = 0.0
    for task in range(3):
        for x, y in itertools.product(ONE[:, task], OTHER[:, task]):
            total += 1.0 if x > y else 0.5 if x == y else 0.0
    assert probability_of_improvement(ONE, OTHER) == pytest.approx(total / (7 * 5 * 3))
    assert probability_of_improvement(ONE, OTHER) == pytest.approx(1 - probability_of_improvement(OTHER, ONE))
    u = [scipy.stats.mannwhitneyu(ONE[:, task], OTHER[:, task]).statistic for task in range(3)]
    assert probability_of_improvement(ONE, OTHER) == pytest.approx(np.mean(u) / (7 * 5))


def test_the_profile_as_a_loop():
    thresholds = np.array([-1.0, 0.0, 1.5, 4.0])
    expected = [np.mean([np.mean([x > t for x in ONE[:, task]]) for task in range(3)]) for t in thresholds]
    np.testing.assert_allclose(performance_profile(ONE, thresholds), expected)
    assert performance_profile(ONE, thresholds)[[0, -1]].tolist() == [1.0, 0.0]


def test_the_bootstrap_resamples_runs_within_a_task_and_no_tasks():
    constant = np.broadcast_to([1.0, 10.0, 100.0], (6, 3))  # runs agree, tasks do not
    assert stratified_bootstrap(np.mean, constant) == (37.0, 37.0)
    spread = constant + RNG.normal(size=(6, 3))
    low, high = stratified_bootstrap(np.mean, spread)
    assert low < spread.mean() < high
    # The standard error of the mean of three task means, from the plug-in variances within tasks.
    error = np.sqrt(spread.var(axis=0).sum() / 6) / 3
    assert (high - low) == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_bootstrap_is_the_same_every_time_and_resamples_two_sides_apart():
    first = stratified_bootstrap(probability_of_improvement, ONE, ONE, resamples=300)
    assert first == stratified_bootstrap(probability_of_improvement, ONE, ONE, resamples=300)
    assert first[0] < 0.5 < first[1]
    low, high = stratified_bootstrap(lambda x: performance_profile(x, np.arange(3.0)), ONE, resamples=50)
    assert low.shape == high.shape == (3,)


def test_shapes_that_cannot_be():
    with pytest.raises(ValueError, match=r"scores have shape \(3,\)"):
        probability_of_improvement(np.ones(3), np.ones((3, 1)))
    with pytest.raises(ValueError, match="scores of 3 tasks against 2"):
        probability_of_improvement(ONE, OTHER[:, :2])


def test_a_nan_stays_one():
    """It sorts to an end, compares as false, and would vanish in each of these."""
    broken = ONE.copy()
    broken[2, 1] = np.nan
    assert np.isnan(interquartile_mean(broken))
    assert np.isnan(probability_of_improvement(broken, OTHER))
    assert np.isnan(probability_of_improvement(OTHER, broken))
    assert np.isnan(performance_profile(broken, np.array([0.0, 9.0]))).all()
    assert np.isnan(performance_profile(ONE, np.array([0.0, np.nan]))).tolist() == [False, True]
    assert np.isnan(stratified_bootstrap(interquartile_mean, broken, resamples=50)[0])


def test_infinite_scores_are_ranked():
    ends = np.array([[np.inf], [-np.inf]])
    assert probability_of_improvement(ends, ends) == 0.5
    assert probability_of_improvement(ends, np.array([[0.0]])) == 0.5
