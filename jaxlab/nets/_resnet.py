"""Residual nets for small images, as in the CIFAR experiments of He et al., without running statistics."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError
from jaxlab.nets._conv import Conv, check_images
from jaxlab.nets._head import Features, check_sizes, classify


class _Norm(nn.Module):
    """Group normalisation in float32, centred before squaring."""

    num_groups: int
    dtype: Any

    @nn.compact
    def __call__(self, x):
        if self.num_groups < 1 or x.shape[-1] % self.num_groups:
            raise InputError(f"num_groups={self.num_groups} must divide the channels, got {x.shape[-1]}")
        # E[x^2] - E[x]^2 (flax's default) cancels badly where a map's mean is large beside its spread.
        return nn.GroupNorm(self.num_groups, epsilon=1e-5, dtype=self.dtype, use_fast_variance=False)(x)


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    channels: int
    stride: int
    shortcut: str
    num_groups: int
    dtype: Any
    implementation: str

    @nn.compact
    def __call__(self, x):
        y = nn.relu(self._norm()(self._conv(3, self.stride)(x)))
        y = self._norm()(self._conv(3, 1)(y))
        return nn.relu(self._skip(x) + y)

    def _conv(self, size, stride):
        return Conv(
            self.channels,
            (size, size),
            (stride, stride),
            use_bias=False,
            dtype=self.dtype,
            implementation=self.implementation,
        )

    def _norm(self):
        return _Norm(self.num_groups, self.dtype)

    def _skip(self, x):
        if self.stride == 1 and x.shape[-1] == self.channels:
            return x
        if self.shortcut == "B":
            return self._norm()(self._conv(1, self.stride)(x))
        missing = self.channels - x.shape[-1]
        if missing < 0:
            raise InputError(f"shortcut 'A' cannot drop channels ({x.shape[-1]} to {self.channels}); use 'B'")
        x = x[:, :: self.stride, :: self.stride]
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))


class ResNet(nn.Module, kw_only=True):
    """A residual net of depth `2 * sum(blocks) + 2`: a 3x3 convolution, stages of blocks, average pooling.

    Every stage after the first halves height and width. Normalisation is over groups of channels of one
    example (GroupNorm) and not over the batch: batch normalisation keeps running statistics beside the
    parameters and ties the logits of an example to its neighbours, so a training step would no longer be a
    pure function of `params`, and the number of devices would change the result. Both have as many
    parameters.

    Args:
        blocks: blocks in each stage.
        channels: output channels of each stage; the first is also that of the stem.
        num_classes: number of logits.
        shortcut: where the shape changes, "A" subsamples and pads with zero channels (no parameters), "B" is
            a 1x1 convolution with normalisation.
        num_groups: groups of the normalisation; must divide every stage's channels.
        dtype: type that the stages compute in; None takes the common type of input and parameters.
        implementation: of the convolutions, see `conv2d`.

    Returns:
        The module. `apply(params, x, return_features=False)` takes images `[B, H, W, C]` and gives logits
        `[B, num_classes]`; with `return_features=True` also a tuple of the stages' maps `[B, H_i, W_i, C_i]`
        and, last, the spatial average `[B, C_last]`, which the classifier reads.

    Raises:
        ValueError: an input that is not `[B, H, W, C]`, or options that do not fit each other.

    Reference: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015, section 4.2; Wu and He,
      Group Normalization, 2018, equation 7.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.nets import ResNet
    >>> net, x = ResNet(blocks=(1, 1), channels=(8, 16), num_classes=10), jnp.ones((4, 8, 8, 1))
    >>> run = lambda key: net.init_with_output(key, x, return_features=True)
    >>> (logits, features), params = jax.eval_shape(run, jax.random.key(0))
    >>> logits.shape, [f.shape for f in features]
    ((4, 10), [(4, 8, 8, 8), (4, 4, 4, 16), (4, 16)])
    """

    blocks: Sequence[int] = (1, 1, 1)
    channels: Sequence[int] = (16, 32, 64)
    num_classes: int
    shortcut: str = "A"
    num_groups: int = 8
    dtype: Any = None
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, return_features: bool = False) -> jax.Array | tuple[jax.Array, Features]:
        self._check(x)
        stem = Conv(self.channels[0], use_bias=False, dtype=self.dtype, implementation=self.implementation)
        x = nn.relu(_Norm(self.num_groups, self.dtype)(stem(x)))
        maps = []
        for stage, (count, channels) in enumerate(zip(self.blocks, self.channels)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                x = self._block(channels, stride)(x)
            maps.append(x)
        # Averaging a bfloat16 map in bfloat16 would lose digits that the classifier can use.
        vector = jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))
        return classify(maps, vector, num_classes=self.num_classes, return_features=return_features)

    def _block(self, channels, stride):
        return _Block(channels, stride, self.shortcut, self.num_groups, self.dtype, self.implementation)

    def _check(self, x):
        check_images(x)
        if self.shortcut not in ("A", "B"):
            raise InputError(f"shortcut must be 'A' or 'B', got {self.shortcut!r}")
        check_sizes("blocks", self.blocks)
        check_sizes("channels", self.channels)
        if len(self.blocks) != len(self.channels) or not self.blocks:
            raise InputError(
                f"blocks and channels must name the same stages, got {self.blocks} and {self.channels}"
            )


def resnet8(num_classes: int, *, shortcut: str = "A", **options: Any) -> ResNet:
    """The smallest CIFAR residual net: three stages of one block, 16, 32 and 64 channels.

    75,290 parameters for 3 channels in and 10 classes (78,042 with shortcut "B").

    Args:
        num_classes: number of logits.
        shortcut: "A" or "B", see `ResNet`.
        **options: further fields of `ResNet`, e.g. `dtype`.

    Returns:
        A `ResNet`.

    Reference: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015, section 4.2 with n = 1.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.nets import resnet8
    >>> shapes = jax.eval_shape(resnet8(10).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    >>> sum(leaf.size for leaf in jax.tree.leaves(shapes))
    75290
    """
    return ResNet(blocks=(1, 1, 1), num_classes=num_classes, shortcut=shortcut, **options)


def resnet20(num_classes: int, *, shortcut: str = "A", **options: Any) -> ResNet:
    """The CIFAR residual net of 20 layers: three stages of three blocks, 16, 32 and 64 channels.

    269,722 parameters for 3 channels in and 10 classes, the "0.27M" of the paper's table 6.

    Args:
        num_classes: number of logits.
        shortcut: "A" or "B", see `ResNet`.
        **options: further fields of `ResNet`, e.g. `dtype`.

    Returns:
        A `ResNet`.

    Reference: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015, section 4.2 with n = 3.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.nets import resnet20
    >>> shapes = jax.eval_shape(resnet20(10).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    >>> sum(leaf.size for leaf in jax.tree.leaves(shapes))
    269722
    """
    return ResNet(blocks=(3, 3, 3), num_classes=num_classes, shortcut=shortcut, **options)
