"""What becomes of the teachers' maps, by method: which sample is accepted, and the pseudo-label of each student."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from experiments.semi_supervised._localizers import sure_consensus
from jaxlab import semi_supervised as ss

Maps = list[jax.Array]


class Rule(NamedTuple):
    """How teachers' maps are judged.

    Attributes:
      judge: `(maps, truth, arm) -> (consensus, the pseudo-label of each student)`.
      nets: how many teachers it can judge.
      taught: whether students learn from these pseudo-labels.
    """

    judge: Callable[[Maps, jax.Array, Any], tuple[ss.Consensus, Maps]]
    nets: tuple[int, ...] = (2,)
    taught: bool = True


def _confident(maps: Maps, truth: jax.Array, arm: Any) -> tuple[ss.Consensus, Maps]:
    """One teacher's mask, where it is sure."""
    both = sure_consensus(maps[0], threshold=arm.threshold, min_confidence=arm.min_agreement)
    return both, [both.union]


def _intersection(maps: Maps, truth: jax.Array, arm: Any) -> tuple[ss.Consensus, Maps]:
    """What both teachers mark, where they agree: the method of the paper."""
    both = ss.teacher_consensus(*maps, threshold=arm.threshold, min_agreement=arm.min_agreement)
    return both, [both.intersection] * len(maps)


def _union(maps: Maps, truth: jax.Array, arm: Any) -> tuple[ss.Consensus, Maps]:
    """What either teacher marks, where they agree."""
    both = ss.teacher_consensus(*maps, threshold=arm.threshold, min_agreement=arm.min_agreement)
    return both, [both.union] * len(maps)


def _union_all(maps: Maps, truth: jax.Array, arm: Any) -> tuple[ss.Consensus, Maps]:
    """What either teacher marks, always."""
    both = ss.teacher_consensus(*maps, threshold=arm.threshold, min_agreement=0.0)
    return both, [both.union] * len(maps)


def _own(maps: Maps, truth: jax.Array, arm: Any) -> tuple[ss.Consensus, Maps]:
    """Each student its own teacher's mask, where both agree."""
    both, _ = _intersection(maps, truth, arm)
    return both, [(m >= arm.threshold).astype(m.dtype) for m in maps]


def _truth(maps: Maps, truth: jax.Array, arm: Any) -> tuple[ss.Consensus, Maps]:
    """The true boxes: the ceiling."""
    both = ss.teacher_consensus(truth, truth, threshold=0.5, min_agreement=0.0)
    return both, [truth] * len(maps)


def _any(maps: Maps, truth: jax.Array, arm: Any) -> tuple[ss.Consensus, Maps]:
    """What one teacher is sure of, or two agree on: for arms that look at it and do not learn from it."""
    return (_confident if len(maps) == 1 else _intersection)(maps, truth, arm)


METHODS: dict[str, Rule] = {
    "none": Rule(_any, (1, 2), taught=False),
    "confidence": Rule(_confident, (1,)),
    "intersection": Rule(_intersection),
    "union": Rule(_union),
    "union_all": Rule(_union_all),
    "own": Rule(_own),
    "truth": Rule(_truth, (1, 2)),
}
