"""Scores from verifiers in Python, which may raise, hang or return nonsense."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxlab.language.tasks._helper import ask
from jaxlab.language.tasks._worker import RAISED, TIMED_OUT


def verify_text(
    scorer: Callable[[Any, str], float], items: Sequence[Any], texts: Sequence[str], *, seconds: float = 1.0
) -> tuple[np.ndarray, dict[str, int]]:
    """Score answers with a function that is not to be trusted; whatever goes wrong with an answer scores 0.

    The scorer runs in a child of a helper process. A child that exceeds the time limit is killed, with whatever
    it has started, and a fresh one goes on with the next answer; so does one that crashes. The helper lives as
    long as this process, so only the first call pays for starting it and importing the scorer's module. What the
    scorer imports itself is imported by every child, on the clock; `scorer.prepare()`, if there is one, is called
    in the helper before, for that purpose. It needs POSIX (fork). The limit is on wall-clock time: leave room for
    a busy machine.

        reward_i = scorer(items_i, texts_i) if it returns a finite number in time, else 0

    Args:
        scorer: `scorer(item, text) -> float`. It has to be picklable: a function or method of a module, or any
            function if cloudpickle is installed.
        items: n picklable objects, what the scorer needs to know of each problem.
        texts: n answers.
        seconds: time limit for one answer.

    Returns:
        rewards `[n]` float32, and how many answers the scorer `"raised"` on (crashed, or returned what is not a
        number, too), `"timed_out"` on, and gave a score that is `"not_finite"`.

    Raises:
        ValueError: as many items as texts are needed, a positive limit, and a scorer that can be pickled.

    Reference: a host-side verifier as in Lambert et al., Tulu 3: Pushing Frontiers in Open Language Model
    Post-Training, 2024, section 6.

    >>> from operator import eq
    >>> rewards, counts = verify_text(eq, ["4", "6"], ["4", "7"], seconds=5.0)
    >>> rewards.tolist(), counts
    ([1.0, 0.0], {'raised': 0, 'timed_out': 0, 'not_finite': 0})
    """
    items, texts = list(items), list(texts)
    if len(items) != len(texts):
        raise ValueError(f"every text needs an item, got {len(texts)} texts and {len(items)} items")
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be positive and finite, got {seconds}")
    results = ask("score", scorer, list(zip(items, texts)), float(seconds)) if texts else []
    finite = [math.isfinite(value) for _, value in results]
    status = Counter(status for status, _ in results)
    rewards = [value if good else 0.0 for (_, value), good in zip(results, finite)]
    counts = {"raised": status[RAISED], "timed_out": status[TIMED_OUT], "not_finite": finite.count(False)}
    return np.array(rewards, np.float32), counts
