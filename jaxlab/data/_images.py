"""The type of every labelled image set."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Images(NamedTuple):
    """Labelled images; a pytree, so it passes through jit, vmap and device_put as it is.

    Args:
        image: `[N, H, W, C]` float32 in [0, 1].
        label: `[N]` int32 class of each image.

    Reference: the layout (N, H, W, C) is that of `jax.lax` dimension numbers "NHWC".

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import Images
    >>> Images(jnp.zeros((5, 8, 8, 1)), jnp.zeros(5, jnp.int32)).image.shape
    (5, 8, 8, 1)
    """

    image: jax.Array
    label: jax.Array


def from_host(image: np.ndarray, label: np.ndarray, *, scale: float) -> Images:
    """Images from numbers in [0, scale] without or with a channel axis."""
    image = image[..., None] if image.ndim == 3 else image
    return Images(
        jnp.asarray(image.astype(np.float32) / np.float32(scale)), jnp.asarray(label.astype(np.int32))
    )
