"""The softmax loss, its weighted form and the two losses of dual learning. rax is no dependency: its values are worked
out by hand, and optax has the same softmax loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from jaxlab.ranking import softmax_loss
from jaxlab.ranking.dla import dla_losses, relative_weights, weighted_list_loss

SCORES = 2 * jax.random.normal(jax.random.key(0), (6, 5))
CLICKS = (jax.random.uniform(jax.random.key(1), (6, 5)) < 0.4).astype(jnp.float32).at[0].set(0.0)
LOGITS = -jnp.arange(5.0) / 2
WHERE = jax.random.uniform(jax.random.key(2), (6, 5)) < 0.7
WHERE = WHERE.at[1].set(False)

WEIGHTED = jax.jit(jax.value_and_grad(weighted_list_loss))


def both(scores, logits, clicks, where=None):
    """The two losses, and the gradients of their sum."""
    total = lambda scores, logits: (lambda x: (x.ranker + x.propensity, x))(
        dla_losses(scores, logits, clicks, where=where)
    )
    gradients, losses = jax.grad(total, argnums=(0, 1), has_aux=True)(scores, logits)
    return losses, gradients


BOTH = jax.jit(both)


def test_softmax_loss_by_hand():
    # Scores (log 2, 0, 0): probabilities 1/2, 1/4, 1/4. Labels (1, 0, 2): log 2 + 2 log 4 = 3.465736.
    scores, labels = jnp.array([np.log(2.0), 0.0, 0.0]), jnp.array([1.0, 0.0, 2.0])
    np.testing.assert_allclose(softmax_loss(scores, labels), 5 * np.log(2), rtol=1e-6)
    # Without the second document 2/3 and 1/3; weights (1, 9, 1/2): log 3/2 + log 3 = log 4.5.
    got = softmax_loss(scores, labels, where=jnp.array([1, 0, 1]), weights=jnp.array([1.0, 9.0, 0.5]))
    np.testing.assert_allclose(got, np.log(4.5), rtol=1e-6)


def test_softmax_loss_is_that_of_optax():
    ours = lambda s: softmax_loss(s, CLICKS, where=WHERE, weights=jnp.exp(LOGITS)).sum()
    theirs = lambda s: optax.losses.ranking_softmax_loss(
        s, CLICKS, where=WHERE, weights=jnp.broadcast_to(jnp.exp(LOGITS), CLICKS.shape), reduce_fn=jnp.sum
    )
    value, gradient = jax.value_and_grad(ours)(SCORES)
    np.testing.assert_allclose(value, theirs(SCORES), rtol=1e-5)
    np.testing.assert_allclose(gradient, jax.grad(theirs)(SCORES), rtol=1e-5, atol=1e-6)


def test_lists_that_weigh_more_count_for_more():
    # Lists of two with scores 0: log 2 each whatever the weights, as the sums are divided.
    clicks = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    value, _ = WEIGHTED(jnp.zeros((2, 2)), clicks, weights=jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    # With scores (log 3, 0) for both: costs log 4/3 and log 4, weights 1 and 3: (log 4/3 + 3 log 4) / 4.
    scores = jnp.array([[np.log(3.0), 0.0]] * 2)
    value, gradient = WEIGHTED(scores, clicks, weights=jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(value, (np.log(4 / 3) + 3 * np.log(4)) / 4, rtol=1e-6)
    # d/ds = W_b (p - onehot) / 4: 1/4 (-1/4, 1/4) and 3/4 (3/4, -3/4).
    np.testing.assert_allclose(gradient, [[-0.0625, 0.0625], [0.5625, -0.5625]], rtol=1e-5)


def test_a_batch_without_clicks_costs_nothing_and_such_a_list_changes_nothing():
    value, gradient = WEIGHTED(SCORES, jnp.zeros_like(CLICKS))
    assert value == 0
    assert not gradient.any()
    with_empty, _ = WEIGHTED(SCORES, CLICKS)  # the first list has no click
    np.testing.assert_allclose(with_empty, weighted_list_loss(SCORES[1:], CLICKS[1:]), rtol=1e-6)


def test_the_successors_epsilon_is_a_change_of_the_clicks():
    clicks = jnp.array([[1.0, 0.0]])
    scores = jnp.array([[np.log(3.0), 0.0]])
    # ((1 + 1e-7) log 4/3 + 1e-7 log 4) / (1 + 2e-7), the same to five digits.
    np.testing.assert_allclose(weighted_list_loss(scores, clicks + 1e-7), np.log(4 / 3), rtol=1e-5)


def test_relative_weights_are_ratios_to_the_first_position_with_a_cap():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.125, 0.001], [0.1, 0.2, 0.4, 0.3]]))
    np.testing.assert_allclose(
        relative_weights(logits, max_weight=10.0), [[1, 2, 4, 10], [1, 0.5, 0.25, 1 / 3]], rtol=1e-5
    )
    np.testing.assert_allclose(relative_weights(logits, max_weight=None)[0, 3], 500, rtol=1e-5)
    traced = jax.jit(lambda cap: relative_weights(logits, max_weight=cap))(10.0)
    np.testing.assert_allclose(traced, relative_weights(logits, max_weight=10.0), rtol=1e-6)
    np.testing.assert_allclose(relative_weights(logits + 7), relative_weights(logits), rtol=1e-5)
    assert not jax.grad(lambda x: relative_weights(x).sum())(logits).any()
    # Without the first document the second takes its part.
    masked = relative_weights(logits, where=jnp.array([[0, 1, 1, 1]]))
    np.testing.assert_allclose(masked[1], [0, 1, 0.5, 2 / 3], rtol=1e-5)


def test_dual_losses_by_hand():
    # One click on the second of two. Scores (log 4, 0): P = 4/5, 1/5. Propensities 2/3, 1/3.
    scores, logits = jnp.array([[np.log(4.0), 0.0]]), jnp.array([np.log(2.0), 0.0])
    losses, (to_ranker, to_propensity) = BOTH(scores, logits, jnp.array([[0.0, 1.0]]))
    # One list: its weight cancels. -log 1/5 and -log 1/3.
    np.testing.assert_allclose(losses, [np.log(5), np.log(3)], rtol=1e-6)
    np.testing.assert_allclose(to_ranker, [[0.8, -0.8]], rtol=1e-6)
    np.testing.assert_allclose(to_propensity, [2 / 3, -2 / 3], rtol=1e-6)


def test_each_half_of_the_dual_loss_has_the_others_weights_and_no_gradient_for_the_other():
    losses, (to_ranker, to_propensity) = BOTH(SCORES, LOGITS, CLICKS)
    logits = jnp.broadcast_to(LOGITS, SCORES.shape)
    ranker, own = WEIGHTED(SCORES, CLICKS, weights=relative_weights(logits))
    np.testing.assert_allclose(losses.ranker, ranker, rtol=1e-6)
    np.testing.assert_allclose(to_ranker, own, rtol=1e-5, atol=1e-7)
    propensity, own = WEIGHTED(logits, CLICKS, weights=relative_weights(SCORES))
    np.testing.assert_allclose(losses.propensity, propensity, rtol=1e-6)
    # One number per position: its gradient is the sum over lists.
    np.testing.assert_allclose(to_propensity, own.sum(0), rtol=1e-5, atol=1e-7)


def test_true_curves_are_where_the_dual_losses_are_stationary():
    # Two documents with relevance 0.8 and 0.4, two positions with examination 0.9 and 0.3, every document at every
    # position equally often: expected clicks, at P and E proportional to the truth, leave both models as they are.
    relevance = jnp.array([[0.8, 0.4], [0.4, 0.8]])
    examination = jnp.array([0.9, 0.3])
    _, (to_ranker, to_propensity) = BOTH(jnp.log(relevance), jnp.log(examination), relevance * examination)
    np.testing.assert_allclose(to_ranker, 0.0, atol=1e-6)
    np.testing.assert_allclose(to_propensity, 0.0, atol=1e-6)
    _, (_, biased) = BOTH(jnp.log(relevance), jnp.zeros(2), relevance * examination)
    assert np.abs(biased).max() > 0.05


def test_masked_documents_are_dropped_ones_and_nan_behind_the_mask_stays_there():
    where = jnp.array([[1, 0, 1, 1, 0]])
    kept = jnp.array([0, 2, 3])
    expected, (own, _) = BOTH(SCORES[:, kept], LOGITS[kept], CLICKS[:, kept])
    dirty = jnp.where(where, SCORES, jnp.nan)
    got, (gradient, _) = BOTH(dirty, LOGITS, CLICKS, where)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient[:, kept], own, rtol=1e-5, atol=1e-7)
    assert np.isfinite(gradient).all()
    assert np.isnan(BOTH(SCORES.at[2, 0].set(jnp.nan), LOGITS, jnp.ones_like(CLICKS), where)[0].ranker)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_scores_are_finite(size):
    scores = jnp.array([[size, 0.0, -size]])
    losses, gradients = BOTH(scores, scores[0], jnp.array([[0.0, 1.0, 1.0]]))
    assert np.isfinite(losses).all()
    assert all(np.isfinite(g).all() for g in gradients)


def test_narrow_scores_give_float32_and_gradients_agree_with_finite_differences():
    assert weighted_list_loss(SCORES.astype(jnp.bfloat16), CLICKS).dtype == jnp.float32
    with jax.enable_x64(True):
        scores, clicks = np.float64(SCORES), np.float64(CLICKS)
        loss = lambda s: weighted_list_loss(s, clicks, weights=np.arange(1.0, 6.0), where=np.asarray(WHERE))
        assert loss(scores).dtype == np.float64
        check_grads(loss, (jnp.asarray(scores),), order=1, modes=["rev"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: softmax_loss(SCORES, CLICKS[:2]), r"scores \(6, 5\) and labels \(2, 5\)"),
        (lambda: softmax_loss(SCORES, CLICKS, weights=jnp.ones(3)), r"weights \(3,\) must broadcast"),
        (
            lambda: softmax_loss(SCORES, CLICKS, where=jnp.ones(3)),
            r"where has shape \(3,\): it must have the 2 axes",
        ),
        (lambda: dla_losses(SCORES, jnp.zeros(4), CLICKS), r"propensity_logits \(4,\) must broadcast"),
        (lambda: dla_losses(SCORES, LOGITS, CLICKS[0]), r"scores \(6, 5\) and clicks \(5,\)"),
        (lambda: relative_weights(SCORES, max_weight=0.5), "max_weight must be at least 1, got 0.5"),
        (lambda: relative_weights(jnp.float32(0)), r"must have shape \[..., L\]"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_gradients_flow_into_the_scores_alone():
    weights = jnp.full(SCORES.shape, 2.0)
    loss = lambda scores, clicks, weights: weighted_list_loss(scores, clicks, weights=weights)
    scores, *others = jax.grad(loss, argnums=(0, 1, 2))(SCORES, jnp.asarray(CLICKS, jnp.float32), weights)
    assert np.any(scores)
    assert not any(np.any(gradient) for gradient in others)
