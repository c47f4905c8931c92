"""Stronger random views of images: moved, turned, scaled and sheared; with a hole; several of one image."""

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError
from jaxlab.data._images import check_channels_last


def _check(name: str, images: jax.Array) -> None:
    if images.ndim != 4:
        raise InputError(f"{name} needs images [B, H, W, C], got {images.shape}")
    check_channels_last("images", images.shape)


def _corners(place: jax.Array, images: jax.Array) -> jax.Array:
    """Bilinear values of `[B, H, W, C]` at `[B, P, 2]` pixel coordinates; zero outside."""
    height, width = images.shape[1:3]
    flat = images.reshape(len(images), height * width, -1)
    low = jnp.floor(place)
    total = jnp.zeros((*place.shape[:2], flat.shape[-1]), flat.dtype)
    for down in (0, 1):
        for right in (0, 1):
            y, x = low[..., 0] + down, low[..., 1] + right
            weight = (1 - jnp.abs(place[..., 0] - y)) * (1 - jnp.abs(place[..., 1] - x))
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            row = jnp.where(inside, y * width + x, 0).astype(jnp.int32)
            value = jnp.take_along_axis(flat, row[..., None], axis=1)
            total = total + jnp.where(inside, weight, 0.0)[..., None] * value
    return total


def _separable(down: jax.Array, right: jax.Array, images: jax.Array) -> jax.Array:
    """The same for rows `[B, H]` and columns `[B, W]` that stay straight: two small products, no gather."""
    hat = lambda place, side: jnp.maximum(1.0 - jnp.abs(place[..., None] - jnp.arange(side)), 0.0)
    columns = jnp.einsum("bij,bjwc->biwc", hat(down, images.shape[1]), images)
    return jnp.einsum("bkw,biwc->bikc", hat(right, images.shape[2]), columns)


def random_affine(
    images: jax.Array,
    key: jax.Array,
    *,
    shift: float = 0.0,
    rotate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
) -> jax.Array:
    """Move, turn, scale and shear every image by amounts of its own, zeros coming in.

    Bilinear, around the centre. All amounts are uniform between minus and plus the largest, the scale in its
    logarithm. Gradients flow into the images.

        view(c + q) = image(c + A q + t),   A = exp(s) Rotation(a) [[1, h], [0, 1]]

    Args:
        images: `[B, H, W, C]` floats.
        key: `jax.random.key`.
        shift: largest shift along each axis, as a fraction of the side.
        rotate: largest angle in degrees.
        scale: largest absolute value of the logarithm of the scale.
        shear: largest shear.

    Returns:
        `[B, H, W, C]`, the same dtype.

    Raises:
        ValueError: an input that is not `[B, H, W, C]`, or a negative amount.

    Reference: Simard, Steinkraus and Platt, Best Practices for Convolutional Neural Networks Applied to Visual
      Document Analysis, 2003, section 2.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.data import random_affine
    >>> image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    >>> bool((random_affine(image, jax.random.key(0)) == image).all())  # nothing to change
    True
    """
    _check("random_affine", images)
    if min(shift, rotate, scale, shear) < 0:
        raise InputError(f"amounts must be at least 0, got {(shift, rotate, scale, shear)}")
    draws = jax.random.uniform(key, (5, len(images), 1), jnp.float32, -1, 1)
    (height, width), size = images.shape[1:3], jnp.exp(scale * draws[1])
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    down, right = middle_y + shift * height * draws[3], middle_x + shift * width * draws[4]
    y, x = jnp.arange(height) - middle_y, jnp.arange(width) - middle_x
    if not rotate and not shear:
        moved = _separable(size * y + down, size * x + right, images)
    else:
        angle = jnp.deg2rad(rotate) * draws[0]
        y, x = (axis.reshape(1, -1) for axis in jnp.meshgrid(y, x, indexing="ij"))
        x = x + shear * draws[2] * y
        down = size * (jnp.cos(angle) * y + jnp.sin(angle) * x) + down
        right = size * (jnp.cos(angle) * x - jnp.sin(angle) * y) + right
        moved = _corners(jnp.stack([down, right], axis=-1), images).reshape(images.shape)
    return moved.astype(images.dtype)


def cutout(images: jax.Array, key: jax.Array, *, size: int, fill: float = 0.0) -> jax.Array:
    """Blank out a square of every image, centred at a random pixel and cut off at the border.

    Gradients flow into the pixels that stay.

    Args:
        images: `[B, H, W, C]`.
        key: `jax.random.key`.
        size: side of the square in pixels; 0 blanks nothing.
        fill: what comes in.

    Returns:
        `[B, H, W, C]`, the same dtype.

    Raises:
        ValueError: an input that is not `[B, H, W, C]`, or a negative size.

    Reference: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.data import cutout
    >>> int(cutout(jnp.ones((1, 8, 8, 1)), jax.random.key(0), size=1).sum())
    63
    """
    _check("cutout", images)
    if size < 0:
        raise InputError(f"size must be at least 0, got {size}")
    batch, height, width = images.shape[:3]
    # One draw for both axes: every draw is a piece of program to compile.
    centre = jax.random.uniform(key, (2, batch, 1), jnp.float32)

    def covered(centre: jax.Array, side: int) -> jax.Array:
        start = jnp.minimum(jnp.floor(centre * side), side - 1) - size // 2
        place = jnp.arange(side)
        return (place >= start) & (place < start + size)

    hole = covered(centre[0], height)[:, :, None] & covered(centre[1], width)[:, None, :]
    return jnp.where(hole[..., None], jnp.asarray(fill, images.dtype), images)


def random_views(
    images: jax.Array,
    key: jax.Array,
    *,
    count: int = 2,
    flip: bool = False,
    shift: float = 0.0,
    rotate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    gain: float = 0.0,
    noise: float = 0.0,
    hole: int = 0,
) -> jax.Array:
    """Several independent random views of every image, inside the compiled step.

    Mirrored, moved (see `random_affine`), changed in contrast, with noise and a hole (see `cutout`), in this order;
    what is 0 is left out. Gradients flow into the images.

    Args:
        images: `[B, H, W, C]` floats.
        key: `jax.random.key`.
        count: number K of views of each image.
        flip: mirror left and right, half of the time.
        shift, rotate, scale, shear: largest amounts, as in `random_affine`.
        gain: largest absolute value of the logarithm of the contrast.
        noise: standard deviation of pixel noise.
        hole: side of the blank square in pixels.

    Returns:
        `[K, B, H, W, C]`, the same dtype.

    Raises:
        ValueError: an input that is not `[B, H, W, C]`, fewer than one view, or a negative amount.

    Reference: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020, section 3.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlab.data import random_views
    >>> random_views(jnp.ones((3, 8, 8, 1)), jax.random.key(0), shift=0.1, noise=0.1).shape
    (2, 3, 8, 8, 1)
    """
    _check("random_views", images)
    if count < 1 or min(gain, noise) < 0:
        raise InputError(
            f"count must be at least 1, gain and noise at least 0, got {count}, {gain} and {noise}"
        )
    shape, dtype = images.shape, images.dtype
    images = jnp.broadcast_to(images, (count, *shape)).reshape(-1, *shape[1:])
    flip_key, move_key, gain_key, noise_key, hole_key = jax.random.split(key, 5)
    if flip:
        mirrored = jax.random.bernoulli(flip_key, 0.5, (len(images), 1, 1, 1))
        images = jnp.where(mirrored, images[:, :, ::-1], images)
    images = random_affine(images, move_key, shift=shift, rotate=rotate, scale=scale, shear=shear)
    if gain:
        images = images * jnp.exp(gain * jax.random.uniform(gain_key, (len(images), 1, 1, 1), minval=-1))
    if noise:
        images = images + noise * jax.random.normal(noise_key, images.shape)
    images = cutout(images, hole_key, size=hole) if hole else images
    return images.astype(dtype).reshape(count, *shape)
