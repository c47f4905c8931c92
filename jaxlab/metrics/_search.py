"""What a search over settings could not tell apart, and where it may have stopped too early."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlab.core.check import InputError
from jaxlab.metrics._paired import standard_error


def runners_up(scores: np.ndarray) -> np.ndarray:
    """The settings that are within one standard error of the best one: other seeds might have chosen them.

    The standard error is that of the paired difference to the best, over the seeds of the search.

    Args:
      scores: `[N, S]` of N settings and S seeds, higher is better.

    Returns:
      Indices `[K]` of settings, the nearest first, without the best itself; of one seed, all the others.

    Raises:
      ValueError: a NaN: a setting that diverged has no rank. Leave it out, or give it -inf.

    Reference: Breiman et al., Classification and Regression Trees, 1984, section 3.4.3: the one standard error rule.

    Example:
      >>> print(runners_up(np.array([[0.90, 0.92, 0.94], [0.91, 0.91, 0.93], [0.5, 0.6, 0.7]])))
      [1]
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not scores.size:
        raise InputError(
            f"scores have shape {scores.shape}: it must be [settings, seeds], with at least one of each"
        )
    if np.isnan(scores).any():
        raise InputError(
            f"scores of setting {int(np.isnan(scores).any(axis=1).argmax())} hold NaN: leave it out"
        )
    means = scores.mean(axis=1)
    best = int(means.argmax())
    behind = scores[best] - scores
    near = behind.mean(axis=1) <= standard_error(behind)
    order = np.argsort(-means, kind="stable")
    return order[near[order] & (order != best)]


def at_edges(settings: Sequence[Mapping[str, Any]], best: int) -> tuple[str, ...]:
    """The numeric keys whose value in the best setting is the smallest or largest that was offered.

    A key of which one value was offered has no edges.

    Args:
      settings: of a search, with the same keys.
      best: index of the winner.

    Returns:
      Keys, in the order of the settings.

    Reference: Bengio, Practical Recommendations for Gradient-Based Training of Deep Architectures, 2012, section 3.3: a
      best value near the border asks for a wider search.

    Example:
      >>> at_edges([{"rate": 0.1, "net": "a"}, {"rate": 0.3, "net": "a"}, {"rate": 1.0, "net": "b"}], 2)
      ('rate',)
    """
    found = []
    for key, value in settings[best].items():
        offered = {setting.get(key) for setting in settings}
        numeric = all(isinstance(other, int | float) and not isinstance(other, bool) for other in offered)
        if numeric and len(offered) > 1 and value in (min(offered), max(offered)):
            found.append(key)
    return tuple(found)
