"""The types that every method of the library takes: pure functions, as an optimizer is in optax."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

State = Any
Batch = Any
Context = Any
Metrics = dict[str, jax.Array]


class Learner(NamedTuple):
    """A method: how its state begins and how one batch changes it.

    `init(key, context) -> state`: `state` is one pytree that holds everything the method changes (parameters,
    optimizer state, EMA, prototypes, replay buffer...). `context` is what earlier stages made, e.g.
    `{"teacher": params}`, or `{}`.

    `update(state, batch, key, context) -> (state, metrics)`: one step. `metrics` is a flat dict of float32 scalars; a
    metric that is not finite stops the run and names the step. The new state has the structure, shapes and dtypes of
    the old one. The context never changes: it is a constant of the loop, neither part of the state nor saved with it.

    `jit`: True when both functions are pure and traceable (the engine then scans over steps, maps over seeds
    and shards over devices). False for work that must stay on the host, such as a Python verifier: the engine
    calls the functions one step and one seed at a time, and they may do what they like.

    `ends`: the name of a metric that is 1 once further updates leave the state as it is. Where it is 1 for every seed
    and setting, the engine takes no more of them.
    """

    init: Callable[[jax.Array, Context], State]
    update: Callable[[State, Batch, jax.Array, Context], tuple[State, Metrics]]
    jit: bool = True
    ends: str | None = None


class Computed(NamedTuple):
    """A state that is computed rather than learned: no steps, but evaluated, exported and saved like a learner's.

    `fn(key, context, train) -> state` sees the whole training split: statistics of data, closed-form estimators, a
    study of its own. `jit=False` runs it on the host, once per seed (scipy, scikit-learn).
    """

    fn: Callable[[jax.Array, Context, Any], State]
    jit: bool = True


def computed(fn: Callable[[jax.Array, Context, Any], State], *, jit: bool = True) -> Computed:
    """An arm or stage that computes its state at once, in the place of a `Learner`.

    Args:
      fn: `(key, context, train) -> state`, pure if `jit`.
      jit: False runs it on the host.

    Returns:
      What an arm or a stage takes for a method.

    >>> mean = computed(lambda key, context, train: train.mean())
    >>> mean.jit
    True
    """
    return Computed(fn, jit)
