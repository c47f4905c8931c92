"""How many of the examples, in the order of their difficulty, are used at a step."""

import math
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._values import concrete
from jaxlab.core.check import as_integers, check_choice, check_fraction, check_least

PACING_LAWS = ("linear", "quadratic", "root", "step", "exponential", "logarithmic")
"""The names of the laws that `paced_count` knows."""

_SHARPNESS = 10.0  # of the exponential and the logarithmic law
_LONGEST_TABLE = 2**20
_ROUNDING = 2e-7  # of float32; a count that is whole in exact numbers should not fall below it


def paced_count(
    step: jax.Array,
    *,
    law: str = "linear",
    num_steps: int | jax.Array,
    size: int | jax.Array,
    start: float | jax.Array = 0.2,
    full_at: float | jax.Array = 0.8,
    least: int = 1,
) -> jax.Array:
    """How many examples of an order are used at a step: a share at the beginning, all of them later.

        count = clip(floor(b N + (N - b N) share(t)), 1, N),   t = step / (a T)
        linear t, quadratic t^2, root t^(1/2), exponential (e^(10 t) - 1) / (e^10 - 1),
        logarithmic 1 + log(t + e^-10) / 10;   step: b N + N floor(t) in the place of the sum

    Where all but the step is known, the counts are those of exact (float64) arithmetic, compiled or not. With a traced
    or an array-valued size they are computed in float32 and may be off by one where the exact number is nearly whole.

    Args:
      step: integers of any shape, at least 0.
      law: one of `PACING_LAWS`.
      num_steps: T, the length of the training; may broadcast to `step`, as all that follows.
      size: N, how many examples there are.
      start: b in [0, 1], the share at step 0.
      full_at: a, at least 0: the share of the steps after which all are used; 0 uses all at once, `inf` never more
        than at the start.
      least: fewer are never used, if there are as many.

    Returns:
      int32 of the broadcast shape, in [min(1, N), N].

    Raises:
      ValueError: a law that does not exist, a start outside of [0, 1], a negative number, steps that are not integers.

    Reference: Vahidian et al., When Do Curricula Work in Federated Learning?, 2023, authors' code, with the names
      linear, root (sqrt), quadratic (quad), step, exponential (exp), logarithmic (log); first in Wu, Dyer and
      Neyshabur, When Do Curricula Work?, 2021.

    >>> paced_count(jnp.array([0, 40, 80, 100]), num_steps=100, size=500).tolist()
    [100, 300, 500, 500]
    """
    check_choice("law", law, PACING_LAWS)
    check_fraction("start", start)
    for name, value in (("full_at", full_at), ("num_steps", num_steps), ("size", size), ("least", least)):
        check_least(name, value, 0)
    step = as_integers("step", step, "counted from 0")
    known = [concrete(x) for x in (num_steps, size, start, full_at, least)]
    if all(x is not None and x.ndim == 0 for x in known):
        last = float(known[3]) * float(known[0]) if known[3] else 0.0
        last = math.ceil(last) if math.isfinite(last) else 0
        if last < _LONGEST_TABLE:
            table = _counts(np, np.arange(last + 1, dtype=np.float64), law, *map(np.float64, known), 0.0)
            return jnp.asarray(table)[jnp.clip(step, 0, last)]
    numbers = [jnp.asarray(x, jnp.float32) for x in (step, num_steps, size, start, full_at, least)]
    return _counts(jnp, numbers[0], law, *numbers[1:], _ROUNDING)


def _counts(
    xp: ModuleType,
    step: Any,
    law: str,
    steps: Any,
    size: Any,
    start: Any,
    full_at: Any,
    least: Any,
    slack: Any,
) -> Any:
    """The law in the numbers of NumPy or JAX; `slack` times the size is added before rounding down."""
    full = full_at * xp.maximum(steps, 1)
    t = xp.where(full > 0, step / xp.maximum(full, 1e-30), 1.0)
    short = xp.minimum(t, 1.0)
    share = {
        "linear": lambda: short,
        "quadratic": lambda: short**2,
        "root": lambda: xp.sqrt(short),
        "step": lambda: xp.floor(short * (1 + slack)),
        "exponential": lambda: xp.expm1(_SHARPNESS * short) / math.expm1(_SHARPNESS),
        "logarithmic": lambda: 1 + xp.log(short + math.exp(-_SHARPNESS)) / _SHARPNESS,
    }[law]()
    first = start * size
    count = first + (size if law == "step" else size - first) * share
    count = xp.where(t >= 1, size, xp.floor(count + slack * size))
    return xp.minimum(xp.maximum(xp.clip(count, 1, size), least), size).astype(xp.int32)
