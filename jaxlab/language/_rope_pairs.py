"""The two ways of pairing channels for rotary positions, and the way from one to the other."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.language._decoder import Decoder
from jaxlab.language._tensor_names import check_params


def channel_order(head_dim: int, pairs: str) -> np.ndarray:
    """Which channel of the other convention each channel of `pairs` is, within a head."""
    halves = np.arange(head_dim).reshape(head_dim // 2, 2).T.reshape(-1)
    return halves if pairs == "half" else np.argsort(halves)


def reorder(x: jax.Array, head_dim: int, pairs: str) -> jax.Array:
    """`x` `[..., heads * head_dim]` with every head's channels in the order of `pairs`, from the other one."""
    heads = x.reshape(*x.shape[:-1], x.shape[-1] // head_dim, head_dim)
    return heads[..., channel_order(head_dim, pairs)].reshape(x.shape)


def convert_rope_pairs(
    model: Decoder, params: Mapping[str, Any], pairs: str
) -> tuple[Decoder, dict[str, Any]]:
    """The same function of tokens, with the channels of queries and keys in the other order.

    Scores are sums over channels, so what counts is only which channels turn together. Needed before two models'
    parameters are mixed, one from a GGUF file ("interleaved") and one from Hugging Face ("half").

        half:        channel i turns with i + D / 2        interleaved: channel 2 i turns with 2 i + 1

    Args:
      model: the shape; its `rope_pairs` says how `params` are ordered.
      params: its parameters, without adapters, layers as a tuple or stacked.
      pairs: "half" or "interleaved".

    Returns:
      The model with that `rope_pairs`, and its parameters, layers as a tuple.

    Raises:
      ValueError: an unknown `pairs`, or parameters that do not fit the model.

    Reference: Su et al., RoFormer, 2021, equation 34, pairs neighbours; Black et al., GPT-NeoX (2022) pairs halves.

    >>> model = Decoder(vocab_size=5, width=8, num_layers=1, num_heads=2, rope_pairs="interleaved")
    >>> params = {**model.init(jax.random.key(0))}
    >>> params["layers"] = ({**params["layers"][0], "q": jnp.arange(64.0).reshape(8, 8)},)
    >>> half, changed = convert_rope_pairs(model, params, "half")
    >>> half.rope_pairs, changed["layers"][0]["q"][0].tolist()
    ('half', [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0])
    """
    other = dataclasses.replace(model, rope_pairs=pairs)
    params = check_params(model, params)
    if pairs == model.rope_pairs:
        return model, params
    turning = [
        name for name in ("q", "k", "q_bias", "k_bias", "q_norm", "k_norm") if name in params["layers"][0]
    ]
    layers = tuple(
        {**layer, **{name: reorder(jnp.asarray(layer[name]), model.head_dim, pairs) for name in turning}}
        for layer in params["layers"]
    )
    return other, {**params, "layers": layers}
