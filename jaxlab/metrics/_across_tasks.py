"""Scores of several tasks together: interquartile mean, probability of improvement, profiles, stratified bootstrap."""

from collections.abc import Callable

import numpy as np

from jaxlab.core.check import InputError, check_fraction, check_least


def interquartile_mean(scores: np.ndarray) -> float:
    """The mean of the middle half: a quarter of the numbers, rounded down, is cut off at each end.

    Args:
      scores: `[S, M]` of S seeds and M tasks, in one unit; any shape, since all are sorted together.

    Returns:
      A float; NaN of nothing, and where a score is NaN.

    Reference: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, 2021, section
      4.3, arXiv 2108.13264.

    Example:
      >>> interquartile_mean(np.array([[0.0, 10.0], [2.0, 4.0]]))
      3.0
    """
    values = np.sort(np.asarray(scores, np.float64).reshape(-1))
    cut = len(values) // 4
    known = len(values) and not np.isnan(values[-1])  # a NaN is sorted to the end, where it would be cut off
    return float(values[cut : len(values) - cut].mean()) if known else float("nan")


def probability_of_improvement(scores: np.ndarray, other: np.ndarray) -> float:
    """How probably a run of `scores` beats a run of `other` on a task drawn at random; a tie counts half.

    The runs are compared each with each within a task, not paired by seed: it is the Mann-Whitney statistic, averaged
    over tasks.

    Args:
      scores: `[S, M]`, higher is better.
      other: `[S', M]`, the same tasks.

    Returns:
      A float in [0, 1]; NaN where a score is NaN.

    Raises:
      ValueError: other tasks.

    Reference: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, 2021, appendix
      A.2, arXiv 2108.13264.

    Example:
      >>> probability_of_improvement(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]]))
      0.625
    """
    scores, other = _runs_by_tasks(scores), _runs_by_tasks(other)
    if scores.shape[1] != other.shape[1]:
        raise InputError(
            f"scores of {scores.shape[1]} tasks against {other.shape[1]}: they must be the same tasks"
        )
    one, two = scores[:, None], other[None]
    won = np.where(np.isnan(one) | np.isnan(two), np.nan, (one > two) + 0.5 * (one == two))
    return float(won.mean())


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of runs, over all tasks, whose score is above each threshold.

    Args:
      scores: `[S, M]`, higher is better.
      thresholds: `[T]`.

    Returns:
      `[T]` float64 in [0, 1], falling in the threshold; NaN where a score or the threshold is NaN.

    Reference: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, 2021, section
      4.2, arXiv 2108.13264.

    Example:
      >>> print(performance_profile(np.array([[0.2, 0.8], [0.4, 0.6]]), np.array([0.0, 0.5, 0.8])))
      [1.  0.5 0. ]
    """
    scores, thresholds = _runs_by_tasks(scores)[..., None], np.asarray(thresholds, np.float64)
    return np.where(np.isnan(scores) | np.isnan(thresholds), np.nan, scores > thresholds).mean(axis=(0, 1))


def stratified_bootstrap(
    statistic: Callable[..., float | np.ndarray],
    *scores: np.ndarray,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of a statistic of several tasks, runs resampled within each task.

    Args:
      statistic: of arrays like `scores`, a number or an array.
      scores: one or several arrays `[S, M]`, resampled independently of each other; tasks are never resampled.
      confidence: coverage, pointwise when the statistic is an array.
      resamples: how many.
      seed: of the resampling: the same numbers every time.

    Returns:
      (low, high), each of the statistic's shape.

    Raises:
      ValueError: a confidence that is no share, no resample, or scores that are not `[S, M]`.

    Reference: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, 2021, section
      4.1, arXiv 2108.13264.

    Example:
      >>> low, high = stratified_bootstrap(interquartile_mean, np.arange(24.0).reshape(8, 3))
      >>> print(low < interquartile_mean(np.arange(24.0)) < high)
      True
    """
    check_fraction("confidence", confidence)
    check_least("resamples", resamples, 1)
    rng, scores = np.random.default_rng(seed), [_runs_by_tasks(array) for array in scores]

    def resampled(array):
        return np.take_along_axis(array, rng.integers(0, len(array), array.shape), axis=0)

    values = np.asarray([statistic(*map(resampled, scores)) for _ in range(resamples)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, (tail, 1 - tail), axis=0)
    return low, high


def _runs_by_tasks(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not scores.size:
        raise InputError(
            f"scores have shape {scores.shape}: it must be [seeds, tasks], with at least one of each"
        )
    return scores
