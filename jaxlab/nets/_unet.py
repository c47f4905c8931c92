"""A small U-Net: one vector of logits per pixel or voxel."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError
from jaxlab.nets._conv import CHECKS, Conv
from jaxlab.nets._head import Features, check_sizes, classify
from jaxlab.nets._resnet import _Norm


def halve(x: jax.Array) -> jax.Array:
    """Maximum over blocks of two along every spatial axis, which must be even."""
    batch, *space, channels = x.shape
    blocks = x.reshape(batch, *(size for n in space for size in (n // 2, 2)), channels)
    return blocks.max(axis=tuple(range(2, 2 * len(space) + 1, 2)))


def double(x: jax.Array) -> jax.Array:
    """Every element repeated twice along every spatial axis."""
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis=axis)
    return x


class UNet(nn.Module, kw_only=True):
    """Encoder and decoder with skip connections, for images or volumes.

    Stages of convolutions; between them the encoder halves every spatial axis by a maximum, and the decoder
    doubles it by repetition after a linear map to half the channels, then joins the encoder's map of that size.

    Args:
        channels: of each stage; stage i works at `1 / 2^i` of the resolution, so sizes must divide by
            `2^(stages - 1)`.
        num_classes: number of logits.
        dims: 2 for images `[B, H, W, C]`, 3 for volumes `[B, D, H, W, C]`.
        depth: convolutions in a stage.
        residual: add each convolution's input to its output, through a linear map where the channels change:
            another architecture of the same size.
        num_groups: group normalisation after every convolution; 0 for none.
        dtype: type that the stages compute in; None takes the common type of input and parameters.
        implementation: of the convolutions, see `conv2d`.

    Returns:
        The module. `apply(params, x, return_features=False)` gives logits `[B, ..., num_classes]`; with
        `return_features=True` also the encoder's maps, from full resolution to the coarsest, and last the map
        `[B, ..., channels[0]]` that the classifier reads.

    Raises:
        ValueError: an input of another rank, sizes that do not divide, or `dims` that is neither 2 nor 3.

    Reference: Ronneberger, Fischer and Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015,
      here padded; residual as in Milletari, Navab and Ahmadi, V-Net, 2016.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.nets import UNet
    >>> net, x = UNet(channels=(8, 16, 32), num_classes=5), jnp.ones((2, 16, 24, 3))
    >>> run = lambda key: net.init_with_output(key, x, return_features=True)
    >>> (logits, features), params = jax.eval_shape(run, jax.random.key(0))
    >>> logits.shape, [f.shape for f in features]
    ((2, 16, 24, 5), [(2, 16, 24, 8), (2, 8, 12, 16), (2, 4, 6, 32), (2, 16, 24, 8)])
    """

    channels: Sequence[int] = (8, 16, 32)
    num_classes: int
    dims: int = 2
    depth: int = 1
    residual: bool = False
    num_groups: int = 0
    dtype: Any = None
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, return_features: bool = False) -> jax.Array | tuple[jax.Array, Features]:
        self._check(x)
        maps = []
        for stage, width in enumerate(self.channels):
            x = self._stage(halve(x) if stage else x, width)
            maps.append(x)
        for width, skip in zip(self.channels[-2::-1], maps[-2::-1]):
            x = double(nn.Dense(width, dtype=self.dtype)(x))
            x = self._stage(jnp.concatenate([x, skip], axis=-1), width)
        return classify(maps, x, num_classes=self.num_classes, return_features=return_features)

    def _stage(self, x: jax.Array, width: int) -> jax.Array:
        size, step = (3,) * self.dims, (1,) * self.dims
        for _ in range(self.depth):
            y = Conv(width, size, step, dtype=self.dtype, implementation=self.implementation)(x)
            y = nn.relu(_Norm(self.num_groups, self.dtype)(y) if self.num_groups else y)
            if self.residual:
                y += x if x.shape[-1] == width else nn.Dense(width, dtype=self.dtype)(x)
            x = y
        return x

    def _check(self, x: jax.Array) -> None:
        if self.dims not in CHECKS:
            raise InputError(f"dims must be 2 or 3, got {self.dims}")
        CHECKS[self.dims](x)
        check_sizes("channels", self.channels)
        factor = 2 ** (len(self.channels) - 1)
        if any(n % factor for n in x.shape[1:-1]):
            raise InputError(
                f"{len(self.channels)} stages need sizes that {factor} divides, got shape {x.shape}"
            )
