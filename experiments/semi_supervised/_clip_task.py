"""Action clips that are classified from few labels: views of a few frames at several temporal levels."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.splits import independent
from experiments.semi_supervised._classification_tasks import Task, few_of_all, moved
from experiments.semi_supervised._level_net import LevelNet
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.semi_supervised.temporal_levels import (
    dual_level_indices,
    moderate_perturb,
    shuffle_levels,
    take_levels,
    tube_mask,
    tube_mix,
)


def clip_task(config: ConfigDict, download: bool) -> Task:
    """Procedural action clips, and a small net that sees a few frames at three levels."""
    spec, levels, options = config.data, tuple(config.net.levels), config.net
    net = LevelNet(spec.num_classes, tuple(options.frame), options.level, options.fused)
    rate = options.dropout

    # The same frames for every clip, chosen beforehand: within the program it would fold them at length.
    fixed = [
        jax.tree.map(np.asarray, dual_level_indices(key, spec.num_frames, levels=levels))
        for key in jax.random.split(jax.random.key(0), options.views)
    ]
    example = tuple(jnp.zeros((1, count, spec.size, spec.size, 1)) for count in levels)

    def sampled(clips: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        length = jnp.full((len(clips),), clips.shape[1])
        return take_levels(clips, dual_level_indices(key, length, levels=levels))

    def view(clips: jax.Array, key: jax.Array, strong: bool, perturb: str) -> tuple[jax.Array, ...]:
        frames_key, order_key, look_key = jax.random.split(key, 3)
        looked = _same_for_all_frames(
            sampled(clips, frames_key), look_key, config.views.strong if strong else config.views.weak
        )
        return PERTURBATIONS[perturb](order_key, looked)

    def keep(key: jax.Array, features: jax.Array) -> jax.Array:
        return jax.random.bernoulli(key, 1 - rate, features.shape) / (1 - rate)

    def apply(params: Any, view: Any, key: jax.Array | None) -> jax.Array:
        z = net.apply(params, view, method="fuse")
        kept = jnp.ones(()) if key is None else keep(key, z)
        return net.apply(params, z, kept, method="classify")

    def passes(params: Any, view: Any, key: jax.Array, count: int) -> jax.Array:
        if count == 1:
            return apply(params, view, None)[None]
        z = net.apply(params, view, method="fuse")
        drop = lambda key: net.apply(params, z, keep(key, z), method="classify")
        return jax.vmap(drop)(jax.random.split(key, count))

    return Task(
        splits=_clips(config),
        rows=spec.train,
        num_classes=spec.num_classes,
        init=lambda key: net.init(key, example),
        apply=apply,
        passes=passes,
        view=view,
        plain=lambda clips: [tuple(clips[:, frames] for frames in chosen) for chosen in fixed],
        mix=lambda view, partner, key, ratio: _mixed(view, partner, key, ratio, options.patch),
    )


def _clips(config: ConfigDict) -> dict[str, Any]:
    spec = config.data
    forth = np.arange(len(data.swing_orders(spec.num_swings)))
    back = np.asarray(data.reversed_action(forth, num_swings=spec.num_swings))
    both = np.stack([forth, back], axis=1)[forth < back]
    pairs = _paired(spec, len(both))

    def make(world: jax.Array, key: jax.Array, count: int) -> dict[str, jax.Array]:
        clips = data.action_clips(
            key, count, num_frames=spec.num_frames, size=spec.size, num_swings=spec.num_swings,
            difficulty=spec.difficulty, burst=tuple(spec.burst),
            classes=_orders(world, both, spec.num_classes, pairs),
        )  # fmt: skip
        return {"input": clips.video, "label": clips.label}

    splits = independent(make, spec)
    train = few_of_all(splits["train"].make, config.labels_per_class, spec.num_classes, spec.train)
    return splits | {"train": train}


def _paired(spec: ConfigDict, most: int) -> int:
    """How many pairs of classes are each other's reversal."""
    pairs = spec.reversals * spec.num_classes / 2
    if not 0 <= spec.reversals <= 1 or pairs % 1 or not 0 < spec.num_classes - pairs <= most:
        raise InputError(
            f"data.reversals is {spec.reversals}: of {spec.num_classes} classes it must be an even number, and "
            f"{spec.num_swings} swings have {most} orders and their reversals"
        )
    return round(pairs)


def _orders(key: jax.Array, both: np.ndarray, num_classes: int, pairs: int) -> jax.Array:
    """Which orders of swings are the classes of a seed: `both` of so many pairs, one of others."""
    pair_key, turn_key = jax.random.split(key)
    chosen = jax.random.permutation(pair_key, both)[: num_classes - pairs]
    turned = jax.random.bernoulli(turn_key, shape=(len(chosen), 1))
    chosen = jnp.where(turned, chosen[:, ::-1], chosen)
    return jnp.concatenate([chosen[:, 0], chosen[:pairs, 1]])


def _same_for_all_frames(
    levels: tuple[jax.Array, ...], key: jax.Array, spec: ConfigDict
) -> tuple[jax.Array, ...]:
    """One random look for all frames of a clip: time becomes channels for a moment."""
    counts = [level.shape[1] for level in levels]
    frames = jnp.moveaxis(jnp.concatenate(levels, axis=1), 1, 3)
    seen = moved(frames.reshape(*frames.shape[:3], -1), key, spec).reshape(frames.shape)
    return tuple(jnp.split(jnp.moveaxis(seen, 3, 1), np.cumsum(counts)[:-1], axis=1))


PERTURBATIONS: dict[str, Callable[[jax.Array, tuple], tuple]] = {
    "none": lambda key, levels: levels,
    "moderate": lambda key, levels: moderate_perturb(levels),
    "reverse": lambda key, levels: moderate_perturb(levels, reverse=(True,) * len(levels)),
    "shuffle": shuffle_levels,
}


def _mixed(
    levels: tuple[jax.Array, ...], partner: jax.Array, key: jax.Array, ratio: jax.Array, patch: int
) -> tuple[jax.Array, ...]:
    """Tubes of square patches, one pattern for each level."""
    height, width = levels[0].shape[2:4]
    if height % patch or width % patch:
        raise InputError(f"net.patch is {patch}: it must divide the {height} x {width} pixels")
    rows, columns = height // patch, width // patch
    tubes = jax.vmap(lambda key: tube_mask(key, rows * columns, ratio))(jax.random.split(key, len(levels)))
    mixed = []
    for level, tube in zip(levels, tubes):
        batch, frames, *_, channels = level.shape
        patches = level.reshape(batch, frames, rows, patch, columns, patch, channels).swapaxes(3, 4)
        tokens = patches.reshape(batch, frames, rows * columns, patch, patch, channels)
        tokens = tube_mix(tokens, partner, tube)
        mixed.append(tokens.reshape(patches.shape).swapaxes(3, 4).reshape(level.shape))
    return tuple(mixed)
