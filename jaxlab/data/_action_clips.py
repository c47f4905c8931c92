"""Procedural action clips whose class is nothing but the order in which things happen.

A limb swings out and back in a few directions, one after another. The directions are the same in every clip; their
order is the class. Every swing looks the same forwards and backwards.
"""

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError, as_integers


class Clips(NamedTuple):
    """Labelled video clips; a pytree.

    Args:
        video: `[N, T, H, W, C]` float32 in [0, 1].
        label: `[N]` int32 class of each clip.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import Clips
    >>> Clips(jnp.zeros((2, 16, 12, 12, 1)), jnp.zeros(2, jnp.int32)).video.shape
    (2, 16, 12, 12, 1)
    """

    video: jax.Array
    label: jax.Array


def swing_orders(num_swings: int) -> np.ndarray:
    """The order of directions that each class of `action_clips` stands for.

    Args:
        num_swings: directions G, at least 1.

    Returns:
        `[G!, G]` int32: row c holds the directions of class c from first to last, in lexicographic order.

    Raises:
        ValueError: fewer than 1 or more than 5 swings.

    >>> from jaxlab.data import swing_orders
    >>> swing_orders(3)[:2].tolist()
    [[0, 1, 2], [0, 2, 1]]
    """
    if not 1 <= num_swings <= 5:
        raise InputError(f"num_swings must be in 1 ... 5, got {num_swings}")
    return np.array(list(itertools.permutations(range(num_swings))), np.int32)


def reversed_action(label: jax.Array, *, num_swings: int = 3) -> jax.Array:
    """The class that a clip of `action_clips` shows when it is played backwards.

    Args:
        label: integers of any shape in [0, num_swings!).
        num_swings: as given to `action_clips`.

    Returns:
        int32 of that shape; never the label itself, unless there is only one swing.

    Reference: Shao, Zhao, Dai and Lin, FineGym, 2020, on actions that differ in the order of short elements.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import reversed_action
    >>> reversed_action(jnp.array([0, 1, 5])).tolist()  # 012 -> 210, 021 -> 120, 210 -> 012
    [5, 3, 0]
    """
    orders = swing_orders(num_swings).tolist()
    table = [orders.index(order[::-1]) for order in orders]
    return jnp.array(table, jnp.int32)[label]


def _labels(key: jax.Array, count: int, classes: int, imbalance: float) -> jax.Array:
    """Class c as often as imbalance^(-c / (classes - 1)) asks for, to within one, in random order."""
    order_key, offset_key = jax.random.split(key)
    share = np.power(float(imbalance), -np.arange(classes) / max(classes - 1, 1))
    edges = jnp.asarray(np.cumsum(share)[:-1] / share.sum(), jnp.float32)
    place = (jnp.arange(count) + jax.random.uniform(offset_key)) / max(count, 1)
    label = jnp.searchsorted(edges, place, side="right").astype(jnp.int32)
    return jax.random.permutation(order_key, label)


def _reach(start: jax.Array, length: jax.Array, num_frames: int) -> jax.Array:
    """How far out the limb is, `[N, T, G]` in [0, 1], for swings `[N, G]` that begin and last so many frames."""
    phase = (jnp.arange(num_frames)[:, None] + 0.5 - start[:, None]) / length[:, None]
    return jnp.where((phase > 0) & (phase < 1), jnp.square(jnp.sin(jnp.pi * phase)), 0.0)


def _limb(base: jax.Array, tip: jax.Array, size: int, thickness: float) -> jax.Array:
    """A bar from `base` to `base + tip`, both `[N, T, 2]` in pixels, as brightness `[N, T, size, size]`."""
    y, x = jnp.meshgrid(jnp.arange(size), jnp.arange(size), indexing="ij")
    from_base = jnp.stack([y, x], axis=-1) - base[:, :, None, None]
    along = tip[:, :, None, None]
    length = jnp.sum(jnp.square(along), axis=-1)
    place = jnp.clip(jnp.sum(from_base * along, axis=-1) / (length + 1e-6), 0.0, 1.0)
    distance = jnp.sum(jnp.square(from_base - place[..., None] * along), axis=-1)
    return jnp.exp(-distance / (2.0 * thickness**2))


def _timing(key: jax.Array, count: int, swings: int, num_frames: int, burst: tuple[float, float]):
    """Where the swings of each clip begin and how long they last, `[N, G]` in frames."""
    burst_key, onset_key, share_key = jax.random.split(key, 3)
    whole = num_frames * jax.random.uniform(burst_key, (count, 1), jnp.float32, *burst)
    share = jax.random.uniform(share_key, (count, swings), jnp.float32, 0.7, 1.3)
    length = whole * share / share.sum(axis=1, keepdims=True)
    onset = (num_frames - whole) * jax.random.uniform(onset_key, (count, 1))
    return onset + jnp.cumsum(length, axis=1) - length, length


def _drifter(key: jax.Array, count: int, num_frames: int, size: int) -> jax.Array:
    """A spot that crosses the picture in a straight line, either way: `[N, T, size, size]`."""
    ends = jax.random.uniform(key, (2, count, 1, 2), jnp.float32, 0.0, size - 1.0)
    time = ((jnp.arange(num_frames) + 0.5) / num_frames)[:, None]
    place = ends[0] + (ends[1] - ends[0]) * time
    return _limb(place, jnp.zeros_like(place), size, 0.08 * size)


def _check(
    num_frames: int, size: int, difficulty: float, burst: tuple[float, float], imbalance: float
) -> None:
    if num_frames < 1 or size < 8:
        raise InputError(f"clips need at least 1 frame of 8 pixels, got {num_frames} of {size}")
    if not 0 < burst[0] <= burst[1] <= 1:
        raise InputError(f"burst must be two fractions of the clip in (0, 1], ascending, got {burst}")
    if not isinstance(difficulty, jax.core.Tracer) and not 0 <= difficulty <= 1:
        raise InputError(f"difficulty must be in [0, 1], got {difficulty}")
    if not imbalance >= 1:
        raise InputError(f"imbalance must be at least 1, got {imbalance}")


def action_clips(
    key: jax.Array,
    num_clips: int,
    *,
    num_frames: int = 16,
    size: int = 12,
    num_swings: int = 3,
    difficulty: Any = 0.5,
    burst: tuple[float, float] = (0.6, 1.0),
    imbalance: float = 1.0,
    classes: jax.Array | None = None,
) -> Clips:
    """Clips of a limb that swings out and back in several directions; the order of the swings is the class.

    A frame says nothing about the class unless one knows when it was, nor do all frames together in unknown order:
    only time does. Played backwards a clip is a faultless clip of another class, `reversed_action`. Each has its own
    place, reach, tilt, contrast, onset and rhythm; a bright spot drifts through it, and there is noise. Pure: jit it
    with `num_clips` and the sizes static.

        tip(t) = sum_g reach sin^2(pi (t - start_g) / length_g) direction(order_g),  order = swing_orders()[label]
        frame = clip(contrast limb(base, base + tip(t)) + d spot(t) + 0.25 d noise, 0, 1),  d = difficulty

    Args:
        key: makes the clips.
        num_clips: number of clips N.
        num_frames: frames T of a clip.
        size: pixels on a side, at least 8.
        num_swings: directions G, evenly spread over the circle; there are G! classes.
        difficulty: in [0, 1], may be traced: brings the spot, noise and tilt.
        burst: least and largest fraction of the clip that all swings together take; a short one is quick.
        imbalance: how many times more often class 0 is than the last; 1 is balanced. The classes between follow a
            geometric series.
        classes: integers `[K]`, the rows of `swing_orders` that are the classes 0 to K - 1; may be traced. None takes
            all of them.

    Returns:
        `Clips` with video `[N, T, size, size, 1]` in [0, 1] and label `[N]` in random order; the number of clips of
        a class is what `imbalance` asks for to within one.

    Raises:
        ValueError: sizes too small, or an option outside of its range.

    Reference: Shao, Zhao, Dai and Lin, FineGym, 2020, on actions that differ in the order of short elements; the
      generator is not theirs.

    >>> import jax
    >>> from jaxlab.data import action_clips
    >>> clips = action_clips(jax.random.key(0), 6)
    >>> clips.video.shape, sorted(clips.label.tolist())
    ((6, 16, 12, 12, 1), [0, 1, 2, 3, 4, 5])
    """
    _check(num_frames, size, difficulty, burst, imbalance)
    orders = jnp.asarray(swing_orders(num_swings))
    if classes is not None:
        orders = orders[as_integers("classes", classes, "rows of swing_orders", len(orders))]
    keys = jax.random.split(key, 8)
    label = _labels(keys[0], num_clips, len(orders), imbalance)
    start, length = _timing(keys[1], num_clips, num_swings, num_frames, burst)
    uniform = lambda k, low, high: jax.random.uniform(k, (num_clips, 1), jnp.float32, low, high)
    tilt = difficulty * uniform(keys[2], -0.5, 0.5)
    angle = 2 * math.pi * orders[label] / num_swings + tilt
    reach = size * uniform(keys[3], 0.28, 0.4)[..., None] * _reach(start, length, num_frames)
    tip = jnp.einsum("ntg,ngd->ntd", reach, jnp.stack([-jnp.cos(angle), jnp.sin(angle)], axis=-1))
    base = (size - 1) / 2 + size * jax.random.uniform(keys[4], (num_clips, 1, 2), jnp.float32, -0.1, 0.1)
    base = jnp.broadcast_to(base, tip.shape)
    video = uniform(keys[5], 0.6, 1.0)[..., None, None] * _limb(base, tip, size, 0.08 * size)
    video = video + difficulty * _drifter(keys[6], num_clips, num_frames, size)
    video = video + 0.25 * difficulty * jax.random.normal(keys[7], video.shape, jnp.float32)
    return Clips(jnp.clip(video, 0, 1)[..., None], label)
