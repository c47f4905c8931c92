"""Scores of class orders equal the authors'; distances, quality and overlap by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core.check import InputError
from jaxlab.curriculum import class_order

GOLDEN_FILE = "curriculum_designer.npz"
TABLES = ("cifar", "mnist5", "fashion5", "n2", "n3", "n4", "n6")


def test_the_authors_scores(golden):
    score = jax.jit(class_order.order_score, static_argnames="ranks")
    for name in TABLES:
        table, variances, orders = (
            golden[f"in_{name}_{part}"] for part in ("dist_rownorm", "var_norm", "perms")
        )
        found = score(table, variances, orders)
        np.testing.assert_allclose(found, golden[f"out_{name}_score_float"], rtol=1e-5)
        if f"out_{name}_score_int" in golden:
            ranked = score(table, variances, orders, ranks=True)
            np.testing.assert_array_equal(ranked, golden[f"out_{name}_score_int"])
        if f"in_{name}_dist_raw" in golden:
            shares, spread = class_order.normalize_distances(golden[f"in_{name}_dist_raw"])
            np.testing.assert_allclose(shares, table, rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(spread, variances, rtol=1e-5)


def test_five_classes_by_hand():
    """Near: (c0, c4), (c1, c3); far: (c0, c1), (c1, c2)."""
    table, variances = np.arange(25.0).reshape(5, 5) / 100, np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    order = np.array([3, 1, 4, 0, 2])
    expected = 1 - 0.25 + (1 - table[3, 2]) + table[3, 1] + (1 - table[1, 0]) + table[1, 4]
    np.testing.assert_allclose(class_order.order_score(table, variances, order), expected, rtol=1e-6)
    assert class_order.order_score(np.zeros((1, 1)), np.ones(1), np.array([0])) == 0.0


def test_the_class_that_resembles_the_first_comes_last():
    distances = np.array([[0, 8.0, 1.0], [8.0, 0, 5.0], [1.0, 5.0, 0]])
    orders = np.array(list(itertools.permutations(range(3))))
    scores = class_order.order_score(*class_order.normalize_distances(distances), orders)
    best = {order[0]: list(order) for score, order in sorted(zip(scores.tolist(), orders.tolist()))}
    assert best == {0: [0, 1, 2], 1: [1, 0, 2], 2: [2, 1, 0]}


def test_distances():
    features = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [9.0, 9.0], [np.nan, 1.0]], np.float32)
    labels, where = np.array([0, 0, 1, -1, 1], np.int32), np.array([1, 1, 1, 1, 0])
    cosine = class_order.class_distances(features, labels, num_classes=2, where=where)
    np.testing.assert_allclose(cosine, [[0, 1], [1, 0]], atol=1e-6)
    euclidean = class_order.class_distances(features, labels, num_classes=2, kind="euclidean", where=where)
    np.testing.assert_allclose(euclidean, np.sqrt(8) * (1 - np.eye(2)), rtol=1e-6)
    shares, spread = class_order.normalize_distances(np.zeros((3, 3)))
    assert not np.asarray(shares).any()
    np.testing.assert_allclose(spread, 1 / 3, rtol=1e-6)


def test_quality_and_overlap():
    accuracy = np.array([[0.9, 0.0, 0.0], [0.5, 0.8, 0.0], [0.3, 0.6, 0.9]])
    np.testing.assert_allclose(class_order.order_quality(accuracy), 2 * 0.6 / (0.6 * 0.6 + 1), rtol=1e-6)
    quality = jnp.arange(20.0)
    assert class_order.top_overlap(quality, quality, k=5) == 5
    assert class_order.top_overlap(quality, quality, k=10) == 5
    assert class_order.top_overlap(quality, -quality, k=5) == 0


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: class_order.order_score(np.eye(2), np.ones(3), np.array([0, 1])), "variances"),
        (
            lambda: class_order.order_score(np.eye(2), np.ones(2), np.array([0, 0])),
            "permutations of the classes",
        ),
        (lambda: class_order.order_score(np.eye(2), np.ones(2), np.array([0, 2])), r"classes in|in \[0, 2\)"),
        (lambda: class_order.normalize_distances(np.zeros((0, 0))), "at least one class"),
        (lambda: class_order.normalize_distances(np.zeros((2, 3))), r"must be \[n, n\]"),
        (lambda: class_order.order_quality(np.zeros((2, 3))), r"must be \[..., n, n\]"),
        (lambda: class_order.top_overlap(np.zeros(3), np.zeros(3), k=4), r"k 4 in \[1, M\]"),
        (lambda: class_order.top_overlap(np.zeros(3), np.zeros(3), k=1, percentile=101), "percentile"),
        (
            lambda: class_order.class_distances(np.zeros((1, 2)), np.array([0]), num_classes=1, kind="l1"),
            "kind",
        ),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()
