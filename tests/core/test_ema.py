import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import EmaState, constant_decay, ema_init, ema_update, ema_value, ramp_up_decay

ARRAYS = [
    np.array([1.0, -2.0], np.float32),
    np.array([3.0, 0.0], np.float32),
    np.array([-1.0, 5.0], np.float32),
]


def test_start_at_the_parameters_by_hand():
    # 1/4 new each time: 1 -> 3/4 + 3/4 = 1.5 -> 1.125 - 0.25 = 0.875, and -2 -> -1.5 -> -1.125 + 1.25 = 0.125.
    state = ema_init(ARRAYS[0])
    for x in ARRAYS[1:]:
        state = ema_update(state, x, 0.75)
    np.testing.assert_allclose(state.value, [0.875, 0.125], rtol=1e-6)
    np.testing.assert_array_equal(ema_value(state), state.value)
    assert (state.count, state.weight) == (2, 1.0)


def test_start_at_zeros_is_read_without_bias():
    # Weights 1/2 (1/2)^k over the last three values and 1 - (1/2)^3 = 7/8 in all.
    state = ema_init(ARRAYS[0], zero=True)
    np.testing.assert_array_equal(ema_value(state), [0.0, 0.0])
    for x in ARRAYS:
        state = ema_update(state, x, 0.5)
    biased = ARRAYS[2] / 2 + ARRAYS[1] / 4 + ARRAYS[0] / 8
    np.testing.assert_allclose(state.value, biased, rtol=1e-6)
    np.testing.assert_allclose(ema_value(state), biased / (7 / 8), rtol=1e-6)


def test_the_bias_is_right_for_a_schedule_too():
    state = ema_init(jnp.zeros(2), zero=True)
    for _ in range(7):
        state = ema_update(state, jnp.array([3.0, -4.0]), lambda step: 0.5 + 0.05 * step)
    np.testing.assert_allclose(ema_value(state), [3.0, -4.0], rtol=1e-6)  # of a constant: that constant


def test_ramp_up_begins_as_the_plain_mean():
    # Decays 0, 1/2, 2/3: the first update copies, then every observation weighs the same.
    state = ema_init(jnp.full(2, 77.0))
    for x in ARRAYS:
        state = ema_update(state, x, ramp_up_decay(0.99))
    np.testing.assert_allclose(state.value, np.mean(ARRAYS, axis=0), rtol=1e-6)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (1, 0.5), (9, 0.9), (99, 0.95), (10**6, 0.95)])
def test_ramp_up_decay(step, expected):
    np.testing.assert_allclose(ramp_up_decay(0.95)(step), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(ramp_up_decay(0.95))(jnp.int32(step)), expected, rtol=1e-6)


def test_constant_decay():
    np.testing.assert_array_equal(constant_decay(0.9)(jnp.arange(3)), np.full(3, 0.9, np.float32))


def test_decay_zero_copies_and_decay_one_stays():
    state = ema_init(ARRAYS[0])
    np.testing.assert_array_equal(ema_update(state, ARRAYS[1], 0.0).value, ARRAYS[1])
    np.testing.assert_array_equal(ema_update(state, ARRAYS[1], 1).value, ARRAYS[0])


def test_a_bfloat16_average_does_not_freeze():
    params = jnp.zeros(3, jnp.bfloat16)
    state = ema_init(params)
    target = jnp.ones(3, jnp.bfloat16)
    state, _ = jax.lax.scan(lambda s, _: (ema_update(s, target, 0.999), None), state, length=2000)
    assert state.value.dtype == jnp.float32
    np.testing.assert_allclose(state.value, 1 - 0.999**2000, rtol=1e-3)  # 0.865; in bfloat16 it stops at 0.25
    assert ema_value(state, like=params).dtype == jnp.bfloat16


def test_float64_stays_float64():
    with jax.enable_x64(True):
        state = ema_init({"a": jnp.zeros(2, jnp.float64), "b": jnp.zeros(2, jnp.float32)}, zero=True)
        params = {"a": jnp.ones(2, jnp.float64), "b": jnp.ones(2, jnp.float32)}
        new = ema_update(state, params, ramp_up_decay(0.9))
        new = ema_update(new, params, jnp.float64(0.9))
        assert jax.tree.map(jnp.result_type, new) == jax.tree.map(jnp.result_type, state)
        value = ema_value(new)
        assert (value["a"].dtype, value["b"].dtype) == (jnp.float64, jnp.float32)
        np.testing.assert_allclose(value["a"], 1.0, rtol=1e-14)


def test_leaves_that_are_not_floats_are_copied():
    params = {
        "w": jnp.ones(2),
        "step": jnp.int32(7),
        "key": jax.random.key(0),
        "on": jnp.array(True),
        "none": None,
    }
    state = ema_init(params, zero=True)
    assert state.value["step"] == 7
    newer = params | {"step": jnp.int32(9), "key": jax.random.key(5), "on": jnp.array(False)}
    state = jax.jit(ema_update)(state, newer, 0.5)
    assert state.value["step"] == ema_value(state)["step"] == 9
    assert state.value["step"].dtype == jnp.int32
    assert state.value["key"] == jax.random.key(5)
    assert not state.value["on"]
    assert jax.tree.structure(ema_value(state, like=params)) == jax.tree.structure(params)


def test_no_gradient_flows():
    def through(params, old, decay):
        state = ema_init(old)
        state = ema_update(state, params, decay)
        return jnp.sum(ema_value(state)) + jnp.sum(state.value) + state.weight

    for gradient in jax.grad(through, argnums=(0, 1, 2))(ARRAYS[0], ARRAYS[1], 0.5):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_the_state_can_be_donated_beside_the_parameters():
    params = {"w": jnp.ones((64, 64))}
    step = jax.jit(lambda params, state: (params, ema_update(state, params, 0.9)), donate_argnums=(0, 1))
    _, state = step(params, ema_init(params))
    np.testing.assert_allclose(state.value["w"], 1.0, rtol=1e-6)


def test_scan_jit_and_loop_agree():
    stacked = jnp.stack(ARRAYS)
    scanned, _ = jax.lax.scan(
        lambda s, x: (ema_update(s, x, ramp_up_decay(0.9)), None), ema_init(ARRAYS[0]), stacked
    )
    looped = ema_init(ARRAYS[0])
    for x in ARRAYS:
        looped = ema_update(looped, x, ramp_up_decay(0.9))
    chex.assert_trees_all_close(scanned, looped, rtol=1e-6)
    assert isinstance(scanned, EmaState)


def test_vmap_over_seeds_is_a_loop():
    olds, news = jnp.stack(ARRAYS), jnp.stack(ARRAYS[::-1])
    mapped = jax.vmap(lambda old, new: ema_update(ema_init(old), new, 0.7))(olds, news)
    for i in range(3):
        np.testing.assert_allclose(
            mapped.value[i], ema_update(ema_init(olds[i]), news[i], 0.7).value, rtol=1e-6
        )


def test_errors():
    state = ema_init({"w": jnp.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"\['w'\] must have the average's shape \(2, 3\), got \(3,\)"):
        ema_update(state, {"w": jnp.zeros(3)}, 0.9)
    with pytest.raises(ValueError, match="params must have the structure of the average"):
        ema_update(state, {"v": jnp.zeros((2, 3))}, 0.9)
    with pytest.raises(ValueError, match="structure of the average"):
        ema_value(state, like={})
    for bad in (-0.1, 1.5):
        for call in (lambda bad=bad: ema_update(state, state.value, bad), lambda bad=bad: ramp_up_decay(bad)):
            with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got"):
                call()
        with pytest.raises(ValueError, match="decay must be"):
            constant_decay(bad)
