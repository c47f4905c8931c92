"""Batches: how a group draws them, and what a compiled program cannot draw."""

import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from jaxlab.core.check import InputError
from jaxlab.training._method import Group

_RECIPE = (
    "it is traced once, so a loader or np.random in it would give the same batch for ever: draw from the data by the "
    "key, or make the learner one of jit=False"
)


def batch_of(group: Group, train: Any, key: jax.Array, step: jax.Array) -> Any:
    """The batch of one step, by whichever way the group has; with none the rows that were read, or None."""
    if group.stream is not None:
        return group.stream(train, key, step)
    if group.draw is None:
        return train if group.streamed else None
    return group.draw(train, jax.random.fold_in(key, step))


def check_batches(group: Group, train: Any, key: jax.Array) -> None:
    """Refuse what depends on the moment of tracing.

    Args:
      group: with its way to draw.
      train: the training split of one seed, or of it the rows of one step, or their shapes.
      key: a key, or its shape.

    Raises:
      ValueError: two traces differ in what they took from outside, or a leaf of the batch comes from outside alone.
    """
    draw = group.draw if group.stream is None else group.stream
    if draw is None:
        return
    given = (train, key) if group.stream is None else (train, key, jax.ShapeDtypeStruct((), np.uint32))
    name = "draw" if group.stream is None else "stream"
    # A function object of its own for each: JAX remembers what it has traced.
    first, second = (jax.make_jaxpr(_again(draw), return_shape=True)(*given) for _ in range(2))
    if not _same_constants(first[0].consts, second[0].consts) or _text(first[0]) != _text(second[0]):
        raise InputError(f"{name} takes other numbers from outside each time: {_RECIPE}")
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(first[1])[0]]
    for path, outside in zip(paths, _from_outside_alone(first[0].jaxpr)):
        if outside:
            raise InputError(
                f"{name}: the batch{path} depends on neither the data nor the key, but on an array from outside: "
                f"{_RECIPE}"
            )


def _again(draw: Callable) -> Callable:
    return lambda *given: draw(*given)


def _text(jaxpr: Any) -> str:
    """The program with the numbers in it, such as the bounds of a slice, and without addresses of functions."""
    return re.sub(r"0x[0-9a-f]+", "", str(jaxpr.jaxpr))


def _same_constants(first: list, second: list) -> bool:
    if len(first) != len(second):
        return False
    plain = lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return all(
        one is other or np.array_equal(np.asarray(plain(one)), np.asarray(plain(other)), equal_nan=False)
        for one, other in zip(first, second)
    )


def _from_outside_alone(jaxpr: Any) -> list[bool]:
    """For every output, whether it depends on a captured array and on no argument."""
    inside, outside = set(jaxpr.invars), {var for var in jaxpr.constvars if var.aval.shape}
    for equation in jaxpr.eqns:
        read = [var for var in equation.invars if not isinstance(var, Literal)]
        if inside & set(read):
            inside |= set(equation.outvars)
        elif outside & set(read):
            outside |= set(equation.outvars)
    known = lambda var, group: not isinstance(var, Literal) and var in group
    return [known(var, outside) and not known(var, inside) for var in jaxpr.outvars]
