"""The type of every labelled image set."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError


class Images(NamedTuple):
    """Labelled images; a pytree, so it passes through jit, vmap and device_put as it is.

    Args:
        image: `[N, H, W, C]` float32 in [0, 1].
        label: `[N]` int32 class of each image.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import Images
    >>> Images(jnp.zeros((5, 8, 8, 1)), jnp.zeros(5, jnp.int32)).image.shape
    (5, 8, 8, 1)
    """

    image: jax.Array
    label: jax.Array


def check_channels_last(name: str, shape: tuple[int, ...]) -> None:
    """A line for what is shaped like images whose channels come first, as PyTorch keeps them.

    Three planes (or one) of many columns are taken for channels: no data set of images has one row or three of them.
    """
    if len(shape) >= 3 and shape[-3] in (1, 3) and min(shape[-2:]) > 4:
        raise InputError(
            f"{name} {shape} seems to have its channels first, [N, C, H, W]: images are [N, H, W, C], so transpose"
            " them with numpy.moveaxis(images, 1, -1)"
        )


def from_host(image: np.ndarray, label: np.ndarray, *, scale: float) -> Images:
    """Images from numbers in [0, scale] without or with a channel axis."""
    image = image[..., None] if image.ndim == 3 else image
    return Images(
        jnp.asarray(image.astype(np.float32) / np.float32(scale)), jnp.asarray(label.astype(np.int32))
    )
