"""Functions under jit: run eagerly, every primitive compiles alone, at every shape, and the tests take minutes.

Tests of shapes and examples (`test_fuzz`, `test_examples`) call them eagerly.
"""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import jax
import numpy as np


def compiled(f: Callable) -> Callable:
    """The same function, one program for each set of shapes and of arguments that are no arrays.

    Args:
      f: of arrays and settings, returns arrays.
    """

    @functools.cache
    def program(tree, settings):
        def call(arrays):
            leaves = [array if kind is None else setting for array, (kind, setting) in zip(arrays, settings)]
            args, kwargs = jax.tree.unflatten(tree, leaves)
            return f(*args, **kwargs)

        return jax.jit(call)

    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        leaves, tree = jax.tree.flatten((args, kwargs))
        is_array = [isinstance(leaf, np.ndarray | jax.Array) for leaf in leaves]
        if not any(is_array):
            return f(*args, **kwargs)
        arrays = [leaf if array else None for leaf, array in zip(leaves, is_array)]
        # With their types: 1, 1.0 and True are equal.
        settings = tuple(
            (None, None) if array else (type(leaf), leaf) for leaf, array in zip(leaves, is_array)
        )
        return program(tree, settings)(arrays)

    return wrapped


def compiled_room(module: ModuleType) -> SimpleNamespace:
    """Everything public of a module, its functions compiled.

    Args:
      module: a room, or a paper's module.
    """
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return SimpleNamespace(
        **{name: compiled(value) if inspect.isfunction(value) else value for name, value in public.items()}
    )
