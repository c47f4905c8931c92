"""Two thresholds from scores, levels of boxes, labels that accumulate: against HSSDA's own numbers and by hand."""

import itertools
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.semi_supervised import hssda, score_thresholds

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "hssda.npz"))
two_means = jax.jit(score_thresholds.two_means)
append = jax.jit(hssda.store_append)


def _within(numbers, high, low):
    """Sum of squared distances to the nearer centre, and the centres of the numbers that are nearer to each."""
    upper = numbers > (high + low) / 2
    centres = numbers[upper].mean(), numbers[~upper].mean()
    return sum(
        ((part - c) ** 2).sum() for part, c in zip((numbers[upper], numbers[~upper]), centres)
    ), centres


def test_thresholds_match_the_authors_code():
    for scores, expected in zip(("in_s1", "in_s3"), GOLDEN["out_thr"][[0, 2]]):
        centres = jnp.stack(two_means(jnp.float32(GOLDEN[scores])))
        np.testing.assert_allclose(score_thresholds.truncate(centres), expected, rtol=1e-6)


def test_where_the_authors_code_stopped_early_ours_is_better():
    # On evenly spread scores their k-means, with a random start, ended at a fixed point that is not the optimum.
    numbers, theirs = GOLDEN["in_s2"], GOLDEN["out_thr"][1]
    ours = [float(c) for c in two_means(jnp.float32(numbers))]
    within, centres = _within(numbers, *ours)
    np.testing.assert_allclose(centres, ours, rtol=1e-5)
    worse, centres = _within(numbers, *theirs)
    np.testing.assert_allclose(score_thresholds.truncate(jnp.array(centres)), theirs, rtol=1e-6)
    assert within < worse < 1.01 * within


def _best_split(numbers):
    """All ways to divide the numbers in two, the least sum of squares."""
    numbers = np.sort(numbers)
    cuts = [(numbers[:k], numbers[k:]) for k in range(1, len(numbers))]
    low, high = min(cuts, key=lambda cut: sum(((part - part.mean()) ** 2).sum() for part in cut))
    return high.mean(), low.mean()


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_two_means_is_the_best_of_all_splits(offset):
    rng = np.random.default_rng(0)
    numbers = np.float32(rng.normal(size=(20, 9)) + offset)
    where = rng.random((20, 9)) < 0.8
    where[:, :2] = True
    high, low = two_means(jnp.asarray(numbers), where=jnp.asarray(where))
    for row in range(20):
        expected = _best_split(np.float64(numbers[row][where[row]]))
        np.testing.assert_allclose((high[row], low[row]), expected, rtol=1e-6 if offset else 2e-5)


def test_two_means_where_there_is_nothing_to_divide():
    high, low = two_means(jnp.full((3, 4), 0.7), where=jnp.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(high, [0.7, 0.7, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(high, low)
    dirty = two_means(jnp.array([0.1, jnp.nan, 0.9]), where=jnp.array([1, 0, 1]))
    np.testing.assert_allclose(dirty, (0.9, 0.1), rtol=1e-6)
    assert two_means(jnp.zeros((2, 0)))[0].tolist() == [0.0, 0.0]
    np.testing.assert_array_equal(jax.grad(lambda x: sum(two_means(x)))(jnp.array([0.1, 0.9])), 0.0)
    assert np.isfinite(two_means(jnp.array([1e4, -1e4, 1e4]))).all()


def test_truncate_cuts_and_never_rounds_up():
    hundredths = np.arange(0, 101) / 100
    np.testing.assert_allclose(score_thresholds.truncate(jnp.float32(hundredths)), hundredths, rtol=2e-7)
    np.testing.assert_allclose(
        score_thresholds.truncate(jnp.float32(hundredths[:-1] + 0.0098)), hundredths[:-1], rtol=1e-6
    )
    np.testing.assert_allclose(score_thresholds.truncate(jnp.array([-0.567]), decimals=1), [-0.5], rtol=1e-6)


def test_thresholds_per_class_and_measure():
    # Class 0 has four boxes, class 1 two, class 2 none; scores of class 0 divide into .2 .3 | .8 .9.
    measures = jnp.array([[0.2, 0.5], [0.9, 0.5], [0.3, 0.5], [0.8, 0.5], [0.4, 0.1], [0.6, 0.9], [9.0, 9.0]])
    classes = jnp.array([0, 0, 0, 0, 1, 1, 0])
    default = jnp.array([[0.99, 0.98], [0.97, 0.96]])
    got = jax.jit(score_thresholds.dual_thresholds, static_argnames="num_classes")(
        measures, classes, num_classes=3, where=jnp.arange(7) < 6, default=default
    )
    np.testing.assert_allclose(got[0], [[0.85, 0.25], [0.5, 0.5]], rtol=1e-5)
    np.testing.assert_array_equal(got[1:], jnp.stack([default, default]))
    full = score_thresholds.dual_thresholds(
        measures[4:6], classes[4:6], num_classes=2, default=default, min_items=2, decimals=None
    )
    np.testing.assert_allclose(full[1], [[0.6, 0.4], [0.9, 0.1]], rtol=1e-6)
    empty = score_thresholds.dual_thresholds(jnp.zeros((0, 3)), jnp.zeros(0, int), num_classes=1)
    np.testing.assert_allclose(empty[0], score_thresholds.DEFAULT_THRESHOLDS, rtol=1e-6)


def test_thresholds_follow_the_scores():
    """As a model grows sure, both thresholds rise, and a class with low scores keeps its own."""
    rng = np.random.default_rng(1)
    low, high = rng.normal(0.3, 0.05, 50), rng.normal(0.6, 0.05, 50)
    classes = np.repeat([0, 1], 100)
    before = np.concatenate([low, high, low - 0.2, high - 0.2])
    after = np.concatenate([low + 0.2, high + 0.2, low - 0.2, high - 0.2])
    find = lambda x: score_thresholds.dual_thresholds(
        x[:, None], classes, num_classes=2, default=((0.9, 0.9),)
    )[:, 0]
    first, second = find(before), find(after)
    np.testing.assert_allclose(second[0] - first[0], [0.2, 0.2], atol=0.011)
    np.testing.assert_array_equal(second[1], first[1])


def test_levels_by_hand():
    thresholds = jnp.array([[[0.8, 0.4], [0.7, 0.3]], [[0.5, 0.2], [0.5, 0.2]]])
    measures = jnp.array([[0.9, 0.8], [0.9, 0.7], [0.9, 0.3], [0.4, 0.9], [0.6, 0.6], [0.9, 0.9], [0.9, 0.9]])
    classes = jnp.array([0, 0, 0, 0, 1, -1, 2])
    # Strictly above in both measures; at a threshold is below it.
    got = jax.jit(hssda.box_levels)(measures, classes, thresholds)
    assert got.tolist() == [2, 1, 0, 0, 2, -1, -1]
    equal = jnp.full((1, 2, 2), 0.9)
    assert hssda.box_levels(jnp.full((4, 2), 0.9), jnp.zeros(4, int), equal).tolist() == [0] * 4


def test_middle_labels_match_the_authors_code():
    dual = [[0.85, 0.4, 0.8, 0.5, 0.85, 0.5]] * 2 + [[0.85, 0.3, 0.8, 0.5, 0.85, 0.5]]
    thresholds = jnp.array(dual).reshape(3, 3, 2)
    measures = jnp.stack(
        [jnp.float32(x) for x in (GOLDEN["in_scores"], GOLDEN["in_roi"], GOLDEN["in_iou_aug"].max(1))],
        axis=-1,
    )
    classes = jnp.asarray(GOLDEN["in_labels"]) - 1
    sort = lambda **options: hssda.hierarchical_supervision(
        measures, classes, thresholds, label_overlap=jnp.asarray(GOLDEN["in_iou_gt"].sum(0)), **options
    )
    theirs = sort(without_middle=(1,))
    chosen = np.flatnonzero(theirs.level == 1)
    np.testing.assert_allclose(GOLDEN["in_boxes"][chosen], GOLDEN["out_mid_box"][:, :7], rtol=1e-6)
    np.testing.assert_array_equal(classes[chosen] + 1, GOLDEN["out_mid_box"][:, 7])
    np.testing.assert_allclose(theirs.weight[chosen], GOLDEN["out_mid_weight"], rtol=1e-5)
    labelled = np.flatnonzero(GOLDEN["in_gt"].any(1))
    np.testing.assert_array_equal(GOLDEN["out_mid_idx"], len(labelled) + np.arange(len(chosen)))
    both = np.concatenate([GOLDEN["in_gt"][labelled, :7], GOLDEN["in_boxes"][chosen]])
    np.testing.assert_allclose(both, GOLDEN["out_new_gt"][:, :7], rtol=1e-6)
    assert theirs.level[0] == -1  # overlaps a label
    # The pedestrian is a middle label by the paper, and low in the authors' code.
    assert sort().level[3] == 1
    assert theirs.level[3] == 0
    assert bool(theirs.removed[3])


def test_supervision_by_hand():
    thresholds = jnp.array([[[0.8, 0.4]] * 3])
    measures = jnp.array([[0.9, 0.9, 0.9]] * 4 + [[0.5, 0.6, 0.7], [0.09, 0.9, 0.9], [0.1, 0.9, 0.9]])
    got = hssda.hierarchical_supervision(
        measures,
        jnp.zeros(7, int),
        thresholds,
        label_overlap=jnp.array([0, 1e-3, 0, 0, 0, 0, 0.0]),
        num_points=jnp.array([6, 6, 5, 6, 0, 0, 0]),
        where=jnp.array([1, 1, 1, 0, 1, 1, 1]),
    )
    # High; overlaps a label; high with five points, so middle; no box; middle; low; low and suspicious.
    assert got.level.tolist() == [2, -1, 1, -1, 1, 0, 0]
    np.testing.assert_allclose(got.weight, [1, 0, 0.81, 0, 0.3, 0, 0], rtol=1e-6)
    assert got.removed.tolist() == [False] * 6 + [True]
    batch = jax.vmap(lambda m: hssda.hierarchical_supervision(m, jnp.zeros(7, int), thresholds))(
        measures[None]
    )
    assert batch.level.shape == (1, 7)


def test_the_store_fills_and_keeps():
    store = hssda.store_init(3, 3, box_dim=2)
    boxes = jnp.arange(12.0).reshape(2, 3, 2)
    store = append(
        store,
        jnp.array([2, 0]),
        boxes,
        jnp.array([[0, 1, 2], [1, 1, 1]]),
        where=jnp.array([[1, 0, 1], [0, 0, 0]]),
    )
    assert store.count.tolist() == [0, 0, 2]
    assert store.classes.tolist() == [[-1] * 3, [-1] * 3, [0, 2, -1]]
    assert store.boxes[2].tolist() == [[0, 1], [4, 5], [0, 0]]
    # One place is left: the first of three takes it, and nothing that was there changes.
    full = append(store, jnp.array([2, 5]), boxes + 50, jnp.array([[2, 1, 0], [0, 0, 0]]))
    assert full.count.tolist() == [0, 0, 3]
    assert full.classes[2].tolist() == [0, 2, 2]
    assert full.boxes[2].tolist() == [[0, 1], [4, 5], [50, 51]]
    again = append(full, jnp.array([2, 2]), boxes, jnp.zeros((2, 3), int))
    chex.assert_trees_all_equal(again, full)


def test_a_scene_that_is_there_twice_counts_once():
    store, boxes, classes = (
        hssda.store_init(2, 4),
        jnp.ones((3, 2, 4)),
        jnp.array([[0, 0], [1, 1], [2, 2]]),
    )
    for rows in itertools.permutations((1, 1, 0)):
        got = append(store, jnp.array(rows), boxes, classes)
        assert got.count.tolist() == [2, 2]
        assert got.classes[1, 0] == rows.index(1)


def test_the_keep_rate_matches_the_authors_code():
    got = hssda.linear_keep_rate(jnp.asarray(GOLDEN["in_keep_steps"]))
    # Theirs was measured by one step of the average, in float32.
    np.testing.assert_allclose(got, GOLDEN["out_keep_rate"], atol=1e-6)
    assert hssda.linear_keep_rate(jnp.array(0), length=0) == np.float32(0.9996)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"measures \(4, 2\) must be \[N, Q\] and classes \(3,\)"):
        score_thresholds.dual_thresholds(jnp.ones((4, 2)), jnp.zeros(3, int), num_classes=2)
    with pytest.raises(ValueError, match=r"default \(3, 2\) must be"):
        score_thresholds.dual_thresholds(jnp.ones((4, 2)), jnp.zeros(4, int), num_classes=2)
    with pytest.raises(ValueError, match=r"thresholds \(1, 3\)"):
        hssda.box_levels(jnp.ones((4, 3)), jnp.zeros(4, int), jnp.ones((1, 3)))
    with pytest.raises(ValueError, match=r"num_points \(3,\) must have the shape of classes \(4,\)"):
        hssda.hierarchical_supervision(
            jnp.ones((4, 3)), jnp.zeros(4, int), jnp.ones((1, 3, 2)), num_points=jnp.ones(3)
        )
    with pytest.raises(ValueError, match=r"must be \[B\], \[B, N, 4\], \[B, N\]"):
        hssda.store_append(
            hssda.store_init(2, 2), jnp.zeros(1, int), jnp.ones((1, 2, 5)), jnp.zeros((1, 2), int)
        )
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        hssda.store_init(2, 0)
    with pytest.raises(ValueError, match=r"start must be in \[0, 1\]"):
        hssda.linear_keep_rate(jnp.array(0), start=2.0)
