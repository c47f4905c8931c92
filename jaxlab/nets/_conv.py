"""Convolution with two implementations and one set of parameters.

XLA on CPU runs a convolution inside a loop (`lax.scan`, `fori_loop`) on a slow path
(github.com/jax-ml/jax, 12868). Training scans over steps, so on CPU the convolution is
written as shifted slices and one matrix product; elsewhere `lax.conv_general_dilated` is the fast one.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from jaxlab.core.check import InputError

_IMPLEMENTATIONS = ("auto", "matmul", "lax")
_PADDINGS = ("SAME", "VALID")


def check_images(x: jax.Array) -> None:
    """One line for a batch that is not images."""
    if x.ndim != 4:
        raise InputError(f"images must be [B, H, W, C], got shape {x.shape}")


def check_volumes(x: jax.Array) -> None:
    """One line for a batch that is not volumes."""
    if x.ndim != 5:
        raise InputError(f"volumes must be [B, D, H, W, C], got shape {x.shape}")


CHECKS = {2: check_images, 3: check_volumes}
_LAYOUTS = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def _check_conv(x, kernel, strides, padding, implementation, dims=2) -> None:
    CHECKS[dims](x)
    if kernel.ndim != x.ndim or kernel.shape[-2] != x.shape[-1]:
        axes = "KH, KW" if dims == 2 else "KD, KH, KW"
        raise InputError(f"kernel must be [{axes}, {x.shape[-1]}, C_out], got {kernel.shape} for x {x.shape}")
    if padding not in _PADDINGS:
        raise InputError(f"padding must be one of {_PADDINGS}, got {padding!r}")
    if implementation not in _IMPLEMENTATIONS:
        raise InputError(f"implementation must be one of {_IMPLEMENTATIONS}, got {implementation!r}")
    if len(strides) != dims or min(strides) < 1:
        raise InputError(
            f"strides must be {'two' if dims == 2 else 'three'} integers of at least 1, got {strides}"
        )
    if padding == "VALID" and any(n < k for n, k in zip(x.shape[1:-1], kernel.shape[:-2])):
        raise InputError(f"VALID needs images no smaller than the kernel, got {x.shape} and {kernel.shape}")


def _conv_matmul(x, kernel, strides, padding):
    """Stack the shifted views on the channel axis, then one product with the flattened kernel."""
    *window, c_in, c_out = kernel.shape
    pads = lax.padtype_to_pads(x.shape[1:-1], window, strides, padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    spans = [n - k + 1 for n, k in zip(x.shape[1:-1], window)]
    view = lambda starts: tuple(slice(i, i + n, s) for i, n, s in zip(starts, spans, strides))
    shifted = [x[(slice(None), *view(starts))] for starts in itertools.product(*map(range, window))]
    patches = jnp.concatenate(shifted, axis=-1)
    rows = patches.reshape(math.prod(patches.shape[:-1]), math.prod(window) * c_in)
    return (rows @ kernel.reshape(-1, c_out)).reshape(*patches.shape[:-1], c_out)


def _conv_lax(x, kernel, strides, padding):
    layout = _LAYOUTS[x.ndim - 2]
    return lax.conv_general_dilated(
        x, kernel, window_strides=strides, padding=padding, dimension_numbers=layout
    )


def _convolve(x, kernel, strides, padding, implementation):
    if implementation == "auto":
        implementation = "matmul" if jax.default_backend() == "cpu" else "lax"
    run = _conv_matmul if implementation == "matmul" else _conv_lax
    return run(x, kernel, tuple(strides), padding)


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

    Reference: Chellapilla, Puri and Simard, High Performance Convolutional Neural Networks for Document Processing,
      2006, section 3, the unrolled convolution.

    >>> import jax.numpy as jnp
    >>> from jaxlab.nets import conv2d
    >>> image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> conv2d(image, jnp.ones((3, 3, 1, 1)), padding="VALID").item()
    36.0
    """
    _check_conv(x, kernel, strides, padding, implementation)
    return _convolve(x, kernel, strides, padding, implementation)


def conv3d(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int, int] = (1, 1, 1),
    padding: str = "SAME",
    implementation: str = "auto",
) -> jax.Array:
    """Convolve volumes with a kernel: `conv2d` with one more axis, by the same two implementations.

    Args:
        x: `[B, D, H, W, C]` volumes.
        kernel: `[KD, KH, KW, C, C_out]`, of the dtype of `x`.
        strides: step along depth, height and width.
        padding: "SAME" or "VALID", see `conv2d`.
        implementation: "auto", "matmul" or "lax", see `conv2d`.

    Returns:
        `[B, D', H', W', C_out]` in the dtype of the inputs.

    Raises:
        ValueError: shapes that do not fit, or a name that is not in the lists above.

    Reference: Chellapilla, Puri and Simard, High Performance Convolutional Neural Networks for Document Processing,
      2006, section 3, the unrolled convolution.

    >>> import jax.numpy as jnp
    >>> from jaxlab.nets import conv3d
    >>> volume = jnp.arange(8.0).reshape(1, 2, 2, 2, 1)
    >>> conv3d(volume, jnp.ones((2, 2, 2, 1, 1)), padding="VALID").item()
    28.0
    """
    _check_conv(x, kernel, strides, padding, implementation, dims=3)
    return _convolve(x, kernel, strides, padding, implementation)


class Conv(nn.Module):
    """A convolution layer with the parameters of `flax.linen.Conv` and the speed of `conv2d`.

    The parameters (`kernel` `[KH, KW, C, features]`, `bias` `[features]`) do not depend on the
    implementation, so a checkpoint moves between machines. A kernel of three sizes, with three strides, makes it
    a layer for volumes `[B, D, H, W, C]`.

    Args:
        features: output channels.
        kernel_size: `(KH, KW)`, or `(KD, KH, KW)`.
        strides: step along each axis, as many as `kernel_size` has.
        padding: "SAME" or "VALID".
        use_bias: whether to add a bias per output channel.
        dtype: computes in this type; None takes the common type of input and parameters.
        kernel_init: initializer, He et al. (2015) by default.
        implementation: see `conv2d`.

    Returns:
        The module; applied to `[B, H, W, C]` it gives `[B, H', W', features]`.

    Reference: He, Zhang, Ren and Sun, Delving Deep into Rectifiers, 2015, equation 10 (the initializer).

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.nets import Conv
    >>> layer, x = Conv(8, strides=(2, 2)), jnp.ones((1, 7, 7, 3))
    >>> layer.apply(layer.init(jax.random.key(0), x), x).shape
    (1, 4, 4, 8)
    """

    features: int
    kernel_size: tuple[int, ...] = (3, 3)
    strides: tuple[int, ...] = (1, 1)
    padding: str = "SAME"
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Callable[..., jax.Array] = nn.initializers.he_normal()
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dims = 3 if len(self.kernel_size) == 3 else 2
        CHECKS[dims](x)
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32) if self.use_bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        convolve = (conv2d, conv3d)[dims == 3]
        y = convolve(
            x, kernel, strides=self.strides, padding=self.padding, implementation=self.implementation
        )
        return y if bias is None else y + bias
