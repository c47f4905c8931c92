"""A clip seen at several temporal levels, perturbed in time, and mixed with another clip.

A level is a handful of frames; `levels` are tuples of arrays `[B, n, ...]`, the last one being the context.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, as_bool, as_integers, check_fraction, check_least


def _slots_by_level(levels: Sequence[int]) -> list[np.ndarray]:
    """Which slots of time each level takes: from the last level to the first, each as evenly as the rest allows."""
    total = sum(levels)
    free, taken = list(range(total)), []
    for count in reversed(levels):
        chosen: list[int] = []
        for slot in free:
            if slot >= len(chosen) * (total / count):  # when the level's next one is due
                chosen.append(slot)
        free = [slot for slot in free if slot not in chosen]
        taken.append(np.array(chosen))
    return taken[::-1]


def _rounded(numerator: jax.Array, denominator: int) -> jax.Array:
    """The quotient of integers rounded to a whole number, a half to the even one, as Python does."""
    twice = 2 * numerator + denominator
    up = twice // (2 * denominator)
    return up - ((twice % (2 * denominator) == 0) & (up % 2 == 1))


def dual_level_indices(
    key: jax.Array, num_frames: int | jax.Array, *, levels: Sequence[int] = (2, 2, 4)
) -> tuple[jax.Array, ...]:
    """Frames of short fine-grained elements and of the longer context around them, interleaved without overlap.

    Time is cut into as many slots as there are frames to take. From the last level, the context, to the first, each
    takes the free slots that come first after even distances. In each slot one frame is drawn.

        slot s of S holds the frames round(s n / S) ... round((s + 1) n / S) - 1,  halves rounded to even

    Args:
      key: `jax.random.key`.
      num_frames: length n of the clips, an integer or integers `[...]`, at least 1.
      levels: static, how many frames each level takes; the last is the context.

    Returns:
      For each level int32 `[..., levels[l]]`, ascending. All are different if n is at least the number of slots;
      a shorter clip repeats frames in order.

    Raises:
      ValueError: if `levels` are not whole numbers of at least 1, or a known length is below 1.

    Reference: SeFAR: Semi-supervised Fine-grained Action Recognition, 2025, section on dual-level temporal elements,
      with the order and the rounding of the authors' decoder. For clips shorter than the number of slots it draws
      random slots, and refuses those shorter than the context.

    >>> fine, other, context = dual_level_indices(jax.random.key(0), 8)  # one frame per slot: nothing to draw
    >>> fine.tolist(), other.tolist(), context.tolist()
    ([3, 7], [1, 5], [0, 2, 4, 6])
    """
    levels = tuple(levels)
    if not levels or not all(isinstance(count, int | np.integer) and count >= 1 for count in levels):
        raise InputError(f"levels must be whole numbers of at least 1 frame each, got {levels}")
    check_least("num_frames", num_frames, 1)
    total = int(sum(levels))
    length = as_integers("num_frames", num_frames, "lengths of clips").astype(jnp.int32)[..., None]
    slot = jnp.arange(total, dtype=jnp.int32)
    start, end = _rounded(slot * length, total), _rounded((slot + 1) * length, total)
    # A uniform number cut to the width of the slot: a quarter of the program that `randint` would be.
    within = jax.random.uniform(key, start.shape, jnp.float32) * (end - start)
    last = jnp.maximum(end, start + 1) - 1
    frame = jnp.minimum(jnp.minimum(start + within.astype(jnp.int32), last), length - 1)
    return tuple(frame[..., slots] for slots in _slots_by_level(levels))


def take_levels(clips: jax.Array, indices: Sequence[jax.Array]) -> tuple[jax.Array, ...]:
    """The frames of every level.

    Gradients flow into the frames taken.

        level_l[b, i] = clips[b, indices_l[b, i]]

    Args:
      clips: `[B, T, ...]`.
      indices: for each level integers `[B, n_l]` in [0, T); known ones are checked.

    Returns:
      For each level `[B, n_l, ...]`.

    Raises:
      ValueError: if the clips lack a time axis, or a level is not integers `[B, n_l]` of frames that exist.

    Reference: SeFAR, 2025; see `dual_level_indices`.

    >>> clips = jnp.array([[10, 20, 30, 40]])
    >>> [level.tolist() for level in take_levels(clips, (jnp.array([[0, 2]]), jnp.array([[1, 3]])))]
    [[[10, 30]], [[20, 40]]]
    """
    clips, shape = jnp.asarray(clips), np.shape(clips)
    for index in indices:
        if len(shape) < 2 or np.ndim(index) != 2 or np.shape(index)[0] != shape[0]:
            raise InputError(f"clips {shape} must be [B, T, ...] and indices [B, n], got {np.shape(index)}")
    indices = [as_integers("indices", index, "frames of the clips", shape[1]) for index in indices]
    rows = jnp.arange(shape[0])[:, None]
    return tuple(clips[rows, index] for index in indices)


def _as_levels(levels: Sequence[jax.Array]) -> list[jax.Array]:
    levels = [jnp.asarray(level) for level in levels]
    shapes = [level.shape for level in levels]
    same = len({(shape[:1], shape[2:]) for shape in shapes}) == 1
    if not shapes or min(map(len, shapes)) < 2 or not same:
        raise InputError(f"levels must be arrays [B, n, ...] that differ in n alone, got {shapes}")
    return levels


def moderate_perturb(
    levels: Sequence[jax.Array], *, reverse: Sequence[bool] | None = None
) -> tuple[jax.Array, ...]:
    """Reverse the fine-grained elements in time and leave the context in order.

    Hard enough to teach something, and still the same action: its direction can be read off the context. Reversing
    all levels is a different action, with the wrong label. Gradients flow through.

        level_l[b, i] -> level_l[b, n_l - 1 - i]  for the levels to reverse

    Args:
      levels: for each level `[B, n_l, ...]`.
      reverse: static, for each level whether to reverse it; None is all but the last.

    Returns:
      The levels, with the shapes and dtypes of the old ones.

    Raises:
      ValueError: if the levels are not `[B, n_l, ...]`, or `reverse` does not name each of them.

    Reference: SeFAR, 2025, section on moderate temporal perturbation. It reverses time as the paper says. The
      authors' code does not: it flips axis 1 of clips `[B, C, T, H, W]`, the colour channels, and leaves their frames
      in order.

    >>> fine, context = moderate_perturb((jnp.array([[1, 5]]), jnp.array([[0, 2, 4]])))
    >>> fine.tolist(), context.tolist()
    ([[5, 1]], [[0, 2, 4]])
    """
    levels = _as_levels(levels)
    reverse = [True] * (len(levels) - 1) + [False] if reverse is None else list(reverse)
    if len(reverse) != len(levels):
        raise InputError(
            f"reverse must have one entry for each of the {len(levels)} levels, got {len(reverse)}"
        )
    return tuple(level[:, ::-1] if turn else level for level, turn in zip(levels, reverse))


def shuffle_levels(key: jax.Array, levels: Sequence[jax.Array]) -> tuple[jax.Array, ...]:
    """Deal all frames of a clip to its levels in random order, which leaves no order to recognise.

    The control for `moderate_perturb`. Every clip has a permutation of its own. Gradients flow through.

    Args:
      key: `jax.random.key`.
      levels: for each level `[B, n_l, ...]`.

    Returns:
      The levels, with the shapes and dtypes of the old ones.

    Raises:
      ValueError: if the levels are not `[B, n_l, ...]`.

    Reference: SeFAR, 2025, ablation of the perturbation.

    >>> shuffled = shuffle_levels(jax.random.key(0), (jnp.array([[1, 2]]), jnp.array([[3]])))
    >>> sorted(jnp.concatenate(shuffled, axis=1)[0].tolist())
    [1, 2, 3]
    """
    levels = _as_levels(levels)
    frames = jnp.concatenate(levels, axis=1)
    order = jax.random.uniform(key, frames.shape[:2]).argsort(axis=1)
    dealt = frames[jnp.arange(len(frames))[:, None], order]
    return tuple(jnp.split(dealt, np.cumsum([np.shape(level)[1] for level in levels])[:-1], axis=1))


def tube_mask(key: jax.Array, num_tokens: int, ratio: float | jax.Array) -> jax.Array:
    """Which tokens of a frame stay: one pattern for all frames, a tube through time.

        exactly floor(ratio P) tokens, uniformly at random

    Args:
      key: `jax.random.key`.
      num_tokens: static, tokens P in a frame.
      ratio: scalar in [0, 1], the share of tokens that stay; may be traced.

    Returns:
      bool `[P]`.

    Raises:
      ValueError: if a known ratio is outside [0, 1], or there is no token.

    Reference: SeFAR, 2025, and its code, where the ratio is drawn from Beta(10, 10) at every step.

    >>> tube_mask(jax.random.key(0), 9, 0.5).sum().item()
    4
    """
    if num_tokens < 1:
        raise InputError(f"num_tokens is {num_tokens}: it must be at least 1")
    check_fraction("ratio", ratio)
    count = jnp.floor(as_float(ratio) * num_tokens)
    return jnp.argsort(jax.random.uniform(key, (num_tokens,))) < count


def tube_mix(tokens: jax.Array, partner: jax.Array, mask: jax.Array) -> jax.Array:
    """Replace the tokens outside of a tube by those of another clip of the batch.

    The same tube for all frames and all clips. Gradients flow into the tokens that are used.

        mixed[b, t, p] = tokens[b, t, p] if mask[p] else tokens[partner[b], t, p]

    Args:
      tokens: `[B, T, P, ...]`.
      partner: integers `[B]` in [0, B), the clip that each is mixed with; often a permutation.
      mask: bool or {0, 1} `[P]`, the tokens that a clip keeps.

    Returns:
      `[B, T, P, ...]` in the dtype of the tokens.

    Raises:
      ValueError: if the shapes do not fit, `partner` is not integers of clips that exist, or `mask` is no mask.

    Reference: SeFAR, 2025, and its code, after Yun et al., CutMix, 2019.

    >>> tokens = jnp.array([[[1, 2, 3]], [[4, 5, 6]]])
    >>> tube_mix(tokens, jnp.array([1, 0]), jnp.array([1, 0, 1])).tolist()
    [[[1, 5, 3]], [[4, 2, 6]]]
    """
    tokens, shape = jnp.asarray(tokens), np.shape(tokens)
    shapes = shape, np.shape(partner), np.shape(mask)
    if len(shape) < 3 or shapes[1] != shape[:1] or shapes[2] != shape[2:3]:
        raise InputError(
            f"tokens must be [B, T, P, ...], partner [B] and mask [P], got {shapes[0]}, {shapes[1]}, {shapes[2]}"
        )
    partner = as_integers("partner", partner, "rows of the batch", shape[0])
    own = as_bool("mask", mask).reshape(-1, *[1] * (len(shape) - 3))
    return jnp.where(own, tokens, tokens[partner])
