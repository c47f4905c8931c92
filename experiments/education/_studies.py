"""Studies of learning as functions of settings: each simulates many of its kind and gives rates over them.

What is true is known in each, so that one sees how often a study of its size says so.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxlab import metrics
from jaxlab.core import Computed, computed, masked_mean, pearson
from jaxlab.education import (
    GradedAnswers,
    aggregate_peers,
    same_mean_p_value,
    simulate_graders,
    simulate_trial,
)

_LEVEL = 0.05
_AT_ONCE = 125  # studies side by side: memory


def trial(settings: Any) -> Computed:
    """People in two groups, tested before and after; `effect` and `bound` in standard deviations of gains.

    `shown_at_p` is the smallest bound of equivalence that such a trial shows when it ends with `p_value`.
    """
    unit = settings.sd * (2 * (1 - settings.correlation)) ** 0.5

    def study(key: jax.Array) -> dict[str, jax.Array]:
        before, after, group = simulate_trial(
            key, settings.people, effect=settings.effect * unit, gain=settings.gain, sd=settings.sd,
            correlation=settings.correlation, most=settings.most,
        )  # fmt: skip
        gain, bound = after - before, settings.bound * unit
        test = metrics.t_test(gain, group)
        adjusted = jax.tree.map(lambda x: x[2], metrics.ancova(after, before, group))
        both = jax.tree.map(lambda *x: jnp.stack(x), test, adjusted)
        equivalent = _below(metrics.equivalence_p_value(both, bound))
        in_group = group == jnp.arange(2)[:, None]
        learned = jax.vmap(lambda where: metrics.paired_t_test(after, before, where=where).p_value)(in_group)
        # Half the width of an interval at 95 %, at 90 %, and of that which just reaches the estimate at p.
        half = lambda confidence: metrics.mean_interval(test, confidence=confidence)[1] - test.estimate
        wide, ninety, reaching = half(jnp.array([0.95, 0.9, 1 - settings.p_value])) / unit
        found = {
            "gain_test": _below(test.p_value),
            "ancova": _below(adjusted.p_value),
            "rank_test": _below(metrics.mann_whitney(gain, group)[1]),
            "equivalent": equivalent[0],
            "equivalent_adjusted": equivalent[1],
            "as_large_p": test.p_value >= settings.p_value,
            "shown_at_p": reaching + ninety,
            "both_learn": learned.max() < 0.001,
            "width": 2 * wide,
        }
        if settings.resamples:
            p = metrics.permutation_p_value(
                jax.random.fold_in(key, 1), gain, group, resamples=settings.resamples
            )
            found["permutation_test"] = _below(p)
        return found

    return _rates(study, settings)


def grading(settings: Any) -> Computed:
    """Answers with two grades each, drawn from a course whose mean difference of grades is `bias` points exactly."""
    grade = GRADERS[settings.grader]

    def study(key: jax.Array) -> dict[str, jax.Array]:
        world, other, rows, resampling = jax.random.split(key, 4)
        course = simulate_graders(
            world, settings.course, miss_rate=settings.miss_rate, off_rubric=settings.off_rubric
        )
        gap = grade(course, other) - course.instructor
        gap = gap - gap.mean() + settings.bias
        seen = gap[jax.random.randint(rows, (settings.answers,), 0, settings.course)]
        p = same_mean_p_value(resampling, seen, resamples=settings.resamples)
        test = metrics.paired_t_test(seen, jnp.zeros_like(seen))
        low, high = metrics.mean_interval(test)
        return {
            "bootstrap_test": _below(p),
            "t_test": _below(test.p_value),
            "equivalent": _below(metrics.equivalence_p_value(test, settings.bound)),
            "mae": jnp.abs(seen).mean(),
            "width": high - low,
        }

    return _rates(study, settings)


def _peers(course: GradedAnswers, key: jax.Array) -> jax.Array:
    return aggregate_peers(course.peers)[0]


GRADERS: dict[str, Callable[[GradedAnswers, jax.Array], jax.Array]] = {
    "rubric": lambda course, key: course.rubric,
    "own_rubric": lambda course, key: course.own_rubric,
    "peers": _peers,
    "strangers": lambda course, key: jax.random.permutation(key, course.instructor),  # of other answers
}


def marks(settings: Any) -> Computed:
    """Marks of submissions and of their imitations; `share` of the variance is between assignments, which both keep.

    Within an assignment the two correlate by `follow`, over all by `share + (1 - share) follow`.
    """
    truth = settings.share + (1 - settings.share) * settings.follow
    size = settings.assignments, settings.submissions

    def study(key: jax.Array) -> dict[str, jax.Array]:
        keys, resampling = jax.random.split(key, 3), jax.random.fold_in(key, 1)
        own, luck = (jax.random.normal(k, size) for k in keys[:2])
        level = jnp.sqrt(settings.share) * jax.random.normal(keys[2], (size[0], 1))
        within = settings.follow * own + jnp.sqrt(1 - settings.follow**2) * luck
        x, y = (level + jnp.sqrt(1 - settings.share) * part for part in (own, within))
        r, centred = pearson(x.ravel(), y.ravel()), (z - z.mean(1, keepdims=True) for z in (x, y))
        moments = jnp.stack([z.mean(1) for z in (x, y, x * x, y * y, x * y)], axis=1)
        draws = metrics.bootstrap(resampling, _from_moments, moments, resamples=settings.resamples)
        plain, clustered = (
            metrics.correlation_interval(r, x.size),
            jnp.quantile(draws, jnp.array([0.025, 0.975])),
        )
        return {
            "pooled": r,
            "within": pearson(*(z.ravel() for z in centred)),
            "covered": (plain[0] <= truth) & (truth <= plain[1]),
            "covered_by_assignment": (clustered[0] <= truth) & (truth <= clustered[1]),
            "width": plain[1] - plain[0],
            "width_by_assignment": clustered[1] - clustered[0],
        }

    return _rates(study, settings)


def _from_moments(moments: jax.Array, where: jax.Array) -> jax.Array:
    """Pearson's correlation over assignments of equal size, from their means of x, y, x^2, y^2 and x y."""
    x, y, xx, yy, xy = masked_mean(moments, where=where[:, None], axis=0)
    return (xy - x * y) / jnp.sqrt((xx - x * x) * (yy - y * y))


def ratings(settings: Any) -> Computed:
    """Models rated on two kinds of texts; `effect` and `bound` in standard deviations of a model's differences."""

    def study(key: jax.Array) -> dict[str, jax.Array]:
        gap = settings.effect + jax.random.normal(key, (settings.models,))
        test = metrics.paired_t_test(gap, jnp.zeros_like(gap))
        low, high = metrics.mean_interval(test)
        return {
            "t_test": _below(test.p_value),
            "rank_test": _below(metrics.signed_rank_test(gap, jnp.zeros_like(gap))[1]),
            "equivalent": _below(metrics.equivalence_p_value(test, settings.bound)),
            "width": high - low,
        }

    return _rates(study, settings)


def _below(p: jax.Array) -> jax.Array:
    return p <= _LEVEL


def _rates(study: Callable[[jax.Array], dict[str, jax.Array]], settings: Any) -> Computed:
    """Means over so many studies of a seed."""

    def fn(key: jax.Array, context: Any, train: jax.Array) -> dict[str, jax.Array]:
        keys = jax.random.split(jax.random.wrap_key_data(train), settings.studies)
        found = jax.lax.map(study, keys, batch_size=min(_AT_ONCE, settings.studies))
        return {name: values.mean(dtype=jnp.float32) for name, values in found.items()}

    return computed(fn)
