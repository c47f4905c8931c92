"""Methods that know labels or a number of each image: contrast of classes, by gates, of targets, and plain training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.parts.checks import choose
from experiments.self_supervised._probes import evaluation
from experiments.self_supervised._task import Method, Task, factor, learned
from jaxlab.core import cross_entropy, supcon_loss
from jaxlab.metrics import accuracy
from jaxlab.self_supervised.hydra import gated_positive_loss, pair_gate, pair_gate_init
from jaxlab.self_supervised.supremix import hard_mixture_loss


def labels(task: Task, settings: Any) -> Method:
    """The ceiling: the same encoder and views, and every label."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        logits, _ = task.features(params, batch["views"][0])
        metrics = {"accuracy": accuracy(logits, batch["label"])}
        return cross_entropy(logits, batch["label"]).mean(), (memory, metrics)

    return learned(task, settings, loss), evaluation(task, settings), None


def untrained(task: Task, settings: Any) -> Method:
    """The floor: an encoder as it was drawn, or with `probe_on = "pixels"` none at all. Takes no step."""
    return labels(task, settings)


def absolute_error(task: Task, settings: Any) -> Method:
    """The encoder's first logit is trained to be the target."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        logits, _ = task.features(params, batch["views"].reshape(-1, *batch["views"].shape[2:]))
        goal = jnp.tile(factor(batch, settings.target)[:, 0], len(batch["views"]))
        return jnp.mean(jnp.abs(logits[:, 0] - goal)), (memory, {})

    return learned(task, settings, loss), evaluation(task, settings), None


def supcon(task: Task, settings: Any) -> Method:
    """Rows of one class attract each other."""

    def loss(rows: jax.Array, params: Any, memory: Any, batch: Any, key: jax.Array) -> jax.Array:
        return supcon_loss(rows, _tiled(batch["label"], batch), temperature=settings.temperature).mean()

    return _on_rows(task, settings, loss)


def gated(task: Task, settings: Any) -> Method:
    """Rows of any two classes attract each other, in the dimensions that a gate chooses for the two."""
    partner_of = choose("partner", settings.partner, PARTNERS)
    gate_of = choose("gate", settings.gate, GATES)

    def loss(rows: jax.Array, params: Any, first: Any, batch: Any, key: jax.Array) -> jax.Array:
        partner_key, gate_key = jax.random.split(key)
        own = _tiled(batch["label"], batch)
        partner = partner_of(own, partner_key)
        gate = gate_of(params["gate"], first, own, partner, gate_key)
        return gated_positive_loss(rows, gate, own, partner, temperature=settings.temperature)

    def gates(key: jax.Array, outputs: jax.Array) -> dict[str, Any]:
        sizes = {"dim": settings.width, "embedding": 32, "hidden": 64}
        return {"gate": pair_gate_init(key, num_classes=task.num_classes, **sizes)}

    first = lambda params: jax.tree.map(lambda x: jnp.array(x, copy=True), params["gate"])
    return _on_rows(task, settings, loss, more=gates, remember=first)


PARTNERS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "any": lambda own, key: jax.random.permutation(key, own),
    "own": lambda own, key: own,
}
# From the parameters, the first ones, both labels and a key.
GATES: dict[str, Callable[[Any, Any, jax.Array, jax.Array, jax.Array], jax.Array]] = {
    "learned": lambda params, first, own, partner, key: pair_gate(params, own, partner),
    "fixed": lambda params, first, own, partner, key: pair_gate(first, own, partner),
    "of_others": lambda params, first, own, partner, key: jax.random.permutation(
        key, pair_gate(params, own, partner)
    ),
}


def hard_mixtures(task: Task, settings: Any) -> Method:
    """Rows of one target attract each other, and mixtures make it harder; targets are in whole bins."""

    def loss(rows: jax.Array, params: Any, memory: Any, batch: Any, key: jax.Array) -> jax.Array:
        bins = jnp.round(factor(batch, settings.target)[:, 0] / settings.bin)
        return hard_mixture_loss(
            rows, _tiled(bins, batch), jax.random.beta(key, 2.0, 8.0, (len(rows), len(rows))), window=settings.window,
            temperature=settings.temperature, distance=settings.distance,
            mix_negatives=settings.mix_negatives, mix_positives=settings.mix_positives,
        ).mean()  # fmt: skip

    return _on_rows(task, settings, loss)


def _on_rows(task: Task, settings: Any, loss: Callable, **options: Any) -> Method:
    """The method that minimises `(rows, params, memory, batch, key) -> scalar`; rows are the outputs of all views."""

    def total(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        rows = task.outputs(params, batch["views"], settings).reshape(-1, settings.width)
        return loss(rows, params, memory, batch, key), (memory, {})

    return learned(task, settings, total, **options), evaluation(task, settings), None


def _tiled(values: jax.Array, batch: Any) -> jax.Array:
    """Of every row, from those of every image."""
    return jnp.tile(values, len(batch["views"]))


METHODS = {
    "labels": labels,
    "untrained": untrained,
    "absolute_error": absolute_error,
    "supcon": supcon,
    "gated": gated,
    "hard_mixtures": hard_mixtures,
}
