"""Two teachers that must agree, the student's loss, and the measures of localisation."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import metrics
from jaxlab.semi_supervised import dual_mean_teacher, sounding_maps

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "dual_mean_teacher.npz"))
consensus = jax.jit(dual_mean_teacher.teacher_consensus)
student_loss = jax.jit(dual_mean_teacher.dual_teacher_loss, static_argnames="axis_name")


def _golden_maps():
    """Gaussian maps, and boxes whose first thirty rows weigh two thirds in the odd examples."""
    y, x = np.mgrid[:224, :224]
    maps = [np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * s**2)) for cy, cx, s in GOLDEN["in_maps"]]
    truth = np.zeros((6, 224, 224))
    for n, (top, left, height, width, odd) in enumerate(GOLDEN["in_gt"]):
        truth[n, top : top + height, left : left + width] = 1.0
        if odd:
            truth[n, top : top + 30, left : left + width] *= 2 / 3
    return np.stack(maps), truth


def test_overlap_and_success_match_the_third_partys_code():
    maps, truth = _golden_maps()
    overlap = jax.jit(metrics.consensus_iou)
    with jax.enable_x64(True):  # the median separates neighbours that float32 rounds together
        half = metrics.consensus_iou(
            jnp.asarray(maps), jnp.asarray(truth), threshold=np.median(maps, axis=(1, 2))
        )
        fixed = metrics.consensus_iou(jnp.asarray(maps), jnp.asarray(truth), threshold=0.6)
    np.testing.assert_allclose(half, GOLDEN["out_ciou_half"], rtol=1e-6)
    np.testing.assert_allclose(fixed, GOLDEN["out_ciou_06"], rtol=1e-6)
    np.testing.assert_allclose(
        overlap(jnp.float32(maps), jnp.float32(truth), threshold=0.6), GOLDEN["out_ciou_06"], rtol=1e-5
    )
    for name, got in (("half", half), ("06", fixed)):
        got = jnp.float32(got)
        np.testing.assert_allclose(metrics.localization_auc(got), GOLDEN[f"out_auc_{name}"], rtol=1e-5)
        np.testing.assert_allclose(metrics.localization_success(got), GOLDEN[f"out_ap50_{name}"], atol=1e-7)


def test_consensus_by_hand():
    # A marks {0, 1, 2}, B marks {1, 2, 3}: two of four in common, agreement 1/2.
    a, b = jnp.array([[[0.9, 0.6, 0.7, 0.2]]]), jnp.array([[[0.1, 0.8, 0.6, 0.9]]])
    for least, accepted in ((0.5, True), (0.51, False)):
        got = consensus(a, b, threshold=0.6, min_agreement=least)
        assert got.agreement.tolist() == [0.5]
        assert got.intersection.tolist() == [[[0, 1, 1, 0]]]
        assert got.union.tolist() == [[[1, 1, 1, 1]]]
        assert got.accepted.tolist() == [accepted]
    # A threshold that one of the common pixels misses: {0, 2} and {1, 3} share nothing.
    assert consensus(a, b, threshold=0.65).agreement.tolist() == [0.0]


def test_two_empty_maps_are_rejected_however_little_is_demanded():
    nothing = jnp.zeros((2, 3, 3))
    got = consensus(nothing, nothing, min_agreement=0.0)
    assert got.accepted.tolist() == [False, False]
    assert got.agreement.tolist() == [0.0, 0.0]
    masked = consensus(nothing + 1, nothing + 1, where=jnp.zeros((2, 1, 1)))
    assert masked.accepted.tolist() == [False, False]


def test_a_wrong_teacher_spoils_the_union_and_not_the_intersection():
    truth = sounding_maps.box_map(jnp.array([[1.0, 1.0, 4.0, 4.0]]), height=6, width=6)
    mistaken = jnp.maximum(truth, sounding_maps.box_map(jnp.array([[4.0, 0.0, 6.0, 2.0]]), height=6, width=6))
    got = consensus(truth, mistaken, min_agreement=0.5)
    assert got.accepted.all()
    np.testing.assert_array_equal(got.intersection, truth)
    assert metrics.consensus_iou(got.union, truth)[0] < metrics.consensus_iou(got.intersection, truth)[0] == 1


def test_no_gradient_reaches_the_teachers():
    maps = jax.random.uniform(jax.random.key(0), (2, 4, 3, 3))
    grads = jax.grad(lambda m: sum(jnp.sum(x * 1.0) for x in consensus(*m)))(maps)
    np.testing.assert_array_equal(grads, 0.0)


def _losses():
    keys = jax.random.split(jax.random.key(1), 3)
    labelled, unlabelled = jax.random.uniform(keys[0], (4, 2, 2)), jax.random.uniform(keys[1], (8, 2, 2))
    boxes, pseudo = jnp.round(jax.random.uniform(keys[2], (2, 4, 2, 2)))
    return labelled, boxes, unlabelled, jnp.concatenate([pseudo, 1 - pseudo])


def test_the_students_loss_divides_by_all_and_not_by_the_accepted():
    labelled, boxes, unlabelled, pseudo = _losses()
    accepted = jnp.array([1, 0, 0, 1, 0, 0, 0, 0], bool)
    each = sounding_maps.pixel_cross_entropy(unlabelled, pseudo)
    expected = sounding_maps.pixel_cross_entropy(labelled, boxes).mean() + 0.5 * (each[0] + each[3]) / 8
    dirty = unlabelled.at[1].set(jnp.nan)
    np.testing.assert_allclose(
        student_loss(labelled, boxes, dirty, pseudo, accepted, weight=0.5), expected, rtol=1e-5
    )
    grads = jax.grad(lambda u: student_loss(labelled, boxes, u, pseudo, accepted))(dirty)
    assert np.isfinite(grads).all()
    np.testing.assert_array_equal(grads[1], 0.0)
    nothing = student_loss(labelled, boxes, unlabelled, pseudo, jnp.zeros(8, bool))
    np.testing.assert_allclose(nothing, sounding_maps.pixel_cross_entropy(labelled, boxes).mean(), rtol=1e-6)
    assert student_loss(labelled[:0], boxes[:0], unlabelled[:0], pseudo[:0], accepted[:0]) == 0


def test_measures_by_hand():
    # Truth weighs 1 and 0.5; marked: the first and one outside. 1 / (1.5 + 1) = 0.4.
    maps, truth = jnp.array([[[0.9, 0.2, 0.9, 0.0]]]), jnp.array([[[1.0, 0.5, 0.0, 0.0]]])
    np.testing.assert_allclose(metrics.consensus_iou(maps, truth), [0.4], rtol=1e-6)
    assert metrics.consensus_iou(jnp.zeros((1, 2, 2)), jnp.zeros((1, 2, 2))).tolist() == [0.0]
    overlap = jnp.array([0.5, 0.49, 1.0, 0.0])
    assert metrics.localization_success(overlap).item() == 0.5
    assert metrics.localization_success(overlap, where=jnp.array([0, 1, 1, 0])).item() == 0.5
    assert metrics.localization_success(overlap, where=jnp.zeros(4)).item() == 0
    # All at 1: every threshold is reached, area 1. All at 0: only threshold 0, half of the first strip, 0.025.
    assert metrics.localization_auc(jnp.ones(3)).item() == pytest.approx(1.0)
    assert metrics.localization_auc(jnp.zeros(3)).item() == pytest.approx(0.025)
    assert metrics.localization_auc(jnp.zeros(3), where=jnp.zeros(3)).item() == 0
    normal = sounding_maps.min_max_normalize(jnp.array([[[2.0, 4.0]], [[3.0, 3.0]]]))
    assert normal.tolist() == [[[0.0, 1.0]], [[0.0, 0.0]]]


def test_shapes_and_ranges_are_checked():
    maps = jnp.ones((2, 3, 3))
    with pytest.raises(ValueError, match=r"maps_a \(2, 3, 3\) and maps_b \(1, 3, 3\)"):
        consensus(maps, maps[:1])
    with pytest.raises(ValueError, match=r"min_agreement must be in \[0, 1\], got 2"):
        dual_mean_teacher.teacher_consensus(maps, maps, min_agreement=2)
    with pytest.raises(ValueError, match=r"accepted \(3,\) must be \[N\]"):
        student_loss(maps, maps, maps, maps, jnp.ones(3))
    with pytest.raises(ValueError, match=r"threshold \(3,\) must be a scalar or \[B\]"):
        metrics.consensus_iou(maps, maps, threshold=jnp.ones(3))
