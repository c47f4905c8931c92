"""Weights as an engine for inference holds them: rounded to few bits."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError, check_least
from jaxlab.language._layers import LowRank


def round_weights(params: Any, *, bits: int = 8) -> Any:
    """The matrices of a decoder's layers, rounded symmetrically with one scale for every output channel.

    Embedding, output matrix, norms and biases stay as they are, as do shapes and types: what is returned computes like
    the rounded weights of an inference engine, not faster. No gradient flows through the rounding.

        w = round(w / s) s,   s = max_in |w| / (2^(bits - 1) - 1)

    Args:
      params: of a `Decoder`, layers stacked or not, without adapters.
      bits: at least 2.

    Returns:
      Parameters of the same structure.

    Raises:
      ValueError: fewer than 2 bits, or adapters, which are rounded after `merge_lora`.

    Reference: Dettmers et al., LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale, 2022, section 2.1
      (vector-wise quantisation, of the weights alone).

    >>> from jaxlab.language import Decoder
    >>> params = Decoder(vocab_size=5, width=8, num_layers=1, num_heads=2).init(jax.random.key(0))
    >>> len(set(round_weights(params, bits=2)["layers"][0]["q"][:, 0].tolist())) <= 3
    True
    """
    check_least("bits", bits, 2)
    leaves = jax.tree.leaves(params["layers"], is_leaf=lambda x: isinstance(x, LowRank))
    if any(isinstance(leaf, LowRank) for leaf in leaves):
        raise InputError("the layers have adapters: merge_lora puts them into the matrices that are rounded")
    levels = 2 ** (bits - 1) - 1

    def rounded(name: str, x: jax.Array) -> jax.Array:
        if name not in _MATRICES:
            return x
        scale = jnp.max(jnp.abs(x), axis=-2, keepdims=True).astype(jnp.float32) / levels
        steps = jnp.round(x / jnp.where(scale > 0, scale, 1.0))
        return jax.lax.stop_gradient((steps * scale).astype(x.dtype))

    layers = params["layers"]
    of = lambda layer: {name: rounded(name, x) for name, x in layer.items()}
    return params | {"layers": of(layers) if isinstance(layers, dict) else tuple(map(of, layers))}


_MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
