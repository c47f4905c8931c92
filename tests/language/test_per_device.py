"""A decoder's loss written for one device's rows: `pmean(grad(global loss))` is the gradient of one device."""

import jax
import jax.numpy as jnp
import pytest
from jax.flatten_util import ravel_pytree

from jaxlab.core import masked_mean
from jaxlab.language import (
    Decoder,
    attach_lora,
    completion_hidden,
    init_lora,
    output_matrix,
    token_divergence,
    token_statistics,
)

MODEL = Decoder(
    vocab_size=11, width=8, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=4, mlp_width=6, qkv_bias=True
)
PARAMS = MODEL.init(jax.random.key(0))
TEACHER = MODEL.init(jax.random.key(1))
TOKENS = jax.random.randint(jax.random.key(2), (8, 7), 0, 11)
MASK = jnp.arange(7) >= jnp.array([0, 1, 2, 0, 3, 0, 1, 0])[:, None]
COMPLETIONS = jax.random.randint(jax.random.key(3), (8, 5), 0, 11)
LENGTHS = jnp.array([5, 1, 3, 5, 2, 4, 5, 3])
BATCH = (TOKENS, MASK, COMPLETIONS, jnp.arange(5) < LENGTHS[:, None])


@pytest.mark.parametrize("form", ["whole", "lora"])
def test_gradients_of_a_decoder_on_four_devices(assert_global, form):
    """Log-probabilities, entropies and a divergence from a teacher, in chunks, on completions of padded prompts."""
    if form == "lora":
        adapters = init_lora(jax.random.key(4), MODEL, rank=2, targets=("q", "down"))
        adapters = jax.tree.map(lambda x: x + 0.1, adapters)
        vector, restore = ravel_pytree(adapters)
        whole = lambda vector: attach_lora(PARAMS, restore(vector), alpha=4.0)
    else:
        vector, whole = ravel_pytree(PARAMS)

    def loss(vector, batch, axis_name):
        params, mask = whole(vector), batch[3]
        hidden = completion_hidden(MODEL, params, *batch)
        of_teacher = completion_hidden(MODEL, TEACHER, *batch)
        matrix = output_matrix(params)
        log_prob, entropy = token_statistics(hidden, matrix, batch[2], chunk=5)
        kl = token_divergence(hidden, matrix, of_teacher, output_matrix(TEACHER), chunk=5)
        return masked_mean(entropy + kl - log_prob, where=mask, axis_name=axis_name)

    assert_global(loss, vector, BATCH)
