"""Methods in which one branch predicts the other: BYOL and DINO, whose teacher is an average, and SimSiam without one.

Outputs of BYOL and SimSiam are standardised over the batch, in the place of the papers' batch normalisation, without
which SimSiam's collapse.
"""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.self_supervised._probes import evaluation
from experiments.self_supervised._task import Method, Task, learned
from jaxlab import nets
from jaxlab.core import ema_init, ema_update, ema_value, normalize, standardize_batch
from jaxlab.self_supervised import byol_loss, dino_center_update, dino_loss, simsiam_loss

AVERAGED = ("encoder", "projector")


def byol(task: Task, settings: Any) -> Method:
    """A predictor's guess of what the moving average says of the other view."""

    def loss(params: Any, teacher: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        target = _standard(task.outputs(ema_value(teacher), batch["views"], settings))
        guess = _predict(task, settings, params, _standard(task.outputs(params, batch["views"], settings)))
        return byol_loss(*guess, *target).mean(), (teacher, {})

    return _with_predictor(task, settings, loss, averaged=True)


def simsiam(task: Task, settings: Any) -> Method:
    """A predictor's guess of what the net itself says of the other view."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        outputs = _standard(task.outputs(params, batch["views"], settings))
        return simsiam_loss(*_predict(task, settings, params, outputs), *outputs).mean(), (memory, {})

    return _with_predictor(task, settings, loss, averaged=False)


def dino(task: Task, settings: Any) -> Method:
    """The moving average's centred, sharpened distribution over prototypes, for the other view."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        target = cosines(ema_value(memory["teacher"]), batch["views"])
        value = dino_loss(
            cosines(params, batch["views"]), target, memory["center"],
            student_temperature=settings.temperature, teacher_temperature=settings.teacher_temperature,
        ).mean()  # fmt: skip
        center = dino_center_update(memory["center"], target)
        return value, (memory | {"center": center}, {})

    def cosines(params: Any, views: jax.Array) -> jax.Array:
        return normalize(task.outputs(params, views, settings)) @ normalize(params["prototypes"]).T

    def prototypes(key: jax.Array, outputs: jax.Array) -> dict[str, Any]:
        return {"prototypes": jax.random.normal(key, (settings.prototypes, settings.width))}

    def follow(params: Any, memory: Any, step: Any) -> dict[str, Any]:
        return memory | {"teacher": ema_update(memory["teacher"], params, settings.decay)}

    remember = lambda params: {"teacher": ema_init(params), "center": jnp.zeros(settings.prototypes)}
    learner = learned(task, settings, loss, more=prototypes, remember=remember, after=follow)
    return learner, evaluation(task, settings), None


def _with_predictor(task: Task, settings: Any, loss: Any, *, averaged: bool) -> Method:
    def predictor(key: jax.Array, outputs: jax.Array) -> dict[str, Any]:
        return {"predictor": _predictor(task, settings).init(key, outputs)}

    average = {
        "remember": lambda params: ema_init(_averaged(params)),
        "after": lambda params, teacher, step: ema_update(teacher, _averaged(params), settings.decay),
    }
    learner = learned(task, settings, loss, more=predictor, **(average if averaged else {}))
    return learner, evaluation(task, settings), None


def _averaged(params: Any) -> dict[str, Any]:
    return {name: params[name] for name in AVERAGED}


def _standard(outputs: jax.Array) -> jax.Array:
    """Every view by itself."""
    return jax.vmap(standardize_batch)(outputs)


def _predictor(task: Task, settings: Any) -> Any:
    return nets.Mlp(features=task.hidden, num_classes=settings.width)


def _predict(task: Task, settings: Any, params: Any, outputs: jax.Array) -> jax.Array:
    return (
        _predictor(task, settings)
        .apply(params["predictor"], outputs.reshape(-1, settings.width))
        .reshape(outputs.shape)
    )


METHODS = {"byol": byol, "simsiam": simsiam, "dino": dino}
