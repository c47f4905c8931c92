import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import core
from jaxlab.core import MASKED_LOGIT, PrototypeBank, bank_init, exchange
from tests.core.compiled import (
    bank_update,
    class_means,
    grad,
    masked_softmax,
    normalize,
    prototype_logits,
    value_and_grad,
)

FEATURES = np.array([[1.0, 0.0], [3.0, 2.0], [5.0, -1.0], [0.0, 4.0], [7.0, 7.0]], np.float32)
LABELS = np.array([0, 0, 2, -1, 2])


def test_class_means_by_hand():
    # Class 0: rows 0, 1; class 1: none; class 2: rows 2, 4; row 3 is unlabelled.
    means, mass = class_means(FEATURES, LABELS, num_classes=3)
    np.testing.assert_allclose(means, [[2, 1], [0, 0], [6, 3]], rtol=1e-6)
    np.testing.assert_array_equal(mass, [2, 0, 2])
    assert means.dtype == mass.dtype == jnp.float32


def test_class_means_are_weighted():
    weights = np.array([1.0, 3.0, 0.5, 9.0, 0.0])
    means, mass = class_means(FEATURES, LABELS, num_classes=3, weights=weights)
    np.testing.assert_allclose(means, [[2.5, 1.5], [0, 0], [5, -1]], rtol=1e-6)
    np.testing.assert_array_equal(mass, [4, 0, 0.5])


@pytest.mark.parametrize("outside", [-1, -100, 3, 1000])
def test_masked_rows_and_foreign_labels_are_dropped_rows(outside):
    keep = np.array([0, 2])
    where = np.isin(np.arange(5), keep)
    features = np.where(where[:, None], FEATURES, np.nan)
    weights = np.where(where, 2.0, np.nan)
    expected = class_means(FEATURES[keep], LABELS[keep], num_classes=3, weights=np.full(2, 2.0))
    by_mask = class_means(features, LABELS, num_classes=3, weights=weights, where=where)
    by_label = class_means(features, np.where(where, LABELS, outside), num_classes=3, weights=weights)
    chex.assert_trees_all_equal((by_mask, by_label), (expected, expected))

    def total(features, weights):
        means, mass = class_means(features, LABELS, num_classes=3, weights=weights, where=where)
        return jnp.sum(jnp.sin(means)) + jnp.sum(mass)

    for gradient in grad(total, argnums=(0, 1))(features, weights):
        assert np.all(np.isfinite(gradient))
        assert not np.any(gradient[~where])
        assert np.any(gradient[where])


def test_a_nan_feature_stays_in_its_class():
    features = FEATURES.copy()
    features[0, 1] = np.nan
    means, _ = class_means(features, LABELS, num_classes=3)
    np.testing.assert_array_equal(np.isnan(means), [[False, True], [False, False], [False, False]])


@pytest.mark.parametrize("labels", [np.full(5, -1), np.zeros(5, int)])
def test_no_class_or_one_class(labels):
    means, mass = class_means(FEATURES, labels, num_classes=2)
    assert np.all(np.isfinite(means))
    assert mass.sum() == (labels >= 0).sum()
    assert not np.any(means[1])
    gradient = grad(lambda f: class_means(f, labels, num_classes=2)[0].sum())(FEATURES)
    assert np.all(np.isfinite(gradient))


def test_an_empty_batch_and_no_mass():
    means, mass = class_means(jnp.zeros((0, 2)), jnp.zeros(0, int), num_classes=3)
    assert means.shape == (3, 2)
    assert not np.any(means)
    assert not np.any(mass)
    zero = lambda w: class_means(FEATURES, LABELS, num_classes=3, weights=w)[0].sum()
    assert np.all(np.isfinite(grad(zero)(jnp.zeros(5))))


def test_bank_by_hand():
    bank = PrototypeBank(jnp.array([[4.0], [0.0], [6.0], [0.0]]), jnp.array([2.0, 0.0, 1.0, 0.0]))
    # Known and seen: 0.75 * 4 + 0.25 * 8; new: taken outright; known and unseen: kept; unknown and unseen: still so.
    new = bank_update(
        bank, jnp.array([[8.0], [3.0], [0.0], [0.0]]), jnp.array([5.0, 2.0, 0.0, 0.0]), decay=0.75
    )
    np.testing.assert_allclose(new.mean[:, 0], [5.0, 3.0, 6.0, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(new.mass, [7.0, 2.0, 1.0, 0.0])


def test_no_gradient_passes_through_the_bank():
    def through(means, mean):
        return bank_update(PrototypeBank(mean, jnp.ones(2)), means, jnp.ones(2), decay=0.5).mean.sum()

    for gradient in grad(through, argnums=(0, 1))(jnp.ones((2, 3)), jnp.ones((2, 3))):
        np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_the_bank_scans_and_keeps_its_types():
    bank = bank_init(3, 2, dtype=jnp.bfloat16)
    assert bank.mean.dtype == jnp.float32
    batches = jnp.stack([FEATURES, 2 * FEATURES]).astype(jnp.bfloat16)
    step = lambda bank, f: (bank_update(bank, *class_means(f, LABELS, num_classes=3), decay=0.5), None)
    scanned, _ = jax.lax.scan(step, bank, batches)
    np.testing.assert_allclose(scanned.mean, [[3.0, 1.5], [0, 0], [9.0, 4.5]])
    assert jax.tree.map(jnp.result_type, scanned) == jax.tree.map(jnp.result_type, bank)


def test_bank_errors():
    bank = bank_init(2, 3)
    with pytest.raises(
        ValueError, match=r"means \(3, 3\) and mass \(2,\) must have the bank's shapes \(2, 3\)"
    ):
        bank_update(bank, jnp.zeros((3, 3)), jnp.zeros(2), decay=0.9)
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got 1.1"):
        core.bank_update(bank, bank.mean, bank.mass, decay=1.1)


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [1e-4, 0.0], [1e4, -1e4]], np.float32)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(normalize(x), [[0.6, 0.8], [0, 0], [1, 0], [half, -half]], rtol=1e-6)
    np.testing.assert_allclose(normalize(x.T, axis=0), normalize(x).T, rtol=1e-6)
    # d (x / |x|)_0 / d x = (1 - u_0^2, -u_0 u_1) / |x| with u = (0.6, 0.8).
    gradient = grad(lambda x: normalize(x)[0])(x[0])
    np.testing.assert_allclose(gradient, [0.64 / 5, -0.48 / 5], rtol=1e-5)


@pytest.mark.parametrize("x", [np.zeros(3), np.full(3, 1e-13), np.full(3, 1e-30)])
def test_a_vector_without_direction_has_gradient_zero(x):
    x = jnp.asarray(x, jnp.float32)
    np.testing.assert_array_equal(normalize(x), np.zeros(3))
    np.testing.assert_array_equal(jax.jacrev(normalize)(x), np.zeros((3, 3)))


def test_a_float16_vector_of_subnormals_has_no_direction():
    # Its gradient, about 1 / |x| = 5e6, would be infinite in float16.
    x = jnp.array([[1e-7, -1e-7], [1e-3, -1e-3]], jnp.float16)
    value, gradient = value_and_grad(lambda x: normalize(x)[:, 0].sum())(x)
    np.testing.assert_allclose(value, np.sqrt(0.5), rtol=1e-3)
    assert not np.any(gradient[0])
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient[1])


def test_normalize_lets_nan_through():
    assert np.all(np.isnan(normalize(jnp.array([[jnp.nan, 1.0], [1.0, 1.0]]))[0]))
    assert np.all(np.isfinite(normalize(jnp.array([[jnp.nan, 1.0], [1.0, 1.0]]))[1]))


def test_prototype_logits_by_hand():
    # cos((3, 4), (1, 0)) = 0.6, cos((3, 4), (0, -2)) = -0.8, over 0.1.
    out = prototype_logits(jnp.array([3.0, 4.0]), jnp.array([[1.0, 0.0], [0.0, -2.0]]))
    np.testing.assert_allclose(out, [6.0, -8.0], rtol=1e-5)
    many = prototype_logits(jnp.ones((2, 5, 3)), jnp.ones((4, 3)), temperature=0.5)
    np.testing.assert_allclose(many, np.full((2, 5, 4), 2.0), rtol=1e-6)


def test_unseen_classes_get_no_probability():
    prototypes = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    seen = jnp.array([True, False, True])
    out = prototype_logits(FEATURES, prototypes, classes=seen)
    np.testing.assert_array_equal(out[:, 1], np.full(5, np.float32(MASKED_LOGIT)))
    np.testing.assert_allclose(
        jax.nn.softmax(out)[:, ::2], masked_softmax(prototype_logits(FEATURES, prototypes[::2])), rtol=1e-5
    )
    assert not np.any(jax.nn.softmax(out)[:, 1])
    nothing_seen = lambda p: jax.nn.log_softmax(
        prototype_logits(FEATURES, p, classes=jnp.zeros(3, bool))
    ).sum()
    value, gradient = value_and_grad(nothing_seen)(prototypes)
    assert np.isfinite(value)
    assert not np.any(gradient)


def test_a_nan_in_an_unseen_prototype_does_not_leak():
    prototypes = jnp.array([[1.0, 0.0], [jnp.nan, 0.0]])
    loss = lambda f, p: prototype_logits(f, p, classes=jnp.array([1, 0]))[:, 0].sum()
    value, gradients = value_and_grad(loss, argnums=(0, 1))(FEATURES, prototypes)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradients[0]))
    assert np.all(np.isfinite(gradients[1]))


def test_gradient_reaches_features_and_prototypes():
    loss = lambda f, p: jnp.square(prototype_logits(f, p)).sum()
    for gradient in grad(loss, argnums=(0, 1))(FEATURES, FEATURES[:3] + 1.0):
        assert np.all(np.any(gradient != 0, axis=1))


def test_exchange_carries_each_bank_into_the_other_space():
    a, b = jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[1.0, 0.0, 1.0], [2.0, 2.0, 2.0]])
    to_b = jnp.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    a_in_b, b_in_a = exchange(a, b, to_b, lambda x: x[:, :2] * 10.0)
    np.testing.assert_array_equal(a_in_b, [[1, 6, 2], [0, 0, 0]])  # an unseen class stays at zero
    np.testing.assert_array_equal(b_in_a, [[10, 0], [20, 20]])
    gradients = grad(lambda *args: sum(x.sum() for x in exchange(*args)), argnums=(0, 1, 2, 3))(
        a, b, to_b, to_b.T
    )
    assert all(np.any(g != 0) for g in gradients)
    np.testing.assert_allclose(gradients[2], np.outer(a.sum(0), np.ones(3)))


def test_errors_name_the_shapes():
    with pytest.raises(ValueError, match=r"features \(5, 2\) must be \[N, D\] and labels \(4,\) \[N\]"):
        class_means(FEATURES, LABELS[:4], num_classes=3)
    with pytest.raises(ValueError, match=r"weights \(5, 1\) must have the shape of labels \(5,\)"):
        class_means(FEATURES, LABELS, num_classes=3, weights=np.ones((5, 1)))
    with pytest.raises(ValueError, match="labels must be integers, class indices, got float32"):
        class_means(FEATURES, LABELS.astype(np.float32), num_classes=3)
    with pytest.raises(ValueError, match=r"where \(3,\) must broadcast to the array it masks, \(5,\)"):
        class_means(FEATURES, LABELS, num_classes=3, where=np.ones(3))
    with pytest.raises(
        ValueError, match=r"features \(5, 2\) must be \[..., D\] and prototypes \(4, 3\) \[C, D\]"
    ):
        prototype_logits(FEATURES, jnp.ones((4, 3)))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        core.prototype_logits(FEATURES, FEATURES, temperature=0)
    with pytest.raises(
        ValueError, match=r"prototypes \(5, 2\) must be \[C, D\], projection \(3, 2\) \[D, E\]"
    ):
        exchange(FEATURES, FEATURES, jnp.ones((3, 2)), jnp.ones((2, 2)))
    with pytest.raises(ValueError, match=r"projected prototypes \(5, 3\) and \(5, 2\) must have the shapes"):
        exchange(FEATURES, FEATURES, jnp.ones((2, 3)), jnp.ones((2, 2)))


def test_a_nan_in_a_masked_row_does_not_leak():
    features = jnp.array([[jnp.nan, 1.0], [1.0, 2.0]])
    loss = lambda f, p: prototype_logits(f, p, classes=jnp.array([[0], [1]]))[1].sum()
    value, gradients = value_and_grad(loss, argnums=(0, 1))(features, FEATURES)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradients[1]))
    assert not np.any(gradients[0][0])
    assert np.any(gradients[0][1])
