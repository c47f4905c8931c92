"""All copies of an image under a few fixed transformations: quarter turns and orders of its channels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError

CHANNEL_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
CYCLIC_ORDERS = ((0, 1, 2), (1, 2, 0), (2, 0, 1))


def transformed_copies(
    images: jax.Array,
    *,
    turns: Sequence[int] = (0, 1, 2, 3),
    orders: Sequence[Sequence[int]] | None = None,
) -> jax.Array:
    """Every image under every transformation, the copies of one image side by side.

    Copy `r n_o + o` has turn r and order o. The first of each should leave the image as it is. Gradients flow into the
    images.

    Args:
      images: `[B, H, W, C]`, square for odd turns.
      turns: quarter turns counter-clockwise.
      orders: orders of the channels, such as `CHANNEL_ORDERS` or `CYCLIC_ORDERS`; None leaves them.

    Returns:
      `[B n, H, W, C]` with n copies of each image, row `b n + k` copy k of image b.

    Raises:
      ValueError: images that are not `[B, H, W, C]`, not square for an odd turn, no copy, or orders of other channels.

    Reference: Lee, Hwang and Shin, Self-supervised Label Augmentation via Input Transformations, 2020, section 3.

    >>> image = jnp.array([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]
    >>> transformed_copies(image, turns=(0, 1))[..., 0].tolist()
    [[[1.0, 2.0], [3.0, 4.0]], [[2.0, 4.0], [1.0, 3.0]]]
    """
    if jnp.ndim(images) != 4:
        raise InputError(f"images must be [B, H, W, C], got {jnp.shape(images)}")
    _, height, width, channels = images.shape
    orders = (tuple(range(channels)),) if orders is None else tuple(tuple(order) for order in orders)
    if not turns or not orders or any(sorted(order) != list(range(channels)) for order in orders):
        raise InputError(
            f"turns and orders of {channels} channels must not be empty, got {turns} and {orders}"
        )
    if height != width and any(turn % 2 for turn in turns):
        raise InputError(f"images of {height} by {width} cannot be turned by a quarter: turns {tuple(turns)}")
    copies = [
        jnp.rot90(images, turn, axes=(1, 2))[..., jnp.asarray(order)] for turn in turns for order in orders
    ]
    return jnp.stack(copies, axis=1).reshape(-1, height, width, channels)
