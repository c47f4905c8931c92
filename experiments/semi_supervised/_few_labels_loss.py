"""The loss of an arm: cross-entropy of the few labels, and what the arm makes of the unlabelled batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.semi_supervised._classification_tasks import Task
from jaxlab import data
from jaxlab import semi_supervised as semi
from jaxlab.core import cross_entropy, linear_ramp_up, sigmoid_ramp_up
from jaxlab.metrics import accuracy


def few_labels_loss(task: Task, config: ConfigDict, arm: Any, warm_up: int) -> Callable:
    """Labels, and what the arm makes of the unlabelled batch; the student sees all its views in one pass."""
    ramp = _ramp(arm, config.steps, warm_up)

    def loss(params, teacher, memory, batch, step, key, context):
        rows_key, view_key, drop_key, rest_key = jax.random.split(key, 4)
        if arm.labels == "all":
            labelled = jax.tree.map(lambda x: x[: config.labelled_batch], batch)
        else:
            labelled = data.draw(memory["labelled"], rows_key, batch_size=config.labelled_batch)
        views = [task.view(labelled["input"], view_key, arm.strong_labels, "none")]
        if arm.target != "none":
            source = teacher if arm.teacher == "ema" else jax.lax.stop_gradient(params)
            more, targets, thresholds = _targets(task, arm, source, memory["thresholds"], batch, rest_key)
            memory, views = memory | {"thresholds": thresholds}, views + more
        logits = task.apply(params, jax.tree.map(lambda *x: jnp.concatenate(x), *views), drop_key)
        few, rest = logits[: config.labelled_batch], logits[config.labelled_batch :]
        supervised = cross_entropy(few, labelled["label"]).mean()
        metrics = {"supervised": supervised, "labelled_accuracy": accuracy(few, labelled["label"])}
        if arm.target == "none":
            return supervised, (memory, metrics)
        unlabelled, terms = _unlabelled(arm, rest, targets, batch["label"])
        return supervised + ramp(step) * unlabelled, (memory, metrics | terms | {"ramp": ramp(step)})

    return loss


def _ramp(arm: Any, steps: int, warm_up: int) -> Callable[[jax.Array], jax.Array]:
    length = arm.ramp_length * steps
    return {
        "none": lambda step: jnp.where(step < warm_up, 0.0, 1.0),
        "sigmoid": lambda step: jnp.where(
            step < warm_up, 0.0, sigmoid_ramp_up(step - warm_up, length=length)
        ),
        "linear": lambda step: linear_ramp_up(step - warm_up, length=length),
        "sine": lambda step: semi.sine_ramp_up(step, warm_up=warm_up, total=steps),
    }[arm.ramp]


class Targets(NamedTuple):
    """What the teacher says of an unlabelled batch, how far it is trusted, and how the batch was mixed."""

    logits: jax.Array
    stats: semi.TeacherStats
    weight: jax.Array
    partner: jax.Array
    ratio: jax.Array


def _targets(task, arm, source, thresholds, batch, key):
    """The views that the student gets, what it should say of them, and the thresholds after this batch."""
    weak_key, pass_key, strong_key, partner_key, ratio_key, tube_key = jax.random.split(key, 6)
    weak = task.view(batch["input"], weak_key, False, "none")
    logits = task.passes(source, weak, pass_key, arm.passes)
    stats = semi.teacher_stats(logits)
    weight, thresholds = _trust(arm, stats, thresholds, batch["index"])
    views = [task.view(batch["input"], strong_key, arm.student_view == "strong", arm.perturb)]
    partner = jnp.arange(len(weight))
    # The tenth of nineteen uniform numbers has the distribution Beta(10, 10), and compiles in no time.
    ratio = jnp.sort(jax.random.uniform(ratio_key, (19,)))[9]
    if arm.mix_weight is not None:
        partner = jax.random.permutation(partner_key, partner)
        views.append(task.mix(views[0], partner, tube_key, ratio))
    return views, Targets(logits, stats, weight, partner, ratio), thresholds


def _unlabelled(arm, logits, targets, truth):
    """The weighted loss on a batch without labels, and what is worth logging."""
    stats, weight = targets.stats, targets.weight
    strong, mixed = logits[: len(weight)], logits[len(weight) :]
    if arm.target == "mse":
        value = arm.weight * semi.consistency_mse(strong, targets.logits[0]).mean()
    else:
        value = arm.weight * (weight * cross_entropy(strong, stats.label)).mean()
    right = stats.label == truth
    terms = {
        "unlabelled": value,
        "pseudo_accuracy": jnp.sum(weight * right) / jnp.maximum(jnp.sum(weight), 1e-6),
        "pseudo_coverage": weight.mean(),
        "teacher_accuracy": right.mean(),
    }
    if arm.mix_weight is None:
        return value, terms
    matched = semi.mixed_target_loss(
        mixed, stats.probs, weight, targets.partner, targets.ratio, mix_on=arm.mix_on
    ).mean()
    return value + arm.mix_weight * matched, terms | {"mixed": matched}


def _trust(arm, stats, thresholds, index):
    """The weight of every pseudo-label: 0 or 1 by a threshold, or something between."""
    if arm.target == "regulated":
        return semi.adaptive_weight(stats.confidence, stats.spread), thresholds
    threshold = arm.threshold
    if arm.target == "curriculum":
        thresholds = semi.curriculum_update(thresholds, stats.probs, index, threshold=arm.threshold)
        threshold = semi.curriculum_thresholds(
            thresholds, num_classes=stats.probs.shape[-1], threshold=arm.threshold
        )
    if arm.target == "adaptive":
        thresholds = semi.adaptive_update(thresholds, stats.probs, decay=arm.threshold_decay)
        threshold = semi.adaptive_thresholds(thresholds)
    accepted = semi.pseudo_label(stats.probs, threshold=threshold).accepted
    return accepted.astype(jnp.float32), thresholds
