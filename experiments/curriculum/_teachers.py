"""Teachers that propose tasks in a box and are told the rewards: one type for all."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.curriculum import alp_gmm, riac


class Teacher(NamedTuple):
    """`init() -> state`, `propose(state, key) -> task`, `record(state, task, reward, key) -> state`.

    `refit(state, key) -> state`, where there is one, is called every `every` episodes.
    """

    init: Callable[[], Any]
    propose: Callable[[Any, jax.Array], jax.Array]
    record: Callable[[Any, jax.Array, jax.Array, jax.Array], Any]
    refit: Callable[[Any, jax.Array], Any] | None = None


def _random(dim: int, episodes: int, settings: Any) -> Teacher:
    return Teacher(
        lambda: jnp.zeros(()),
        lambda state, key: jax.random.uniform(key, (dim,)),
        lambda state, task, reward, key: state,
    )


def _mixture(progress: str) -> Callable[[int, int, Any], Teacher]:
    def make(dim: int, episodes: int, settings: Any) -> Teacher:
        corner = jnp.zeros(dim)
        return Teacher(
            lambda: alp_gmm.init(corner, corner + 1, capacity=episodes),
            lambda state, key: alp_gmm.propose(state, key, random_share=settings.random_share),
            lambda state, task, reward, key: alp_gmm.record(state, task, reward),
            lambda state, key: alp_gmm.refit(state, key, window=settings.every, progress=progress),
        )

    return make


def _regions(dim: int, episodes: int, settings: Any) -> Teacher:
    corner, count = jnp.zeros(dim), 2 * (episodes // (settings.region_size // 2)) + 1
    return Teacher(
        lambda: riac.init(corner, corner + 1, regions=count, region_size=settings.region_size),
        riac.propose,
        riac.record,
    )


TEACHERS: dict[str, Callable[[int, int, Any], Teacher]] = {
    "random": _random,
    "alp_gmm": _mixture("absolute"),
    "covar_gmm": _mixture("covariance"),
    "riac": _regions,
}
