"""Scores from verifiers in Python, which may raise, hang or return nonsense."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._texts import check_list, check_texts
from jaxlab.language.tasks._helper import ask
from jaxlab.language.tasks._worker import NOT_FINITE, RAISED, SCORED, TIMED_OUT, Result


def verify_text(
    scorer: Callable[[Any, str], float],
    items: Sequence[Any],
    texts: Sequence[str],
    *,
    seconds: float = 1.0,
    all_may_fail: bool = True,
    shown: set[str] | None = None,
) -> tuple[np.ndarray, dict[str, int]]:
    """Score answers with a function that is not to be trusted; whatever goes wrong with an answer scores 0.

    The scorer runs in a child of a helper process. A child that exceeds the time limit is killed, with whatever
    it has started, and a fresh one goes on with the next answer; so does one that crashes. The helper lives as
    long as this process, so only the first call pays for starting it and importing the scorer's module. What the
    scorer imports itself is imported by every child, on the clock; `scorer.prepare()`, if there is one, is called
    in the helper before, for that purpose. It needs POSIX (fork). The limit is on wall-clock time: leave room for
    a busy machine.

        reward_i = scorer(items_i, texts_i) if it returns a finite number in time, else 0

    What the scorer prints is shown. Of each kind of failure (an exception at one line of the scorer's file, say) the
    first is a warning, with the scorer's own traceback.

    Args:
        scorer: `scorer(item, text) -> float`. It has to be picklable: a function or method of a module, or any
            function if cloudpickle is installed.
        items: n picklable objects, what the scorer needs to know of each problem.
        texts: n answers.
        seconds: time limit for one answer.
        all_may_fail: False makes it an error when every answer fails, which is the scorer's fault, not theirs.
        shown: the kinds of failure that were shown before, which are not shown again; new ones are added.

    Returns:
        rewards `[n]` float32, and how many answers the scorer `"raised"` on (crashed, or returned what is not a
        number, too), `"timed_out"` on, and gave a score that is `"not_finite"`.

    Raises:
        ValueError: as many items as texts are needed, a positive limit, and a scorer that can be pickled.
        RuntimeError: every answer failed, where that is an error; with the scorer's own tracebacks.

    Reference: a host-side verifier as in Lambert et al., Tulu 3: Pushing Frontiers in Open Language Model
      Post-Training, 2024, section 6.

    >>> from operator import eq
    >>> rewards, counts = verify_text(eq, ["4", "6"], ["4", "7"], seconds=5.0)
    >>> rewards.tolist(), counts
    ([1.0, 0.0], {'raised': 0, 'timed_out': 0, 'not_finite': 0})
    """
    items, texts = check_list(items, "items"), check_texts(texts)
    if len(items) != len(texts):
        raise InputError(f"every text needs an item, got {len(texts)} texts and {len(items)} items")
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds must be positive and finite, got {seconds}")
    told = ask("score", scorer, list(zip(items, texts)), float(seconds)) if texts else []
    results = [Result(*fields) for fields in told]
    status = Counter(result.status for result in results)
    failures = _failures(results, items, texts)
    if not all_may_fail and results and not status[SCORED]:
        raise RuntimeError("\n\n".join(["the scorer failed on every answer", *failures.values()]))
    shown = set() if shown is None else shown
    for kind, report in failures.items():
        if kind not in shown:
            shown.add(kind)
            warnings.warn(f"an answer that the scorer fails on scores 0: {report}", stacklevel=2)
    counts = {name: status[name] for name in (RAISED, TIMED_OUT, NOT_FINITE)}
    return np.array([result.score for result in results], np.float32), counts


def _failures(results: Sequence[Result], items: Sequence[Any], texts: Sequence[str]) -> dict[str, str]:
    """For each kind of failure how many answers it cost, the first of them, and its report."""
    number = Counter(result.kind for result in results if result.status != SCORED)
    reports: dict[str, str] = {}
    for result, item, text in zip(results, items, texts):
        if result.status != SCORED and result.kind not in reports:
            of = f"{number[result.kind]} of {len(results)} answers, the first to item {item!r:.80}: {text!r:.200}"
            reports[result.kind] = f"{of}\n{result.report}"
    return reports
