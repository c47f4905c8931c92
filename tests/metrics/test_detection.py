"""Average precision on padded arrays, by hand and against a slow one in Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import metrics
from jaxlab import semi_supervised as ss

match = jax.jit(metrics.match_detections, static_argnames="threshold")
precision = jax.jit(metrics.average_precision)
mean_precision = jax.jit(metrics.mean_average_precision, static_argnames=("num_classes", "threshold"))


def test_matching_by_hand():
    # The surest detection (1) takes its best box 0; detection 0 then finds box 0 taken and box 1 too small for it.
    iou = jnp.array([[0.8, 0.4], [0.9, 0.6], [0.0, 0.7]])
    assert match(iou, jnp.array([0.5, 0.9, 0.1])).tolist() == [-1, 0, 1]
    # A lower threshold lets detection 0 have box 1, and leaves none for detection 2.
    assert match(iou, jnp.array([0.5, 0.9, 0.1]), threshold=0.3).tolist() == [1, 0, -1]
    assert match(iou, jnp.array([0.5, 0.9, 0.1]), allowed=jnp.array([[1, 1], [0, 1], [1, 1]])).tolist() == [
        0,
        1,
        -1,
    ]
    assert match(jnp.zeros((2, 0)), jnp.ones(2)).tolist() == [-1, -1]
    assert match(jnp.zeros((3, 2, 2)), jnp.ones((3, 2)), threshold=0.0).tolist() == [[-1, -1]] * 3


def test_average_precision_by_hand():
    # Right, wrong, right, of four true boxes: 1/4 (1 + max(1/2, 2/3)) = 0.416667.
    scores, correct = jnp.array([0.7, 0.9, 0.8]), jnp.array([1, 1, 0])
    np.testing.assert_allclose(precision(scores, correct, 4), 0.416667, rtol=1e-5)
    # Padding, whatever it holds, changes nothing.
    padded = precision(jnp.append(scores, jnp.nan), jnp.append(correct, 1), 4, where=jnp.array([1, 1, 1, 0]))
    np.testing.assert_allclose(padded, 0.416667, rtol=1e-5)
    assert precision(scores, correct, 0) == 0
    assert precision(jnp.zeros(0), jnp.zeros(0), 3) == 0
    assert precision(scores, jnp.ones(3), 3) == 1


def _slow(iou, scores, classes, truth_classes, num_classes, threshold):
    """COCO's greedy matching and VOC's area, with loops; no padding."""
    values = []
    for label in range(num_classes):
        found, total = [], sum((t == label).sum() for t in truth_classes)
        for n in range(len(scores)):
            free = {m for m in range(len(truth_classes[n])) if truth_classes[n][m] == label}
            for k in sorted(np.flatnonzero(classes[n] == label), key=lambda k, n=n: -scores[n][k]):
                best = max(free, key=lambda m, n=n, k=k: iou[n][k, m], default=None)
                hit = best is not None and iou[n][k, best] >= threshold
                free -= {best} if hit else set()
                found.append((scores[n][k], hit))
        found.sort(key=lambda pair: -pair[0])
        hits = np.cumsum([hit for _, hit in found])
        rates = hits / np.arange(1, len(hits) + 1)
        if total:
            values.append(sum(rates[i:].max() for i, (_, hit) in enumerate(found) if hit) / total)
    return np.mean(values)


@pytest.mark.parametrize("seed", range(3))
def test_mean_average_precision_equals_a_slow_one(seed):
    rng = np.random.default_rng(seed)
    scenes, detections, boxes, num_classes = 6, 5, 4, 3
    shape = (scenes, detections)
    iou, scores = np.float32(rng.random((*shape, boxes))), np.float32(rng.random(shape))
    classes, truth = rng.integers(0, num_classes, shape), rng.integers(0, num_classes - 1, (scenes, boxes))
    exists, true = rng.random(shape) < 0.8, rng.random((scenes, boxes)) < 0.7
    got = mean_precision(iou, scores, classes, truth, num_classes=num_classes, where=exists, truth_where=true)
    rows = range(scenes)
    expected = _slow(
        [iou[n][exists[n]][:, true[n]] for n in rows],
        [scores[n][exists[n]] for n in rows],
        [classes[n][exists[n]] for n in rows],
        [truth[n][true[n]] for n in rows],
        num_classes,
        0.5,
    )
    np.testing.assert_allclose(got.mean, expected, rtol=1e-5)
    assert got.occurs.tolist() == [True, True, False]
    assert got.average_precision[2] == 0


def test_perfect_detections_score_one_and_nothing_scores_zero():
    boxes = jnp.array([[[1.0, 1.0, 2.0, 2.0], [5.0, 5.0, 2.0, 2.0]]])
    iou, classes = ss.axis_aligned_iou(boxes, boxes), jnp.array([[0, 2]])
    scores = mean_precision(iou, jnp.array([[0.2, 0.9]]), classes, classes, num_classes=3)
    assert scores.mean == 1
    assert scores.recall.tolist() == [1, 0, 1]
    wrong_class = mean_precision(iou, jnp.array([[0.2, 0.9]]), 2 - classes, classes, num_classes=3)
    assert wrong_class.mean == 0
    no_truth = mean_precision(
        iou, jnp.ones((1, 2)), classes, classes, num_classes=3, truth_where=jnp.zeros((1, 2))
    )
    assert no_truth.mean == 0
    none = mean_precision(iou, jnp.ones((1, 2)), classes, classes, num_classes=3, where=jnp.zeros((1, 2)))
    assert none.mean == 0


def test_a_second_detection_of_a_box_is_wrong():
    # Two detections of one box: precision 1 at recall 1 first, the double costs nothing; the other way round, 1/2.
    iou, classes = jnp.array([[[0.9], [0.8]]]), jnp.array([[0, 0]])
    double = lambda a, b: (
        mean_precision(iou, jnp.array([[a, b]]), classes, jnp.array([[0]]), num_classes=1).mean
    )
    assert double(0.9, 0.8) == 1
    # The surer one matches although it overlaps less, as COCO does it.
    assert double(0.8, 0.9) == 1
    assert (
        mean_precision(
            iou.at[0, 1].set(0.1), jnp.array([[0.8, 0.9]]), classes, jnp.array([[0]]), num_classes=1
        ).mean
        == 0.5
    )


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"iou \(1, 2, 1\) must be \[S, K, M\]"):
        mean_precision(
            jnp.ones((1, 2, 1)), jnp.ones((1, 2)), jnp.ones((1, 3), int), jnp.ones((1, 1), int), num_classes=1
        )
    with pytest.raises(ValueError, match=r"scores \(3,\) must be \[..., K\]"):
        match(jnp.ones((2, 2)), jnp.ones(3))
    with pytest.raises(ValueError, match=r"correct \(2,\) must be \[N\]"):
        precision(jnp.ones(3), jnp.ones(2), 1)
