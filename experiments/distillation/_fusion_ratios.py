"""Where the teacher's share of the loss comes from: a constant, one number for all, the geometry of each example."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.distillation import tgeo_kd


class Ratio(NamedTuple):
    """Where alpha comes from.

    Attributes:
      init: `(key, classes, config) -> controller`.
      alpha: `(controller, settings, student logits, teacher logits, labels, class means) -> [B]`.
      averaged: the student gets the mean over the batch, while the controller learns as one of each example.
    """

    init: Callable
    alpha: Callable
    averaged: bool = False


def _each(controller: Any, settings: Any, student: Any, teacher: Any, labels: Any, means: Any) -> jax.Array:
    state = tgeo_kd.trilateral_state(jax.nn.softmax(student), jax.nn.softmax(teacher), labels, means)
    return tgeo_kd.fusion_ratio(controller, state)


_controller = lambda key, classes, config: tgeo_kd.fusion_controller_init(
    key, classes, hidden=config.controller
)
METHODS: dict[str, Ratio] = {
    "fixed": Ratio(
        lambda key, classes, config: (),
        lambda controller, settings, student, *rest: jnp.full(student.shape[:-1], settings.alpha),
    ),
    "one": Ratio(
        lambda key, classes, config: jnp.zeros(()),
        lambda controller, settings, student, *rest: jnp.broadcast_to(
            jax.nn.sigmoid(controller), student.shape[:-1]
        ),
    ),
    "each": Ratio(_controller, _each),
    "mean_of_each": Ratio(_controller, _each, averaged=True),
}
