"""Tails of Student's t and of F, compiled: relative precision in the far tails, too."""

import jax
import jax.numpy as jnp

_MANY = 30.0  # degrees of freedom, from which the normal approximation is the better one in float32


def t_two_sided(t: jax.Array, df: jax.Array) -> jax.Array:
    """Probability of a t at least as far out on either side; 1 without a degree of freedom."""
    t, df = jnp.broadcast_arrays(t, jnp.asarray(df, t.dtype))
    some, many = df > 0, df > _MANY
    few = jnp.where(some & ~many, df, 1.0)
    exact = jax.scipy.special.betainc(few / 2, 0.5 * jnp.ones_like(few), few / (few + jnp.square(t)))
    p = jnp.where(many, 2 * jax.scipy.stats.norm.sf(_as_normal(jnp.abs(t), jnp.where(many, df, 1.0))), exact)
    p = jnp.where(jnp.isinf(t), 0.0, p)
    return jnp.where(jnp.isnan(t) | jnp.isnan(df), jnp.nan, jnp.where(some, p, 1.0))


def _as_normal(t: jax.Array, df: jax.Array) -> jax.Array:
    """The normal deviate that is as far out as t, to six digits from ten degrees of freedom on (Hill's algorithm 395).

    The incomplete beta function has three digits in float32 at hundreds of degrees of freedom, and none at a million.
    """
    a = df - 0.5
    b = 48 * a**2
    y = a * jnp.log1p(jnp.square(jnp.where(jnp.isinf(t), 0.0, t)) / df)
    more = (((-0.4 * y - 3.3) * y - 24) * y - 85.5) / (0.8 * y * y + 100 + b)
    return ((more + y + 3) / b + 1) * jnp.sqrt(y)


def t_above(t: jax.Array, df: jax.Array) -> jax.Array:
    """Probability of a larger t; 1 without a degree of freedom, since nothing is shown then."""
    half = 0.5 * t_two_sided(t, df)
    return jnp.where(jnp.asarray(df) <= 0, 1.0, jnp.where(t > 0, half, 1.0 - half))


def f_above(f: jax.Array, between: jax.Array, within: jax.Array) -> jax.Array:
    """Probability of a larger F; 1 without degrees of freedom."""
    f, between, within = jnp.broadcast_arrays(f, jnp.asarray(between, f.dtype), jnp.asarray(within, f.dtype))
    some = (between > 0) & (within > 0)
    a, b = jnp.where(some, within, 1.0), jnp.where(some, between, 1.0)
    p = jax.scipy.special.betainc(a / 2, b / 2, a / (a + b * f))
    p = jnp.where(b == 1, t_two_sided(jnp.sqrt(jnp.maximum(f, 0.0)), a), p)
    p = jnp.where(jnp.isinf(f), 0.0, jnp.where(jnp.isnan(f), jnp.nan, p))
    return jnp.where(some, p, jnp.where(jnp.isnan(between + within), jnp.nan, 1.0))


def t_quantile(probability: jax.Array, df: jax.Array) -> jax.Array:
    """The t that is exceeded with `1 - probability`, for a probability of at least one half, by bisection."""
    tail = 2 * (1.0 - jnp.asarray(probability, jnp.float32))
    df = jnp.asarray(df, jnp.promote_types(jnp.asarray(df).dtype, jnp.float32))
    # In x = t / sqrt(df + t^2), which lies in [0, 1).
    low, high = jnp.zeros_like(df + tail), jnp.ones_like(df + tail)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        t = middle * jnp.sqrt(df / jnp.maximum(1 - middle**2, 1e-30))
        further = t_two_sided(t, df) > tail
        return jnp.where(further, middle, low), jnp.where(further, high, middle)

    low, high = jax.lax.fori_loop(0, 40, halve, (low, high))
    x = (low + high) / 2
    t = x * jnp.sqrt(jnp.maximum(df, 0.0) / jnp.maximum(1 - x**2, 1e-30))
    return jnp.where(jnp.isnan(df) | jnp.isnan(tail), jnp.nan, jnp.where(df > 0, t, jnp.inf))
