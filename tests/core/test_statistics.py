import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from tests.core.compiled import (
    accuracy,
    cosine_similarity,
    expected_calibration_error,
    grad,
    masked_mean,
    masked_softmax,
    pearson,
    top_k_accuracy,
    value_and_grad,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "core.npz")
LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 5.0], [4.0, 2.0, 3.0]], np.float32)
LABELS = np.array([0, 2, 2, 1])
BATCH = {
    "accuracy": accuracy,
    "top_2": lambda *a, **k: top_k_accuracy(*a, k=2, **k),
    "calibration": lambda *a, **k: expected_calibration_error(*a, bins=5, **k),
}
batch_level = pytest.mark.parametrize("f", BATCH.values(), ids=BATCH)


def test_accuracy_by_hand():
    # Ranks of the labels: 1, 2, 1, 3.
    for k, expected in [(1, 0.5), (2, 0.75), (3, 1.0), (9, 1.0)]:
        np.testing.assert_allclose(top_k_accuracy(LOGITS, LABELS, k=k), expected)
    np.testing.assert_allclose(accuracy(LOGITS, LABELS), 0.5)


def test_top_k_accuracy_of_scikit_learn():
    logits = np.random.default_rng(0).normal(size=(50, 7))
    labels = np.arange(50) % 7
    for k in (1, 3, 5):
        expected = top_k_accuracy_score(labels, logits, k=k)
        np.testing.assert_allclose(top_k_accuracy(logits, labels, k=k), expected, rtol=1e-6)


def test_ties_go_to_the_lower_class_as_in_argmax():
    logits = jnp.zeros((3, 3))
    labels = jnp.array([0, 1, 2])
    np.testing.assert_allclose(accuracy(logits, labels), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(top_k_accuracy(logits, labels, k=2), 2 / 3, rtol=1e-6)


@batch_level
@pytest.mark.parametrize("outside", [-1, -100, 3])
def test_masked_examples_and_foreign_labels_are_dropped_examples(f, outside):
    where = np.array([1, 0, 1, 1], bool)
    spoiled = np.where(where[:, None], LOGITS, np.nan)
    expected = f(LOGITS[where], LABELS[where])
    np.testing.assert_allclose(f(spoiled, LABELS, where=where), expected, rtol=1e-6)
    np.testing.assert_allclose(f(spoiled, np.where(where, LABELS, outside)), expected, rtol=1e-6)
    gradient = grad(lambda x: f(x, LABELS, where=where))(spoiled)
    assert np.all(np.isfinite(gradient))
    assert not np.any(gradient[1])


@batch_level
def test_no_example_counts(f):
    assert f(LOGITS, LABELS, where=np.zeros(4)).item() == 0.0
    assert f(LOGITS, np.full(4, -1)).item() == 0.0
    assert f(np.zeros((0, 3)), np.zeros(0, int)).item() == 0.0
    assert np.all(np.isfinite(grad(lambda x: f(x, LABELS, where=np.zeros(4)))(LOGITS)))


@batch_level
def test_a_nan_logit_stays_nan(f):
    spoiled = LOGITS.copy()
    spoiled[2, 0] = np.nan
    assert np.isnan(f(spoiled, LABELS))


@batch_level
def test_leading_dimensions_and_types(f):
    np.testing.assert_allclose(f(LOGITS.reshape(2, 2, 3), LABELS.reshape(2, 2)), f(LOGITS, LABELS), rtol=1e-6)
    assert f(LOGITS[0], LABELS[0]).shape == ()
    assert f(LOGITS.astype(jnp.bfloat16), LABELS).dtype == jnp.float32
    assert np.isfinite(f(LOGITS * 1e4, LABELS))


def test_one_and_four_devices_agree(assert_global):
    logits = 2.0 * jax.random.normal(jax.random.key(0), (12, 3))
    batch = (logits, jnp.arange(12) % 3, jnp.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0]))

    def loss(weight, batch, axis_name):
        logits, labels, mask = batch
        settings = {"where": mask, "axis_name": axis_name}
        top_1, top_2, calibration = (f(logits * weight, labels, **settings) for f in BATCH.values())
        return 3 * top_1 + 5 * top_2 + calibration

    assert_global(loss, jnp.array([0.5, 1.0, 2.0]), batch)


def _calibration_by_loops(logits, labels, bins):
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    confidence, correct = p.max(1), p.argmax(1) == labels
    total = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_error_of_the_definition(bins):
    rng = np.random.default_rng(0)
    logits, labels = 2 * rng.normal(size=(200, 4)), rng.integers(0, 4, 200)
    expected = _calibration_by_loops(logits, labels, bins)
    np.testing.assert_allclose(expected_calibration_error(logits, labels, bins=bins), expected, rtol=1e-5)


def test_calibration_by_hand():
    # Confidences 0.75 (right), 0.75 (wrong), 0.5 (right): bins (0.5, 1] with gap |1/2 - 3/4|, (0, 0.5] with 1/2.
    logits = jnp.log(jnp.array([[0.75, 0.25], [0.75, 0.25], [0.5, 0.5]]))
    ece = expected_calibration_error(logits, jnp.array([0, 1, 0]), bins=2)
    np.testing.assert_allclose(ece, 2 / 3 * 1 / 4 + 1 / 3 * 1 / 2, rtol=1e-5)
    assert expected_calibration_error(jnp.array([[1e4, -1e4]]), jnp.array([0])).item() == 0.0


def _dist(student, teacher):
    """The two relations of DIST: over the classes of a row and over the rows of a class."""
    p_s, p_t = masked_softmax(student), masked_softmax(teacher)
    return (1 - masked_mean(pearson(p_s, p_t))) + (1 - masked_mean(pearson(p_s, p_t, axis=0)))


def test_pearson_against_the_authors_value_and_gradient():
    student, teacher = GOLDEN["in_s"], GOLDEN["in_t"]
    value, gradient = value_and_grad(_dist)(jnp.float32(student), jnp.float32(teacher))
    np.testing.assert_allclose(value, GOLDEN["out_dist_b1_g1"], rtol=1e-5)
    np.testing.assert_allclose(gradient, GOLDEN["grad_dist"], rtol=1e-5, atol=1e-6 * np.abs(gradient).max())


def test_pearson_of_numpy_and_its_invariances():
    x, y = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, y)]
    np.testing.assert_allclose(pearson(x, y), expected, rtol=1e-5)
    np.testing.assert_allclose(pearson(x.T, y.T, axis=0), expected, rtol=1e-5)
    np.testing.assert_allclose(pearson(3 * x + 7, y), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pearson(-x, x), -np.ones(5), rtol=1e-6)


def test_pearson_mask_drops_entries():
    x, y = np.random.default_rng(0).normal(size=(2, 3, 6)).astype(np.float32)
    mask = np.array([1, 1, 0, 1, 0, 1], bool)
    spoiled = np.where(mask, x, np.nan)
    np.testing.assert_allclose(pearson(spoiled, y, where=mask), pearson(x[:, mask], y[:, mask]), rtol=1e-5)
    gradient = grad(lambda x: pearson(x, y, where=mask).sum())(spoiled)
    assert np.all(np.isfinite(gradient))
    assert not np.any(gradient[:, ~mask])
    assert not np.any(pearson(x, y, where=False))
    assert not np.any(grad(lambda x: pearson(x, y, where=False).sum())(x))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1.0, 1e4, 1 / 3])
def test_pearson_of_a_constant_vector_is_zero_with_zero_gradient(constant):
    flat, y = jnp.full(7, constant), jnp.arange(7.0)
    for x, other in [(flat, y), (y, flat), (flat, flat)]:
        value, gradients = value_and_grad(pearson, argnums=(0, 1))(x, other)
        assert value.item() == 0.0
        np.testing.assert_array_equal(gradients, np.zeros((2, 7)))


def test_pearson_of_a_nearly_constant_vector_is_still_right():
    x = 1.0 + 1e-4 * jnp.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(pearson(x, jnp.arange(4.0)), 1.0, rtol=1e-3)


def test_eps_joins_the_denominator():
    # a = (-1, 1), b = (-1, 1): product of norms 2, so 2 / (2 + 2).
    np.testing.assert_allclose(pearson(jnp.array([0.0, 2.0]), jnp.array([3.0, 5.0]), eps=2.0), 0.5)


def test_cosine_by_hand():
    # (3, 4) and (4, 3): 24 / 25; opposite; orthogonal; no direction.
    x = jnp.array([[3.0, 4.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    y = jnp.array([[4.0, 3.0], [-2.0, -2.0], [0.0, 5.0], [1.0, 1.0]])
    np.testing.assert_allclose(cosine_similarity(x, y), [0.96, -1.0, 0.0, 0.0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(cosine_similarity(x.T, y.T, axis=0), cosine_similarity(x, y), rtol=1e-6)
    gradients = grad(lambda x, y: cosine_similarity(x, y).sum(), argnums=(0, 1))(x, y)
    assert all(np.all(np.isfinite(g)) for g in gradients)
    assert not np.any(gradients[0][3])
    # d cos / d x = (v - cos u) / |x| with unit vectors u = (0.6, 0.8), v = (0.8, 0.6).
    np.testing.assert_allclose(gradients[0][0], [(0.8 - 0.96 * 0.6) / 5, (0.6 - 0.96 * 0.8) / 5], rtol=1e-5)


@pytest.mark.parametrize("f", [pearson, cosine_similarity])
def test_nan_stays_and_extremes_are_finite(f):
    x, y = jnp.array([[jnp.nan, 1.0], [1.0, 2.0]]), jnp.array([[1.0, 2.0], [1.0, 3.0]])
    np.testing.assert_array_equal(np.isnan(f(x, y)), [True, False])
    x = jnp.array([1e4, -1e4, 0.0])
    value, gradient = value_and_grad(f)(x, -x)
    np.testing.assert_allclose(value, -1.0, rtol=1e-6)
    assert np.all(np.isfinite(gradient))
    assert f(jnp.zeros((0, 3)), jnp.zeros((0, 3))).shape == (0,)
    assert not np.any(f(jnp.zeros((3, 0)), jnp.zeros((3, 0))))


def test_errors():
    with pytest.raises(
        ValueError, match=r"labels \(3,\) must have the leading shape .* of logits .* \(4, 3\)"
    ):
        accuracy(LOGITS, LABELS[:3])
    with pytest.raises(ValueError, match="labels must be integers"):
        accuracy(LOGITS, LABELS.astype(float))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        top_k_accuracy(LOGITS, LABELS, k=0)
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        expected_calibration_error(LOGITS, LABELS, bins=0)
    for f in (pearson, cosine_similarity):
        with pytest.raises(ValueError, match=r"x \(4, 3\) and y \(4,\) must have the same shape"):
            f(LOGITS, LABELS)
