"""Replay with a head of class proxies: PCR, HPCR and its parts, and plain replay with the same head."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.continual._learning import Method, Rows, Task, evaluation, joined, kept, learned
from experiments.parts.checks import choose
from jaxlab.continual import reservoir_draw, reservoir_init, reservoir_insert
from jaxlab.continual.proxy_contrast import (
    gradient_temperature,
    proxy_contrastive_loss,
    proxy_distillation_loss,
    sample_relation_loss,
)
from jaxlab.core import cross_entropy, masked_mean, prototype_logits

TEMPERATURE = 0.09  # the authors'


def proxy_replay(task: Task, settings: Any) -> Method:
    """Stream and memory in one loss against proxies, `contrast`; what HPCR adds is there unless it is None."""
    contrast = choose("contrast", settings.contrast, CONTRASTS)
    copies = 1 if task.look is None else 2

    def init(key: jax.Array, context: Any) -> tuple:
        params = task.init(key)
        row = task.row() | {"logits": jnp.zeros(task.outputs), "features": jnp.zeros(task.net.features[-1])}
        return params, reservoir_init(settings.buffer, row)

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        draw_key, insert_key, look_key = jax.random.split(key, 3)
        drawn, valid = reservoir_draw(memory, draw_key, batch_size=settings.replay_batch)
        rows, where = task.seen(*joined(batch, drawn, valid), look_key)
        features, proxies = read(task, params, rows)
        logits = prototype_logits(features, proxies, temperature=TEMPERATURE)
        value = masked_mean(contrast(features, proxies, logits, rows, where), where=where)
        if settings.period is not None:
            period = settings.period * task.steps_per_task
            value *= gradient_temperature(step % task.steps_per_task, period=period)

        # Those from the memory stand behind the stream's, once in the rows and once in their views.
        new = len(batch["label"])
        stored = lambda x: x.reshape(copies, -1, *x.shape[1:])[:, new:].reshape(-1, *x.shape[1:])
        counts = stored(where) & (step >= task.steps_per_task)
        before = lambda name: jnp.concatenate([drawn[name]] * copies)
        if settings.proxy_weight is not None:
            told = {"where": counts, "labels_where": where}
            moved = proxy_distillation_loss(stored(logits), before("logits"), rows["label"], **told)
            value += settings.proxy_weight * masked_mean(moved, where=counts)
        if settings.relation_weight is not None:
            own, then = stored(features), before("features")
            moved = sample_relation_loss(own, then, temperature=TEMPERATURE, where=counts)
            value += settings.relation_weight * masked_mean(moved, where=counts)

        items = kept(batch) | {"logits": logits[:new], "features": features[:new]}
        return value, (reservoir_insert(memory, items, insert_key, where=batch["where"]), {})

    def predict(state: Any, rows: Rows) -> jax.Array:
        return prototype_logits(*read(task, state.params, rows), temperature=TEMPERATURE)

    return learned(task, settings, init, loss), evaluation(task, predict), None


def read(task: Task, params: Any, rows: Rows) -> tuple[jax.Array, jax.Array]:
    """Features, and the classifier's weights as one proxy a class."""
    _, features = task.net.apply(params, rows["image"], return_features=True)
    return features[-1], params["params"]["classifier"]["kernel"].T


def _among_all(features: Any, proxies: Any, logits: jax.Array, rows: Rows, where: jax.Array) -> jax.Array:
    return cross_entropy(logits, rows["label"], classes=rows["classes"])


def _among_present(features: Any, proxies: Any, logits: Any, rows: Rows, where: jax.Array) -> jax.Array:
    labels = jnp.where(where, rows["label"], -1)
    return proxy_contrastive_loss(features, proxies, labels, temperature=TEMPERATURE, where=where)


# Which proxies compete: those of all classes, or those of the classes of the batch, as often as each occurs.
CONTRASTS: dict[str, Callable] = {"all": _among_all, "present": _among_present}
