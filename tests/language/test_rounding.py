"""Weights rounded as an engine for inference holds them."""

import jax
import numpy as np
import pytest

from jaxlab.core import InputError
from jaxlab.language import Decoder, round_weights


def test_rounded_weights_lie_on_a_grid_of_their_own_channel():
    model = Decoder(vocab_size=7, width=8, num_layers=2, num_heads=2)
    params = model.init(jax.random.key(0))
    rounded = round_weights(params, bits=4)
    for old, new in zip(params["layers"], rounded["layers"]):
        scale = np.abs(old["up"]).max(axis=0) / 7
        steps = np.asarray(new["up"] / scale)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
        assert np.abs(new["up"] - old["up"]).max() <= scale.max() / 2 + 1e-6
        np.testing.assert_array_equal(old["mlp_norm"], new["mlp_norm"])
    np.testing.assert_array_equal(params["embed"], rounded["embed"])
    with pytest.raises(InputError, match="bits"):
        round_weights(params, bits=1)
