"""The parts of a decoder: norm, rotary positions, projections that know low-rank adapters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core import as_float


class LowRank(NamedTuple):
    """A frozen matrix and a low-rank correction, in the place of a weight: `weight + scale * a @ b`.

    Attributes:
      weight: `[in, out]`.
      a: `[in, rank]`.
      b: `[rank, out]`.
      scale: scalar, alpha / rank.
    """

    weight: jax.Array
    a: jax.Array
    b: jax.Array
    scale: jax.Array

    def merged(self) -> jax.Array:
        """The one matrix `[in, out]` that acts alike."""
        correction = self.scale * (as_float(self.a) @ as_float(self.b))
        return (as_float(self.weight) + correction).astype(self.weight.dtype)


def linear(x: jax.Array, weight: jax.Array | LowRank, bias: jax.Array | None = None) -> jax.Array:
    """`x @ weight + bias`, in the type of `x`."""
    if isinstance(weight, LowRank):
        low = (x @ weight.a.astype(x.dtype)) @ weight.b.astype(x.dtype)
        y = x @ weight.weight.astype(x.dtype) + weight.scale.astype(x.dtype) * low
    else:
        y = x @ weight.astype(x.dtype)
    return y if bias is None else y + bias.astype(x.dtype)


def rms_norm(x: jax.Array, scale: jax.Array, epsilon: float) -> jax.Array:
    """Root-mean-square norm over the last axis, computed in float32."""
    wide = as_float(x)
    normed = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + epsilon)
    return (normed * as_float(scale)).astype(x.dtype)


def rotary_angles(positions: jax.Array, head_dim: int, base: float) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines `[B, T, head_dim / 2]` of every position's angles, in float32."""
    frequencies = base ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    angles = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, angles: tuple[jax.Array, jax.Array], pairs: str) -> jax.Array:
    """Turn each pair of channels of `x` `[B, H, T, head_dim]` by its position's angle.

    `pairs` is "half" (channel i with i + head_dim / 2, as Hugging Face stores weights) or "interleaved" (2i with
    2i + 1, as the papers, Llama's own files and GGUF do).
    """
    cos, sin = (part[:, None].astype(x.dtype) for part in angles)
    if pairs == "half":
        first, second = jnp.split(x, 2, axis=-1)
        return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    first, second = x[..., 0::2], x[..., 1::2]
    turned = jnp.stack([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.reshape(x.shape)
