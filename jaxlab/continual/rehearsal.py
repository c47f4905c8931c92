"""Rehearsal schedules: how often the examples of every earlier task come back, by its age."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import masked_softmax
from jaxlab.core.check import InputError, as_integers, check_choice, check_least, check_positive

KINDS = (
    "sequential",
    "joint",
    "uniform",
    "power_law",
    "exponential",
    "power_law_code",
    "power_law_unlimited",
)


def rehearsal_weights(
    ages: jax.Array,
    *,
    kind: str = "power_law",
    exponent: float = 5.6,
    scale: float = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    """Shares of rehearsal of earlier tasks, by their ages.

        uniform:      1
        power_law:    (1 + age / scale)^-exponent
        exponential:  exp(-age / scale)           each over its sum

    The decays are not comparable as they stand: with the defaults the newest earlier task has 88 % of a power law.

    Args:
      ages: `[..., T]` phases since each task was new, at least 0; may be traced.
      kind: static, one of the three.
      exponent: of the power law, at least 0.
      scale: age in whose terms the weights fall, positive.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the tasks that come back; None means all.

    Returns:
      `[..., T]` float32 shares that sum to 1; 0 if no task comes back.

    Raises:
      ValueError: if the kind is another, or a static number is out of range.

    Reference: Gandhi et al., Catastrophic Interference is Mitigated in Naturalistic Power-Law Learning Environments,
      2024.

    >>> rehearsal_weights(jnp.array([1.0, 3.0]), exponent=1.0).tolist()  # 1/2 and 1/4
    [0.6666666865348816, 0.3333333432674408]
    """
    check_choice("kind", kind, ("uniform", "power_law", "exponential"))
    check_least("exponent", exponent, 0)
    check_positive("scale", scale)
    ages = jnp.asarray(ages, jnp.float32)
    log_weight = {
        "uniform": jnp.zeros_like(ages),
        "power_law": -exponent * jnp.log1p(ages / scale),
        "exponential": -ages / scale,
    }[kind]
    return masked_softmax(log_weight, where=where)


def phase_task_counts(
    kind: str,
    num_tasks: int,
    size: int,
    *,
    budget: float | None = None,
    exponent: float | None = None,
    scale: float | None = None,
) -> np.ndarray:
    """How many examples of each task a learner sees in each phase: the design of a stream, on the host.

    In phase j task j is new and shown whole; `budget * size` examples are split over the earlier ones. Fractions are
    cut, so the sum may fall short by less than one per task.

        sequential             none
        joint                  all examples of all earlier tasks
        uniform                budget size / j each
        power_law              shares (1 + age / scale)^-exponent; defaults 5.6 and 1
        exponential            shares exp(-age / scale); default 1
        power_law_code         weights (0.1 + i / 100)^(exponent - 1) of the task's index i, not its age; default 5
        power_law_unlimited    size (1 + age / scale)^-exponent, whatever the sum; defaults 5.6 and 10

    Args:
      kind: one of the seven.
      num_tasks: T.
      size: examples of a task.
      budget: share of `size` for rehearsal, in [0, num_tasks]; needed by those with shares.
      exponent: of a power law.
      scale: in whose terms ages count.

    Returns:
      `[T, T]` int64, entry (i, j) for task i in phase j; 0 below the diagonal.

    Raises:
      ValueError: if the kind is another, a number is out of range, or a budget is missing.

    Reference: Gandhi et al., Catastrophic Interference is Mitigated in Naturalistic Power-Law Learning Environments,
      2024; `power_law_code`, and how fractions are cut, are those of the public code of the same setting.

    >>> phase_task_counts("power_law", 3, 100, budget=0.5, exponent=1.0).tolist()
    [[100, 50, 20], [0, 100, 30], [0, 0, 100]]
    """
    check_choice("kind", kind, KINDS)
    for name, number, least in (("num_tasks", num_tasks, 1), ("size", size, 0)):
        check_least(name, number, least)
    fixed = kind in ("sequential", "joint", "power_law_unlimited")
    if not fixed and budget is None:
        raise InputError(f"budget must be a share of size for kind {kind!r}, got None")
    check_least("budget", budget, 0)
    check_least("exponent", exponent, 0)
    check_positive("scale", scale)
    counts = np.diag(np.full(num_tasks, size, np.int64))
    for phase in range(1, num_tasks):
        counts[:phase, phase] = _replayed(kind, phase, size, budget, exponent, scale)
    if counts.max(initial=0) > size:
        raise InputError(f"budget {budget} asks for {counts.max()} examples of a task that has {size}")
    return counts


def _replayed(kind: str, phase: int, size: int, budget, exponent, scale) -> np.ndarray:
    """Counts of the tasks before `phase`."""
    index = np.arange(phase)
    age = (phase - index).astype(np.float64)
    default = lambda value, otherwise: otherwise if value is None else value
    if kind in ("sequential", "joint"):
        return np.full(phase, size if kind == "joint" else 0)
    if kind == "power_law_unlimited":
        return np.floor(size * (1 + age / default(scale, 10.0)) ** -default(exponent, 5.6) + 1e-9)
    total = math.floor(budget * size)
    if kind == "uniform":
        return np.full(phase, total // phase)
    if kind == "power_law":
        weights = (1 + age / default(scale, 1.0)) ** -default(exponent, 5.6)
        return np.floor(total * weights / weights.sum() + 1e-9)
    if kind == "exponential":
        beta = default(scale, 1.0)
        weights = np.exp(-age / beta) / beta
    else:
        alpha = default(exponent, 5.0)
        weights = alpha * (0.01 * (10 + index)) ** (alpha - 1)
    # As in the code: a floor division of floats, and then the fractions are cut.
    return np.floor(total // weights.sum() * weights)


def sample_phase(key: jax.Array, counts: Any, *, size: int) -> tuple[jax.Array, jax.Array]:
    """The examples of one phase: of every task a fresh draw without replacement.

    Args:
      key: random key.
      counts: `[T]` integers, how many of each task, at most `size`; may be traced.
      size: static, examples of a task.

    Returns:
      `(index [T, size] int32, valid [T, size] bool)`: of each task its rows in random order, the first of which count.

    Raises:
      ValueError: if `counts` is not `[T]` or a known one is above `size`.

    Reference: Gandhi et al., Catastrophic Interference is Mitigated in Naturalistic Power-Law Learning Environments,
      2024.

    >>> index, valid = sample_phase(jax.random.key(0), jnp.array([2, 0]), size=3)
    >>> valid.tolist(), sorted(index[0].tolist())
    ([[True, True, False], [False, False, False]], [0, 1, 2])
    """
    if jnp.ndim(counts) != 1:
        raise InputError(f"counts must be [T], got {jnp.shape(counts)}")
    counts = as_integers("counts", counts, "examples of each task", size + 1)
    keys = jax.random.split(key, len(counts))
    index = jax.vmap(lambda key: jax.random.permutation(key, size))(keys)
    return index.astype(jnp.int32), jnp.arange(size) < counts[:, None]
