"""Train a classifier behind noise masks, then on clean images: one arm per way of choosing the masks.

The digits come in two modalities, inverted or behind a texture of their own. Every arm trains the same net, from the
same parameters, on the same batches for the same number of steps, and is scored on images without masks. The arms
differ in what the images are multiplied with during the first part: nothing, masks that know nothing of the images, or
masks that a small policy proposes for each image, trained by the loss that the authors released or by REINFORCE.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.distillation._classifiers import reported
from experiments.distillation._masked_learner import METHODS, SCHEDULES, masked_learner
from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_between, check_counts, choose
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.images import seeded_images
from jaxlab import data, nets
from jaxlab.core import InputError, cross_entropy
from jaxlab.metrics import accuracy
from jaxlab.training import Arm, Experiment, PerSeed


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/distillation/noise_mask.py describes.

    Args:
      config: see that file for the keys.
      download: allow data sets to be fetched.
    """
    images = seeded_images(config.data, download)
    splits = {name: _seen(split, config.texture) for name, split in reported(images.splits, config).items()}
    masked_steps = round(config.masked_fraction * config.steps)
    _check(config, images.rows)
    classifier = nets.ConvNet(channels=config.net.channels, num_classes=images.num_classes)
    policy = nets.Mlp(features=config.net.policy, num_classes=2 * config.mask.grid**2)
    example = images.example

    def init(key: jax.Array) -> dict[str, Any]:
        first, second = jax.random.split(key)
        return {"classifier": classifier.init(first, example), "policy": policy.init(second, example)}

    methods = methods_of(
        METHODS,
        config.arms,
        lambda masks: functools.partial(
            masked_learner, masks, classifier, policy, init, config, masked_steps
        ),
    )
    bases = Arm(
        methods[config.bases.method], config.bases.to_dict(), max(masked_steps, 1),
        export=lambda state: state.memory, evaluate=lambda state, split, context: {},
    )  # fmt: skip
    return Experiment(
        data=splits,
        draw=lambda train, key: data.draw(train, key, batch_size=config.batch_size),
        prepare={
            name: bases
            for name in {choose("method", arm.method, METHODS).bases for arm in config.arms.values()} - {None}
        },
        arms=make_arms(config.arms, methods, config.steps),
        evaluate=_evaluate(classifier),
        claims=claims_of(config),
        examples=_mean_masks(policy, config),
        summarise=late_change("val/accuracy", means=("train/mask_spread",)),
        resplit=images.resplit,
    )


def _seen(split: PerSeed, texture: float) -> PerSeed:
    """A split in two modalities; which image is seen in which depends on the seed, as the split does."""
    return PerSeed(lambda key: two_modalities(jax.random.fold_in(key, 1), split.make(key), texture))


def two_modalities(key: jax.Array, images: data.Images, strength: float) -> dict[str, jax.Array]:
    """Every image inverted (modality 0) or under a grating of its own direction, width and phase (modality 1)."""
    count, height, width = images.image.shape[:3]
    which_key, wave_key, phase_key = jax.random.split(key, 3)
    modality = jax.random.bernoulli(which_key, 0.5, (count,)).astype(jnp.int32)
    wave = jax.random.uniform(wave_key, (count, 2), minval=-np.pi / 1.5, maxval=np.pi / 1.5)
    phase = jax.random.uniform(phase_key, (count, 1, 1), maxval=2 * np.pi)
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)
    grating = 0.5 + 0.5 * jnp.sin(wave[:, :1, None] * rows + wave[:, 1:, None] * columns + phase)[..., None]
    textured = (1 - strength) * images.image + strength * grating
    image = jnp.where(modality[:, None, None, None] == 0, 1 - images.image, textured)
    return {"image": image, "label": images.label, "modality": modality}


def _check(config: ConfigDict, rows: int) -> None:
    check_counts(config, "steps")
    check_between("batch_size", config.batch_size, rows, "training images")
    check_arms(config.arms, {"method": METHODS, "schedule": SCHEDULES})
    for name in ("masked_fraction", "texture"):
        if not 0 <= config[name] <= 1:
            raise InputError(f"{name} is {config[name]}: it must be in [0, 1]")
    if config.mask.grid < 1:
        raise InputError(f"mask.grid is {config.mask.grid}: it must be at least 1")


def _evaluate(classifier: Any) -> Callable[[Any, Any, Any], dict[str, jax.Array]]:
    """Without masks."""

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        logits = classifier.apply(state.params["classifier"], split["image"])
        score = lambda number: accuracy(logits, split["label"], where=split["modality"] == number)
        return {
            "accuracy": accuracy(logits, split["label"]),
            "nll": cross_entropy(logits, split["label"]).mean(),
            "inverted_accuracy": score(0),
            "textured_accuracy": score(1),
        }

    return evaluate


def _mean_masks(policy: Any, config: ConfigDict) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """`Experiment.examples`: what each policy lets through on average, by modality, at the end of the masks."""

    def draw(states: Mapping[str, Any], splits: Mapping[str, Any]) -> Any:
        from matplotlib.figure import Figure

        val, grid = splits["val"], config.mask.grid
        kinds = {name: choose("method", config.arms[name].method, METHODS) for name in states}
        shown = [name for name, masks in kinds.items() if masks.shown]
        figure = Figure(figsize=(5, 2.5 * max(len(shown), 1)), layout="constrained")
        panels = figure.subplots(max(len(shown), 1), 2, squeeze=False)
        for name, row in zip(shown, panels):
            params, bases = states[name].params["policy"], states[name].memory
            found = kinds[name].propose(policy, params, bases, val["image"], config.mask.base_decay)
            mean = np.asarray(jax.nn.sigmoid(found.log_alpha - found.log_beta))
            for number, (modality, axes) in enumerate(zip(("inverted", "textured"), row)):
                own = mean[np.asarray(val["modality"]) == number].mean(axis=0).reshape(grid, grid)
                drawn = axes.imshow(own, vmin=0, vmax=1, cmap="gray")
                axes.set_title(f"{name}, {modality}: mean mask", fontsize=8)
                axes.set_axis_off()
            figure.colorbar(drawn, ax=list(row))
        return figure

    return draw
