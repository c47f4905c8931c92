"""Localise a sounding object with few boxes: one or two mean teachers, and ways to make pseudo-labels of their maps.

Frames and sounds are procedural, and every seed has its own. A warm-up stage trains every net on the labelled boxes,
once per seed; every arm starts from it, students and teachers alike, and sees the same batches. An arm is a set of nets
and a rule by which the teachers' maps of unlabelled frames become pseudo-labels.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, choose
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.optimizers import clipped_adamw
from experiments.parts.pictures import draw_scene
from experiments.parts.splits import draw_both, few_labelled
from experiments.semi_supervised._localization_learner import (
    localization_learner,
    overlap_with,
    quality,
    rows_of,
)
from experiments.semi_supervised._localization_rules import METHODS, Rule
from experiments.semi_supervised._localizers import Localizer, mirrored, strong_view
from jaxlab import data, metrics
from jaxlab.core import InputError, Learner, gradient_learner
from jaxlab.semi_supervised import sounding_maps
from jaxlab.training import Arm, Experiment


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/semi_supervised/dual_mean_teacher.py describes.

    Args:
      config: see that file for the keys.
      download: nothing here is fetched.
    """
    _check(config)
    nets = {name: Localizer(**spec.to_dict()) for name, spec in config.nets.items()}
    methods = methods_of(METHODS, config.arms, lambda rule: functools.partial(_method, rule, nets, config))
    return Experiment(
        data=_splits(config),
        draw=_draw(config),
        prepare={"warm_up": _warm_up(nets, config)},
        arms=make_arms(config.arms, methods, config.steps),
        claims=claims_of(config),
        examples=lambda states, splits: _examples(states, splits, nets, config),
        summarise=late_change("val/ap50", means=("train/acceptance", "train/pseudo_iou")),
    )


def _check(config: ConfigDict) -> None:
    check_arms(config.arms, {"method": METHODS})
    for name, arm in config.arms.items():
        if set(arm.nets) - set(config.nets) or not 1 <= len(arm.nets) <= 2:
            raise InputError(
                f"arm {name}: nets are {arm.nets}: they must be one or two of {', '.join(config.nets)}"
            )
        needed = choose("method", arm.method, METHODS).nets
        if len(arm.nets) not in needed:
            raise InputError(
                f"arm {name}: method is {arm.method!r}: it needs {needed[0]} nets, got {arm.nets}"
            )


def _splits(config: ConfigDict) -> dict[str, Any]:
    spec = config.data
    make = lambda task, key, count: data.audio_visual_scenes(
        task, key, count, num_classes=spec.num_classes, size=spec.size, audio_dim=spec.audio_dim,
        difficulty=spec.difficulty,
    )  # fmt: skip
    return {name: split for name, split in few_labelled(make, spec).items() if name != "test" or config.test}


def _draw(config: ConfigDict) -> Callable[[Any, jax.Array], Any]:
    """One stack of views: labelled rows for the first net of an arm, others for the second, unlabelled rows."""

    def draw(train: Any, key: jax.Array) -> dict[str, Any]:
        *keys, flip = jax.random.split(key, 3)
        sizes = {"labelled": 2 * config.labelled_batch, "unlabelled": config.unlabelled_batch}
        parts = draw_both(train, keys, **sizes)
        return mirrored(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *parts.values()), flip)

    return draw


def _warm_up(nets: Mapping[str, Localizer], config: ConfigDict) -> Arm:
    """Every net on the boxes alone."""
    spec = config.data
    example = jnp.zeros((1, spec.size, spec.size, 3)), jnp.zeros((1, spec.audio_dim))

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        keys = jax.random.split(key, len(nets))
        return {n: net.init(k, *example) for (n, net), k in zip(nets.items(), keys)}, None

    def loss(params: Any, memory: None, batch: Any, step: Any, key: jax.Array, context: Any) -> tuple:
        total, view = 0.0, strong_view(batch["image"], key, **config.strong)
        parts, _ = rows_of(config, batch | {"image": view})
        for n, (name, net) in enumerate(nets.items()):
            labelled = parts[n % 2]
            maps, _, _ = net.apply(params[name], labelled["image"], labelled["audio"])
            total += sounding_maps.pixel_cross_entropy(maps, labelled["truth"]).mean()
        return total / len(nets), (memory, {})

    optimizer = clipped_adamw(
        config.warm_up.learning_rate, config.warm_up.steps, weight_decay=config.weight_decay
    )
    learner = gradient_learner(init, loss, optimizer)
    return Arm(learner, steps=config.warm_up.steps, export=lambda state: state.params)


def _method(
    rule: Rule, nets: Mapping[str, Localizer], config: ConfigDict, arm: Any
) -> tuple[Learner, Callable, None]:
    return localization_learner(rule, nets, config, arm), _evaluate(rule, nets, config, arm), None


def _evaluate(rule: Rule, nets: Mapping[str, Localizer], config: ConfigDict, arm: Any) -> Callable:
    """The mean of the teachers' maps on weak views, the first one's, and how good pseudo-labels would be there."""

    def evaluate(state: Any, split: data.AudioVisualScenes, context: Any) -> dict[str, jax.Array]:
        truth = sounding_maps.box_map(split.boxes[:, 0], height=config.data.size, width=config.data.size)
        teacher = state.memory.teacher.value
        maps = [nets[n].apply(teacher[n], split.image, split.audio)[0] for n in arm.nets]
        overlap = overlap_with(sum(maps) / len(maps), truth)
        small = truth.sum((1, 2)) < config.small_area
        given = rule.judge(maps, truth, arm)
        # At equal coverage: the half of the samples that the arm's own rule trusts most.
        trusted = lambda own: jnp.argsort(-own.agreement, stable=True)[: len(truth) // 2]
        half = [overlap_with(pseudo, truth)[trusted(own)].mean() for own, pseudo in given]
        return {
            "ap50": metrics.localization_success(overlap),
            "auc": metrics.localization_auc(overlap),
            "ap50_small": metrics.localization_success(overlap, where=small),
            "ap50_one": metrics.localization_success(overlap_with(maps[0], truth)),
            "pseudo_iou_half": sum(half) / len(half),
            **quality(given, truth),
        }

    return evaluate


def _examples(
    states: Mapping[str, Any], splits: Mapping[str, Any], nets: Mapping[str, Localizer], config: ConfigDict
) -> Any:
    """Input, both teachers, pseudo-label, prediction and truth of six unlabelled training frames."""
    from matplotlib.figure import Figure

    pairs = [name for name in states if len(config.arms[name].nets) == 2]
    name = config.shown if config.shown in states else (pairs or list(states))[0]
    arm, scenes = config.arms[name], jax.tree.map(lambda x: x[:6], splits["train"]["unlabelled"])
    truth = sounding_maps.box_map(scenes.boxes[:, 0], height=config.data.size, width=config.data.size)
    teacher = states[name].memory.teacher.value
    maps = [nets[n].apply(teacher[n], scenes.image, scenes.audio)[0] for n in arm.nets]
    both, pseudo = choose("method", arm.method, METHODS).judge(maps, truth, arm)[0]
    columns = {f"teacher {n}": m for n, m in zip(arm.nets, maps)}
    columns |= {"pseudo-label": pseudo, f"prediction ({name})": sum(maps) / len(maps), "truth": truth}
    figure = Figure(figsize=(1.7 * (len(columns) + 1), 1.7 * len(truth)), layout="constrained")
    for row in range(len(truth)):
        axes = figure.add_subplot(len(truth), len(columns) + 1, row * (len(columns) + 1) + 1)
        draw_scene(axes, *(np.asarray(x[row]) for x in (scenes.image, scenes.boxes, scenes.classes)))
        axes.set_title("frame, no box given" if row == 0 else "", fontsize=7)
        for place, (title, shown) in enumerate(columns.items(), start=2):
            axes = figure.add_subplot(len(truth), len(columns) + 1, row * (len(columns) + 1) + place)
            axes.imshow(np.asarray(shown[row]), cmap="magma", vmin=0, vmax=1)
            axes.set_axis_off()
            verdict = f" {'kept' if both.accepted[row] else 'rejected'}" if title == "pseudo-label" else ""
            axes.set_title((title if row == 0 else "") + verdict, fontsize=7)
    return figure
