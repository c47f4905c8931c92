"""Where in a picture the sound comes from: maps from image and audio features, and the losses that train them.

A map is `[B, H, W]` of probabilities that a pixel belongs to the sounding object.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_logsumexp, masked_mean, normalize
from jaxlab.core._reduce import AxisName
from jaxlab.core.check import InputError, check_positive, check_probabilities, check_same_shape, full_mask


def _check_features(features: jax.Array, audio: jax.Array) -> None:
    shape = np.shape(features)
    if len(shape) != 4 or 0 in shape[1:3] or np.shape(audio) != (shape[0], shape[-1]):
        raise InputError(
            f"features {shape} must be [B, H, W, D] with H, W > 0 and audio {np.shape(audio)} must be [B, D]"
        )


def audio_visual_map(
    features: jax.Array,
    audio: jax.Array,
    *,
    temperature: float | jax.Array | None = None,
    offset: float | jax.Array = 0.0,
) -> jax.Array:
    """How much each place of an image agrees with the sound.

    The cosine of the angle between a place's feature and the sound's, brought into [0, 1]: by its affine map, or,
    with a temperature, by a sigmoid, which can come near 0 and 1 and is what a cross-entropy wants. Gradients flow
    into both.

        P_xy = (1 + cos_xy) / 2,  or  sigmoid((cos_xy - offset) / temperature);  cos_xy = cos(f_xy, a)

    Args:
      features: `[B, H, W, D]` of the image; a place whose feature is zero has cosine 0.
      audio: `[B, D]`.
      temperature: positive; None takes the affine map.
      offset: cosine at which the sigmoid is 1/2.

    Returns:
      `[B, H, W]` float32 (float64 for float64 features), in [0, 1].

    Raises:
      ValueError: if the shapes do not fit, or a static temperature is not positive.

    Reference: Guo et al., Dual Mean-Teacher: An Unbiased Semi-Supervised Framework for Audio-Visual Source
      Localization, 2023. It says that the cosine is scaled to [0, 1] and not how; its code was never released.

    >>> features = jnp.array([[[[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]]])
    >>> audio_visual_map(features, jnp.array([[1.0, 0.0]])).tolist()
    [[[1.0, 0.5, 0.0]]]
    """
    _check_features(features, audio)
    cosine = jnp.einsum("bhwd,bd->bhw", normalize(as_float(features)), normalize(as_float(audio)))
    if temperature is None:
        return (1.0 + jnp.clip(cosine, -1.0, 1.0)) / 2.0
    check_positive("temperature", temperature)
    return jax.nn.sigmoid((cosine - offset) / temperature)


def pixel_cross_entropy(
    maps: jax.Array, targets: jax.Array, *, where: jax.Array | None = None, eps: float = 1e-6
) -> jax.Array:
    """Binary cross-entropy of a map, averaged over the pixels of each example.

    Gradients stop at the targets. A probability at 0 or 1 is moved inside by `eps`, where its gradient is 0.

        -1/|xy| sum_xy [G log P + (1 - G) log(1 - P)]

    Args:
      maps: `[B, H, W]` probabilities P.
      targets: `[B, H, W]` in [0, 1], hard or soft.
      where: bool or {0, 1}, broadcastable to `[B, H, W]`, the pixels that count; None means all.
      eps: in (0, 1/2).

    Returns:
      `[B]` float32 (float64 for float64 maps) in nats per pixel; 0 where no pixel counts.

    Raises:
      ValueError: if the shapes do not fit, or known values lie outside [0, 1].

    Reference: Guo et al., Dual Mean-Teacher, 2023: the supervised loss H(G, P).

    >>> round(pixel_cross_entropy(jnp.full((1, 1, 2), 0.5), jnp.array([[[1.0, 0.0]]])).item(), 4)
    0.6931
    """
    check_same_shape("[B, H, W]", maps=maps, targets=targets)
    mask = full_mask(where, np.shape(maps), "maps")
    check_probabilities("maps", maps, where=mask)
    check_probabilities("targets", targets, where=mask)
    inside = jnp.clip(jnp.where(mask, as_float(maps), 0.5), eps, 1.0 - eps)
    targets = jax.lax.stop_gradient(jnp.where(mask, as_float(targets), 0.0))
    loss = -(targets * jnp.log(inside) + (1.0 - targets) * jnp.log1p(-inside))
    return masked_mean(loss, where=mask, axis=(1, 2))


def audio_visual_contrastive(
    features: jax.Array,
    audio: jax.Array,
    *,
    temperature: float | jax.Array = 0.03,
    normalized: bool = False,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Contrast of images and sounds, a batch-level loss: one number for the whole batch.

    A sound must find its own image among all of the batch, and an image its own sound. An image is as similar to a
    sound as its most similar place, so that nothing is asked of the background. No label is needed. Gradients
    flow into both.

        S_nm = max_xy cos(f_n,xy, a_m) / T,   L = mean_n [-log softmax_m(S_n:)_n - log softmax_m(S_:n)_n]

    Args:
      features: `[B, H, W, D]` of the images.
      audio: `[B, D]` of the sounds, row by row those of the images.
      temperature: T, a positive scalar.
      normalized: the vectors already have unit length and are taken as they are.
      where: bool or {0, 1}, `[B]`, the pairs that exist; None means all.
      axis_name: mapped axis over which the batch is split; every device returns the loss of the global batch.

    Returns:
      A float32 scalar (float64 for float64 features) in nats, at least 0; 0 without pairs.

    Raises:
      ValueError: if the shapes do not fit, or a static temperature is not positive.

    Reference: Mo, Morgado, Localizing Visual Sounds the Easy Way, 2022, equations 3 to 5 (EZ-VSL); the authors' code.
      Dual Mean-Teacher names such a term without a formula.

    >>> features = jnp.eye(2)[:, None, None, :]
    >>> round(audio_visual_contrastive(features, jnp.eye(2), temperature=1.0).item(), 4)
    0.6265
    """
    _check_features(features, audio)
    check_positive("temperature", temperature)
    mask = full_mask(where, np.shape(audio)[:1], "batch [B]")
    features = jnp.where(mask[:, None, None, None], as_float(features), 0.0)
    audio = jnp.where(mask[:, None], as_float(audio), 0.0)
    if not normalized:
        features, audio = normalize(features), normalize(audio)
    if axis_name is not None:
        features, audio, mask = jax.lax.all_gather((features, audio, mask), axis_name, tiled=True)
    logits = jnp.max(jnp.einsum("nhwd,md->nmhw", features, audio), axis=(2, 3)) / temperature
    own = jnp.diagonal(logits)
    to_sound = masked_logsumexp(logits, where=mask[None, :], axis=1) - own
    to_image = masked_logsumexp(logits, where=mask[:, None], axis=0) - own
    loss = masked_mean(to_sound + to_image, where=mask)
    # Every device holds the same value; the mean says so, and scales the gradient of the gather to match.
    return loss if axis_name is None else jax.lax.pmean(loss, axis_name)


def box_map(boxes: jax.Array, *, height: int, width: int) -> jax.Array:
    """A box as a map: the share of each pixel that it covers.

    Pixel (row r, column c) is the square [r, r + 1] x [c, c + 1].

        G_rc = |[r, r+1] and [y0, y1]| * |[c, c+1] and [x0, x1]|

    Args:
      boxes: `[..., 4]` as (y0, x0, y1, x1); one with y1 <= y0 or x1 <= x0 covers nothing.
      height: rows H.
      width: columns W.

    Returns:
      `[..., H, W]` float32 (float64 for float64 boxes), in [0, 1].

    Raises:
      ValueError: if the last axis is not 4.

    Reference: Guo et al., Dual Mean-Teacher, 2023: the soft map of an annotated box.

    >>> box_map(jnp.array([0.0, 0.5, 1.0, 2.0]), height=2, width=2).tolist()
    [[0.5, 1.0], [0.0, 0.0]]
    """
    if not np.ndim(boxes) or np.shape(boxes)[-1] != 4:
        raise InputError(f"boxes {np.shape(boxes)} must be [..., 4]: y0, x0, y1, x1")
    y0, x0, y1, x1 = jnp.moveaxis(as_float(boxes), -1, 0)[..., None]

    def cover(low: jax.Array, high: jax.Array, size: int) -> jax.Array:
        start = jnp.arange(size, dtype=low.dtype)
        return jnp.clip(jnp.minimum(high, start + 1) - jnp.maximum(low, start), 0.0, 1.0)

    return cover(y0, y1, height)[..., :, None] * cover(x0, x1, width)[..., None, :]


def min_max_normalize(maps: jax.Array) -> jax.Array:
    """Every map stretched to [0, 1], as maps without a natural scale are before they are cut at a threshold.

        (P - min P) / (max P - min P)

    Args:
      maps: `[..., H, W]`, any finite values.

    Returns:
      `[..., H, W]` float32 (float64 for float64 maps) in [0, 1]; a constant map becomes 0.

    Raises:
      ValueError: if there are fewer than two axes.

    Reference: Mo, Morgado, Localizing Visual Sounds the Easy Way, 2022, the authors' evaluation.

    >>> min_max_normalize(jnp.array([[1.0, 3.0], [2.0, 1.0]])).tolist()
    [[0.0, 1.0], [0.5, 0.0]]
    """
    if np.ndim(maps) < 2:
        raise InputError(f"maps {np.shape(maps)} must be [..., H, W]")
    maps = as_float(maps)
    low = jnp.min(maps, axis=(-2, -1), keepdims=True, initial=jnp.inf)
    spread = jnp.max(maps, axis=(-2, -1), keepdims=True, initial=-jnp.inf) - low
    flat = spread <= 1e-20  # the inverse of less would overflow in a gradient
    return jnp.where(flat, 0.0, (maps - low) / jnp.where(flat, 1.0, spread))
