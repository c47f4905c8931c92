"""Prompts are continued and scored alike, on whichever side their padding is."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language import Decoder, completion_hidden, sample
from jaxlab.language._padding import left_padded

MODEL = Decoder(vocab_size=9, width=8, num_layers=1, num_heads=2, mlp_width=8)
LEFT = np.array([[0, 0, 1, 5], [1, 4, 3, 8], [0, 0, 0, 0], [0, 1, 7, 6]], np.int32)
RIGHT = np.array([[1, 5, 0, 0], [1, 4, 3, 8], [0, 0, 0, 0], [1, 7, 6, 0]], np.int32)
BOTH = np.array([[0, 1, 5, 0], [1, 4, 3, 8], [0, 0, 0, 0], [1, 7, 6, 0]], np.int32)


@jax.jit
def _write_and_score(prompts, mask):
    params = jax.tree.map(lambda x: 4 * x, MODEL.init(jax.random.key(0)))
    out = sample(MODEL, params, prompts, mask, jax.random.key(1), max_new_tokens=3, eos=2, num_samples=2)
    tokens = jnp.broadcast_to(jnp.array([3, 4, 5]), out.tokens.shape)
    return out, completion_hidden(MODEL, params, prompts, mask, tokens, jnp.ones_like(tokens))


@pytest.mark.parametrize("prompts", [RIGHT, BOTH], ids=["right", "both"])
def test_the_side_of_the_padding_changes_nothing(prompts):
    (expected, hidden), (found, other) = (
        _write_and_score(LEFT, LEFT > 0),
        _write_and_score(prompts, prompts > 0),
    )
    chex.assert_trees_all_equal(found, expected)
    np.testing.assert_array_equal(np.delete(other, [4, 5], 0), np.delete(hidden, [4, 5], 0))
    assert found.mask.sum(axis=1).tolist()[4:6] == [0, 0]  # no prompt, no completion
    assert found.mask[:, 0].sum() == 6


def test_rows_are_turned_as_far_as_their_last_token():
    tokens = np.array([[1, 2, 0, 0], [0, 3, 0, 0], [4, 0, 5, 0], [0, 0, 0, 0], [0, 0, 0, 6]])
    turned = [[0, 0, 1, 2], [0, 0, 0, 3], [0, 4, 0, 5], [0, 0, 0, 0], [0, 0, 0, 6]]
    for kind in (bool, np.int32, np.float32):
        found, mask = left_padded(tokens, (tokens > 0).astype(kind))
        np.testing.assert_array_equal(found, turned)
        np.testing.assert_array_equal(mask, np.array(turned) > 0)
        assert mask.dtype == bool
    assert left_padded(np.zeros((0, 3), int), np.zeros((0, 3)))[0].shape == (0, 3)
