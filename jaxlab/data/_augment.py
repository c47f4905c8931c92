"""Random views of images, inside the compiled step."""

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError
from jaxlab.data._images import check_channels_last


def crop_flip(images: jax.Array, key: jax.Array, *, pad: int = 4) -> jax.Array:
    """Shift every image by up to `pad` pixels, zeros coming in, and mirror it with probability one half.

    Args:
        images: `[B, H, W, C]`.
        key: `jax.random.key`.
        pad: largest shift along each axis, in pixels.

    Returns:
        `[B, H, W, C]`, the same dtype.

    Raises:
        ValueError: an input that is not `[B, H, W, C]`, or a negative pad.

    Reference: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015, section 4.2.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.data import crop_flip
    >>> crop_flip(jnp.ones((2, 8, 8, 1)), jax.random.key(0)).shape
    (2, 8, 8, 1)
    """
    if images.ndim != 4 or pad < 0:
        raise InputError(f"crop_flip needs images [B, H, W, C] and pad >= 0, got {images.shape} and {pad}")
    check_channels_last("images", images.shape)
    size = images.shape[1:]
    place_key, flip_key = jax.random.split(key)
    corners = jax.random.randint(place_key, (len(images), 2), 0, 2 * pad + 1)
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    crop = lambda image, corner: jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), size)
    views = jax.vmap(crop)(padded, corners)
    mirrored = jax.random.bernoulli(flip_key, 0.5, (len(images), 1, 1, 1))
    return jnp.where(mirrored, views[:, :, ::-1], views)
