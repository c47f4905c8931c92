"""One arm of the localisation driver: teachers' maps become pseudo-labels by a rule, students learn from them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.optimizers import clipped_adamw
from experiments.semi_supervised._localization_rules import Given, Rule
from experiments.semi_supervised._localizers import Localizer, strong_view
from jaxlab import semi_supervised as ss
from jaxlab.core import Learner, masked_mean
from jaxlab.metrics import consensus_iou
from jaxlab.semi_supervised import dual_mean_teacher, sounding_maps


def rows_of(config: ConfigDict, batch: Mapping[str, jax.Array]) -> tuple[list[dict], dict]:
    """The parts of a batch: labelled rows by net, and unlabelled rows."""
    size = config.labelled_batch
    part = lambda start, stop: {name: x[start:stop] for name, x in batch.items()}
    return [part(0, size), part(size, 2 * size)], part(2 * size, None)


def overlap_with(masks: jax.Array, truth: jax.Array) -> jax.Array:
    """IoU `[B]` of maps cut at one half with the true boxes."""
    return consensus_iou(masks, truth, threshold=0.5)


def quality(given: Given, truth: jax.Array) -> dict[str, jax.Array]:
    """How much is accepted, and how right and how large the accepted pseudo-labels are, on average over students."""
    of_each = [
        {
            "acceptance": own.accepted.mean(),
            "pseudo_iou": masked_mean(overlap_with(pseudo, truth), where=own.accepted),
            "pseudo_area": masked_mean(pseudo.mean((1, 2)) / truth.mean((1, 2)), where=own.accepted),
        }
        for own, pseudo in given
    ]
    return jax.tree.map(lambda *values: sum(values) / len(values), *of_each)


def localization_learner(rule: Rule, nets: Mapping[str, Localizer], config: ConfigDict, arm: Any) -> Learner:
    """One arm: its rule, its nets, its numbers; students begin at the warm-up, teachers follow them."""
    uses_unlabelled = rule.taught or arm.contrast is not None

    def loss(params, teacher, memory, batch, step, key, context):
        metrics, (_, unlabelled) = {}, rows_of(config, batch)
        nothing = jnp.zeros(config.unlabelled_batch, bool), jnp.zeros_like(unlabelled["truth"])
        given = [nothing] * len(arm.nets)
        if rule.taught:
            maps = [nets[n].apply(teacher[n], unlabelled["image"], unlabelled["audio"])[0] for n in arm.nets]
            judged = rule.judge(maps, unlabelled["truth"], arm)
            given = [(own.accepted, pseudo) for own, pseudo in judged]
            metrics = quality(judged, unlabelled["truth"])
        total, view = 0.0, strong_view(batch["image"], key, **config.strong)
        parts, others = rows_of(config, batch | {"image": view})
        for name, labelled, (accepted, pseudo) in zip(arm.nets, parts, given):
            seen = (labelled, others) if uses_unlabelled else (labelled,)
            image, audio = (jnp.concatenate([part[f] for part in seen]) for f in ("image", "audio"))
            student, features, sound = nets[name].apply(params[name], image, audio)
            split = config.labelled_batch
            rest = student[split:] if uses_unlabelled else nothing[1]
            total += dual_mean_teacher.dual_teacher_loss(
                student[:split], labelled["truth"], rest, pseudo, accepted, weight=arm.weight
            )
            if arm.contrast is not None:
                total += arm.contrast * sounding_maps.audio_visual_contrastive(
                    features, sound, temperature=config.contrast_temperature
                )
        return total / len(arm.nets), (memory, metrics)

    return ss.mean_teacher_learner(
        lambda key, context: ({name: context["warm_up"][name] for name in arm.nets}, None),
        loss,
        clipped_adamw(arm.learning_rate, config.steps, weight_decay=arm.weight_decay),
        decay=config.ema_decay,
    )
