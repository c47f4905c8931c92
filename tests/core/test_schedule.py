import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import cosine_ramp_down, linear_ramp_up, sigmoid_ramp_up

STEPS = np.array([-3, 0, 1, 5, 10, 11, 1000])
# t = 0, 0, 0.1, 0.5, 1, 1, 1 for a length of 10.
EXPECTED = {
    sigmoid_ramp_up: np.exp([-5, -5, -5 * 0.81, -5 * 0.25, 0, 0, 0]),
    linear_ramp_up: [0, 0, 0.1, 0.5, 1, 1, 1],
    cosine_ramp_down: [1, 1, (np.cos(0.1 * np.pi) + 1) / 2, 0.5, 0, 0, 0],
}
ramps = pytest.mark.parametrize("ramp", EXPECTED, ids=lambda f: f.__name__)


@ramps
def test_values(ramp):
    np.testing.assert_allclose(ramp(STEPS, length=10), EXPECTED[ramp], rtol=1e-5, atol=1e-7)


@ramps
def test_scalars_jit_and_traced_length(ramp):
    jitted = jax.jit(lambda step, length: ramp(step, length=length))
    for step, expected in zip(STEPS, EXPECTED[ramp]):
        out = jitted(step, 10)
        assert out.dtype == jnp.float32
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(ramp(int(step), length=10.0), expected, rtol=1e-5, atol=1e-7)


@ramps
def test_a_length_of_zero_is_a_ramp_that_is_over(ramp):
    over = 0.0 if ramp is cosine_ramp_down else 1.0
    np.testing.assert_allclose(ramp(np.array([0, 1, 7]), length=0), over, atol=1e-7)
    value, gradient = jax.value_and_grad(lambda length: ramp(3.0, length=length))(0.0)
    np.testing.assert_allclose(value, over, atol=1e-7)
    assert np.isfinite(gradient)


@ramps
def test_float64_stays_float64(ramp):
    with jax.enable_x64(True):
        assert ramp(jnp.float64(3.0), length=10).dtype == jnp.float64
        assert ramp(jnp.int32(3), length=10).dtype == jnp.float32


@ramps
def test_negative_length_is_refused(ramp):
    with pytest.raises(ValueError, match="length must be at least 0, got -1"):
        ramp(0, length=-1)
