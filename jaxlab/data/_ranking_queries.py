"""Procedural queries with graded documents, in the order of a weak ranker: what users of a search engine would see."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError

# Grades 0 to 4 for about 52, 19, 14, 10 and 5 of 100 documents.
_THRESHOLDS = (0.0, 0.5, 1.0, 1.65)


class RankingQueries(NamedTuple):
    """Queries with their documents, the one that the initial ranker likes best first.

    Args:
        features: `[Q, L, F]` float32, what a ranker may read.
        grade: `[Q, L]` int32 in 0 ... 4, the true relevance.
        initial_score: `[Q, L]` float32 of the initial ranker, falling along L.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import RankingQueries
    >>> RankingQueries(jnp.zeros((3, 10, 20)), jnp.zeros((3, 10), jnp.int32), jnp.zeros((3, 10))).grade.shape
    (3, 10)
    """

    features: jax.Array
    grade: jax.Array
    initial_score: jax.Array


def ranking_queries(
    task_key: jax.Array,
    sample_key: jax.Array,
    num_queries: int,
    *,
    num_documents: int = 10,
    num_features: int = 20,
    initial_quality: float = 0.4,
    noise: float = 0.3,
) -> RankingQueries:
    """Queries for learning to rank from clicks, shown in the order of a weak initial ranker.

    Relevance is a linear direction of the features and a product of two others, which no linear ranker sees. The
    initial ranker is linear and points only partly along the first; the rest of its score is a direction that says
    nothing about relevance. So the bias of positions is a function of the features, and whoever takes clicks as they
    are learns the initial ranker's error with them. Pure: jit it with `num_queries` static.

        u = (w.x + (a.x)(b.x)) / sqrt(2) + noise e,    grade = how many of 0, 0.5, 1, 1.65 u exceeds
        initial_score = q w.x + sqrt(1 - q^2) d.x,     w, a, b, d orthonormal, x ~ N(0, 1)

    Args:
        task_key: makes the directions; the same key is the same task.
        sample_key: makes the queries.
        num_queries: Q.
        num_documents: L, documents per query.
        num_features: F, at least 4.
        initial_quality: q in [0, 1]: 0 knows nothing, 1 the whole linear part.
        noise: of relevance, at least 0; no ranker can learn it.

    Returns:
        `RankingQueries`, every query's documents by falling initial score.

    Raises:
        ValueError: sizes too small, or a quality or noise outside of its range.

    Reference: Ai et al., Unbiased Learning to Rank with Unbiased Propensity Estimation, 2018, section 5, for clicks
      on the lists of a weak initial ranker; the generator is not theirs.

    >>> import jax
    >>> from jaxlab.data import ranking_queries
    >>> queries = ranking_queries(jax.random.key(0), jax.random.key(1), 3)
    >>> queries.features.shape, bool((queries.initial_score[:, 0] == queries.initial_score.max(1)).all())
    ((3, 10, 20), True)
    """
    if num_documents < 1 or num_features < 4 or num_queries < 0:
        raise InputError(
            "ranking_queries needs at least 1 document, 4 features and 0 queries, got "
            f"{num_documents}, {num_features} and {num_queries}"
        )
    if not 0 <= initial_quality <= 1 or not noise >= 0:
        raise InputError(
            f"initial_quality must be in [0, 1] and noise at least 0, got {initial_quality} and {noise}"
        )
    directions, _ = jnp.linalg.qr(jax.random.normal(task_key, (num_features, 4), jnp.float32))
    feature_key, noise_key = jax.random.split(sample_key)
    shape = (num_queries, num_documents)
    features = jax.random.normal(feature_key, (*shape, num_features), jnp.float32)
    w, a, b, d = jnp.moveaxis(features @ directions, -1, 0)
    utility = (w + a * b) / jnp.sqrt(2.0) + noise * jax.random.normal(noise_key, shape, jnp.float32)
    grade = sum((utility > threshold).astype(jnp.int32) for threshold in _THRESHOLDS)
    score = initial_quality * w + jnp.sqrt(1 - initial_quality**2) * d
    order = jnp.argsort(-score, axis=-1)
    sort = lambda x: jnp.take_along_axis(x, order, axis=1)
    features = jnp.take_along_axis(features, order[..., None], axis=1)
    return RankingQueries(features, sort(grade), sort(score))
