import functools

import jax
import numpy as np
import pytest

from jaxlab.data import RankingQueries, ranking_queries

TASK = jax.random.key(0)


@functools.cache
def made(count=500, quality=0.4, seed=1):
    make = jax.jit(ranking_queries, static_argnums=2, static_argnames=("initial_quality",))
    return jax.device_get(make(TASK, jax.random.key(seed), count, initial_quality=quality))


def correlation(quality):
    queries = made(quality=quality)
    return np.corrcoef(queries.initial_score.ravel(), queries.grade.ravel())[0, 1]


def test_documents_stand_by_falling_initial_score():
    queries = made()
    assert isinstance(queries, RankingQueries)
    assert queries.features.shape == (500, 10, 20)
    assert (np.diff(queries.initial_score, axis=1) <= 0).all()


def test_all_grades_occur_and_the_best_are_rare():
    shares = np.bincount(made().grade.ravel(), minlength=5) / 5000
    assert len(shares) == 5
    assert (np.diff(shares) < 0).all()
    assert 0.4 < shares[0] < 0.6
    assert 0.02 < shares[4] < 0.08


def test_quality_says_how_much_the_initial_ranker_knows():
    low, middle, high = (correlation(quality) for quality in (0.0, 0.4, 1.0))
    assert abs(low) < 0.05
    assert 0.15 < middle < 0.4
    assert high > 0.5


def test_the_initial_score_is_a_linear_function_of_the_features_and_relevance_is_not():
    queries = made()
    x = queries.features.reshape(-1, 20)

    def unexplained(y):
        y = y.ravel() - y.mean()
        weights, *_ = np.linalg.lstsq(x, y, rcond=None)
        return np.var(y - x @ weights) / np.var(y)

    assert unexplained(queries.initial_score) < 1e-6
    assert 0.4 < unexplained(queries.grade) < 0.8


def test_other_examples_are_of_the_same_task():
    first, second = made(), made(seed=2)
    assert (first.features != second.features).all()
    weights, *_ = np.linalg.lstsq(first.features.reshape(-1, 20), first.initial_score.ravel(), rcond=None)
    np.testing.assert_allclose(second.features @ weights, second.initial_score, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_features": 3}, "needs at least 1 document, 4 features"),
        ({"num_documents": 0}, "needs at least 1 document"),
        ({"initial_quality": 1.5}, r"initial_quality must be in \[0, 1\]"),
        ({"noise": -1.0}, "noise at least 0"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(options, message):
    with pytest.raises(ValueError, match=message):
        ranking_queries(TASK, TASK, 3, **options)
