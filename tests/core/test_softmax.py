"""What is particular to softmax and log-sum-exp; the rules that they share with all reductions: test_reduce."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import MASKED_LOGIT
from tests.core.compiled import grad, masked_log_softmax, masked_logsumexp, masked_softmax


def test_softmax_by_hand():
    # Logits log 1, log 3 valid: probabilities 1/4, 3/4.
    x, mask = jnp.log(jnp.array([1.0, 3.0, 50.0])), jnp.array([1, 1, 0])
    np.testing.assert_allclose(masked_softmax(x, where=mask), [0.25, 0.75, 0.0], rtol=1e-6)
    np.testing.assert_allclose(masked_log_softmax(x, where=mask)[:2], np.log([0.25, 0.75]), rtol=1e-6)
    np.testing.assert_allclose(masked_logsumexp(x, where=mask), np.log(4.0), rtol=1e-6)
    # d p_0 / d x = p_0 (1 - p_0), -p_0 p_1, and nothing for the masked one.
    gradient = grad(lambda x: masked_softmax(x, where=mask)[0])(x)
    np.testing.assert_allclose(gradient, [3 / 16, -3 / 16, 0.0], rtol=1e-5)
    # d logsumexp / d x = p.
    gradient = grad(lambda x: masked_logsumexp(x, where=mask))(x)
    np.testing.assert_allclose(gradient, [0.25, 0.75, 0.0], rtol=1e-6)


def test_masked_log_probability_is_finite_and_never_chosen():
    x, mask = jnp.array([0.0, 5.0, 1.0]), jnp.array([1, 0, 1])
    log_p = masked_log_softmax(x, where=mask)
    assert log_p[1] == np.float32(MASKED_LOGIT)
    np.testing.assert_array_equal(jnp.exp(log_p)[1], 0.0)
    assert jnp.sum(masked_softmax(x, where=mask) * log_p) < 0  # 0 * log 0 is 0, not NaN
    draws = jax.random.categorical(jax.random.key(0), log_p, shape=(100,))
    assert set(np.asarray(draws)) == {0, 2}


def test_minus_infinity_is_a_mask():
    x = jnp.array([[0.0, -jnp.inf, 1.0], [-jnp.inf, -jnp.inf, -jnp.inf]])
    mask = x > -jnp.inf
    for f in (masked_softmax, masked_log_softmax):
        np.testing.assert_array_equal(f(x), f(jnp.where(mask, x, 0.0), where=mask))
        assert np.all(np.isfinite(grad(lambda x, f=f: f(x).sum(where=mask))(x)))
    np.testing.assert_array_equal(masked_logsumexp(x, axis=1)[1], 0.0)


def test_log_softmax_is_precise_far_from_zero():
    # 1e4 + log 2 has a spacing of 1e-3 in float32; the peak must go before the logarithm comes.
    x = jnp.array([1e4, 1e4])
    np.testing.assert_allclose(masked_log_softmax(x), np.log([0.5, 0.5]), rtol=1e-6)
    np.testing.assert_allclose(masked_softmax(x), [0.5, 0.5], rtol=1e-6)


def test_logsumexp_of_infinity_is_infinity():
    assert masked_logsumexp(jnp.array([0.0, jnp.inf])).item() == np.inf
