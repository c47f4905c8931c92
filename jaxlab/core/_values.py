"""Looking at values: arrays that are known are checked before anything is computed, traced ones on demand.

Shapes and types are known while a program is traced; values are not. What is concrete is looked at where it comes in
and refused in one line. Inside jit, vmap or scan nobody can look, and the documented meaning of such a value holds;
`debug_checks` turns the same checks into callbacks of the compiled program.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxlab.core._errors import InputError

_on = os.environ.get("JAXLAB_DEBUG_CHECKS", "0") not in ("", "0")


@contextlib.contextmanager
def debug_checks(enabled: bool = True) -> Iterator[None]:
    """While it lasts, checks of values act in compiled programs too: slower, and for finding a mistake.

    A label of a class that does not exist, a mask that is none, logits in the place of probabilities, a NaN where a
    choice is made: outside of jit they are a ValueError at once. Inside, without this switch, such a label counts as
    one to ignore. With it the program raises; JAX reports that as a `JaxRuntimeError` that ends with the line.
    The environment variable `JAXLAB_DEBUG_CHECKS=1` sets the switch for a whole process.

    Args:
      enabled: False suspends the checks of traced values; concrete ones are always looked at.

    Returns:
      A context manager. Entering and leaving it forgets what JAX has compiled, if the switch moves.

    >>> import jax.numpy as jnp
    >>> from jaxlab.core import cross_entropy
    >>> with debug_checks():
    ...     jax.jit(cross_entropy)(jnp.zeros((1, 3)), jnp.array([2])).shape
    (1,)
    """
    global _on
    before = _on
    _switch(enabled)
    try:
        yield
    finally:
        _switch(before)


def _switch(enabled: bool) -> None:
    global _on
    if enabled != _on:
        _on = enabled
        jax.clear_caches()  # programs traced so far have the checks of then


def concrete(x: Any) -> np.ndarray | None:
    """The values as a NumPy array, or None where they cannot be seen: traced, or spread over other processes."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(x)):
        return None
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return None
    return np.asarray(x)


def check_values(find: Callable[..., str | None], *arrays: Any) -> None:
    """Raise the line that `find(*numpy arrays)` returns for arrays that are not as they must be; None is none.

    Acts on concrete arrays at once, and on traced ones under `debug_checks` whenever the program runs.
    """

    def check(*known: Any) -> None:
        fault = find(*(np.asarray(x) for x in known))
        if fault is not None:
            raise InputError(fault)

    known = [concrete(x) for x in arrays]
    if all(x is not None for x in known):
        check(*known)
    elif _on:
        jax.debug.callback(check, *arrays)


def check_no_nan(name: str, x: Any, *, where: Any = True) -> None:
    """What becomes integers or booleans, in which a NaN would be lost, holds none where it counts."""

    def find(x: np.ndarray, where: np.ndarray) -> str | None:
        bad = np.isnan(x.astype(np.float64)) & where.astype(bool)
        if not bad.any():
            return None
        return f"{name} holds NaN, first at {_first(bad)}: no choice can be made from it"

    check_values(find, x, where)


def _first(bad: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(bad)[0])
