"""A plain convolutional net for small images."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

from jaxlab.core.check import InputError
from jaxlab.nets._conv import Conv, check_images
from jaxlab.nets._head import Features, check_sizes, classify


def max_pool(x: jax.Array) -> jax.Array:
    """2x2 maximum, stride 2; an odd last row or column is dropped.

    Written as a reshape: the gradient of a reduce-window is twice as slow on CPU.
    """
    batch, height, width, channels = x.shape
    rows, columns = height // 2, width // 2
    x = x[:, : 2 * rows, : 2 * columns]
    return x.reshape(batch, rows, 2, columns, 2, channels).max(axis=(2, 4))


class ConvNet(nn.Module, kw_only=True):
    """Stages of convolution, relu and 2x2 max pooling, then a linear classifier on the flattened map.

    Args:
        channels: output channels of each stage; every stage halves height and width.
        num_classes: number of logits.
        kernel_size: of every convolution.
        dtype: type that the stages compute in; None takes the common type of input and parameters.
        implementation: of the convolutions, see `conv2d`.

    Returns:
        The module. `apply(params, x, return_features=False)` takes images `[B, H, W, C]` and gives logits
        `[B, num_classes]`; with `return_features=True` also a tuple of the stages' maps `[B, H_i, W_i, C_i]`
        and, last, the flattened vector `[B, F]` that the classifier reads.

    Raises:
        ValueError: an input that is not `[B, H, W, C]`, or images too small for that many stages.

    Reference: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998,
      figure 2, with relu and max pooling.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.nets import ConvNet
    >>> net, x = ConvNet(channels=(8, 16), num_classes=10), jnp.ones((4, 8, 8, 1))
    >>> run = lambda key: net.init_with_output(key, x, return_features=True)
    >>> (logits, features), params = jax.eval_shape(run, jax.random.key(0))
    >>> logits.shape, [f.shape for f in features]
    ((4, 10), [(4, 4, 4, 8), (4, 2, 2, 16), (4, 64)])
    """

    channels: Sequence[int] = (16, 32)
    num_classes: int
    kernel_size: tuple[int, int] = (3, 3)
    dtype: Any = None
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, return_features: bool = False) -> jax.Array | tuple[jax.Array, Features]:
        check_images(x)
        check_sizes("channels", self.channels)
        smallest = 2 ** len(self.channels)
        if min(x.shape[1:3]) < smallest:
            raise InputError(f"{len(self.channels)} stages need {smallest}x{smallest} images, got {x.shape}")
        maps = []
        for channels in self.channels:
            conv = Conv(channels, self.kernel_size, dtype=self.dtype, implementation=self.implementation)
            x = max_pool(nn.relu(conv(x)))
            maps.append(x)
        vector = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        return classify(maps, vector, num_classes=self.num_classes, return_features=return_features)
