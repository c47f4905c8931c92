"""The loss of an arm: cross-entropy of the few labels, and what its method makes of the unlabelled batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.semi_supervised._classification_tasks import Task
from jaxlab import semi_supervised as semi
from jaxlab.core import InputError, cross_entropy, linear_ramp_up, sigmoid_ramp_up
from jaxlab.metrics import accuracy
from jaxlab.semi_supervised import sefar


class Targets(NamedTuple):
    """What the teacher says of an unlabelled batch, how far it is trusted, and how the batch was mixed.

    Attributes:
      logits: `[passes, B, K]`.
      stats: their mean and spread.
      weight: `[B]`; None where the loss itself has it from the stats.
      partner, ratio: of the mixtures.
      truth: `[B]`, for what is logged.
    """

    logits: jax.Array
    stats: sefar.TeacherStats
    weight: jax.Array | None
    partner: jax.Array
    ratio: jax.Array
    truth: jax.Array


class Method(NamedTuple):
    """What an arm does with examples that have no label.

    Attributes:
      loss: `(arm, labelled logits, labels, other logits, targets, ramp) -> (scalar, metrics)`.
      trust: `(arm, stats, thresholds, index) -> (weight [B], thresholds)`; None: no such examples are looked at.
      thresholds: `(number of training examples, K) -> ` what `trust` remembers.
    """

    loss: Callable[..., tuple[jax.Array, dict]]
    trust: Callable[..., tuple[jax.Array | None, Any]] | None = None
    thresholds: Callable[[int, int], Any] = lambda rows, classes: {}


def few_labels_loss(method: Method, task: Task, config: ConfigDict, arm: Any, warm_up: int) -> Callable:
    """Labels, and what the method makes of the unlabelled batch; the student sees all its views in one pass."""
    ramp = RAMPS[arm.ramp](arm.ramp_length * config.steps, warm_up, config.steps)

    def loss(params, teacher, memory, batch, step, key, context):
        view_key, drop_key, rest_key = jax.random.split(key, 3)
        labelled, others = batch["labelled"], batch["unlabelled"]
        if arm.labels == "all":
            labelled = jax.tree.map(lambda x: x[: config.labelled_batch], others)
        views, targets = [task.view(labelled["input"], view_key, arm.strong_labels, "none")], None
        if method.trust:
            source = teacher if arm.teacher == "ema" else jax.lax.stop_gradient(params)
            more, targets, memory = _targets(method, task, arm, source, memory, others, rest_key)
            views += more
        logits = task.apply(params, jax.tree.map(lambda *x: jnp.concatenate(x), *views), drop_key)
        few, rest = logits[: config.labelled_batch], logits[config.labelled_batch :]
        value, metrics = method.loss(arm, few, labelled["label"], rest, targets, ramp(step))
        seen = {"labelled_accuracy": accuracy(few, labelled["label"])}
        return value, (memory, seen | ({"ramp": ramp(step)} if method.trust else {}) | metrics)

    return loss


# `(length, warm_up, steps) -> step -> weight` of what is not labelled.
RAMPS: dict[str, Callable[..., Callable[[jax.Array], jax.Array]]] = {
    "none": lambda length, warm_up, steps: lambda step: jnp.where(step < warm_up, 0.0, 1.0),
    "sigmoid": lambda length, warm_up, steps: (
        lambda step: jnp.where(step < warm_up, 0.0, sigmoid_ramp_up(step - warm_up, length=length))
    ),
    "linear": lambda length, warm_up, steps: lambda step: linear_ramp_up(step - warm_up, length=length),
    "sine": lambda length, warm_up, steps: (
        lambda step: sefar.sine_ramp_up(step, warm_up=warm_up, total=steps)
    ),
}


def _targets(method, task, arm, source, thresholds, batch, key):
    """The views that the student gets, what it should say of them, and the thresholds after this batch."""
    weak_key, pass_key, strong_key, partner_key, ratio_key, tube_key = jax.random.split(key, 6)
    weak = task.view(batch["input"], weak_key, False, "none")
    logits = task.passes(source, weak, pass_key, arm.passes)
    stats = sefar.teacher_stats(logits)
    weight, thresholds = method.trust(arm, stats, thresholds, batch["index"])
    views = [task.view(batch["input"], strong_key, arm.student_view == "strong", arm.perturb)]
    partner = jnp.arange(len(stats.label))
    # The tenth of nineteen uniform numbers has the distribution Beta(10, 10), and compiles in no time.
    ratio = jnp.sort(jax.random.uniform(ratio_key, (19,)))[9]
    if arm.mix_weight is not None:
        partner = jax.random.permutation(partner_key, partner)
        views.append(task.mix(views[0], partner, tube_key, ratio))
    return views, Targets(logits, stats, weight, partner, ratio, batch["label"]), thresholds


def _supervised(arm, few, label, rest, targets, ramp):
    """The labels alone."""
    value = cross_entropy(few, label).mean()
    return value, {"supervised": value}


def _consistent(arm, few, label, rest, targets, ramp):
    """The squared distance of student and teacher."""
    strong = rest[: len(targets.truth)]
    value = arm.weight * semi.consistency_mse(strong, targets.logits[0]).mean()
    return _added(arm, few, label, rest, targets, ramp, value)


def _accepted(arm, few, label, rest, targets, ramp):
    """Cross-entropy of the pseudo-labels that a threshold accepts."""
    strong = rest[: len(targets.truth)]
    value = arm.weight * (targets.weight * cross_entropy(strong, targets.stats.label)).mean()
    return _added(arm, few, label, rest, targets, ramp, value)


def _added(arm, few, label, rest, targets, ramp, value):
    """The labels, a loss on strong views, and where clips are mixed one on the mixtures."""
    supervised, metrics = _supervised(arm, few, label, rest, targets, ramp)
    metrics |= {"unlabelled": value} | _pseudo_quality(targets, targets.weight)
    if arm.mix_weight is not None:
        stats, mixed = targets.stats, rest[len(targets.truth) :]
        matched = sefar.mixed_target_loss(
            mixed, stats.probs, targets.weight, targets.partner, targets.ratio, mix_on=arm.mix_on
        ).mean()
        value, metrics = value + arm.mix_weight * matched, metrics | {"mixed": matched}
    return supervised + ramp * value, metrics


def _regulated(arm, few, label, rest, targets, ramp):
    """All terms as SeFAR has them, pseudo-labels weighted by the mean and the spread of the teacher's passes."""
    if arm.mix_weight is None:
        raise InputError("mix_weight is None: the method 'regulated' mixes, it must be a number")
    strong, mixed = jnp.split(rest, [len(targets.truth)])
    value, parts = sefar.sefar_loss(
        few, label, strong, mixed, targets.logits, targets.partner, targets.ratio, ramp,
        unlabelled_weight=arm.weight, mixed_weight=arm.mix_weight, mix_on=arm.mix_on,
    )  # fmt: skip
    terms = {
        "supervised": parts.supervised,
        "unlabelled": arm.weight * parts.unlabelled,
        "mixed": parts.mixed,
    }
    return value, terms | _pseudo_quality(targets, parts.weight)


def _pseudo_quality(targets: Targets, weight: jax.Array) -> dict[str, jax.Array]:
    right = targets.stats.label == targets.truth
    return {
        "pseudo_accuracy": jnp.sum(weight * right) / jnp.maximum(jnp.sum(weight), 1e-6),
        "pseudo_coverage": weight.mean(),
        "teacher_accuracy": right.mean(),
    }


def _above(stats: sefar.TeacherStats, threshold: Any) -> jax.Array:
    return semi.pseudo_label(stats.probs, threshold=threshold).accepted.astype(jnp.float32)


def _curriculum(arm, stats, thresholds, index):
    """A threshold for each class, lower where few of its pseudo-labels were accepted."""
    thresholds = semi.curriculum_update(thresholds, stats.probs, index, threshold=arm.threshold)
    own = semi.curriculum_thresholds(thresholds, num_classes=stats.probs.shape[-1], threshold=arm.threshold)
    return _above(stats, own), thresholds


def _adaptive(arm, stats, thresholds, index):
    """Thresholds that follow the teacher's confidence."""
    thresholds = semi.adaptive_update(thresholds, stats.probs, decay=arm.threshold_decay)
    return _above(stats, semi.adaptive_thresholds(thresholds)), thresholds


_fixed = lambda arm, stats, thresholds, index: (_above(stats, arm.threshold), thresholds)

METHODS: dict[str, Method] = {
    "none": Method(_supervised),
    "mse": Method(_consistent, _fixed),
    "fixed": Method(_accepted, _fixed),
    "curriculum": Method(_accepted, _curriculum, lambda rows, classes: semi.curriculum_init(rows)),
    "adaptive": Method(_accepted, _adaptive, lambda rows, classes: semi.adaptive_init(classes)),
    "regulated": Method(_regulated, lambda arm, stats, thresholds, index: (None, thresholds)),
}
