"""Several heads, and a temperature for every pair that is the variance of a likelihood (AMCL)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_logsumexp, normalize
from jaxlab.core._mapped import gather_rows
from jaxlab.core.check import InputError, check_choice, check_positive, check_together, full_mask

Params = Any
PairTemperature = Callable[[jax.Array, jax.Array], jax.Array]


def temperature_penalty(temperature: float | jax.Array, *, dim: float | jax.Array) -> jax.Array:
    """What a temperature costs when it is the variance of a Gaussian around the other unit vector.

    Least at 2 / dim. Gradients flow into the temperature.

        1 / tau + dim / 2 log tau

    Args:
      temperature: tau, positive, of any shape.
      dim: D of the vectors, or an effective one; may be traced.

    Returns:
      The shape of `temperature`, float32 (float64 for float64 input).

    Raises:
      ValueError: a known temperature that is not positive.

    Reference: Wang et al., Adaptive Multi-head Contrastive Learning, 2023, from the likelihood N(z | z+, tau I).

    >>> temperature_penalty(1.0, dim=4.0).item()
    1.0
    """
    check_positive("temperature", temperature)
    temperature = as_float(temperature)
    return 1.0 / temperature + 0.5 * dim * jnp.log(temperature)


def pair_temperature_init(key: jax.Array, *, dim: int, hidden: int = 128, heads: int | None = None) -> Params:
    """Parameters of `pair_temperature`: two layers on both vectors of a pair.

    Args:
      key: `jax.random.key`.
      dim: D of each vector.
      hidden: width of the hidden layer.
      heads: None for one net that all heads share, C for one per head, with a leading axis.

    Returns:
      A dict of float32 arrays, matrices `[in, out]`; temperatures begin near the middle of their range.

    Raises:
      ValueError: a size below 1.

    Reference: Wang et al., Adaptive Multi-head Contrastive Learning, 2023.

    >>> pair_temperature_init(jax.random.key(0), dim=4, hidden=8)["w1"].shape
    (8, 8)
    """
    if min(dim, hidden, 1 if heads is None else heads) < 1:
        raise InputError(f"dim, hidden and heads must be at least 1, got {dim}, {hidden} and {heads}")
    lead = () if heads is None else (heads,)
    first, second = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (*lead, 2 * dim, hidden)) / dim**0.5,
        "b1": jnp.zeros((*lead, hidden)),
        "w2": jax.random.normal(second, (*lead, hidden, 1)) / hidden**0.5,
        "b2": jnp.zeros((*lead, 1)),
    }


def pair_temperature(
    params: Params,
    u: jax.Array,
    v: jax.Array,
    *,
    low: float = 0.05,
    high: float = 2.0,
) -> jax.Array:
    """A temperature in (low, high) from the two vectors of a pair, in this order.

    Gradients flow into parameters and vectors.

        low + (high - low) sigmoid(W_2 relu(W_1 [u; v] + b_1) + b_2)

    Args:
      params: from `pair_temperature_init`; with one net per head, the heads are the first axis of the vectors.
      u: `[..., D]`.
      v: `[..., D]`.
      low: above 0. The authors have 1e-5, where a negative's temperature can go to the bound without an end: its
        penalty is subtracted.
      high: above `low`.

    Returns:
      `[...]` float32 (float64 for float64 input).

    Raises:
      ValueError: if the two differ in shape or the bounds are not as above.

    Reference: Wang et al., Adaptive Multi-head Contrastive Learning, 2023.

    >>> params = jax.tree.map(jnp.zeros_like, pair_temperature_init(jax.random.key(0), dim=2))
    >>> pair_temperature(params, jnp.ones((3, 2)), jnp.ones((3, 2)), low=0.5, high=1.5).tolist()
    [1.0, 1.0, 1.0]
    """
    if np.ndim(u) < 1 or np.shape(u) != np.shape(v):
        raise InputError(f"u {np.shape(u)} and v {np.shape(v)} must have the same shape [..., D]")
    check_together(
        "low must be above 0 and high above it", lambda a, b: (a > 0) & (a < b), low=low, high=high
    )
    pair = jnp.concatenate([as_float(u), as_float(v)], axis=-1)

    def net(params: Params, pair: jax.Array) -> jax.Array:
        hidden = jax.nn.relu(pair @ params["w1"] + params["b1"])
        return low + (high - low) * jax.nn.sigmoid((hidden @ params["w2"] + params["b2"])[..., 0])

    return net(params, pair) if np.ndim(params["w1"]) == 2 else jax.vmap(net)(params, pair)


def adaptive_multi_head_loss(
    z1: jax.Array,
    z2: jax.Array,
    temperature: float | jax.Array | PairTemperature,
    *,
    beta: float | jax.Array = 0.1,
    dim: float | jax.Array | None = None,
    against: str = "hardest",
    with_positive: bool = False,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Contrast of several heads with a temperature for every pair (AMCL), per example against its batch.

    The sum over heads of a log-likelihood ratio: of the other view, against the hardest other example, or against all
    in a log-sum-exp. The loss of an example is the mean over its two views. Gradients flow into all vectors and into
    the temperatures; the hardest is chosen by its cosine, without gradient. Since the penalty of a negative is
    subtracted, the loss has no lower bound as a temperature goes to 0: bound it, see `pair_temperature`.

        sum_c -l(a, a') + l(a, n*),  l(a, b) = cos(a, b) / tau_ab - beta omega(tau_ab),  n* the hardest

    Args:
      z1: `[C, N, D]` first views by C heads, of any length: they are normalised here.
      z2: `[C, N, D]` second views.
      temperature: a function of unit vectors `[C, ..., D]`, twice, that gives `[C, ...]` positive temperatures; or a
        number for all.
      beta: weight of `temperature_penalty`, omega; may be traced.
      dim: of the penalty; None means D.
      against: "hardest", or "all" for log sum_n exp l(a, n), whose limit of low temperatures it is; "all" asks for the
        temperature of every pair.
      with_positive: whether the positive stands among what it is compared with, as in InfoNCE.
      where: `[N]` bool or {0, 1}, the examples that exist, as anchors and for others; None means all.
      axis_name: mapped axis over which the examples are split: the losses are those of the local examples, against the
        global batch.

    Returns:
      `[N]` float32 (float64 for float64 input); 0 for an example that does not count or is alone.

    Raises:
      ValueError: if the views do not share a shape `[C, N, D]`, `where` does not broadcast to `[N]`, or an option is
        not as above.

    Reference: Wang et al., Adaptive Multi-head Contrastive Learning, 2023, equation 2.1 of its table; NT-Xent is one
      head, one temperature, beta 0, "all" and the positive.

    >>> z = jnp.eye(2)[None]
    >>> options = {"beta": 0.0, "against": "all", "with_positive": True}
    >>> [round(v, 4) for v in adaptive_multi_head_loss(z, z, 1.0, **options).tolist()]
    [0.5514, 0.5514]
    """
    if np.ndim(z1) != 3 or np.shape(z1) != np.shape(z2):
        raise InputError(f"z1 {np.shape(z1)} and z2 {np.shape(z2)} must have the same shape [C, N, D]")
    check_choice("against", against, ("hardest", "all"))
    rows, width = np.shape(z1)[1:]
    if not callable(temperature):
        check_positive("temperature", temperature)
    fn = temperature if callable(temperature) else lambda u, v: jnp.broadcast_to(temperature, u.shape[:-1])
    exists = full_mask(where, (rows,), "examples of z1")
    views = [normalize(jnp.where(exists[:, None], as_float(z), 0.0)) for z in (z1, z2)]
    if not rows:
        return jnp.zeros(0, views[0].dtype)
    dim = width if dim is None else dim

    def likelihood(u: jax.Array, v: jax.Array) -> jax.Array:
        tau = fn(u, v)
        return jnp.sum(u * v, axis=-1) / tau - beta * temperature_penalty(tau, dim=dim)

    anchors = jnp.concatenate(views, axis=1)
    partners = jnp.concatenate(views[::-1], axis=1)
    everyone, present, offset = anchors, jnp.tile(exists, 2), 0
    if axis_name is not None:
        everyone = jnp.swapaxes(gather_rows(jnp.swapaxes(anchors, 0, 1), axis_name), 0, 1)
        present = gather_rows(present.astype(jnp.int32), axis_name).astype(bool)
        offset = jax.lax.axis_index(axis_name) * 2 * rows
    own = jnp.arange(2 * rows) % rows
    column = jnp.arange(present.size)
    example = [offset + own, offset + own + rows]
    others = present & ~((column == example[0][:, None]) | (column == example[1][:, None]))
    others &= jnp.tile(exists, 2)[:, None]
    positive = likelihood(anchors, partners)
    if against == "hardest":
        cosine = jnp.where(others, jax.lax.stop_gradient(jnp.einsum("cad,cbd->cab", anchors, everyone)), -2.0)
        hardest = jnp.argmax(cosine, axis=-1)
        chosen = likelihood(anchors, jnp.take_along_axis(everyone, hardest[..., None], axis=1))
        nearest = jnp.sum(anchors * partners, axis=-1) >= jnp.max(cosine, axis=-1, initial=-2.0)
        negative = jnp.where(nearest, positive, chosen) if with_positive else chosen
    else:
        wide = (*anchors.shape[:2], present.size, width)
        every = likelihood(*(jnp.broadcast_to(x, wide) for x in (anchors[:, :, None], everyone[:, None])))
        negative = masked_logsumexp(every, where=others, axis=-1)
        negative = jnp.logaddexp(negative, positive) if with_positive else negative
    counts = jnp.any(others, axis=-1)
    losses = jnp.sum(jnp.where(counts, negative - positive, 0.0), axis=0)
    return jnp.mean(losses.reshape(2, rows), axis=0)
