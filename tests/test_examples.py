"""The examples of docstrings with one argument made wrong: a NaN, logits for probabilities, an array for a state.

tests/test_fuzz.py plants a NaN into arrays with masks; here are the rooms and modules that it has no calls for.
"""

import contextlib
import doctest
import functools
import inspect
import io
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import InputError
from tests.public import public
from tests.test_fuzz import CALLS, NOT_ARRAYS

ROOMS = ("continual", "core", "curriculum", "distillation", "education", "metrics", "post_training", "ranking",
         "semi_supervised")  # fmt: skip
OTHERS = (-1e4, -0.7, 0.3, 0.9, 7.0, 1e4)
NAN_MEANS_NO_TEST = {"holm", "holm_levels", "benjamini_hochberg"}
# A learner's state is made by its own `init`, and these take one only to hand it on.
NO_STATES = ("Learner",)
# Any convex function of any point; a potential of log-probabilities.
NOT_PROBABILITIES = {"bregman", "check_probabilities"}
# Functions of the host, whose numbers make shapes or NumPy arrays.
STATIC = {"completion_scores", "cycle_counts", "cycle_shares", "dirichlet_partition", "exponential_counts",
          "growing_shares", "parabolic_counts", "phase_task_counts", "render_mask",
          "sharp_cycle_shares", "shrinking_shares"}  # fmt: skip


PUBLIC = {
    name: value
    for room in ROOMS
    for name, value in public(f"jaxlab.{room}").items()
    if inspect.isfunction(value)
}
ELSEWHERE = CALLS.keys() | NOT_ARRAYS | NAN_MEANS_NO_TEST
NUMBERS = [
    name for name in sorted(PUBLIC) if name.rpartition(".")[2] not in ELSEWHERE and ".check." not in name
]

# Studies and statistics of results are computed on the host.
COMPILED = [
    name
    for name in sorted(PUBLIC)
    if name.split(".")[1] not in ("education", "metrics") and name.rpartition(".")[2] not in STATIC
]


def with_argument(accepts):
    """Functions with an argument that `accepts(its name, its type)`, and that name."""
    return [
        (name, parameter)
        for name, function in sorted(PUBLIC.items())
        for parameter, about in inspect.signature(function).parameters.items()
        if accepts(parameter, about.annotation)
    ]


def is_state(name, kind):
    ours = inspect.isclass(kind) and kind.__module__.startswith("jaxlab.")
    return ours and hasattr(kind, "_fields") and kind.__name__ not in NO_STATES


PROBABILITIES = [
    pair
    for pair in with_argument(
        lambda name, kind: name.endswith(("probs", "probabilities")) and "log_" not in name
    )
    if pair[0].rpartition(".")[2] not in NOT_PROBABILITIES
]
STATES = [
    pair for pair in with_argument(is_state) if "completion_scores" not in pair[0]
]  # it would sample first


@functools.cache
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
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            runner.run(test, clear_globs=False, out=lambda text: None)
    return calls[0] if calls else ((), {})


def refused(function, **wrong):
    """The line about an example with other arguments."""
    args, kwargs = example(function)
    given = inspect.signature(function).bind(*args, **kwargs)
    given.arguments.update({name: make(given.arguments.get(name)) for name, make in wrong.items()})
    with pytest.raises(InputError) as error:
        function(*given.args, **given.kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("name", "argument"), STATES)
def test_a_state_that_is_none_is_refused(name, argument):
    """At once, whatever the other arguments are."""
    parameters = inspect.signature(PUBLIC[name]).parameters
    kind = parameters[argument].annotation
    state = lambda about: about.annotation(*[jnp.ones(2)] * len(about.annotation._fields))
    given = {
        other: state(about) if is_state(other, about.annotation) else jnp.ones((2, 3))
        for other, about in parameters.items()
        if about.default is inspect.Parameter.empty
    }
    for other, called in ((jnp.ones((2, 3)), "an array (2, 3)"), ({"a": 1}, "a dict"), (None, "a NoneType")):
        line = rf"^{argument} must be an? {kind.__name__}, got {re.escape(called)}: are arguments swapped\?$"
        with pytest.raises(InputError, match=line):
            PUBLIC[name](**{**given, argument: other})


@pytest.mark.parametrize(("name", "argument"), PROBABILITIES)
def test_logits_are_no_probabilities(name, argument):
    logits = lambda probs: jnp.asarray(np.resize([2.0, -3.0, 1.5], np.shape(probs)), jnp.float32)
    line = refused(PUBLIC[name], **{argument: logits})
    assert "apply softmax to logits first" in line


def is_float(leaf):
    return isinstance(leaf, float) or (
        jnp.issubdtype(getattr(leaf, "dtype", int), jnp.floating) and np.size(leaf) > 0
    )


def with_number(leaf, number, place):
    if isinstance(leaf, float):
        return number
    changed = np.array(leaf).reshape(-1)
    changed[place] = number
    changed = changed.reshape(np.shape(leaf))
    return jnp.asarray(changed) if isinstance(leaf, jax.Array) else changed


def numbers(out):
    is_number = lambda leaf: isinstance(leaf, bool | int | float | np.ndarray | np.generic | jax.Array)
    is_key = lambda leaf: jnp.issubdtype(getattr(leaf, "dtype", int), jax.dtypes.prng_key)
    return [
        np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(out) if is_number(leaf) and not is_key(leaf)
    ]


def alike(some, others):
    return len(some) == len(others) and all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(some, others)
    )


@pytest.mark.wide
@pytest.mark.parametrize("name", NUMBERS)
def test_a_nan_comes_out_or_is_refused(name):
    """Or it stands where no other number matters either."""
    function = PUBLIC[name]
    leaves, structure = jax.tree.flatten(example(function))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return

    def call(i, place, number):
        changed = [*leaves[:i], with_number(leaves[i], number, place), *leaves[i + 1 :]]
        args, kwargs = jax.tree.unflatten(structure, changed)
        return numbers(function(*args, **kwargs))

    for i in [i for i, leaf in enumerate(leaves) if is_float(leaf)]:
        for place in (0, -1) if np.size(leaves[i]) > 1 else (0,):
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


def numbers_of(name):
    """The hyper-parameters of a function that are floats in its example: `(parameter, call with another value)`."""
    function, (args, kwargs) = PUBLIC[name], example(PUBLIC[name])
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs))):
        return []  # its example takes a gradient
    given = inspect.signature(function).bind_partial(*args, **kwargs)
    given.apply_defaults()

    def call(parameter, value):
        return function(**{**given.arguments, parameter: value})

    plain = all(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY) for p in
                inspect.signature(function).parameters.values())  # fmt: skip
    names = [parameter for parameter, value in given.arguments.items() if type(value) is float]
    return [(parameter, functools.partial(call, parameter)) for parameter in names] if plain else []


def arrays(out):
    return [leaf for leaf in jax.tree.leaves(out) if isinstance(leaf, jax.Array)]


def line_of(call, value):
    try:
        call(value)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.wide
@pytest.mark.parametrize("name", COMPILED)
def test_a_number_that_is_refused_is_refused_as_numpys_too(name):
    for parameter, call in numbers_of(name):
        for wrong in (0.0, -1.0, 2.5, np.nan):
            if line_of(call, wrong) is not None:
                for kind in (np.float32, np.asarray, jnp.float32):
                    assert line_of(call, kind(wrong)) is not None, f"{parameter}={kind.__name__}({wrong})"
                break


@pytest.mark.wide
@pytest.mark.parametrize("name", COMPILED)
def test_a_number_may_be_traced(name):
    """Or its line says that it is static."""
    for _, call in numbers_of(name):
        with contextlib.suppress(InputError):
            jax.eval_shape(lambda value, call=call: arrays(call(value)), 0.5)
