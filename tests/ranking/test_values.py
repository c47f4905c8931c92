"""Grades of any size, NaN that comes out, and numbers that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import metrics
from jaxlab import ranking as r
from jaxlab.ranking import dla

NAN = np.nan
SCORES = np.array([3.0, 1.0, 2.0], np.float32)


@pytest.mark.parametrize("highest", [4, 100, 127, 200, 10_000])
def test_high_grades_do_not_overflow(highest):
    # Best first but for the last two: only differences of high grades matter. Gains 1, 1/2, 1/4 of the best.
    labels = np.array([highest, highest - 2, highest - 1])
    small = 2.0**-highest
    gain = np.array([1, 0.25, 0.5]) - small
    discount = 1 / np.log2([2, 4, 3])
    expected = (gain * discount).sum() / (np.sort(gain)[::-1] / np.log2([2, 3, 4])).sum()
    np.testing.assert_allclose(metrics.ndcg_at_k(np.array([3.0, 1.0, 2.0]), labels), expected, rtol=1e-5)
    np.testing.assert_allclose(metrics.ndcg_at_k(SCORES, np.zeros(3)), 0)
    chances = r.click_probability(np.array([0, highest]), max_grade=highest)
    np.testing.assert_allclose(chances, [0.1, 1.0], rtol=1e-5)


def test_a_nan_grade_is_no_grade():
    for metric in (metrics.ndcg_at_k, metrics.mrr):
        assert np.isnan(metric(SCORES, np.array([1.0, NAN, 0.0])))
        assert np.isfinite(metric(SCORES, np.array([1.0, NAN, 0.0]), where=[1, 0, 1]))


def test_clicks_on_a_nan_are_nan():
    key, p = jax.random.key(0), np.array([0.5, NAN, 0.5], np.float32)
    assert np.isnan(r.sample_clicks(key, p, np.ones(3))).tolist() == [False, True, False]
    assert np.isnan(r.sample_clicks(key, np.ones(3), p)).tolist() == [False, True, False]
    assert np.isnan(r.sample_cascade_clicks(key, p)).tolist() == [False, True, True]
    assert np.isfinite(r.sample_cascade_clicks(key, p, where=[1, 0, 1])).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: r.click_probability(np.array([0.0, 5.0])), r"grades must be in \[0, 4\], got 5.0"),
        (
            lambda: r.click_probability(np.array([1.0]), noise=0.5, positive=0.2),
            "0 <= noise <= positive <= 1, got",
        ),
        (
            lambda: r.sample_clicks(jax.random.key(0), SCORES, np.ones(3)),
            "probabilities must be probabilities",
        ),
        (lambda: r.sample_clicks(jax.random.key(0), np.ones(3), SCORES), "examination must be probabilities"),
        (lambda: r.sample_cascade_clicks(jax.random.key(0), SCORES), "probabilities must be probabilities"),
        (lambda: r.cascade_examination(SCORES), "probabilities must be probabilities"),
        (lambda: r.trust_bias_click_probability(SCORES), "relevance must be probabilities"),
        (lambda: r.trust_bias_click_probability(np.ones(3), doubt=0.5), "doubt times L"),
        (lambda: r.softmax_loss(SCORES, np.ones(3), where=np.array([0.2, 1, 1])), "where must be bool"),
        (lambda: r.position_bias_examination(3, eta=np.float32(-1)), "eta must be at least 0"),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)


def test_lists_and_traced_numbers():
    np.testing.assert_allclose(metrics.mrr([3.0, 2.0], [0, 1]), 0.5)
    weights = jax.jit(
        lambda cap: dla.relative_weights(jnp.log(jnp.array([0.8, 0.4, 0.001])), max_weight=cap)
    )(100.0)
    np.testing.assert_allclose(weights, [1, 2, 100], rtol=1e-5)
    chance = jax.jit(lambda noise: r.click_probability(np.arange(5), noise=noise))(0.1)
    np.testing.assert_allclose(chance, r.click_probability(np.arange(5)), rtol=1e-6)
