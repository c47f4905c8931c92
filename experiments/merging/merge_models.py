"""Merge models that were fine-tuned on one task each: one arm per way of finding the merging coefficients.

A net is pre-trained a little on all tasks and then fine-tuned on each alone; both happen once per seed, and every
arm gets the same pre-trained model and the same fine-tuned ones. An arm is a choice of vectors (plain task vectors,
those that TIES leaves per task, or TIES' single vector) and of coefficients: fixed, searched with labels, or learned
by the entropy of predictions on unlabelled inputs. Those inputs are either disjoint from the scored ones
(`inputs = "disjoint"`) or the scored ones themselves (`inputs = "transductive"`), and the entropy is logged under that
name.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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
from jaxlab import merging
from jaxlab.core import Learner, cross_entropy, entropy
from jaxlab.training import Arm, Claim, Experiment

CHOICES = {
    "vectors": ("plain", "ties", "ties_sum", "ties_mean", "individual"),
    "learn": ("nothing", "search", "entropy", "labels"),
    "per": ("all", "task", "layer"),
    "inputs": ("disjoint", "transductive"),
}
GRID = tuple(n / 20 for n in range(31))  # of a search: 0 to 1.5


class MergeState(NamedTuple):
    """The coefficients (of a search: how often each was right), and the models they merge."""

    coefficients: Any
    opt_state: Any
    pretrained: Any
    vectors: Any


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per set of tasks that are merged.

    Args:
      config: see configs/merging/adamerging.py for the keys.
      download: unused, nothing is fetched.
    """
    _check(config)
    return {name: _experiment(spec, config) for name, spec in config.tasks.items()}


def _experiment(spec: ConfigDict, config: ConfigDict) -> Experiment:
    domains = make_domains(spec, config)
    names = ("val", "test") if config.test else ("val",)
    train = {
        "train": domains.splits["train"],
        "disjoint": domains.splits["adapt"],
        "transductive": domains.splits[names[-1]],
    }
    return Experiment(
        data={name: domains.splits[name] for name in names} | {"train": train},
        draw=draw_views(domains, config.batch_size),
        prepare={
            "pretraining": pretraining(domains, config.pretrain),
            "fine_tuning": fine_tuning(domains, config.finetune),
        },
        arms={name: _arm(domains, config, arm) for name, arm in spec.arms.items()},
        evaluate=lambda state, split: {},
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


def _check(config: ConfigDict) -> None:
    for name in ("steps", "search_steps", "batch_size"):
        if config[name] < 1:
            raise ValueError(f"{name} is {config[name]}: it must be at least 1")
    every = [(name, arm) for spec in config.tasks.values() for name, arm in spec.arms.items()]
    for name, arm in every:
        for key, allowed in CHOICES.items():
            if arm[key] not in allowed:
                raise ValueError(f"arm {name}: {key} is {arm[key]!r}: it must be one of {', '.join(allowed)}")
        if (arm.per == "all") != (arm.learn in ("nothing", "search")):
            raise ValueError(
                f"arm {name}: per is {arm.per!r} and learn is {arm.learn!r}: one coefficient for all is given or "
                "searched, several are learned"
            )
        if arm.learn == "search" and arm.inputs != "disjoint":
            raise ValueError(f"arm {name}: a search reads labels, its inputs must be disjoint")


def _arm(domains: Domains, config: ConfigDict, arm: ConfigDict) -> Arm:
    evaluate = evaluate_models(domains, lambda state: _model(state, arm))
    if arm.learn == "nothing":
        return Arm(_fixed(arm), 1, evaluate)
    if arm.learn == "search":
        return Arm(_search(domains, arm), config.search_steps, evaluate)
    return Arm(_learned(domains, arm, config.log_classes), config.steps, evaluate)


def _model(state: MergeState, arm: ConfigDict) -> tuple[Any, bool]:
    """The parameters to predict with, and whether there is one model per task."""
    if arm.vectors == "individual":
        return jax.tree.map(jnp.add, state.pretrained, state.vectors), True
    coefficients = state.coefficients
    if arm.learn == "search":
        coefficients = jnp.asarray(GRID)[coefficients.argmax()]
    elif arm.learn != "nothing":
        coefficients = merging.clip_coefficients(coefficients)
    return merging.merge(state.pretrained, state.vectors, coefficients), False


def _vectors(context: Any, arm: ConfigDict) -> Any:
    plain = merging.task_vector(context["fine_tuning"], context["pretraining"])
    if arm.vectors == "ties":
        return merging.ties_select(plain, keep=arm.keep)
    if arm.vectors in ("ties_sum", "ties_mean"):
        merged = merging.ties_merge(plain, keep=arm.keep, reduce=arm.vectors.removeprefix("ties_"))
        return jax.tree.map(lambda x: x[None], merged)
    return plain


def _begin(arm: ConfigDict, coefficients: Callable[[Any], Any], optimizer: Any) -> Callable:
    def init(key: jax.Array, context: Any) -> MergeState:
        first = coefficients(context["pretraining"])
        return MergeState(first, optimizer.init(first), context["pretraining"], _vectors(context, arm))

    return init


def _fixed(arm: ConfigDict) -> Learner:
    """A coefficient that is given."""

    def update(state: MergeState, batch: Any, key: jax.Array) -> tuple[MergeState, dict]:
        return state, {"coefficient": state.coefficients}

    return Learner(_begin(arm, lambda _: jnp.float32(arm.coefficient), optax.identity()), update)


def _search(domains: Domains, arm: ConfigDict) -> Learner:
    """The one coefficient that is right most often on labelled inputs, counted batch by batch."""

    def update(state: MergeState, batch: Any, key: jax.Array) -> tuple[MergeState, dict]:
        image, label = batch["disjoint"]["image"], batch["disjoint"]["label"]

        def right(coefficient: jax.Array) -> jax.Array:
            model = merging.merge(state.pretrained, state.vectors, coefficient)
            return (domains.logits(model, image).argmax(-1) == label).sum(dtype=jnp.float32)

        counts = state.coefficients + jax.lax.map(right, jnp.asarray(GRID))
        return state._replace(coefficients=counts), {"coefficient": jnp.asarray(GRID)[counts.argmax()]}

    return Learner(_begin(arm, lambda _: jnp.zeros(len(GRID)), optax.identity()), update)


def _learned(domains: Domains, arm: ConfigDict, log_classes: bool) -> Learner:
    """Coefficients that follow a gradient: of entropy without labels, or of cross-entropy with them."""
    optimizer = optax.adam(arm.learning_rate)
    count = 1 if arm.vectors in ("ties_sum", "ties_mean") else len(domains.names)

    def loss(raw: Any, state: MergeState, batch: Any) -> tuple[jax.Array, jax.Array]:
        model = merging.merge(state.pretrained, state.vectors, merging.clip_coefficients(raw))
        logits = domains.logits(model, batch["image"])
        if arm.learn == "labels":
            return cross_entropy(logits, batch["label"]).mean(1).sum(), logits
        return merging.adamerging_loss(logits), logits

    def update(state: MergeState, batch: Any, key: jax.Array) -> tuple[MergeState, dict]:
        (value, logits), grads = jax.value_and_grad(loss, has_aux=True)(
            state.coefficients, state, batch[arm.inputs]
        )
        updates, opt_state = optimizer.update(grads, state.opt_state)
        raw = optax.apply_updates(state.coefficients, updates)
        metrics = {"loss": value, f"{arm.inputs}_entropy": entropy(logits).mean()}
        state = state._replace(coefficients=raw, opt_state=opt_state)
        metrics |= _coefficient_metrics(raw)
        return state, metrics | (_predicted(logits) if log_classes else {})

    first = lambda model: merging.initial_coefficients(model, count, per=arm.per, value=arm.coefficient)
    return Learner(_begin(arm, first, optimizer), update)


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
