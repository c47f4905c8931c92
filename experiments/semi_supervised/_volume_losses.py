"""What the two students of a group learn, by method: RAIL, its rivals, the floor and the ceiling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.semi_supervised._turns import Stacked
from jaxlab import nets
from jaxlab import semi_supervised as ss
from jaxlab.core import sigmoid_ramp_up
from jaxlab.semi_supervised import rail

ARCHITECTURES = ("plain", "residual")


def unet(config: ConfigDict, architecture: str) -> nets.UNet:
    options = config.net.to_dict()
    return nets.UNet(num_classes=2, dims=config.task.dims, residual=architecture == "residual", **options)


def forward(config: ConfigDict, params: Stacked, x: jax.Array) -> jax.Array:
    """Logits of one group's students `[2, B, ..., 2]`, in the order of ARCHITECTURES."""
    return jnp.stack([unet(config, name).apply(params[name], x) for name in ARCHITECTURES])


class Seen(NamedTuple):
    """What a student's loss looks at besides its own logits.

    Attributes:
      batch: labelled and unlabelled images, with their labels.
      own, frozen: logits `[2, B, ..., 2]` of this group's students, and without gradient those of all that are looked
        at.
      teachers: logits `[2, U, ..., 2]` of the slow teachers, or None.
      best: which of `frozen` is the best student.
      progress: share of the steps taken.
    """

    batch: Any
    own: jax.Array
    frozen: jax.Array
    teachers: jax.Array | None
    best: jax.Array
    progress: jax.Array


class Method(NamedTuple):
    """A loss `(config, arm, seen, student) -> scalar`, and whether it asks the other group, or the teachers."""

    loss: Callable[[ConfigDict, Any, Seen, int], jax.Array]
    others: bool = False
    teachers: bool = False


def best_of(config: ConfigDict, frozen: jax.Array, batch: Any) -> jax.Array:
    """The student with the smallest Dice loss on the labelled half."""
    labelled = jax.nn.softmax(frozen[:, : config.batch_size])[..., 1]
    return rail.best_student(jax.vmap(lambda p: ss.dice_loss(p, batch["label"] == 1).mean())(labelled))


def _ramp(arm: Any, seen: Seen) -> jax.Array:
    return sigmoid_ramp_up(seen.progress, length=arm.ramp)


def _segmentation(logits: jax.Array, label: jax.Array) -> jax.Array:
    overlap = ss.dice_loss(jax.nn.softmax(logits)[..., 1], label == 1)
    return ss.masked_cross_entropy(logits, label).mean() + overlap.mean()


def _labels(config: ConfigDict, arm: Any, seen: Seen, student: int) -> jax.Array:
    """The labelled half alone."""
    return _segmentation(seen.own[student, : config.batch_size], seen.batch["label"])


def _all_labels(config: ConfigDict, arm: Any, seen: Seen, student: int) -> jax.Array:
    """The labels of everything."""
    hidden = _segmentation(seen.own[student, config.batch_size :], seen.batch["hidden"])
    return _labels(config, arm, seen, student) + hidden


def _mean_teacher(config: ConfigDict, arm: Any, seen: Seen, student: int) -> jax.Array:
    """Each student follows its own slow average."""
    apart = ss.consistency_mse(seen.own[student, config.batch_size :], seen.teachers[student])
    return _labels(config, arm, seen, student) + arm.weight * _ramp(arm, seen) * apart.mean()


def _cross(config: ConfigDict, arm: Any, seen: Seen, student: int) -> jax.Array:
    """Each student takes the other's classes for labels."""
    other = seen.frozen[1 - student, config.batch_size :].argmax(-1)
    apart = ss.masked_cross_entropy(seen.own[student, config.batch_size :], other)
    return _labels(config, arm, seen, student) + arm.weight * _ramp(arm, seen) * apart.mean()


def _rail(config: ConfigDict, arm: Any, seen: Seen, student: int) -> jax.Array:
    """RAIL's whole loss, its consistency weight in the authors' ratio to the teacher's."""
    rows, own, best = config.batch_size, seen.own[student], seen.frozen[seen.best]
    begun, ramp = seen.progress >= config.start, _ramp(arm, seen)
    return rail.rail_student_loss(
        own[:rows], seen.batch["label"], own[rows:], best[:rows], best[rows:], seen.teachers[0],
        is_best=seen.best == student,
        consistency_weight=2 * arm.weight * ramp * begun,
        teacher_weight=arm.weight * ramp,
        mse_weight=arm.mse_weight * begun,
        kl_weight=arm.kl_weight * begun,
        restraint_weight=arm.restraint_weight,
        authors_code=arm.authors_code,
        kl_mode=arm.kl_mode,
        error_mask=arm.error_mask,
    )[0]  # fmt: skip


METHODS: dict[str, Method] = {
    "labels": Method(_labels),
    "mean_teacher": Method(_mean_teacher, teachers=True),
    "cross": Method(_cross),
    "rail": Method(_rail, others=True, teachers=True),
    "all_labels": Method(_all_labels),
}
