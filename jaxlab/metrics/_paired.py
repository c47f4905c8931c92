"""Means of paired differences: standard errors, intervals, p-values. Plain numpy on the host, any leading axes."""

import numpy as np
import scipy.special

from jaxlab.core.check import InputError, check_fraction

Resplit = tuple[int, int]


def standard_error(values: np.ndarray, *, resplit: Resplit | None = None) -> np.ndarray:
    """Standard error of the mean over the last axis, `sqrt((1/S) s^2)`, or the corrected one over re-splits.

    Splits drawn again and again from one finite set share examples, so that their scores are correlated and the plain
    standard error is too small. The corrected variance of their mean is `(1/S + n_test / n_train) s^2`.

    Args:
      values: `[..., S]`, one number per seed.
      resplit: `(n_test, n_train)` when every seed has its own split of one set, else None.

    Returns:
      `[...]` float64, infinite where S is below 2.

    Reference: Nadeau and Bengio, Inference for the Generalization Error, 2003, section 3.

    Example:
      >>> values = np.array([1.0, 2.0, 3.0, 4.0])
      >>> print(standard_error(values).round(4), standard_error(values, resplit=(25, 75)).round(4))
      0.6455 0.986
    """
    values = np.asarray(values, np.float64)
    count = values.shape[-1]
    if count < 2:
        return np.full(values.shape[:-1], np.inf)[()]
    return values.std(axis=-1, ddof=1) * np.sqrt(variance_factor(count, resplit=resplit))


def variance_factor(seeds: int, *, resplit: Resplit | None = None) -> float:
    """What the variance over seeds is multiplied with to give that of their mean, `1/S` or `1/S + n_test/n_train`.

    Args:
      seeds: S, at least 1.
      resplit: as in `standard_error`.

    Raises:
      ValueError: a size of the split is below 1.

    Reference: Nadeau and Bengio, Inference for the Generalization Error, 2003, section 3.

    Example:
      >>> variance_factor(4, resplit=(25, 100))
      0.5
    """
    if resplit is None:
        return 1 / seeds
    test, train = resplit
    if test < 1 or train < 1:
        raise InputError(f"resplit is {(test, train)}: n_test and n_train must be at least 1")
    return 1 / seeds + test / train


def t_interval(
    values: np.ndarray, *, confidence: float | np.ndarray = 0.95, resplit: Resplit | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Student's t interval for the mean over the last axis.

    Args:
      values: `[..., S]`, one number per seed.
      confidence: coverage, in (0, 1).
      resplit: as in `standard_error`.

    Returns:
      (low, high), each `[...]` float64; (-inf, inf) where S is below 2.

    Raises:
      ValueError: a confidence that is no share.

    Reference: Student, The Probable Error of a Mean, 1908.

    Example:
      >>> low, high = t_interval(np.array([1.0, 2.0, 3.0]))
      >>> print(low.round(4), high.round(4))
      -0.4841 4.4841
    """
    check_fraction("confidence", confidence)
    values = np.asarray(values, np.float64)
    if values.shape[-1] < 2:
        unbounded = np.full(values.shape[:-1], np.inf)[()]
        return -unbounded, unbounded
    quantile = scipy.special.stdtrit(values.shape[-1] - 1, (1 + np.asarray(confidence)) / 2)
    mean, half = values.mean(axis=-1), quantile * standard_error(values, resplit=resplit)
    return mean - half, mean + half


def t_p_value(
    values: np.ndarray, *, null: float = 0.0, resplit: Resplit | None = None, tail: str = "both"
) -> np.ndarray:
    """The p-value of Student's t test that the mean over the last axis is `null`.

    Args:
      values: `[..., S]`, one number per seed.
      null: the mean under the null hypothesis.
      resplit: as in `standard_error`.
      tail: "both"; "above" or "below" for the one-sided alternative that the mean is above or below `null`.

    Returns:
      `[...]` float64 in [0, 1]; 1 where S is below 2, or where nothing scatters and the mean is `null`.

    Raises:
      ValueError: another tail.

    Reference: Student, The Probable Error of a Mean, 1908.

    Example:
      >>> print(t_p_value(np.array([1.0, 2.0, 3.0])).round(4))
      0.0742
    """
    if tail not in ("both", "above", "below"):
        raise InputError(f"tail is {tail!r}: it must be 'both', 'above' or 'below'")
    values = np.asarray(values, np.float64)
    count = values.shape[-1]
    if count < 2:
        return np.ones(values.shape[:-1])[()]
    distance = values.mean(axis=-1) - null
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(distance == 0, 0.0, distance / standard_error(values, resplit=resplit))
    if tail == "both":
        return np.minimum(2 * scipy.special.stdtr(count - 1, -np.abs(t)), 1.0)[()]
    return scipy.special.stdtr(count - 1, -t if tail == "above" else t)[()]


def percentile_interval(
    replicates: np.ndarray, *, confidence: float | np.ndarray = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval of bootstrap replicates over the last axis.

    Args:
      replicates: `[..., R]`, the statistic on R resamples of one data set.
      confidence: coverage, in (0, 1).

    Returns:
      (low, high), each `[...]` float64.

    Raises:
      ValueError: a confidence that is no share.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Example:
      >>> low, high = percentile_interval(np.arange(101.0), confidence=0.9)
      >>> print(low.round(6), high.round(6))
      5.0 95.0
    """
    check_fraction("confidence", confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(replicates, np.float64), (tail, 1 - tail), axis=-1)
    return low, high


def percentile_p_value(replicates: np.ndarray, *, null: float = 0.0, tail: str = "both") -> np.ndarray:
    """How far out among bootstrap replicates `null` lies: the p-value that goes with `percentile_interval`.

    Args:
      replicates: `[..., R]`.
      null: the value under the null hypothesis.
      tail: as in `t_p_value`.

    Returns:
      `[...]` float64 in (0, 1], at least `1 / (R + 1)` (twice that for both tails); NaN where a replicate is NaN.

    Raises:
      ValueError: another tail.

    Reference: Davison and Hinkley, Bootstrap Methods and Their Application, 1997, equation 4.11.

    Example:
      >>> print(percentile_p_value(np.arange(1.0, 100.0)))
      0.02
    """
    if tail not in ("both", "above", "below"):
        raise InputError(f"tail is {tail!r}: it must be 'both', 'above' or 'below'")
    replicates = np.asarray(replicates, np.float64)
    unknown = np.where(np.isnan(replicates).any(axis=-1) | np.isnan(null), np.nan, 0.0)
    share = lambda beyond: (beyond.sum(axis=-1) + 1) / (replicates.shape[-1] + 1) + unknown
    above, below = share(replicates <= null), share(replicates >= null)
    both = np.minimum(2 * np.minimum(above, below), 1.0)
    return {"above": above, "below": below, "both": both}[tail]
