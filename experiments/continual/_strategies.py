"""What a learner of one order does against forgetting: one strategy per method, found by name in `STRATEGIES`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.continual import (
    anchor_init,
    diag_fisher,
    ewc_anchor,
    quadratic_penalty,
    reservoir_draw,
    reservoir_init,
    reservoir_insert,
)
from jaxlab.core import TrainState, cross_entropy, masked_mean

Apply = Callable[[Any, jax.Array], jax.Array]


class Strategy(NamedTuple):
    """A loss, and what it remembers.

    Attributes:
      begin: `(params, image, settings) -> memory`.
      loss: `(apply, params, memory, batch, key, settings) -> (loss, memory)`.
      end: `(apply, state, batch) -> state`, when a task has ended, with examples of it.
    """

    begin: Callable[..., Any]
    loss: Callable[..., tuple[jax.Array, Any]]
    end: Callable[..., TrainState] = lambda apply, state, batch: state


def _mean_loss(apply: Apply, params: Any, batch: Any) -> jax.Array:
    return masked_mean(cross_entropy(apply(params, batch["image"]), batch["label"]), where=batch["where"])


def _naive(apply: Apply, params: Any, memory: Any, batch: Any, key: Any, settings: Any) -> tuple[Any, Any]:
    return _mean_loss(apply, params, batch), memory


def _ewc(apply: Apply, params: Any, memory: Any, batch: Any, key: Any, settings: Any) -> tuple[Any, Any]:
    penalty = quadratic_penalty(params, memory, strength=settings.strength)
    return _mean_loss(apply, params, batch) + penalty, memory


def _anchor(apply: Apply, state: TrainState, batch: Any) -> TrainState:
    fisher = diag_fisher(
        apply, state.params, batch["image"], batch["label"], batch_size=16, where=batch["where"]
    )
    return state._replace(memory=ewc_anchor(state.memory, state.params, fisher, separate=True))


def _replay(apply: Apply, params: Any, memory: Any, batch: Any, key: Any, settings: Any) -> tuple[Any, Any]:
    """New and remembered examples in one mean; then the new ones come into the memory."""
    draw_key, insert_key = jax.random.split(key)
    old, valid = reservoir_draw(memory, draw_key, batch_size=min(len(batch["label"]) // 2, settings.capacity))
    new = {name: batch[name] for name in ("image", "label")}
    both = jax.tree.map(
        lambda *parts: jnp.concatenate(parts), new | {"where": batch["where"]}, old | {"where": valid}
    )
    kept = reservoir_insert(memory, new, insert_key, where=batch["where"])
    return _mean_loss(apply, params, both), kept


def _empty(params: Any, image: jax.Array, settings: Any) -> Any:
    return reservoir_init(settings.capacity, {"image": image, "label": jnp.int32(0)})


STRATEGIES = {
    "naive": Strategy(lambda params, image, settings: None, _naive),
    "ewc": Strategy(lambda params, image, settings: anchor_init(params), _ewc, _anchor),
    "replay": Strategy(_empty, _replay),
}
