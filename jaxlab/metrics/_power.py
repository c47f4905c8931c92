"""What a number of seeds can show: power of the paired t test, smallest detectable effect, seeds needed."""

import numpy as np
import scipy.special

from jaxlab.metrics._paired import Resplit, variance_factor


def detectable_effect(
    sd: float | np.ndarray,
    seeds: int,
    *,
    power: float = 0.8,
    confidence: float = 0.95,
    resplit: Resplit | None = None,
) -> float | np.ndarray:
    """The smallest true mean whose t interval lies off zero, on its side, with probability `power`.

    From the non-central t distribution, for normal differences whose spread is `sd`.

    Args:
      sd: standard deviation of the paired differences over seeds, any shape.
      seeds: S; below 2 nothing is detectable.
      power: in (0, 1).
      confidence: of the interval.
      resplit: `(n_test, n_train)` of re-splits of one set, see `standard_error`.

    Returns:
      The shape of `sd`, in its unit; infinite where S is below 2.

    Reference: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.

    Example:
      >>> print(round(float(detectable_effect(0.01, 8)), 4))
      0.0116
    """
    if seeds < 2:
        return np.full(np.shape(sd), np.inf)[()]
    critical = scipy.special.stdtrit(seeds - 1, (1 + confidence) / 2)
    distance = scipy.special.nctdtrinc(seeds - 1, 1 - power, critical)
    return np.multiply(sd, distance * np.sqrt(variance_factor(seeds, resplit=resplit)))


def seeds_needed(
    effect: float,
    sd: float,
    *,
    power: float = 0.8,
    confidence: float = 0.95,
    resplit: Resplit | None = None,
    most: int = 10_000,
) -> int | None:
    """The number of seeds from which `effect` is detectable.

    Args:
      effect: true mean of the paired differences; its sign does not matter.
      sd: their standard deviation over seeds.
      power, confidence, resplit: as in `detectable_effect`.
      most: give up there.

    Returns:
      At least 2; None when `most` seeds do not suffice. Over re-splits of one set no number may.

    Reference: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.

    Example:
      >>> seeds_needed(0.01, 0.01), seeds_needed(0.0, 0.01)
      (10, None)
    """
    shows = lambda seeds: (
        detectable_effect(sd, seeds, power=power, confidence=confidence, resplit=resplit) <= abs(effect)
    )
    low, high = 1, 2  # too few, and then enough
    while not shows(high):
        if effect == 0 or high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


def two_group_power(effect: float, size0: int, size1: int, *, confidence: float = 0.95) -> float:
    """How often Student's two-sided test of two groups finds a true difference.

    Args:
      effect: the difference over the common standard deviation.
      size0, size1: of the groups.
      confidence: one minus the level of the test.

    Returns:
      A probability; 0 for fewer than three in all or an empty group.

    Reference: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.

    Example:
      >>> print(round(two_group_power(0.5, 64, 64), 3))
      0.801
    """
    df = size0 + size1 - 2
    if min(size0, size1) < 1 or df < 1:
        return 0.0
    critical = scipy.special.stdtrit(df, (1 + confidence) / 2)
    shift = effect * np.sqrt(size0 * size1 / (size0 + size1))
    inside = scipy.special.nctdtr(df, shift, critical) - scipy.special.nctdtr(df, shift, -critical)
    return float(1 - inside)


def detectable_difference(size0: int, size1: int, *, power: float = 0.8, confidence: float = 0.95) -> float:
    """The smallest difference of two groups, in standard deviations, that the test finds with probability `power`.

    Args:
      size0, size1: of the groups.
      power: in (0, 1), above one minus the confidence.
      confidence: one minus the level of the test.

    Returns:
      Above 0; infinite for fewer than three in all or an empty group.

    Reference: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.

    Example:
      >>> print(round(detectable_difference(64, 64), 3))
      0.499
    """
    if min(size0, size1) < 1 or size0 + size1 < 3:
        return float("inf")
    low, high = 0.0, 1.0
    while two_group_power(high, size0, size1, confidence=confidence) < power:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        short = two_group_power(middle, size0, size1, confidence=confidence) < power
        low, high = (middle, high) if short else (low, middle)
    return high
