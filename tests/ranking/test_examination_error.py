import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.ranking import relative_examination_error


def test_examination_error_by_hand_and_its_scale_is_free():
    truth = jnp.array([0.8, 0.4, 0.1])
    assert relative_examination_error(jnp.log(truth) + 5, truth).item() < 1e-6
    # An estimate of 0.8, 0.2, 0.1: log 2 too little at the second, 0 at the third.
    got = relative_examination_error(jnp.log(jnp.array([0.8, 0.2, 0.1])), truth)
    np.testing.assert_allclose(got, np.log(2) / 2, rtol=1e-5)
    got = relative_examination_error(jnp.log(jnp.array([0.8, 0.2, 0.1])), truth, where=jnp.array([1, 1, 0]))
    np.testing.assert_allclose(got, np.log(2), rtol=1e-5)
    assert relative_examination_error(jnp.zeros(1), jnp.ones(1)) == 0
    with pytest.raises(
        ValueError, match=r"propensity_logits \(3,\) and examination \(2,\) must have the same shape"
    ):
        relative_examination_error(jnp.zeros(3), jnp.ones(2))
