"""Contrast by several heads, of one temperature or of one that is learned for every pair (AMCL)."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.self_supervised._probes import Metrics, evaluation
from experiments.self_supervised._task import Method, Task, learned
from jaxlab import data
from jaxlab.core import nt_xent
from jaxlab.metrics import spearman
from jaxlab.self_supervised.amcl import adaptive_multi_head_loss, pair_temperature, pair_temperature_init

PairTemperature = Callable[[jax.Array, jax.Array], jax.Array]
STRENGTHS = (0.25, 0.5, 0.75, 1.0)  # shares of the amounts by which views are changed
PAIRS = 256  # of each strength


class Heads(NamedTuple):
    """Several projectors side by side.

    Attributes:
      net: one of them.
      count: C.
    """

    net: Any
    count: int

    def init(self, key: jax.Array, x: jax.Array) -> Any:
        """Parameters of all, with a leading axis."""
        return jax.vmap(lambda key: self.net.init(key, x))(jax.random.split(key, self.count))

    def apply(self, params: Any, x: jax.Array) -> jax.Array:
        """Outputs `[C, B, D]`."""
        return jax.vmap(self.net.apply, in_axes=(0, None))(params, x)


def heads(task: Task, settings: Any) -> Method:
    """As many heads as the setting says; with `temperature` None each pair has its own, by a net for each head."""
    projector = Heads(task.projector(settings), settings.heads)

    def temperature(params: Any) -> PairTemperature:
        bounds = {"low": settings.lowest, "high": settings.highest}
        return lambda u, v: pair_temperature(params["temperature"], u, v, **bounds)

    def more(key: jax.Array, outputs: jax.Array) -> dict[str, Any]:
        if settings.temperature is not None:
            return {}
        return {
            "temperature": pair_temperature_init(key, dim=settings.width, hidden=32, heads=settings.heads)
        }

    def outputs(params: Any, views: jax.Array) -> list[jax.Array]:
        """`[C, B, D]` of either view."""
        _, vectors = task.features(params, views.reshape(-1, *views.shape[2:]))
        return jnp.split(projector.apply(params["projector"], vectors), 2, axis=1)

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        views = outputs(params, batch["views"])
        if settings.temperature is not None:
            each = jax.vmap(functools.partial(nt_xent, temperature=settings.temperature))(*views)
            return each.sum(axis=0).mean(), (memory, {})
        each = adaptive_multi_head_loss(*views, temperature(params), beta=settings.beta, dim=settings.dim)
        return each.mean(), (memory, {})

    def temperatures(params: Any, images: jax.Array) -> Metrics:
        """How the temperatures of pairs follow the strength of the change, and how many are at their lowest."""
        if settings.temperature is not None:
            return {}
        tau = []
        for strength in STRENGTHS:
            views = data.random_views(images[:PAIRS], jax.random.key(0), **_scaled(task.views, strength))
            units = [z / jnp.linalg.norm(z, axis=-1, keepdims=True) for z in outputs(params, views)]
            tau.append(temperature(params)(*units).mean(axis=0))
        tau, strength = jnp.stack(tau), jnp.array(STRENGTHS)[:, None]
        return {
            "tau_follows_strength": spearman(
                jnp.broadcast_to(strength, tau.shape).reshape(-1), tau.reshape(-1)
            ),
            "tau": tau.mean(),
            "tau_at_lowest": jnp.mean(tau < 1.1 * settings.lowest, dtype=jnp.float32),
        }

    joined = lambda params, vectors: jnp.concatenate(
        list(projector.apply(params["projector"], vectors)), axis=-1
    )
    learner = learned(task, settings, loss, projector=projector, more=more)
    return learner, evaluation(task, settings, outputs=joined, more=temperatures), None


def _scaled(views: Any, strength: float) -> dict[str, Any]:
    """Views changed by a share of the amounts; a hole has whole pixels."""
    kept = {name: value for name, value in views.items() if isinstance(value, bool) or name == "count"}
    amounts = {
        name: type(value)(round(value * strength, 6)) for name, value in views.items() if name not in kept
    }
    return amounts | kept


METHODS = {"heads": heads}
