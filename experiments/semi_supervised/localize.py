"""Localise a sounding object with few boxes: one or two mean teachers, and ways to make pseudo-labels of their maps.

Frames and sounds are procedural. A warm-up stage trains every net on the labelled boxes, once per seed; every arm
starts from it, students and teachers alike, and sees the same batches. An arm is a set of nets and a rule by which
the teachers' maps of unlabelled frames become pseudo-labels.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.semi_supervised._localization_learner import (
    RULES,
    localization_learner,
    overlap_with,
    pseudo_maps,
    rows_of,
)
from experiments.semi_supervised._localizers import Localizer, mirrored, strong_view
from experiments.semi_supervised._optimizer import adamw
from jaxlab import data, metrics
from jaxlab import semi_supervised as ss
from jaxlab.core import InputError, Learner, gradient_learner, masked_mean
from jaxlab.data._audio_visual import draw_scene
from jaxlab.training import Arm, Claim, Experiment


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment.

    Args:
      config: see configs/semi_supervised/dual_mean_teacher.py for the keys.
      download: nothing here is fetched.
    """
    del download
    _check(config)
    splits = _splits(config)
    nets = {name: Localizer(**spec.to_dict()) for name, spec in config.nets.items()}
    method = functools.partial(_method, nets, config)
    return {
        "": Experiment(
            data=splits,
            draw=_draw(config),
            prepare={"warm_up": _warm_up(nets, config, splits)},
            arms={name: Arm(method, arm.to_dict(), config.steps) for name, arm in config.arms.items()},
            claims=tuple(Claim(**claim) for claim in config.claims),
            examples=lambda states, splits: _examples(states, splits, nets, config),
        )
    }


def _check(config: ConfigDict) -> None:
    for name, arm in config.arms.items():
        if arm.rule not in RULES:
            raise InputError(f"rule of {name} is {arm.rule!r}: it must be one of {', '.join(RULES)}")
        unknown = set(arm.nets) - set(config.nets)
        if unknown or not 1 <= len(arm.nets) <= 2:
            raise InputError(
                f"nets of {name} are {arm.nets}: they must be one or two of {', '.join(config.nets)}"
            )
        if len(arm.nets) == 1 and arm.rule in ("intersection", "union", "union_all", "own"):
            raise InputError(f"rule of {name} is {arm.rule!r}: it needs two nets, got {arm.nets}")
    if not 1 <= config.data.labelled < config.data.train:
        raise InputError(
            f"data.labelled is {config.data.labelled}: it must be between 1 and {config.data.train - 1}"
        )


def _splits(config: ConfigDict) -> dict[str, Any]:
    spec, task = config.data, jax.random.key(config.data.task_seed)
    make = lambda key: data.audio_visual_scenes(
        task, key, spec.train + spec.val + spec.test, num_classes=spec.num_classes, size=spec.size,
        audio_dim=spec.audio_dim, difficulty=spec.difficulty,
    )  # fmt: skip
    every = jax.jit(make)(jax.random.fold_in(task, 1))
    part = lambda start, count: jax.tree.map(lambda x: x[start : start + count], every)
    splits = {
        "train": {
            "labelled": part(0, spec.labelled),
            "unlabelled": part(spec.labelled, spec.train - spec.labelled),
        },
        "val": part(spec.train, spec.val),
    }
    return splits | ({"test": part(spec.train + spec.val, spec.test)} if config.test else {})


def _draw(config: ConfigDict) -> Callable[[Any, jax.Array], Any]:
    """One stack of views: labelled rows for the first net of an arm, others for the second, unlabelled rows."""

    def draw(train: Any, key: jax.Array) -> dict[str, Any]:
        first, second, flip = jax.random.split(key, 3)
        labelled = data.draw(train["labelled"], first, batch_size=2 * config.labelled_batch)
        unlabelled = data.draw(train["unlabelled"], second, batch_size=config.unlabelled_batch)
        return mirrored(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), labelled, unlabelled), flip)

    return draw


def _warm_up(nets: Mapping[str, Localizer], config: ConfigDict, splits: Any) -> Arm:
    """Every net on the boxes alone."""
    example = jax.tree.map(lambda x: x[:1], splits["val"])

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        keys = jax.random.split(key, len(nets))
        return {n: net.init(k, example.image, example.audio) for (n, net), k in zip(nets.items(), keys)}, None

    def loss(params: Any, memory: None, batch: Any, step: Any, key: jax.Array, context: Any) -> tuple:
        total, view = 0.0, strong_view(batch["image"], key, **config.strong)
        parts, _ = rows_of(config, batch | {"image": view})
        for n, (name, net) in enumerate(nets.items()):
            labelled = parts[n % 2]
            maps, _, _ = net.apply(params[name], labelled["image"], labelled["audio"])
            total += ss.pixel_cross_entropy(maps, labelled["truth"]).mean()
        return total / len(nets), (memory, {})

    optimizer = adamw(config.warm_up.learning_rate, config.warm_up.steps, weight_decay=config.weight_decay)
    learner = gradient_learner(init, loss, optimizer)
    return Arm(learner, steps=config.warm_up.steps, export=lambda state: state.params)


def _method(nets: Mapping[str, Localizer], config: ConfigDict, arm: Any) -> tuple[Learner, Callable, None]:
    return localization_learner(nets, config, arm), _evaluate(nets, config, arm), None


def _evaluate(nets: Mapping[str, Localizer], config: ConfigDict, arm: Any) -> Callable:
    """The mean of the teachers' maps on weak views, and how good pseudo-labels would be there."""

    def evaluate(state: Any, split: data.AudioVisualScenes, context: Any) -> dict[str, jax.Array]:
        truth = ss.box_map(split.boxes[:, 0], height=config.data.size, width=config.data.size)
        teacher = state.memory.teacher.value
        maps = [nets[n].apply(teacher[n], split.image, split.audio)[0] for n in arm.nets]
        overlap = overlap_with(sum(maps) / len(maps), truth)
        small = truth.sum((1, 2)) < config.small_area
        both, pseudo = pseudo_maps(maps, truth, arm)
        quality = jnp.mean(jnp.stack([overlap_with(p, truth) for p in pseudo]), axis=0)
        # At equal coverage: the half of the samples that the arm's own rule trusts most.
        half = jnp.argsort(-both.agreement, stable=True)[: len(truth) // 2]
        return {
            "ap50": metrics.localization_success(overlap),
            "auc": metrics.localization_auc(overlap),
            "ap50_small": metrics.localization_success(overlap, where=small),
            "ap50_one": metrics.localization_success(overlap_with(maps[0], truth)),
            "acceptance": both.accepted.mean(),
            "pseudo_iou": masked_mean(quality, where=both.accepted),
            "pseudo_iou_half": quality[half].mean(),
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
    truth = ss.box_map(scenes.boxes[:, 0], height=config.data.size, width=config.data.size)
    teacher = states[name].memory.teacher.value
    maps = [nets[n].apply(teacher[n], scenes.image, scenes.audio)[0] for n in arm.nets]
    both, pseudo = pseudo_maps(maps, truth, arm)
    columns = {f"teacher {n}": m for n, m in zip(arm.nets, maps)}
    columns |= {"pseudo-label": pseudo[0], f"prediction ({name})": sum(maps) / len(maps), "truth": truth}
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
