"""What the two students of a group learn: RAIL, or one of its rivals."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.semi_supervised._turns import Stacked
from jaxlab import nets
from jaxlab import semi_supervised as ss
from jaxlab.core import sigmoid_ramp_up

ARCHITECTURES = ("plain", "residual")


def unet(config: ConfigDict, architecture: str) -> nets.UNet:
    options = config.net.to_dict()
    return nets.UNet(num_classes=2, dims=config.task.dims, residual=architecture == "residual", **options)


def forward(config: ConfigDict, params: Stacked, x: jax.Array) -> jax.Array:
    """Logits of one group's students `[2, B, ..., 2]`, in the order of ARCHITECTURES."""
    return jnp.stack([unet(config, name).apply(params[name], x) for name in ARCHITECTURES])


class Seen(NamedTuple):
    """What a student's loss looks at besides its own logits; leading axis of logits: students."""

    batch: Any
    others: jax.Array | None
    teachers: jax.Array | None
    progress: jax.Array


def student_losses(config: ConfigDict, arm: Any, params: Stacked, seen: Seen, x: jax.Array) -> tuple:
    """The two students' losses summed; beside them the logits, and which student the others look up to."""
    own = forward(config, params, x)
    frozen = jax.lax.stop_gradient(own)
    best, students = jnp.int32(0), range(len(ARCHITECTURES))
    ramp = sigmoid_ramp_up(seen.progress, length=arm.ramp)
    if arm.instructive:
        frozen = jnp.concatenate([frozen, seen.others])
        labelled = jax.nn.softmax(frozen[:, : config.batch_size])[..., 1]
        best = ss.best_student(jax.vmap(lambda p: ss.dice_loss(p, seen.batch["label"] == 1).mean())(labelled))
        each = [_instructive(config, arm, own[s], seen, frozen[best], best == s, ramp) for s in students]
    else:
        each = [_baseline(config, arm, own, seen, s, ramp) for s in students]
    return sum(each), (frozen, best)


def _instructive(
    config: ConfigDict, arm: Any, own: Any, seen: Seen, best: Any, is_best: Any, ramp: Any
) -> jax.Array:
    """RAIL's loss of one student."""
    rows, begun = config.batch_size, seen.progress >= config.start
    return ss.rail_student_loss(
        own[:rows],
        seen.batch["label"],
        own[rows:],
        best[:rows],
        best[rows:],
        seen.teachers[0],
        is_best=is_best,
        consistency_weight=arm.consistency_weight * ramp * begun,
        teacher_weight=arm.teacher_weight * ramp,
        mse_weight=arm.mse_weight * begun,
        kl_weight=arm.kl_weight * begun,
        restraint_weight=arm.restraint_weight,
        authors_code=arm.authors_code,
    )[0]


def _segmentation(logits: jax.Array, label: jax.Array) -> jax.Array:
    overlap = ss.dice_loss(jax.nn.softmax(logits)[..., 1], label == 1)
    return ss.masked_cross_entropy(logits, label).mean() + overlap.mean()


def _baseline(config: ConfigDict, arm: Any, own: Any, seen: Seen, student: int, ramp: Any) -> jax.Array:
    """The labels alone, a mean teacher, cross pseudo supervision, or the labels of everything."""
    rows = config.batch_size
    total, logits = _segmentation(own[student, :rows], seen.batch["label"]), own[student, rows:]
    if arm.mean_teacher_weight is not None:
        total += arm.mean_teacher_weight * ramp * ss.consistency_mse(logits, seen.teachers[student]).mean()
    if arm.cross_weight is not None:
        other = jax.lax.stop_gradient(own[1 - student, rows:]).argmax(-1)
        total += arm.cross_weight * ramp * ss.masked_cross_entropy(logits, other).mean()
    if arm.all_labels:
        total += _segmentation(logits, seen.batch["hidden"])
    return total
