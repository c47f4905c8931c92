"""Many tests at once: adjusted p-values."""

from collections.abc import Callable

import numpy as np

from jaxlab.core.check import InputError


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values: rejecting those below alpha errs anywhere with probability at most alpha.

    Args:
      p_values: `[M]` in [0, 1]; a NaN is no test and stays NaN.

    Returns:
      `[M]` float64, in the order given.

    Reference: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.

    Example:
      >>> print(holm(np.array([0.01, 0.04, 0.03])))
      [0.03 0.06 0.06]
    """
    return _adjusted(p_values, _holm)


def holm_levels(p_values: np.ndarray, *, alpha: float = 0.05) -> np.ndarray:
    """The level of each test at which its own interval excludes the null if and only if Holm rejects it.

    The level is `alpha` times the p-value over its adjusted value, which is not cut at 1 here: `alpha / M` for the
    smallest p-value, and about that for all when none is rejected.

    Args:
      p_values: `[M]` in [0, 1]; a NaN is no test and stays NaN.
      alpha: of the family.

    Returns:
      `[M]` float64 in (0, alpha]: draw the interval of test i at confidence `1 - level[i]`.

    Reference: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.

    Example:
      >>> print(holm_levels(np.array([0.01, 0.04, 0.03])).round(4))
      [0.0167 0.0333 0.025 ]
    """
    p_values = np.asarray(p_values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = p_values / _adjusted(p_values, _holm, most=np.inf)
    return alpha * np.where(p_values == 0, 1 / max(np.sum(~np.isnan(p_values)), 1), share)


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p-values: of those below q, a share of q at most is expected to be false.

    Args:
      p_values: `[M]` in [0, 1]; a NaN is no test and stays NaN.

    Returns:
      `[M]` float64, in the order given.

    Reference: Benjamini and Hochberg, Controlling the False Discovery Rate, 1995.

    Example:
      >>> print(benjamini_hochberg(np.array([0.01, 0.04, 0.03])))
      [0.03 0.04 0.04]
    """
    scaled = lambda p: p * len(p) / np.arange(1, len(p) + 1)
    return _adjusted(p_values, lambda p: np.minimum.accumulate(scaled(p)[::-1])[::-1])


def _holm(p: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(p * np.arange(len(p), 0, -1))


def _adjusted(
    p_values: np.ndarray, adjust: Callable[[np.ndarray], np.ndarray], *, most: float = 1.0
) -> np.ndarray:
    """Sorts, adjusts, and puts back in place."""
    p_values = np.asarray(p_values, np.float64)
    if p_values.ndim != 1 or ((p_values < 0) | (p_values > 1)).any():
        raise InputError(f"p_values of shape {p_values.shape}: a vector of numbers from 0 to 1 is needed")
    tests = np.flatnonzero(~np.isnan(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    adjusted = np.full(len(p_values), np.nan)
    adjusted[order] = np.minimum(adjust(p_values[order]), most)
    return adjusted
