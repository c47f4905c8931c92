"""Students that are given tasks, points of a box: they learn from each, and are rewarded by how well they then do."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from jaxlab import nets
from jaxlab.core import TrainState, gradient_learner

_LEARNED = 75  # competence of a cube that opens the next ones


class Student(NamedTuple):
    """`init(key) -> state`, `play(state, task, key) -> (state, reward in [0, 1])`, `mastered(state) -> share`."""

    init: Callable[[jax.Array], Any]
    play: Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array]]
    mastered: Callable[[Any], jax.Array]


def _cubes(spec: ConfigDict) -> Student:
    """The authors' toy world: a competence for each cube of a grid, of which one opens its neighbours.

    An episode in a cube adds one hundredth if the cube is the first or one before it, in any of the directions, is
    learned. Only the first `spec.counts` dimensions matter, the others are there to mislead.
    """
    side, dims = spec.side, spec.dims
    steps = np.array([step for step in itertools.product((0, 1), repeat=dims) if any(step)])

    def play(state: jax.Array, task: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        cube = jnp.clip(jnp.floor(task[:dims] * side).astype(jnp.int32), 0, side - 1)
        before = cube - steps
        there = jnp.all(before >= 0, axis=1)
        learned = state[tuple(jnp.maximum(before, 0).T)] >= _LEARNED
        opens = jnp.all(cube == 0) | jnp.any(there & learned)
        grown = jnp.minimum(state[tuple(cube)] + opens, 100)
        return state.at[tuple(cube)].set(grown), grown / 100

    return Student(
        lambda key: jnp.zeros((side,) * dims),
        play,
        lambda state: jnp.mean((state > _LEARNED).astype(jnp.float32)),
    )


def _waves(spec: ConfigDict) -> Student:
    """A net that fits waves: the first coordinate of a task is their frequency, and half of the second teaches nothing.

    There the labels are noise. A task is mastered if four fifths of its variance are explained; only those that can be
    learned are asked for.
    """
    net = nets.Mlp(features=tuple(spec.features), num_classes=1)
    asked = jnp.linspace(0.01, 0.99, spec.asked)

    def inputs(frequency: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.stack([x, jnp.broadcast_to(frequency, x.shape)], axis=-1)

    def wave(frequency: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sin(np.pi * (1 + spec.range * frequency) * x)

    def error(params: Any, frequency: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean((net.apply(params, inputs(frequency, x))[:, 0] - y) ** 2)

    def explained(params: Any, frequency: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.clip(1 - error(params, frequency, x, y) / jnp.maximum(jnp.var(y), 1e-3), 0.0, 1.0)

    def labelled(task: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x_key, noise_key = jax.random.split(key)
        x = jax.random.uniform(x_key, (spec.batch_size,), minval=-1.0)
        noise = jax.random.normal(noise_key, x.shape)
        return x, jnp.where(task[1] < 0.5, wave(task[0], x), noise)

    learner = gradient_learner(
        lambda key, context: (net.init(key, jnp.zeros((1, 2))), ()),
        lambda params, memory, batch, step, key, context: (error(params, *batch), (memory, {})),
        optax.adam(spec.learning_rate),
    )

    def play(state: TrainState, task: jax.Array, key: jax.Array) -> tuple[TrainState, jax.Array]:
        learn_key, test_key = jax.random.split(key)
        state, _ = learner.update(state, (task[0], *labelled(task, learn_key)), learn_key, {})
        return state, explained(state.params, task[0], *labelled(task, test_key))

    def mastered(state: TrainState) -> jax.Array:
        x = jnp.linspace(-1.0, 1.0, 64)
        found = jax.vmap(lambda frequency: explained(state.params, frequency, x, wave(frequency, x)))(asked)
        return jnp.mean((found > 0.8).astype(jnp.float32))

    return Student(lambda key: learner.init(key, {}), play, mastered)


STUDENTS: dict[str, Callable[[ConfigDict], Student]] = {"cubes": _cubes, "waves": _waves}
