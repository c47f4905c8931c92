"""The optimizer of large-batch self-supervision."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def lars(
    learning_rate: optax.ScalarOrSchedule,
    *,
    vector_learning_rate: optax.ScalarOrSchedule | None = None,
    weight_decay: float | jax.Array = 1e-6,
    momentum: float | jax.Array = 0.9,
    trust_coefficient: float | jax.Array = 1e-3,
) -> optax.GradientTransformation:
    """Layer-wise adaptive rates (LARS) in the order of self-supervised codes: the rate comes after the momentum.

    `optax.lars` puts the rate before the momentum: where the rate changes, its momentum remembers steps of other rates.
    Weight decay and the layer's own rate apply to arrays of rank two or more; biases and scales take plain momentum,
    with a rate of their own if one is given.

        g = grad + weight_decay p;   q = trust |p| / |g|, 1 where either norm is 0;   mu <- momentum mu + q g
        p <- p - learning_rate mu

    Args:
      learning_rate: a number, which may be traced, or an optax schedule.
      vector_learning_rate: of arrays of rank 0 and 1; None takes `learning_rate`.
      weight_decay: at least 0.
      momentum: in [0, 1).
      trust_coefficient: the step's length relative to the weights'.

    Returns:
      An optax transformation; its `update` needs the parameters.

    Reference: You, Gitman and Ginsburg, Large Batch Training of Convolutional Networks, 2017, algorithm 1, in the
      order of Barlow Twins' code (Zbontar et al., 2021), which has rates of 0.2 and 0.0048 times the schedule.

    >>> optimizer, params = lars(0.5, weight_decay=0.0, trust_coefficient=0.1), {"w": jnp.full((1, 1), 2.0)}
    >>> updates, _ = optimizer.update({"w": jnp.full((1, 1), 4.0)}, optimizer.init(params), params)
    >>> round(updates["w"].item(), 4)
    -0.1
    """
    is_matrix = lambda params: jax.tree.map(lambda p: jnp.ndim(p) > 1, params)
    kind = lambda params: jax.tree.map(lambda p: "matrix" if jnp.ndim(p) > 1 else "vector", params)
    rates: dict[str, Any] = {
        "matrix": learning_rate,
        "vector": learning_rate if vector_learning_rate is None else vector_learning_rate,
    }
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=is_matrix),
        optax.masked(optax.scale_by_trust_ratio(trust_coefficient=trust_coefficient), is_matrix),
        optax.trace(momentum),
        optax.partition({name: optax.scale_by_learning_rate(rate) for name, rate in rates.items()}, kind),
    )
