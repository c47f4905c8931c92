"""Overlap per class and Dice by hand, over masks and devices."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import metrics

# Class 0: 2 both, 3 either; class 1: 1 both, 3 either; class 2: predicted once, never true; class 3: nowhere.
PREDICTION = jnp.array([[0, 0, 1], [1, 2, 0]])
LABELS = jnp.array([[0, 0, 1], [0, 1, -1]])


def test_class_overlap_by_hand():
    overlap = metrics.class_overlap(PREDICTION, LABELS, num_classes=4)
    np.testing.assert_allclose(overlap.iou, [2 / 3, 1 / 3, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(overlap.recall, [2 / 3, 1 / 2, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(overlap.occurs, [True, True, True, False])
    np.testing.assert_allclose(metrics.mean_overlap(overlap), (2 / 3 + 1 / 3) / 3, rtol=1e-6)


def test_a_mask_drops_pixels_and_nothing_scores_nothing():
    where = jnp.array([[1, 1, 1], [0, 0, 0]])
    kept = metrics.class_overlap(PREDICTION[:1], LABELS[:1], num_classes=4)
    chex.assert_trees_all_equal(
        metrics.class_overlap(PREDICTION, LABELS, num_classes=4, where=where),
        kept,
    )
    empty = metrics.class_overlap(PREDICTION, LABELS, num_classes=4, where=False)
    assert not empty.occurs.any()
    assert metrics.mean_overlap(empty) == 0


def test_dice_score_by_hand():
    # 2 * 1 / (2 + 1); nothing in either; nothing in common.
    prediction = jnp.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]])
    target = jnp.array([[1, 0, 0], [0, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(metrics.dice_score(prediction, target), [2 / 3, 1, 0], rtol=1e-6)
    masked = metrics.dice_score(prediction, target, where=jnp.array([[1, 0, 1]]))
    np.testing.assert_allclose(masked, [1, 1, 0], rtol=1e-6)


def test_shapes_are_checked():
    for call in (
        lambda: metrics.class_overlap(PREDICTION, LABELS[:1], num_classes=4),
        lambda: metrics.dice_score(PREDICTION, LABELS[:1]),
    ):
        with pytest.raises(ValueError, match="same shape"):
            call()
