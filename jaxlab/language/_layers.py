"""The parts of a decoder: norm, rotary positions, projections that know low-rank adapters."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core import as_float, match_varying
from jaxlab.language._rope_scaling import RopeScaling, scaled_frequencies


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
        """The one matrix `[in, out]` that acts alike, in float32 or wider.

        In the type of a half-precision weight most of a young adapter would round away.
        """
        return as_float(self.weight) + self.scale * (as_float(self.a) @ as_float(self.b))


def linear(x: jax.Array, weight: jax.Array | LowRank, bias: jax.Array | None = None) -> jax.Array:
    """`x @ weight + bias`, in the type of `x`; without forward mode.

    A correction of the weight, beside it or merged into it in a wider type than that of `x`, is added in the wider
    type, and the sum is rounded once.
    """
    if isinstance(weight, LowRank):
        wide = as_float(x).dtype
        low = _product(_product(x, weight.a, wide), weight.b, wide)
        y = _product(x, weight.weight, wide) + weight.scale.astype(wide) * low
    else:
        y = _product(x, weight, jnp.promote_types(x.dtype, weight.dtype))
    y = y.astype(x.dtype)
    return y if bias is None else y + bias.astype(x.dtype)


def _product(x: jax.Array, weight: jax.Array, dtype: jnp.dtype) -> jax.Array:
    return _rows_times_matrix(*match_varying(x, weight), jnp.dtype(dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _rows_times_matrix(x: jax.Array, weight: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """`x @ weight`, summed and given in `dtype`, whose gradient turns `x` and not what comes back.

    JAX's own rule writes the weight's gradient as `(g^T x)^T`. A CPU then computes `g`, with all that XLA has fused
    into it, column by column: in a gated MLP that took a fifth of a training step.
    """
    factors = jnp.promote_types(x.dtype, weight.dtype)
    return jnp.matmul(x.astype(factors), weight.astype(factors), preferred_element_type=dtype)


def _keep_factors(
    x: jax.Array, weight: jax.Array, dtype: jnp.dtype
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _rows_times_matrix(x, weight, dtype), (x, weight)


def _turn_rows(
    dtype: jnp.dtype, kept: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, weight = kept
    factors = jnp.promote_types(x.dtype, weight.dtype)
    g, rows = g.astype(factors), tuple(range(x.ndim - 1))
    turned = jax.lax.dot_general(x.astype(factors), g, ((rows, rows), ((), ())))
    return (g @ weight.astype(factors).T).astype(x.dtype), turned.astype(weight.dtype)


_rows_times_matrix.defvjp(_keep_factors, _turn_rows)


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """Root-mean-square norm over the last axis, computed in float32."""
    wide = as_float(x)
    normed = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return (normed * as_float(scale)).astype(x.dtype)


def rotary_angles(
    positions: jax.Array,
    head_dim: int,
    base: float,
    scaling: RopeScaling | None = None,
    lengths: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines `[..., head_dim / 2]` of the angles of `positions` `[...]`, in float32.

    `lengths`, of the same shape or one that broadcasts, is how long the sequence of each position is; None means that
    it ends there. Only a `scaling` by length looks at it. XLA fuses the angles into what uses them, so every layer
    computes them anew; rows of a table it only fetches.
    """
    if scaling is None:
        frequencies = base ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    else:
        lengths = positions + 1 if lengths is None else lengths
        frequencies = scaled_frequencies(scaling, head_dim, base, lengths)
    angles = positions[..., None].astype(jnp.float32) * frequencies
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    if scaling is None or scaling.amplitude == 1:
        return cos, sin
    return scaling.amplitude * cos, scaling.amplitude * sin


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
