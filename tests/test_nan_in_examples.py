"""A NaN in any number of any example comes out, is refused, or stands where no other number would matter either.

tests/test_fuzz.py asks the same of arrays with masks; here are the rooms and modules that it has no calls for.
"""

import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import InputError
from tests.test_fuzz import CALLS, NOT_ARRAYS

ROOMS = ("continual", "curriculum", "education", "language", "metrics", "post_training")
OTHERS = (-1e4, -0.7, 0.3, 0.9, 7.0, 1e4)
# Where a NaN means something, as the docstring says.
MEANT = {
    "holm": "no test",
    "holm_levels": "no test",
    "benjamini_hochberg": "no test",
    "diagnose": "a metric that could not be had",
}


def public():
    """Functions by module and name, those of public modules in the rooms too."""
    found = {}
    for room in map(importlib.import_module, (f"jaxlab.{name}" for name in ROOMS)):
        names = [
            each.name
            for each in pkgutil.iter_modules(room.__path__)
            if each.name[0] != "_" and not each.ispkg
        ]
        modules = [importlib.import_module(f"{room.__name__}.{name}") for name in names]
        found |= {f"{room.__name__}.{name}": getattr(room, name) for name in room.__all__}
        for module in modules:
            own = {
                name: value
                for name, value in vars(module).items()
                if getattr(value, "__module__", "") == module.__name__
            }
            found |= {f"{module.__name__}.{name}": value for name, value in own.items() if name[0] != "_"}
    return {
        name: f
        for name, f in found.items()
        if inspect.isfunction(f) and name.rpartition(".")[2] not in CALLS.keys() | NOT_ARRAYS
    }


PUBLIC = public()


def example(function):
    """The arguments of the first call in the function's example."""
    calls = []

    def record(*args, **kwargs):
        calls.append((args, kwargs))
        return function(*args, **kwargs)

    for test in doctest.DocTestFinder(recurse=False).find(function, function.__name__, module=False):
        test.globs = {**vars(sys.modules[function.__module__]), "jax": jax, "jnp": jnp, "np": np}
        test.globs[function.__name__] = record
        with contextlib.redirect_stdout(io.StringIO()):
            doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
                test, clear_globs=False, out=lambda text: None
            )
    return calls[0] if calls else ((), {})


def is_float(leaf):
    return isinstance(leaf, float) or (
        jnp.issubdtype(getattr(leaf, "dtype", int), jnp.floating) and np.size(leaf) > 0
    )


def with_number(leaf, number, place):
    if isinstance(leaf, float):
        return number
    changed = np.array(leaf, leaf.dtype).reshape(-1)
    changed[place] = number
    changed = changed.reshape(leaf.shape)
    return jnp.asarray(changed) if isinstance(leaf, jax.Array) else changed


def numbers(out):
    return [
        np.asarray(leaf, np.float64)
        for leaf in jax.tree.leaves(out)
        if isinstance(leaf, bool | int | float | np.ndarray | np.generic)
        or (isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
    ]


def alike(some, others):
    return len(some) == len(others) and all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(some, others)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_nan_comes_out_or_is_refused(name):
    function = PUBLIC[name]
    leaves, structure = jax.tree.flatten(example(function))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves) or name.rpartition(".")[2] in MEANT:
        return

    def call(i, place, number):
        changed = [*leaves[:i], with_number(leaves[i], number, place), *leaves[i + 1 :]]
        args, kwargs = jax.tree.unflatten(structure, changed)
        return numbers(function(*args, **kwargs))

    for i in [i for i, leaf in enumerate(leaves) if is_float(leaf)]:
        for place in (0, -1):
            try:
                found = call(i, place, np.nan)
            except InputError as error:
                assert "\n" not in str(error)
                continue
            if not found or any(np.isnan(each).any() for each in found):  # None is no number either
                continue
            for other in OTHERS:
                with contextlib.suppress(InputError):
                    assert alike(found, call(i, place, other)), (i, place, "a NaN became a number")
