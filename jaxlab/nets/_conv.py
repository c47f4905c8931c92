"""Convolution with two implementations and one set of parameters.

XLA on CPU runs a convolution inside a loop (`lax.scan`, `fori_loop`) on a slow path, about ten times slower
than outside of it (github.com/jax-ml/jax, 12868). Training scans over steps, so on CPU the convolution is
written as shifted slices and one matrix product; elsewhere `lax.conv_general_dilated` is the fast one.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

_IMPLEMENTATIONS = ("auto", "matmul", "lax")
_PADDINGS = ("SAME", "VALID")


def check_images(x: jax.Array) -> None:
    """One line for a batch that is not images."""
    if x.ndim != 4:
        raise ValueError(f"images must be [B, H, W, C], got shape {x.shape}")


def _check_conv(x, kernel, strides, padding, implementation) -> None:
    check_images(x)
    if kernel.ndim != 4 or kernel.shape[2] != x.shape[3]:
        raise ValueError(f"kernel must be [KH, KW, {x.shape[3]}, C_out], got {kernel.shape} for x {x.shape}")
    if padding not in _PADDINGS:
        raise ValueError(f"padding must be one of {_PADDINGS}, got {padding!r}")
    if implementation not in _IMPLEMENTATIONS:
        raise ValueError(f"implementation must be one of {_IMPLEMENTATIONS}, got {implementation!r}")
    if len(strides) != 2 or min(strides) < 1:
        raise ValueError(f"strides must be two integers of at least 1, got {strides}")
    if padding == "VALID" and any(n < k for n, k in zip(x.shape[1:3], kernel.shape[:2])):
        raise ValueError(f"VALID needs images no smaller than the kernel, got {x.shape} and {kernel.shape}")


def _conv_matmul(x, kernel, strides, padding):
    """Stack the shifted views on the channel axis, then one product with the flattened kernel."""
    kh, kw, c_in, c_out = kernel.shape
    pads = lax.padtype_to_pads(x.shape[1:3], (kh, kw), strides, padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    (sh, sw), (batch, height, width, _) = strides, x.shape
    stop_h, stop_w = height - kh + 1, width - kw + 1
    shifted = [x[:, i : i + stop_h : sh, j : j + stop_w : sw] for i in range(kh) for j in range(kw)]
    patches = jnp.concatenate(shifted, axis=-1)
    rows = patches.reshape(batch * patches.shape[1] * patches.shape[2], kh * kw * c_in)
    return (rows @ kernel.reshape(kh * kw * c_in, c_out)).reshape(*patches.shape[:3], c_out)


def _conv_lax(x, kernel, strides, padding):
    return lax.conv_general_dilated(
        x, kernel, window_strides=strides, padding=padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def conv2d(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    implementation: str = "auto",
) -> jax.Array:
    """Convolve images with a kernel, by the implementation that is fast on this backend.

    Both implementations agree in value and gradient up to float reassociation. The choice is made when the
    function is traced, from `jax.default_backend()`; name one to trace for another machine.

        y[b, p, q, o] = sum_{i, j, c} x[b, p s_h + i - pad_h, q s_w + j - pad_w, c] kernel[i, j, c, o]

    Args:
        x: `[B, H, W, C]` images.
        kernel: `[KH, KW, C, C_out]`, of the dtype of `x`.
        strides: step along height and width.
        padding: "SAME" (output `ceil(H / s)`, zeros around, the odd one at the end) or "VALID" (no zeros).
        implementation: "auto", "matmul" (slices and one matrix product) or "lax" (`conv_general_dilated`).

    Returns:
        `[B, H', W', C_out]` in the dtype of the inputs.

    Raises:
        ValueError: shapes that do not fit, or a name that is not in the lists above.

    Reference: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document
    Processing" (2006), section 3, the unrolled convolution.

    >>> import jax.numpy as jnp
    >>> from jaxlab.nets import conv2d
    >>> image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> conv2d(image, jnp.ones((3, 3, 1, 1)), padding="VALID").item()
    36.0
    """
    _check_conv(x, kernel, strides, padding, implementation)
    if implementation == "auto":
        implementation = "matmul" if jax.default_backend() == "cpu" else "lax"
    run = _conv_matmul if implementation == "matmul" else _conv_lax
    return run(x, kernel, tuple(strides), padding)


class Conv(nn.Module):
    """A convolution layer with the parameters of `flax.linen.Conv` and the speed of `conv2d`.

    The parameters (`kernel` `[KH, KW, C, features]`, `bias` `[features]`) do not depend on the
    implementation, so a checkpoint moves between machines.

    Args:
        features: output channels.
        kernel_size: `(KH, KW)`.
        strides: step along height and width.
        padding: "SAME" or "VALID".
        use_bias: whether to add a bias per output channel.
        dtype: computes in this type; None takes the common type of input and parameters.
        kernel_init: initializer, He et al. (2015) by default.
        implementation: see `conv2d`.

    Returns:
        The module; applied to `[B, H, W, C]` it gives `[B, H', W', features]`.

    Reference: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers" (2015), equation 10 (the initializer).

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.nets import Conv
    >>> layer, x = Conv(8, strides=(2, 2)), jnp.ones((1, 7, 7, 3))
    >>> layer.apply(layer.init(jax.random.key(0), x), x).shape
    (1, 4, 4, 8)
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Callable[..., jax.Array] = nn.initializers.he_normal()
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        check_images(x)
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32) if self.use_bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = conv2d(x, kernel, strides=self.strides, padding=self.padding, implementation=self.implementation)
        return y if bias is None else y + bias
