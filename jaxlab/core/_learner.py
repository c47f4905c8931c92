"""The type that every method of the library takes: a pair of pure functions, as an optimizer is in optax."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

State = Any
Batch = Any
Context = Any
Metrics = dict[str, jax.Array]


class Learner(NamedTuple):
    """A method: how its state begins and how one batch changes it.

    `init(key, context) -> state`: `state` is one pytree that holds everything the method remembers
    (parameters, optimizer state, teacher, EMA, prototypes, replay buffer...). `context` is what earlier
    stages made, e.g. `{"teacher": params}`, or `{}`.

    `update(state, batch, key) -> (state, metrics)`: one step. `metrics` is a flat dict of float32 scalars; a
    metric that is not finite stops the run and names the step. The new state has the structure, shapes and
    dtypes of the old one.

    `jit`: True when both functions are pure and traceable (the engine then scans over steps, maps over seeds
    and shards over devices). False for work that must stay on the host, such as a Python verifier: the engine
    calls the functions one step and one seed at a time, and they may do what they like.
    """

    init: Callable[[jax.Array, Context], State]
    update: Callable[[State, Batch, jax.Array], tuple[State, Metrics]]
    jit: bool = True
