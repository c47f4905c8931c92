"""Real labels of people and of a model, on one resample a seed."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.core import Computed, computed, masked_mean, pearson
from jaxlab.data import SIGHT_CATEGORIES
from jaxlab.education import rater_kappas


def raters(settings: Any) -> Computed:
    """Kappas of two people and of a model with them, on one resample of the comments or of the categories."""

    def kappas(key: jax.Array, context: Any, train: Any) -> dict[str, jax.Array]:
        labels = [train.human1, train.human2, getattr(train, settings.labels)]
        for axis, name in enumerate(("comments", "categories")):
            size = labels[0].shape[axis]
            drawn = jax.random.randint(jax.random.fold_in(key, axis), (size,), 0, size)
            rows = drawn if name in settings.resample else jnp.arange(size)
            labels = [jnp.take(x, rows, axis=axis) for x in labels]
        people, model = rater_kappas(*labels)
        there = jnp.isfinite(people) & jnp.isfinite(model)  # a resample may have no yes at all
        found = {"correlation": pearson(people, model, where=there)}
        if "categories" in settings.resample:
            return found
        for who, kappa in (("people", people), ("model", model)):
            agreed, doubtful = (_band(kappa, names) for names in (settings.agreed, settings.doubtful))
            found |= {f"{who}_agreed": agreed, f"{who}_doubtful": doubtful, f"{who}_gap": agreed - doubtful}
            if settings.by_category:
                found |= {f"{who}_{name}": kappa[n] for n, name in enumerate(SIGHT_CATEGORIES)}
        return found

    return computed(kappas)


def _band(kappa: jax.Array, names: tuple[str, ...]) -> jax.Array:
    own = kappa[jnp.array([SIGHT_CATEGORIES.index(name) for name in names])]
    return masked_mean(own, where=jnp.isfinite(own))
