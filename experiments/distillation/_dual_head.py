"""A student that keeps labels and teacher apart: two heads, or two gradients of one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from experiments.distillation._classifiers import Evaluate, Task, evaluate_answers, initial_params
from experiments.distillation._losses import LOSSES
from experiments.parts.checks import choose
from experiments.parts.optimizers import adamw
from jaxlab import core, distillation, nets
from jaxlab.core import InputError, Learner, TrainState, cosine_similarity, cross_entropy
from jaxlab.metrics import accuracy


def dual_head_student(task: Task, settings: Any) -> tuple[Learner, Evaluate, None]:
    """Cross-entropy on the main head; `loss` on an auxiliary head (`heads = 2`) or on the same (`heads = 1`).

    The two gradients are taken apart, to be measured and, with `align`, projected; `head_features` are the widths of
    the auxiliary head's hidden layers.
    """
    if settings.heads not in (1, 2):
        raise InputError(f"heads is {settings.heads}: it must be 1 or 2")
    hyper, distill = settings.get("options", {}), choose("loss", settings.loss, LOSSES)
    head = nets.Mlp(features=tuple(settings.head_features), num_classes=task.images.num_classes)
    apply = _two_heads(task.student, head) if settings.heads == 2 else _one_head(task.student)
    optimizer, image = adamw(settings, task.steps), task.images.example

    def init(key: jax.Array, context: Any) -> TrainState:
        params = {"net": initial_params(task.student, task.images)(key)}
        if settings.heads == 2:
            read = task.student.apply(params["net"], image, return_features=True)[1][-1]
            params["head"] = head.init(jax.random.fold_in(key, 1), read)
        return TrainState(params, optimizer.init(params), None, jnp.int32(0))

    def update(state: TrainState, batch: Any, key: jax.Array, context: Any) -> tuple[TrainState, dict]:
        soft = task.teacher.apply(context["teacher"], batch["image"])

        def losses(params: Any) -> tuple[tuple[jax.Array, jax.Array], dict]:
            logits, auxiliary = apply(params, batch["image"])
            supervised = settings.ce_weight * cross_entropy(logits, batch["label"]).mean()
            distilled = settings.weight * distill(auxiliary, soft, batch["label"], **hyper).mean()
            return (supervised, distilled), {"accuracy": accuracy(logits, batch["label"])}

        (supervised, distilled), pull, metrics = jax.vjp(losses, state.params, has_aux=True)
        (own,), (taught,) = pull((1.0, 0.0)), pull((0.0, 1.0))
        metrics |= {"loss": supervised + distilled, **_agreement(own["net"], taught["net"])}
        if settings.align:
            taught = core.align_gradients(own, taught)
        grads = jax.tree.map(jnp.add, own, taught)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, opt_state, None, state.step + 1), metrics

    evaluate = evaluate_answers(lambda params, images: (apply(params, images)[0], {}))
    return Learner(init, update), evaluate, None


def _two_heads(net: Any, head: Any) -> Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]:
    def trunk(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, features = net.apply(params, images, return_features=True)
        return logits, features[-1]

    return lambda params, images: distillation.dual_head_apply(params, images, net=trunk, head=head.apply)


def _one_head(net: Any) -> Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]:
    return lambda params, images: (net.apply(params["net"], images),) * 2


def _agreement(own: Any, taught: Any) -> dict[str, jax.Array]:
    """Cosine between the two gradients, in the main classifier and in the layers below it."""

    def parts(tree: Any) -> dict[str, jax.Array]:
        layers = dict(tree["params"])
        return {"classifier": layers.pop("classifier"), "body": layers}

    own, taught = parts(own), parts(taught)
    flat = lambda tree: ravel_pytree(tree)[0]
    return {f"{part}_agreement": cosine_similarity(flat(own[part]), flat(taught[part])) for part in own}
