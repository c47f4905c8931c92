"""What becomes of the teachers' maps, by method: which sample is accepted, and the pseudo-label of each student."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from experiments.semi_supervised._localizers import sure_consensus
from jaxlab.semi_supervised import dual_mean_teacher

Maps = list[jax.Array]
Given = list[tuple[dual_mean_teacher.Consensus, jax.Array]]


class Rule(NamedTuple):
    """How teachers' maps are judged.

    Attributes:
      judge: `(maps, truth, arm) -> ` for each student what is accepted, and its pseudo-label.
      nets: how many teachers it can judge.
      taught: whether students learn from these pseudo-labels.
    """

    judge: Callable[[Maps, jax.Array, Any], Given]
    nets: tuple[int, ...] = (2,)
    taught: bool = True


def _confident(maps: Maps, truth: jax.Array, arm: Any) -> Given:
    """Each student its own teacher's mask, where that one is sure: mean teachers that know nothing of each other."""
    sure = [sure_consensus(m, threshold=arm.threshold, min_confidence=arm.min_agreement) for m in maps]
    return [(own, own.union) for own in sure]


def _agreed(maps: Maps, arm: Any, min_agreement: float) -> dual_mean_teacher.Consensus:
    return dual_mean_teacher.teacher_consensus(*maps, threshold=arm.threshold, min_agreement=min_agreement)


def _intersection(maps: Maps, truth: jax.Array, arm: Any) -> Given:
    """What both teachers mark, where they agree: the method of the paper."""
    both = _agreed(maps, arm, arm.min_agreement)
    return [(both, both.intersection)] * 2


def _union(maps: Maps, truth: jax.Array, arm: Any) -> Given:
    """What either teacher marks, where they agree."""
    both = _agreed(maps, arm, arm.min_agreement)
    return [(both, both.union)] * 2


def _union_all(maps: Maps, truth: jax.Array, arm: Any) -> Given:
    """What either teacher marks, always."""
    both = _agreed(maps, arm, 0.0)
    return [(both, both.union)] * 2


def _own(maps: Maps, truth: jax.Array, arm: Any) -> Given:
    """Each student its own teacher's mask, where both agree."""
    both = _agreed(maps, arm, arm.min_agreement)
    return [(both, (m >= arm.threshold).astype(m.dtype)) for m in maps]


def _truth(maps: Maps, truth: jax.Array, arm: Any) -> Given:
    """The true boxes: the ceiling."""
    both = dual_mean_teacher.teacher_consensus(truth, truth, threshold=0.5, min_agreement=0.0)
    return [(both, truth)] * len(maps)


METHODS: dict[str, Rule] = {
    "none": Rule(_confident, (1, 2), taught=False),  # looks at it and does not learn from it
    "confidence": Rule(_confident, (1, 2)),
    "intersection": Rule(_intersection),
    "union": Rule(_union),
    "union_all": Rule(_union_all),
    "own": Rule(_own),
    "truth": Rule(_truth, (1, 2)),
}
