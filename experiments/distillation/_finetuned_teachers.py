"""Copies of a teacher that are fine-tuned side by side, each for its own mixture, and what they say of the images."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.distillation._classifiers import Evaluate, Task, answers, scores
from experiments.parts.optimizers import adamw
from jaxlab import data
from jaxlab.core import Learner, entropy, gradient_learner
from jaxlab.distillation import mcmi


def lessons(net: Any) -> Callable[[jax.Array, Any, Any], dict[str, jax.Array]]:
    """What the teacher says of all training images, `[N, C]`, and the centroids of that, `[C, C]`."""

    def of_train(key: jax.Array, context: Any, train: Any) -> dict[str, jax.Array]:
        logits = answers(net, context["teacher"], train["images"].image)
        centroids = mcmi.class_centroids(jax.nn.softmax(logits), train["images"].label)
        return {"logits": logits, "centroids": centroids}

    return of_train


def finetuned_lessons(net: Any) -> Callable[[jax.Array, Any, Any], jax.Array]:
    """What every copy says of all training images, `[copies, N, C]`."""
    return lambda key, context, train: jax.lax.map(
        lambda params: answers(net, params, train["images"].image), context["finetuned"]
    )


def finetune(task: Task, spec: ConfigDict) -> Learner:
    """All copies at once, each with its own weights and, in the memory, its own centroids."""
    net, column = task.teacher, lambda key: jnp.array([copy[key] for copy in spec.teachers.values()])
    weights, bonuses, decays = column("mcmi"), column("entropy"), column("decay")

    def init(key: jax.Array, context: Any) -> tuple[Any, jax.Array]:
        one = context["teacher"], context["lessons"]["centroids"]
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (len(spec.teachers), *jnp.shape(x))), one)

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, label = batch["image"], batch["label"]

        def one(own: Any, centroids: jax.Array, weight: Any, bonus: Any, decay: Any) -> tuple[Any, Any]:
            logits = net.apply(own, image)
            value = mcmi.mcmi_loss(logits, label, centroids, weight=weight) - bonus * entropy(logits)
            probs = jax.nn.softmax(logits)
            moved = mcmi.ema_centroids(centroids, probs, label, decay=decay, min_count=1)
            return value.mean(), moved

        values, centroids = jax.vmap(one)(params, memory, weights, bonuses, decays)
        return values.sum(), (centroids, {"loss": values.mean()})

    return gradient_learner(init, loss, adamw(spec.finetune, spec.finetune.steps))


def evaluate_teachers(net: Any, names: tuple[str, ...]) -> Evaluate:
    """Of every copy: accuracy, likelihood, mean entropy, and conditional information about these very images."""

    def one(params: Any, split: data.Images) -> dict[str, jax.Array]:
        logits = answers(net, params, split.image)
        centroids = mcmi.class_centroids(jax.nn.softmax(logits), split.label)
        cmi = mcmi.cmi_terms(logits, split.label, centroids).mean()
        return scores(logits, split.label) | {"entropy": entropy(logits).mean(), "cmi": cmi}

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        found = jax.lax.map(lambda params: one(params, split), state.params)
        return {f"{name}_{key}": value[n] for key, value in found.items() for n, name in enumerate(names)}

    return evaluate
