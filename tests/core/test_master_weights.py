"""Half-precision parameters that move at the papers' learning rates."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.core import MasterWeightsState, master_weights

START = {"w": np.full(4, 0.02, np.float32), "b": np.full(3, -0.5, np.float32)}


def half(tree, dtype=jnp.bfloat16):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def train(optimizer, params, steps):
    def step(carry, _):
        params, state = carry
        loss = lambda p: sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(p))
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=steps)[0])
    return run((params, optimizer.init(params)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_thousand_steps_of_a_millionth(dtype):
    params = half(START, dtype)
    before = jax.tree.map(lambda x: np.asarray(x, np.float32), params)
    after, state = train(master_weights(optax.adam(1e-6)), params, 1000)
    for name in START:
        assert after[name].dtype == dtype
        np.testing.assert_allclose(state.weights[name], before[name] - 1e-3, atol=2e-5)
        np.testing.assert_array_equal(after[name], state.weights[name].astype(dtype))
    plain, _ = train(optax.adam(1e-6), params, 1000)
    np.testing.assert_array_equal(plain["b"], params["b"])  # what it is for


def test_the_optimizers_memory_is_float32():
    state = master_weights(optax.adam(1e-3)).init(half(START))
    assert {leaf.dtype for leaf in jax.tree.leaves(state) if leaf.ndim} == {jnp.dtype("float32")}


def test_the_steps_are_those_of_float32_parameters():
    # Weight decay and clipping see the copy, so that everything but the rounding of the gradient's place is the same.
    make = lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, weight_decay=0.1))
    exact = jax.tree.map(lambda x: x.astype(jnp.float32), half(START))
    wide, _ = train(make(), exact, 50)
    _, state = train(master_weights(make()), half(START), 50)
    chex.assert_trees_all_close(state.weights, wide, rtol=1e-6)


def test_wide_parameters_have_no_copy_and_the_same_numbers():
    optimizer = optax.adam(1e-2)
    params = jax.tree.map(jnp.asarray, START)
    assert jax.tree.structure(master_weights(optimizer).init(params)) == jax.tree.structure(
        optimizer.init(params)
    )
    chex.assert_trees_all_equal(
        train(master_weights(optimizer), params, 9),
        train(optimizer, params, 9),
    )


def test_only_half_precision_leaves_have_a_copy():
    params = {"w": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(2)}
    after, state = train(master_weights(optax.sgd(1e-3)), params, 10)
    assert isinstance(state, MasterWeightsState)
    assert state.weights["b"] is None
    np.testing.assert_allclose(state.weights["w"], 0.99, rtol=1e-6)
    np.testing.assert_allclose(after["b"], 0.99, rtol=1e-6)


def test_gradients_may_accumulate_and_extra_arguments_pass():
    accumulated = optax.MultiSteps(optax.adam(1e-6), 4).gradient_transformation()
    _, state = train(master_weights(accumulated), half(START), 400)
    np.testing.assert_allclose(state.weights["w"], np.float32(jnp.bfloat16(0.02)) - 1e-4, atol=1e-6)

    def update(updates, state, params=None, *, factor):
        return jax.tree.map(lambda g: -factor * g, updates), state

    scaled = master_weights(optax.GradientTransformationExtraArgs(lambda p: optax.EmptyState(), update))
    params = half(START)
    updates, _ = scaled.update(params, scaled.init(params), params, factor=2.0)
    np.testing.assert_allclose(updates["b"], 1.0)


def test_the_state_can_be_donated():
    optimizer, params = master_weights(optax.adam(1e-3)), half(START)

    def step(params, state):
        updates, state = optimizer.update(params, state, params)
        return optax.apply_updates(params, updates), state

    after, _ = jax.jit(step, donate_argnums=(0, 1))(params, optimizer.init(params))
    assert np.isfinite(np.asarray(after["w"], np.float32)).all()


def test_without_parameters_nothing_can_be_rounded():
    optimizer = master_weights(optax.sgd(0.1))
    with pytest.raises(ValueError, match="params is None: master_weights needs the parameters"):
        optimizer.update(half(START), optimizer.init(half(START)))
