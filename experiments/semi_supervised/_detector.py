"""A small detector on points seen from above: grid, net, boxes from its maps, and its loss.

Scenes are [0, size] x [-size / 2, size / 2]; rows of a grid count along y, columns along x.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxlab import data
from jaxlab import semi_supervised as ss
from jaxlab.nets import Conv

_STRIDE = 2


class Maps(NamedTuple):
    """What the net says of every cell `[B, H, W]`: class logits, objectness logit, offset and log-size of a box."""

    classes: jax.Array
    objectness: jax.Array
    offset: jax.Array
    log_size: jax.Array


class Detections(NamedTuple):
    """The surest boxes of each scene, padded.

    Attributes: boxes `[B, K, 4]`, score and objectness `[B, K]`, classes `[B, K]`, exists `[B, K]`.
    """

    boxes: jax.Array
    score: jax.Array
    objectness: jax.Array
    classes: jax.Array
    exists: jax.Array


class Labels(NamedTuple):
    """Boxes to learn from: boxes `[B, M, 4]`, classes `[B, M]` with -1 for none, weight `[B, M]`."""

    boxes: jax.Array
    classes: jax.Array
    weight: jax.Array


def grid(points: jax.Array, exists: jax.Array, *, size: float, cells: int) -> jax.Array:
    """Points `[B, P, 4]` as maps `[B, cells, cells, 5]`: how many, mean height, reflectance and place in the cell."""
    scaled = jnp.stack([points[..., 0], points[..., 1] + size / 2], axis=-1) * (cells / size)
    inside = jnp.all((scaled >= 0) & (scaled < cells), axis=-1) & exists
    cell = jnp.clip(jnp.floor(scaled).astype(jnp.int32), 0, cells - 1)
    values = jnp.concatenate([points[..., 2:4], scaled - cell - 0.5, jnp.ones_like(scaled[..., :1])], axis=-1)
    place = cell[..., 1] * cells + cell[..., 0] + jnp.arange(len(points))[:, None] * cells**2
    place = jnp.where(inside, place, len(points) * cells**2).reshape(-1)
    total = jnp.zeros((len(points) * cells**2, 5)).at[place].add(values.reshape(-1, 5), mode="drop")
    count = total[:, 4:]
    means = total[:, :4] / jnp.maximum(count, 1.0)
    return jnp.concatenate([means, jnp.log1p(count)], axis=-1).reshape(len(points), cells, cells, 5)


class Detector(nn.Module):
    """Convolutions on the (shuffled) grid at half its resolution, quadrants put back, then a head."""

    channels: tuple[int, ...] = (16, 24, 24)
    head: int = 24
    num_classes: int = 3

    @nn.compact
    def __call__(self, cells: jax.Array, permutation: jax.Array) -> Maps:
        """From a grid `[B, H, W, 5]` and the permutation `[B, 4]` by which its scene was shuffled."""
        x = nn.relu(Conv(self.channels[0], strides=(_STRIDE, _STRIDE))(cells))
        for channels in self.channels[1:]:
            x = nn.relu(Conv(channels)(x))
        x = data.unshuffle_quadrants(x, permutation)
        x = nn.relu(Conv(self.head)(x))
        rare = nn.initializers.constant(-2.5)
        size = nn.Dense(2, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(np.log(3.5)))
        return Maps(
            nn.Dense(self.num_classes, bias_init=rare)(x),
            nn.Dense(1, bias_init=rare)(x)[..., 0],
            nn.Dense(2)(x),
            jnp.clip(size(x), -1.0, 3.0),
        )


def _neighbourhood_max(x: jax.Array) -> jax.Array:
    """Largest value of the 3 x 3 neighbourhood in `[B, H, W]`."""
    height, width = x.shape[1:]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-jnp.inf)
    return jnp.stack([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]).max(0)


def detect(maps: Maps, *, size: float, count: int, overlap: float = 0.3) -> Detections:
    """The `count` highest peaks as boxes; of two that overlap, the surer stays. No gradient passes."""
    maps = jax.lax.stop_gradient(maps)
    batch, height, width, num_classes = maps.classes.shape
    best = maps.classes.max(-1)
    peaks = jnp.where(best >= _neighbourhood_max(best), best, -jnp.inf).reshape(batch, -1)
    top, place = jax.lax.top_k(peaks, count)
    at = lambda x: jnp.take_along_axis(x.reshape(batch, height * width, -1), place[..., None], axis=1)
    corner = jnp.stack([place % width, place // width], axis=-1)
    centre = (corner + 0.5 + at(maps.offset)) * (size / width) - jnp.array([0.0, size / 2])
    boxes = jnp.concatenate([centre, jnp.exp(at(maps.log_size))], axis=-1)
    iou = ss.axis_aligned_iou(boxes, boxes)
    # The peaks come in falling order: an earlier box is a surer one.
    hidden = jnp.any(jnp.tril(iou > overlap, -1), axis=-1)
    classes = at(maps.classes).argmax(-1).astype(jnp.int32) if num_classes else place
    objectness = jax.nn.sigmoid(at(maps.objectness[..., None])[..., 0])
    return Detections(boxes, jax.nn.sigmoid(top), objectness, classes, jnp.isfinite(top) & ~hidden)


def detection_loss(maps: Maps, labels: Labels, *, size: float) -> jax.Array:
    """Focal loss of class and objectness maps and L1 loss of the boxes, per unit of label weight in the batch.

    As in Zhou et al., Objects as Points, 2019: background counts less the nearer it is to a labelled centre.
    """
    batch, height, width, num_classes = maps.classes.shape
    step = size / width
    centre = (labels.boxes[..., :2] + jnp.array([0.0, size / 2])) / step
    cell = jnp.floor(centre).astype(jnp.int32)
    exists = (labels.classes >= 0) & jnp.all((cell >= 0) & (cell < jnp.array([width, height])), axis=-1)
    cell = jnp.clip(cell, 0, jnp.array([width, height]) - 1)
    weight = jnp.where(exists, labels.weight, 0.0)
    # How near each cell is to each label, [B, M, H, W].
    x, y = jnp.arange(width) - cell[..., 0:1], jnp.arange(height) - cell[..., 1:2]
    spread = 0.2 * jnp.sqrt(jnp.maximum(labels.boxes[..., 2] * labels.boxes[..., 3], 1.0)) / step + 0.3
    square = x[..., None, :] ** 2 + y[..., :, None] ** 2
    near = jnp.exp(-square / (2 * spread[..., None, None] ** 2)) * exists[..., None, None]
    own = jax.nn.one_hot(labels.classes, num_classes)
    heat = jnp.max(near[..., None] * own[:, :, None, None, :], axis=1)
    place = (cell[..., 1] * width + cell[..., 0])[..., None]
    at = lambda m: jnp.take_along_axis(m.reshape(batch, height * width, -1), place, axis=1)
    found = jnp.sum(at(maps.classes) * own, axis=-1)
    objectness = at(maps.objectness[..., None])[..., 0]
    positive = sum(
        weight * (1 - jax.nn.sigmoid(z)) ** 2 * -jax.nn.log_sigmoid(z) for z in (found, objectness)
    )
    negative = sum(
        jnp.sum((1 - h) ** 4 * jax.nn.sigmoid(z) ** 2 * -jax.nn.log_sigmoid(-z))
        for h, z in ((heat, maps.classes), (near.max(1), maps.objectness))
    )
    offset = jnp.abs(at(maps.offset) - (centre - cell - 0.5)).sum(-1)
    extent = jnp.abs(at(maps.log_size) - jnp.log(jnp.maximum(labels.boxes[..., 2:4], 0.1))).sum(-1)
    total = jnp.sum(positive) + negative + jnp.sum(weight * (offset + extent))
    return total / jnp.maximum(jnp.sum(weight), 1.0)
