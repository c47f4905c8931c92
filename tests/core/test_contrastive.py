"""Contrastive losses: by hand and by a loop in numpy, what changes nothing, masks, extremes, devices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import multi_positive_cross_entropy, nt_xent, supcon_loss

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 6, 4)).astype(np.float32)
LABELS = np.array([0, 2, 0, 2, 2, 5])
WHERE = np.array([1, 1, 0, 1, 1, 1], bool)
STATIC = ("temperature", "base_temperature", "self_pairs")
supcon = jax.jit(supcon_loss, static_argnames=STATIC)
pairs = jax.jit(nt_xent, static_argnames="temperature")
several = jax.jit(multi_positive_cross_entropy, static_argnames="positives_compete")
several_grad = jax.jit(
    jax.grad(lambda *a, **k: jnp.sum(multi_positive_cross_entropy(*a, **k))),
    static_argnames="positives_compete",
)
supcon_grad = jax.jit(jax.grad(lambda *a, **k: jnp.sum(supcon_loss(*a, **k))), static_argnames=STATIC)
pairs_grad = jax.jit(jax.grad(lambda *a, **k: jnp.sum(nt_xent(*a, **k)), argnums=(0, 1)))


def _supcon_by_loop(x, labels, *, temperature, self_pairs):
    u = x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True)
    s, losses = u @ u.T / temperature, []
    for i, label in enumerate(labels):
        all_j = [j for j in range(len(labels)) if self_pairs or j != i]
        log_sum = np.log(sum(np.exp(s[i, j]) for j in all_j))
        terms = [log_sum - s[i, p] for p in all_j if labels[p] == label]
        losses.append(np.mean(terms) if terms else 0.0)
    return np.array(losses)


@pytest.mark.parametrize("self_pairs", [False, True])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_supervised_contrast_is_the_loop(temperature, self_pairs):
    options = {"temperature": temperature, "self_pairs": self_pairs}
    got = supcon(X, LABELS, **options)
    np.testing.assert_allclose(got, _supcon_by_loop(X, LABELS, **options), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        supcon(7 * X, LABELS, **options), got, rtol=1e-4, atol=1e-6
    )  # lengths say nothing
    order = np.array([3, 0, 5, 1, 2, 4])
    np.testing.assert_allclose(supcon(X[order], LABELS[order], **options), got[order], rtol=1e-4, atol=1e-6)
    scaled = supcon(X, LABELS, base_temperature=0.05, **options)
    np.testing.assert_allclose(scaled, got * temperature / 0.05, rtol=1e-5)


def test_two_views_are_supervised_contrast_with_one_class_an_example():
    got = pairs(X, Y, temperature=0.2)
    rows = supcon(np.concatenate([X, Y]), np.tile(np.arange(6), 2), temperature=0.2)
    np.testing.assert_allclose(got, rows.reshape(2, 6).mean(0), rtol=1e-5)
    np.testing.assert_allclose(pairs(Y, X, temperature=0.2), got, rtol=1e-5)
    # Both anchors of orthogonal examples: e against 2 others at 1.
    np.testing.assert_allclose(pairs(np.eye(2), np.eye(2), temperature=1.0), np.log(1 + 2 / np.e), rtol=1e-6)


def test_several_positives_by_hand():
    logits = np.log(np.array([[1.0, 3.0, 4.0, 100.0]], np.float32))
    positives, negatives = np.array([[1, 1, 0, 0]]), np.array([[0, 0, 1, 0]])
    together = several(logits, positives, negatives)
    np.testing.assert_allclose(together, -(np.log(1 / 8) + np.log(3 / 8)) / 2, rtol=1e-6)
    alone = several(logits, positives, negatives, positives_compete=False)
    np.testing.assert_allclose(alone, -(np.log(1 / 5) + np.log(3 / 7)) / 2, rtol=1e-6)
    one = np.array([[0, 1, 0, 0]])  # a single positive: both are the cross-entropy
    for compete in (True, False):
        np.testing.assert_allclose(
            several(logits, one, negatives, positives_compete=compete), -np.log(3 / 7), rtol=1e-6
        )
        assert several(logits, 0 * positives, negatives, positives_compete=compete) == 0  # no positive
        assert several(logits, one, 0 * one, positives_compete=compete) == 0  # nothing to tell it from
        np.testing.assert_allclose(  # both positive and negative: positive
            several(logits, one, one | negatives, positives_compete=compete), -np.log(3 / 7), rtol=1e-6
        )


def test_rows_that_do_not_count_are_dropped():
    spoiled = np.where(WHERE[:, None], X, np.nan)
    got = supcon(spoiled, LABELS, where=WHERE)
    np.testing.assert_allclose(got[WHERE], supcon(X[WHERE], LABELS[WHERE]), rtol=1e-5, atol=1e-6)
    ignored = supcon(spoiled, np.where(WHERE, LABELS, -1))
    np.testing.assert_array_equal(ignored, got)
    two = pairs(spoiled, Y, where=WHERE)
    np.testing.assert_allclose(two[WHERE], pairs(X[WHERE], Y[WHERE]), rtol=1e-5)
    assert np.abs(got[~WHERE]).max() == 0 == np.abs(two[~WHERE]).max()
    assert np.isfinite(supcon_grad(spoiled, LABELS, where=WHERE)[WHERE]).all()
    assert all(np.isfinite(g[WHERE]).all() for g in pairs_grad(spoiled, Y, where=WHERE))
    assert np.abs(supcon(X, LABELS, where=np.zeros(6))).max() == 0
    assert np.isnan(supcon(np.where(np.arange(6)[:, None] == 2, np.nan, X), LABELS)).any()


def test_rows_without_a_partner_cost_nothing_and_equal_rows_the_logarithm_of_their_number():
    assert np.abs(supcon(X, np.arange(6))).max() == 0
    assert np.abs(pairs(X[:1], Y[:1])).max() == 0
    np.testing.assert_allclose(supcon(np.ones((6, 4), np.float32), np.zeros(6, int)), np.log(5), rtol=1e-6)
    assert np.isfinite(supcon_grad(np.zeros((6, 4), np.float32), LABELS)).all()


def test_anchors_in_chunks_are_all_at_once():
    """Twelve anchors divide by four, six rows do not."""
    spoiled = np.where(WHERE[:, None], X, np.nan)
    weights = np.linspace(1, 2, 6, dtype=np.float32)

    def total(x, y, chunk):
        pairs = nt_xent(x, y, temperature=0.2, chunk=chunk, where=WHERE)
        rows = supcon_loss(x, LABELS, temperature=0.2, chunk=chunk, where=WHERE)
        return weights @ (pairs + rows), (pairs, rows)

    made = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True), static_argnums=2)
    got, expected = made(spoiled, Y, 4), made(spoiled, Y, None)
    chex.assert_trees_all_close(got, expected, rtol=2e-5, atol=1e-6)


def test_no_chunk_is_empty():
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        nt_xent(X, Y, chunk=0)


@pytest.mark.parametrize("compete", [True, False])
def test_extreme_logits_are_finite(compete):
    logits = np.array([[1e4, -1e4, 1e4], [-1e4, 1e4, -1e4]], np.float32)
    masks = np.array([[1, 1, 0]] * 2), np.array([[0, 0, 1]] * 2)
    value, gradient = (
        several(logits, *masks, positives_compete=compete),
        several_grad(logits, *masks, positives_compete=compete),
    )
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    # The first row's second positive is 2e4 below; all else is at most log 2.
    np.testing.assert_allclose(value[0], 1e4, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nt_xent(X, Y[:3]), r"x \(6, 4\) and y \(3, 4\) must have the same shape \[N, D\]"),
        (lambda: supcon_loss(X, LABELS[:3]), r"features \(6, 4\) must be \[N, D\] and labels \(3,\) \[N\]"),
        (lambda: supcon_loss(X, X[:, 0]), "labels must be integers"),
        (lambda: supcon_loss(X, LABELS, temperature=0.0), "temperature must be positive, got 0.0"),
        (lambda: supcon_loss(X, LABELS, base_temperature=-1.0), "base_temperature must be positive"),
        (
            lambda: supcon_loss(X, LABELS, where=WHERE[:2]),
            r"where \(2,\) must broadcast to the rows of features",
        ),
        (
            lambda: multi_positive_cross_entropy(X, WHERE, X > 0),
            r"positives has shape \(6,\): it must have the 2 axes of the logits",
        ),
        (lambda: multi_positive_cross_entropy(X, X, X > 0), "positives must be bool or hold 0 and 1"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
