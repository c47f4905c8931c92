"""Merge models that were fine-tuned on one task each: one arm per way of finding the merging coefficients.

A net is pre-trained a little on all tasks and then fine-tuned on each alone; both happen once per seed, and every
arm gets the same pre-trained model and the same fine-tuned ones. An arm is a choice of vectors (plain task vectors,
those that TIES leaves per task, or TIES' single vector) and of coefficients: fixed, searched with labels, or learned
by the entropy of predictions on unlabelled inputs: others than the scored ones (`inputs = "disjoint"`) or the scored
ones themselves (`"transductive"`).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.merging._image_domains import (
    Domains,
    draw_views,
    evaluate_models,
    fine_tuning,
    make_domains,
    pretraining,
)
from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_counts, is_own
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from jaxlab import merging
from jaxlab.core import Computed, InputError, Learner, computed, cross_entropy, entropy, gradient_learner
from jaxlab.merging import adamerging
from jaxlab.training import Arm, Experiment

# What is merged, from the plain task vectors and the share of them that TIES keeps.
VECTORS: dict[str, Callable] = {
    "plain": lambda plain, keep: plain,
    "individual": lambda plain, keep: plain,
    "ties": lambda plain, keep: merging.ties_select(plain, keep=keep),
    "ties_sum": lambda plain, keep: _one(merging.ties_merge(plain, keep=keep, reduce="sum")),
    "ties_mean": lambda plain, keep: _one(merging.ties_merge(plain, keep=keep, reduce="mean")),
}
CHOICES = {"vectors": tuple(VECTORS), "per": ("all", "task", "layer"), "inputs": ("disjoint", "transductive")}
GRID = tuple(n / 20 for n in range(31))  # of a search: 0 to 1.5


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per set of tasks that are merged.

    Args:
      config: see configs/merging/adamerging.py for the keys.
      download: unused, nothing is fetched.
    """
    _check(config)
    return {name: _experiment(name, spec, config) for name, spec in config.tasks.items()}


def _experiment(name: str, spec: ConfigDict, config: ConfigDict) -> Experiment:
    domains = make_domains(spec, config)
    splits, names = domains.images.splits, ("val", "test") if config.test else ("val",)
    train = {
        "train": splits["train"],
        "disjoint": splits["adapt"],
        "transductive": splits[names[-1]],
    }
    methods = methods_of(METHODS, spec.arms, lambda m: functools.partial(m, domains, config.log_classes))
    steps_of = {"given": 0, "search": config.search_steps}
    return Experiment(
        data={name: splits[name] for name in names} | {"train": train},
        draw=draw_views(domains, config.batch_size),
        prepare={
            "pretraining": pretraining(domains, config.pretrain),
            "fine_tuning": fine_tuning(domains, config.finetune),
            "vectors": Arm(_vectors(spec.arms)),
        },
        arms=make_arms(spec.arms, methods, config.steps, steps_of=steps_of, static=("keep",)),
        claims=claims_of(config, name),
        summarise=late_change("val/accuracy"),
        resplit=(config.data.test, config.data.train),
    )


def _check(config: ConfigDict) -> None:
    check_counts(config, "steps", "search_steps", "batch_size")
    for spec in config.tasks.values():
        check_arms(spec.arms, CHOICES | {"method": METHODS})
        for name, arm in spec.arms.items():
            _check_method(name, arm)


def _check_method(name: str, arm: ConfigDict) -> None:
    if not is_own(arm.method) and (arm.per == "all") != (arm.method in ("given", "search")):
        raise InputError(
            f"arm {name}: per is {arm.per!r} and method is {arm.method!r}: one coefficient for all is given or "
            "searched, several are learned"
        )
    if arm.method == "search" and arm.inputs != "disjoint":
        raise InputError(f"arm {name}: a search reads labels, its inputs must be disjoint")


def _one(vector: Any) -> Any:
    return jax.tree.map(lambda x: x[None], vector)


def _kind(arm: Any) -> str:
    return f"{arm.vectors}_{arm.keep:g}"


def _vectors(arms: ConfigDict) -> Computed:
    """What the arms merge, computed once for each of their kinds."""

    def make(key: jax.Array, context: Any, train: Any) -> dict[str, Any]:
        plain = merging.task_vector(context["fine_tuning"], context["pretraining"])
        return {_kind(arm): VECTORS[arm.vectors](plain, arm.keep) for arm in arms.values()}

    return computed(make)


def _merged(settings: Any, context: Any, coefficients: Any) -> Any:
    return merging.merge(context["pretraining"], context["vectors"][_kind(settings)], coefficients)


def _given(domains: Domains, log_classes: bool, settings: Any) -> tuple[Computed, Callable, None]:
    """A coefficient that is given, or no merging at all."""
    learner = computed(lambda key, context, train: jnp.asarray(settings.coefficient, jnp.float32))
    if settings.vectors == "individual":
        apart = lambda state, context: jax.tree.map(
            jnp.add, context["pretraining"], context["vectors"][_kind(settings)]
        )
        return learner, evaluate_models(domains, apart, own=True), None
    return learner, evaluate_models(domains, lambda state, context: _merged(settings, context, state)), None


def _searched(domains: Domains, log_classes: bool, settings: Any) -> tuple[Learner, Callable, None]:
    """The one coefficient that is right most often on labelled inputs, counted batch by batch."""
    best = lambda counts: jnp.asarray(GRID)[counts.argmax()]

    def update(counts: jax.Array, batch: Any, key: jax.Array, context: Any) -> tuple[jax.Array, dict]:
        image, label = batch["disjoint"]["image"], batch["disjoint"]["label"]

        def right(coefficient: jax.Array) -> jax.Array:
            model = _merged(settings, context, coefficient)
            return (domains.logits(model, image).argmax(-1) == label).sum(dtype=jnp.float32)

        counts = counts + jax.lax.map(right, jnp.asarray(GRID))
        return counts, {"coefficient": best(counts)}

    learner = Learner(lambda key, context: jnp.zeros(len(GRID)), update)
    chosen = lambda counts, context: _merged(settings, context, best(counts))
    return learner, evaluate_models(domains, chosen), None


def _learned(
    judge: Callable, domains: Domains, log_classes: bool, settings: Any
) -> tuple[Learner, Callable, None]:
    """Coefficients that follow the gradient of `judge(logits, label)`."""
    count = 1 if settings.vectors in ("ties_sum", "ties_mean") else len(domains.names)
    model = lambda raw, context: _merged(settings, context, adamerging.clip_coefficients(raw))

    def init(key: jax.Array, context: Any) -> tuple[Any, None]:
        own = {"per": settings.per, "value": settings.coefficient}
        return adamerging.initial_coefficients(context["pretraining"], count, **own), None

    def loss(raw: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, label = batch[settings.inputs]["image"], batch[settings.inputs]["label"]
        logits = domains.logits(model(raw, context), image)
        value = judge(logits, label)
        metrics = {f"{settings.inputs}_entropy": entropy(logits).mean(), **_coefficient_metrics(raw)}
        return value, (memory, metrics | (_predicted(logits) if log_classes else {}))

    learner = gradient_learner(init, loss, optax.adam(settings.learning_rate))
    return learner, evaluate_models(domains, lambda state, context: model(state.params, context)), None


METHODS: dict[str, Callable] = {
    "given": _given,
    "search": _searched,
    "entropy": functools.partial(_learned, lambda logits, label: adamerging.adamerging_loss(logits)),
    "labels": functools.partial(_learned, lambda logits, label: cross_entropy(logits, label).mean(1).sum()),
}


def _coefficient_metrics(raw: Any) -> dict[str, jax.Array]:
    flat = jnp.concatenate(jax.tree.leaves(raw))
    clipped = flat.clip(0, 1)
    return {
        "coefficient": clipped.mean(),
        "coefficient_spread": clipped.std(),
        "stuck": ((flat < 0) | (flat > 1)).mean(),
    }


def _predicted(logits: jax.Array) -> dict[str, jax.Array]:
    """The share of the inputs of all tasks that each class is given: entropy falls when one takes them all."""
    share = (logits.argmax(-1)[..., None] == jnp.arange(logits.shape[-1])).mean((0, 1))
    return {f"predicted_{c}": share[c] for c in range(logits.shape[-1])}
