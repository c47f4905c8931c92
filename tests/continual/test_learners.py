"""Learners of the room: mammoth's weights, a memory that is not forgotten, and what a driver will put together."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.continual import (
    agem_project,
    projected_learner,
    reservoir_draw,
    reservoir_init,
    reservoir_insert,
    si_end_task,
    si_learner,
)
from jaxlab.core import cross_entropy, gradient_learner, masked_mean
from jaxlab.metrics import accuracy
from tests.continual.test_golden import PARAMS, X2, Y2, X, Y, Z, _flat, mean_loss

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
# Two tasks around four points: what tells the classes apart in the first says the opposite in the second.
CENTRES = np.float32([[2, -1, 1], [-2, -1, 1], [2, 1, 1], [-2, 1, 1]])
ROWS = np.tile([0, 1], 40)
TASKS = [
    (CENTRES[ROWS + 2 * task] + RNG.normal(size=(80, 3)).astype(np.float32) / 3, np.abs(task - ROWS))
    for task in (0, 1)
]


def logits(params, x):
    return jnp.tanh(x @ params["w1"]) @ params["w2"]


START = {"w1": RNG.normal(size=(3, 16)).astype(np.float32), "w2": np.zeros((16, 2), np.float32)}
MEMORY = (jax.ShapeDtypeStruct((3,), jnp.float32), jnp.int32(0))


def test_synaptic_intelligence_has_the_weights_of_mammoth():
    clipped = optax.chain(optax.clip(1.0), optax.sgd(0.3))
    loss = lambda params, batch, key, context: mean_loss(params, *batch)
    learner = si_learner(lambda key, context: PARAMS, loss, clipped, strength=2 * 0.5)
    update, state = jax.jit(learner.update), learner.init(KEY, {})
    for task, (batch, steps) in enumerate((((X, Y), 4), ((X2, Y2), 3)), start=1):
        for _ in range(steps):
            state, metrics = update(state, batch, KEY, {})
        np.testing.assert_allclose(_flat(state.params), Z[f"out_si_params_t{task}"], rtol=1e-5, atol=1e-6)
        state = si_end_task(state, damping=0.9)
        omega = Z[f"out_si_big_omega_t{task}"]
        np.testing.assert_allclose(_flat(state.memory[0].importance), omega, rtol=1e-4, atol=1e-6)
    assert np.isfinite(metrics["penalty"])


def _replay(params, memory, key):
    """Mean loss of a draw; 0 while the memory is empty."""
    (x, y), valid = reservoir_draw(memory, key, batch_size=16)
    return masked_mean(cross_entropy(logits(params, x), y), where=valid)


def _stream_loss(replay):
    def loss(params, memory, batch, step, key, context):
        value = jnp.mean(cross_entropy(logits(params, batch[0]), batch[1]))
        value += _replay(params, memory, key) if replay else 0.0
        return value, (reservoir_insert(memory, batch, key), {})

    return loss


def _start(key, context):
    return START, reservoir_init(20, MEMORY)


def _a_gem(grads, params, memory, key, context):
    return agem_project(grads, jax.grad(_replay)(params, memory, key))


LEARNERS = {
    "sgd": gradient_learner(_start, _stream_loss(False), optax.sgd(0.3)),
    "replay": gradient_learner(_start, _stream_loss(True), optax.sgd(0.3)),
    "a_gem": projected_learner(_start, _stream_loss(False), optax.sgd(0.3), _a_gem),
}


def _first_task_at_the_end(learner):
    @jax.jit
    def run():
        state = learner.init(KEY, {})
        for i, (x, y) in enumerate(TASKS):
            batch = lambda key: (x[rows := jax.random.randint(key, (8,), 0, 80)], jnp.asarray(y)[rows])  # noqa: B023

            def step(state, key):
                return learner.update(state, batch(key), key, {})[0], None  # noqa: B023

            x = jnp.asarray(x)
            state, _ = jax.lax.scan(step, state, jax.random.split(jax.random.fold_in(KEY, i), 300))
        return accuracy(logits(state.params, TASKS[0][0]), TASKS[0][1])

    return run()


def test_replay_and_projection_keep_what_plain_descent_forgets():
    kept = {name: float(_first_task_at_the_end(learner)) for name, learner in LEARNERS.items()}
    assert kept["sgd"] < 0.6
    assert kept["replay"] > 0.9
    assert kept["a_gem"] > kept["sgd"] + 0.1


def test_without_a_conflict_the_projection_is_no_change():
    plain = projected_learner(_start, _stream_loss(False), optax.sgd(0.3), lambda g, *_: g)
    batch = tuple(jnp.asarray(part[:8]) for part in TASKS[0])
    states = [jax.jit(f.update)(f.init(KEY, {}), batch, KEY, {})[0] for f in (plain, LEARNERS["sgd"])]
    np.testing.assert_allclose(states[0].params["w2"], states[1].params["w2"], rtol=1e-6)
    half = projected_learner(
        lambda key, context: (jnp.zeros(2, jnp.bfloat16), None),
        lambda p, memory, batch, step, key, context: (jnp.sum(p * batch), (memory, {})),
        optax.sgd(0.1),
        lambda g, *_: agem_project(g, -g),
    )
    assert half.update(half.init(KEY, {}), jnp.ones(2), KEY, {})[0].params.dtype == jnp.bfloat16


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="strength must be positive"):
        si_learner(lambda *_: PARAMS, lambda *_: 0.0, optax.sgd(0.1), strength=0.0)
