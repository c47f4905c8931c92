"""Randomised trials with a test before and after: their analysis of variance, effect sizes, and simulated ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_std
from jaxlab.core.check import InputError, check_fraction, check_least, check_positive, full_mask
from jaxlab.metrics import VarianceTest, anova, paired_t_test, variance_test


class PairedEffects(NamedTuple):
    """How large a change within people is, in standard deviations, from `paired_effects`.

    Attributes:
      dz: of the change.
      dav: of the scores, the root of the mean variance before and after.

    >>> PairedEffects(jnp.zeros(()), jnp.ones(()))._fields
    ('dz', 'dav')
    """

    dz: jax.Array
    dav: jax.Array


class Trial(NamedTuple):
    """Scores of people in two groups, before and after, from `simulate_trial`.

    Attributes:
      before: `[N]` float32.
      after: `[N]` float32.
      group: `[N]` int32, 0 or 1.
    """

    before: jax.Array
    after: jax.Array
    group: jax.Array


def paired_effects(before: jax.Array, after: jax.Array, *, where: jax.Array | None = None) -> PairedEffects:
    """Size of a change from before to after: one number of each kind for a batch. No gradient passes.

        dz = mean(after - before) / sd(after - before),   dav = mean(after - before) / sqrt((var_b + var_a) / 2)

    Args:
      before: `[N]`.
      after: `[N]` of the same people.
      where: `[N]` bool or {0, 1}, the people with both; None means all.

    Returns:
      `PairedEffects`, float32 (float64 for float64 scores); 0 where nothing scatters.

    Raises:
      ValueError: if the two are not both `[N]`.

    Reference: Cumming, Understanding the New Statistics, 2012, chapter 11.

    >>> found = paired_effects(jnp.array([0.0, 2.0, 4.0]), jnp.array([1.0, 4.0, 7.0]))
    >>> round(found.dz.item(), 4), round(found.dav.item(), 4)
    (2.0, 0.7845)
    """
    test = paired_t_test(after, before, where=where)
    counts = full_mask(where, np.shape(before), "people")
    number = jnp.maximum(jnp.sum(counts), 1)
    kept = lambda x: jnp.where(counts, as_float(jax.lax.stop_gradient(x)), 0.0)
    spread = [masked_std(kept(x), where=counts, ddof=1) for x in (before, after)]
    ratio = lambda sd: jnp.where(sd == 0, 0.0, test.estimate / jnp.where(sd == 0, 1.0, sd))
    return PairedEffects(
        ratio(test.standard_error * jnp.sqrt(number)),
        ratio(jnp.sqrt((spread[0] ** 2 + spread[1] ** 2) / 2)),
    )


def mixed_anova(
    before: jax.Array, after: jax.Array, group: jax.Array, *, where: jax.Array | None = None
) -> VarianceTest:
    """Analysis of variance of two groups at two times: of the group, of the time, of their interaction.

    The interaction is the comparison of gains, F = t^2 of their test with a common variance. That both groups gain
    compares nothing. No gradient passes.

    Args:
      before: `[N]`.
      after: `[N]` of the same people.
      group: `[N]` integers 0 or 1; a negative one is in neither.
      where: `[N]` bool or {0, 1}, the people with both scores; None means all.

    Returns:
      `VarianceTest` of `[3]`: group, time, interaction, each with 1 and N - 2 degrees of freedom; float32 (float64 for
      float64 scores).

    Raises:
      ValueError: if the three are not all `[N]`, or groups are not 0 or 1.

    Reference: Winer, Statistical Principles in Experimental Design, 1971, chapter 7.

    >>> before, after = jnp.array([1.0, 2.0, 1.0, 2.0]), jnp.array([2.0, 4.0, 4.0, 6.0])
    >>> print(mixed_anova(before, after, jnp.array([0, 0, 1, 1])).df_within)
    [2. 2. 2.]
    """
    shapes = [np.shape(x) for x in (before, after, group)]
    if len(shapes[0]) != 1 or len(set(shapes)) > 1:
        raise InputError(f"before, after and group must all be [N], got {', '.join(map(str, shapes))}")
    counts = full_mask(where, shapes[0], "people")
    before, after = (jnp.where(counts, as_float(jax.lax.stop_gradient(x)), 0.0) for x in (before, after))
    gain = after - before
    options = {"num_groups": 2, "where": counts}
    own, interaction = anova(before + after, group, **options), anova(gain, group, **options)
    inside = counts & (jnp.asarray(group) >= 0) & (jnp.asarray(group) < 2)
    number = jnp.sum(inside).astype(gain.dtype)
    level = masked_mean(gain, where=inside)
    total = jnp.sum(jnp.where(inside, jnp.square(gain - level), 0.0))
    within = total * (1 - interaction.share)  # of gains around their group's mean
    time = variance_test(number * jnp.square(level), within, jnp.ones_like(number), interaction.df_within)
    return jax.tree.map(lambda *x: jnp.stack(x), own, time, interaction)


def simulate_trial(
    key: jax.Array,
    num_people: int,
    *,
    effect: float | jax.Array = 0.0,
    gain: float = 2.5,
    mean: float = 5.0,
    sd: float = 2.0,
    correlation: float = 0.6,
    most: float | None = 12.0,
) -> Trial:
    """A trial with groups of equal size, normal scores and a constant gain. Pure: map it over keys.

    Args:
      key: `jax.random.key`.
      num_people: N; an odd one gives group 0 one more.
      effect: what group 1 gains more, in points: the standard deviation of gains is `sd sqrt(2 (1 - correlation))`,
        smaller than `sd` for a correlation above one half. May be traced.
      gain: of both groups, in points.
      mean: before.
      sd: of scores before, and after within a group.
      correlation: of before and after within a group, in [0, 1].
      most: scores are whole numbers from 0 to it, so that they have a ceiling; None leaves them as they are.

    Returns:
      `Trial`.

    Raises:
      ValueError: fewer than two people, or a number outside of its range.

    Reference: Leiker et al., Generative AI for Learning: Investigating the Potential of Synthetic Learning Videos,
      2023, for the design; the numbers are not theirs.

    >>> trial = simulate_trial(jax.random.key(0), 83)
    >>> trial.before.shape, int(trial.group.sum())
    ((83,), 41)
    """
    if num_people < 2:
        raise InputError(f"num_people must be at least 2, got {num_people}")
    check_fraction("correlation", correlation)
    check_least("sd", sd, 0)
    check_positive("most", most)
    first, second, third = jax.random.split(key, 3)
    group = jax.random.permutation(first, jnp.arange(num_people) % 2).astype(jnp.int32)
    ability, luck = (jax.random.normal(k, (num_people,)) for k in (second, third))
    before = mean + sd * ability
    left = np.sqrt(1 - correlation**2)
    after = mean + sd * (correlation * ability + left * luck) + gain + effect * group
    if most is not None:
        before, after = (jnp.clip(jnp.round(x), 0, most) for x in (before, after))
    return Trial(before, after, group)
