"""Methods whose loss takes what one net says of the views of a batch: a function of outputs `[K, N, D]` for each."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.self_supervised._probes import evaluation
from experiments.self_supervised._task import Method, Task, learned
from jaxlab.self_supervised import barlow_twins_loss, mv_dhel, mv_infonce, pairwise_nt_xent, vicreg_loss
from jaxlab.self_supervised.mixed_barlow_twins import mix_samples, mixed_barlow_twins_loss

Loss = Callable[[jax.Array, Any], tuple[jax.Array, dict[str, jax.Array]]]


def on_views(loss: Loss) -> Callable[[Task, Any], Method]:
    """The method that minimises `(outputs, settings) -> (scalar, metrics)`."""

    def method(task: Task, settings: Any) -> Method:
        def total(
            params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any
        ) -> tuple[Any, tuple]:
            value, metrics = loss(task.outputs(params, batch["views"], settings), settings)
            return value, (memory, metrics)

        return learned(task, settings, total), evaluation(task, settings), None

    return method


def barlow_twins(outputs: jax.Array, settings: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Redundancy reduction between two views."""
    value, terms = barlow_twins_loss(*outputs, off_diagonal_weight=settings.off_diagonal_weight)
    return value, terms._asdict()


def vicreg(outputs: jax.Array, settings: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Variance, invariance and covariance; the first two share a weight, as in the paper."""
    value, terms = vicreg_loss(
        *outputs, invariance_weight=settings.invariance_weight, variance_weight=settings.invariance_weight
    )
    return value, terms._asdict()


def contrast(loss: Callable[..., jax.Array]) -> Callable[[Task, Any], Method]:
    """The method of a contrastive loss with a temperature."""
    return on_views(lambda outputs, settings: (loss(outputs, temperature=settings.temperature).mean(), {}))


def mixed_barlow_twins(task: Task, settings: Any) -> Method:
    """Barlow Twins, and mixtures of two images that are seen as mixtures; nothing else differs."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        views, (share_key, partner_key) = batch["views"], jax.random.split(key)
        mixing = {
            "share": jax.random.uniform(share_key),
            "partner": jax.random.permutation(partner_key, views.shape[1]),
        }
        seen = jnp.concatenate([views, mix_samples(*views, **mixing)[None]])
        value, terms = mixed_barlow_twins_loss(
            *task.outputs(params, seen, settings), **mixing, eps=1e-5, ddof=0,
            off_diagonal_weight=settings.off_diagonal_weight, mixing_weight=settings.mixing_weight,
        )  # fmt: skip
        return value, (memory, terms._asdict())

    return learned(task, settings, loss), evaluation(task, settings), None


METHODS = {
    "barlow_twins": on_views(barlow_twins),
    "mixed_barlow_twins": mixed_barlow_twins,
    "vicreg": on_views(vicreg),
    "nt_xent": contrast(pairwise_nt_xent),
    "mv_infonce": contrast(mv_infonce),
    "dhel": contrast(mv_dhel),
}
