"""A clip seen at several temporal levels, perturbed in time, and mixed with another clip.

A level is a handful of frames; `levels` are tuples of arrays `[B, n, ...]`, the last one being the context.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float


def _slots_by_level(levels: Sequence[int]) -> list[np.ndarray]:
    """Which slots of time each level takes: the context first, evenly, then the others among what is left."""
    free = np.arange(sum(levels))
    taken: dict[int, np.ndarray] = {}
    for level in (len(levels) - 1, *range(len(levels) - 1)):
        chosen = np.arange(levels[level]) * len(free) // levels[level]
        taken[level] = free[chosen]
        free = np.delete(free, chosen)
    return [taken[level] for level in range(len(levels))]


def dual_level_indices(
    key: jax.Array, num_frames: int | jax.Array, *, levels: Sequence[int] = (2, 2, 4)
) -> tuple[jax.Array, ...]:
    """Frames of short fine-grained elements and of the longer context around them, interleaved without overlap.

    Time is cut into as many slots as there are frames to take. The last level, the context, takes slots evenly over
    the clip; each finer level in turn takes slots evenly among those that are free. In each slot one frame is drawn.

        slot s of S holds the frames floor(s n / S) ... floor((s + 1) n / S) - 1

    Args:
      key: `jax.random.key`.
      num_frames: length n of the clips, an integer or integers `[...]`, at least 1.
      levels: static, how many frames each level takes; the last is the context.

    Returns:
      For each level int32 `[..., levels[l]]`, ascending. All are different if n is at least the number of slots;
      a shorter clip repeats frames in order.

    Raises:
      ValueError: if a level takes no frame, or a static length is below 1.

    Reference:
      SeFAR: Semi-supervised Fine-grained Action Recognition, 2025, section on dual-level temporal elements. The
      authors' code draws random slots for clips shorter than the number of slots.

    >>> fine, other, context = dual_level_indices(jax.random.key(0), 8)  # one frame per slot: nothing to draw
    >>> fine.tolist(), other.tolist(), context.tolist()
    ([1, 5], [3, 7], [0, 2, 4, 6])
    """
    levels = tuple(levels)
    if not levels or min(levels) < 1:
        raise ValueError(f"levels must take at least 1 frame each, got {levels}")
    if isinstance(num_frames, int) and num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}: a clip has at least 1 frame")
    total = sum(levels)
    length = jnp.asarray(num_frames, jnp.int32)[..., None]
    slot = jnp.arange(total, dtype=jnp.int32)
    start, end = slot * length // total, (slot + 1) * length // total
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
      indices: for each level integers `[B, n_l]` in [0, T).

    Returns:
      For each level `[B, n_l, ...]`.

    Raises:
      ValueError: if the clips lack a time axis, or a level is not `[B, n_l]`.

    Reference:
      SeFAR, 2025; see `dual_level_indices`.

    >>> clips = jnp.array([[10, 20, 30, 40]])
    >>> [level.tolist() for level in take_levels(clips, (jnp.array([[0, 2]]), jnp.array([[1, 3]])))]
    [[[10, 30]], [[20, 40]]]
    """
    shape = jnp.shape(clips)
    for index in indices:
        if len(shape) < 2 or jnp.ndim(index) != 2 or jnp.shape(index)[0] != shape[0]:
            raise ValueError(f"clips {shape} must be [B, T, ...] and indices [B, n], got {jnp.shape(index)}")
    rows = jnp.arange(shape[0])[:, None]
    return tuple(clips[rows, index] for index in indices)


def _check_levels(levels: Sequence[jax.Array]) -> None:
    shapes = [jnp.shape(level) for level in levels]
    same = len({(shape[:1], shape[2:]) for shape in shapes}) == 1
    if not shapes or min(map(len, shapes)) < 2 or not same:
        raise ValueError(f"levels must be arrays [B, n, ...] that differ in n alone, got {shapes}")


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

    Reference:
      SeFAR, 2025, section on moderate temporal perturbation.

    >>> fine, context = moderate_perturb((jnp.array([[1, 5]]), jnp.array([[0, 2, 4]])))
    >>> fine.tolist(), context.tolist()
    ([[5, 1]], [[0, 2, 4]])
    """
    _check_levels(levels)
    reverse = [True] * (len(levels) - 1) + [False] if reverse is None else list(reverse)
    if len(reverse) != len(levels):
        raise ValueError(
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

    Reference:
      SeFAR, 2025, ablation of the perturbation.

    >>> shuffled = shuffle_levels(jax.random.key(0), (jnp.array([[1, 2]]), jnp.array([[3]])))
    >>> sorted(jnp.concatenate(shuffled, axis=1)[0].tolist())
    [1, 2, 3]
    """
    _check_levels(levels)
    frames = jnp.concatenate(levels, axis=1)
    order = jax.random.uniform(key, frames.shape[:2]).argsort(axis=1)
    dealt = frames[jnp.arange(len(frames))[:, None], order]
    return tuple(jnp.split(dealt, np.cumsum([jnp.shape(level)[1] for level in levels])[:-1], axis=1))


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
      ValueError: if a static ratio is outside [0, 1], or there is no token.

    Reference:
      SeFAR, 2025, and its code, where the ratio is drawn from Beta(10, 10) at every step.

    >>> tube_mask(jax.random.key(0), 9, 0.5).sum().item()
    4
    """
    if num_tokens < 1:
        raise ValueError(f"num_tokens is {num_tokens}: it must be at least 1")
    if isinstance(ratio, int | float) and not 0 <= ratio <= 1:
        raise ValueError(f"ratio must be in [0, 1], got {ratio}")
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
      ValueError: if the shapes do not fit, or `partner` is not of an integer type.

    Reference:
      SeFAR, 2025, and its code, after Yun et al., CutMix, 2019.

    >>> tokens = jnp.array([[[1, 2, 3]], [[4, 5, 6]]])
    >>> tube_mix(tokens, jnp.array([1, 0]), jnp.array([1, 0, 1])).tolist()
    [[[1, 5, 3]], [[4, 2, 6]]]
    """
    shape, partner, mask = jnp.shape(tokens), jnp.asarray(partner), jnp.asarray(mask)
    if len(shape) < 3 or partner.shape != shape[:1] or mask.shape != shape[2:3]:
        raise ValueError(
            f"tokens must be [B, T, P, ...], partner [B] and mask [P], got {shape}, {partner.shape}, {mask.shape}"
        )
    if not jnp.issubdtype(partner.dtype, jnp.integer):
        raise ValueError(f"partner must be integers, rows in [0, B), got {partner.dtype}")
    own = mask.astype(bool).reshape(-1, *[1] * (len(shape) - 3))
    return jnp.where(own, tokens, tokens[partner])
