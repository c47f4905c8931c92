import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from jaxlab.metrics import mrr, ndcg_at_k

SCORES = jax.random.normal(jax.random.key(0), (8, 6))
GRADES = jax.random.randint(jax.random.key(1), (8, 6), 0, 5)


@pytest.mark.parametrize("k", [1, 3, None])
def test_ndcg_is_that_of_scikit_learn_with_exponential_gains(k):
    expected = [ndcg_score([2.0**g - 1], [s], k=k) for g, s in zip(np.asarray(GRADES), np.asarray(SCORES))]
    np.testing.assert_allclose(ndcg_at_k(SCORES, GRADES, k=k), expected, rtol=1e-5)


def test_ndcg_by_hand():
    # Order by score: grades 1, 0, 2, gains 1, 0, 3. DCG = 1 + 3 / log2 4 = 2.5; best 3 + 1 / log2 3 = 3.630930.
    scores, grades = jnp.array([0.1, 0.9, 0.5]), jnp.array([2, 1, 0])
    np.testing.assert_allclose(ndcg_at_k(scores, grades), 2.5 / 3.630930, rtol=1e-6)
    # The first alone: 1 of 3.
    np.testing.assert_allclose(ndcg_at_k(scores, grades, k=1), 1 / 3, rtol=1e-6)


def test_reciprocal_rank_by_hand():
    scores = jnp.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    labels = jnp.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(mrr(scores, labels), [1 / 2, 1 / 3, 0.0], rtol=1e-6)
    assert mrr(scores, labels, k=2).tolist() == [0.5, 0.0, 0.0]


def test_equal_scores_keep_the_order_of_the_documents():
    assert mrr(jnp.zeros(3), jnp.array([0, 1, 0])).item() == 0.5


@pytest.mark.parametrize("metric", [ndcg_at_k, mrr])
def test_metrics_ignore_what_does_not_exist(metric):
    where = jnp.array([[1, 1, 0, 1, 0, 1]])
    kept = jnp.array([0, 1, 3, 5])
    got = metric(jnp.where(where, SCORES, jnp.nan), jnp.where(where, GRADES, 4), k=2, where=where)
    np.testing.assert_allclose(got, metric(SCORES[:, kept], GRADES[:, kept], k=2), rtol=1e-6)
    assert not metric(SCORES, GRADES, where=jnp.zeros((1, 6))).any()
    assert np.isnan(metric(SCORES.at[0, 0].set(jnp.nan), GRADES)).tolist() == [True] + [False] * 7


@pytest.mark.parametrize("metric", [ndcg_at_k, mrr])
def test_metrics_depend_on_the_order_alone_and_have_no_gradient(metric):
    np.testing.assert_allclose(metric(jnp.exp(3 * SCORES), GRADES), metric(SCORES, GRADES), rtol=1e-6)
    assert not jax.grad(lambda s: metric(s, GRADES).sum())(SCORES).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ndcg_at_k(SCORES, GRADES[:2]), r"scores \(8, 6\) and labels \(2, 6\)"),
        (lambda: ndcg_at_k(SCORES, GRADES, k=0), "k is 0: it must be at least 1"),
        (lambda: mrr(jnp.float32(0), jnp.float32(0)), r"must have the same shape \[..., L\]"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
