import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from jaxlab import metrics
from tests.core.compiled import grad

accuracy = jax.jit(metrics.accuracy, static_argnames="axis_name")
top_k_accuracy = jax.jit(metrics.top_k_accuracy, static_argnames=("k", "axis_name"))
expected_calibration_error = jax.jit(
    metrics.expected_calibration_error, static_argnames=("bins", "axis_name")
)
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
