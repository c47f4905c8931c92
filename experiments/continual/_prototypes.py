"""PRD: a contrastive encoder, a prototype for every class, and old prototypes that keep their relations."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.continual._exemplars import features
from experiments.continual._learning import Method, Rows, Task, as_rows, evaluation, learned
from jaxlab import data, nets
from jaxlab.continual.prototype_relation import prototype_pull_loss, relation_distillation_loss
from jaxlab.core import class_means, cosine_similarity, masked_mean, prototype_logits, supcon_loss


def prototype_relation(task: Task, settings: Any) -> Method:
    """The relation term's `axis` is "class", as in the code, or "sample", as in the paper; None leaves it out."""
    projector = nets.Mlp(features=(task.net.features[-1],), num_classes=settings.projection)

    def init(key: jax.Array, context: Any) -> tuple:
        keys = jax.random.split(key, 3)
        width = task.net.features[-1]
        params = {
            "net": task.init(key),
            "projector": projector.init(keys[1], jnp.zeros((1, width))),
            "prototypes": jax.random.normal(keys[2], (task.outputs, width)) / width**0.5,
        }
        return params, {"old": params, "learned": jnp.zeros(task.tasks, bool)}

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        rows, where = task.seen(batch, batch["where"], key)
        labels, read = jnp.where(where, rows["label"], -1), features(task, params["net"], rows["image"])
        contrast = supcon_loss(
            projector.apply(params["projector"], read), labels, temperature=0.1, base_temperature=0.07
        )
        pull = prototype_pull_loss(read, params["prototypes"], labels, where=where)
        value = masked_mean(contrast, where=where) + settings.pull_weight * masked_mean(pull, where=where)
        if settings.axis is None:
            return value, (memory, {})
        old = memory["old"]
        by_task = lambda prototypes: jnp.broadcast_to(prototypes, (task.tasks, *prototypes.shape))
        kept = relation_distillation_loss(
            read,
            by_task(params["prototypes"]),
            features(task, old["net"], rows["image"]),
            by_task(old["prototypes"]),
            axis=settings.axis,
            normalize_features=settings.axis == "sample",
            classes=batch["own"][: task.tasks] & memory["learned"][:, None],
            where=where,
        )
        return value + settings.strength * kept, (memory, {"relation": kept})

    return learned(task, settings, init, loss), _evaluation(task), None


def _evaluation(task: Task) -> Callable:
    """Accuracies by the nearest prototype, and how near those of old tasks are to the means of their classes."""

    def predict(state: Any, rows: Rows) -> jax.Array:
        read = features(task, state.params["net"], rows["image"])
        return prototype_logits(read, state.params["prototypes"], temperature=1.0)

    accuracies = evaluation(task, predict)

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        def near(number: jax.Array) -> jax.Array:
            rows = as_rows(data.task_examples(split["stream"], number, size=len(split["slots"])))
            read, labels = features(task, state.params["net"], rows["image"]), rows["label"]
            means, mass = class_means(read, labels, num_classes=task.outputs, where=rows["where"])
            return masked_mean(cosine_similarity(means, state.params["prototypes"]), where=mass > 0)

        old = jnp.mean(jax.lax.map(near, jnp.arange(max(task.tasks - 1, 1))))
        return accuracies(state, split, context) | {f"{task.scenario}/prototype_cosine": old}

    return evaluate
