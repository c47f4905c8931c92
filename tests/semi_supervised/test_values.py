"""Values that cannot be are refused, and a NaN that counts comes out: what the rest of the room's tests leave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import metrics
from jaxlab import semi_supervised as semi
from jaxlab.semi_supervised import (
    dual_mean_teacher,
    ev_wsss,
    hssda,
    prototype_memory,
    rail,
    score_thresholds,
    sefar,
    sounding_maps,
    temporal_levels,
)

NAN = np.nan
BOXES = np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0]], np.float32)
LIMITS = np.full((2, 3, 2), 0.3, np.float32)
MAPS = np.full((2, 2, 2), 0.8, np.float32)
PIXELS = np.zeros((1, 2, 3), np.float32)  # one image of two pixels and three classes


def spoiled(x, *at):
    x = np.array(x, np.float32)
    x[at] = NAN
    return x


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rail.best_student(np.array([NAN, 0.2])), r"losses holds NaN, first at \(0,\)"),
        (
            lambda: hssda.box_levels(spoiled(np.ones((2, 3)), 1, 2), np.zeros(2, int), LIMITS),
            r"measures and thresholds holds NaN, first at \(1,\)",
        ),
        (
            lambda: hssda.box_levels(np.ones((2, 3)), np.array([0, 2]), LIMITS),
            r"classes must be in \[0, 2\)",
        ),
        (
            lambda: metrics.match_detections(spoiled(np.ones((2, 2)), 0, 1), np.ones(2)),
            r"iou holds NaN, first at \(0, 1\)",
        ),
        (lambda: metrics.match_detections(np.ones((2, 2)), np.array([0.5, NAN])), "scores holds NaN"),
        (lambda: semi.points_in_boxes(np.array([[NAN, 0.0]]), BOXES), "points holds NaN"),
        (lambda: semi.points_in_boxes(np.zeros((1, 2)), spoiled(BOXES, 0, 2)), "boxes holds NaN"),
        (
            lambda: metrics.mean_average_precision(
                np.ones((1, 1, 1)), np.ones((1, 1)), np.array([[3]]), np.array([[1]]), num_classes=3
            ),
            r"classes must be in \[0, 3\)",
        ),
        (
            lambda: score_thresholds.dual_thresholds(
                np.ones((2, 1)), np.array([0, 2]), num_classes=2, default=((0.5, 0.5),)
            ),
            r"classes must be in \[0, 2\), or negative for a box to ignore, got 2",
        ),
        (
            lambda: hssda.store_append(
                hssda.store_init(2, 2), np.array([2]), BOXES[None], np.zeros((1, 2), int)
            ),
            r"rows must be in \[0, 2\), or negative for a scene to leave out, got 2",
        ),
        (
            lambda: hssda.store_append(
                hssda.store_init(2, 2), np.array([1]), BOXES[None], np.full((1, 2), 0.7)
            ),
            "classes must be integers",
        ),
        (
            lambda: metrics.class_overlap(np.array([0, 3]), np.array([0, 1]), num_classes=3),
            "prediction must be in",
        ),
        (
            lambda: metrics.class_overlap(np.array([0, 1]), np.array([0, 3]), num_classes=3),
            "labels must be in",
        ),
        (
            lambda: metrics.dice_score(np.array([[0.3, 1.0]]), np.ones((1, 2))),
            "prediction must be bool or hold 0 and 1",
        ),
        (lambda: semi.dice_loss(3 * np.ones((1, 2)), np.ones((1, 2))), "probs must be probabilities"),
        (lambda: semi.dice_loss(np.ones((1, 2)), np.array([[1, 255]])), "target must be probabilities"),
        (lambda: ev_wsss.classes_in_labels(np.array([[0, 3]]), num_classes=3), "labels must be in"),
        (lambda: dual_mean_teacher.teacher_consensus(4 * MAPS, MAPS), "maps_a must be probabilities"),
        (lambda: sounding_maps.pixel_cross_entropy(MAPS, -MAPS), "targets must be probabilities"),
        (
            lambda: dual_mean_teacher.dual_teacher_loss(MAPS, MAPS, MAPS, MAPS, np.array([0.2, 1.0])),
            "accepted must be bool",
        ),
        (
            lambda: prototype_memory.region_prototypes(
                np.ones((1, 2, 2)), 5 * np.ones((1, 2, 2)), np.ones((1, 2))
            ),
            "probs must be probabilities",
        ),
        (
            lambda: prototype_memory.prototype_cross_entropy(np.ones((2, 2)), np.array([0, 2]), np.eye(2)),
            r"labels must be in \[0, 2\), or negative for a pixel to ignore",
        ),
        (
            lambda: rail.confidence_restraint_loss(PIXELS, np.array([[0, 3]])),
            r"best_prediction must be in \[0, 3\), got 3",
        ),
        (
            lambda: rail.disagreement_supervision_loss(PIXELS, np.array([[0, 3]]), np.array([[0, 0]])),
            r"labels must be in \[0, 3\), or negative",
        ),
        (
            lambda: metrics.localization_success(np.ones(2), threshold=50),
            r"threshold must be in \[0, 1\], got 50",
        ),
        (
            lambda: temporal_levels.dual_level_indices(jax.random.key(0), 8, levels=(2.0, 2, 4)),
            "levels must be whole numbers",
        ),
        (
            lambda: temporal_levels.dual_level_indices(jax.random.key(0), 8.0),
            "num_frames must be integers",
        ),
        (
            lambda: temporal_levels.take_levels(np.ones((1, 4)), (np.array([[0, 4]]),)),
            r"indices must be in \[0, 4\), got 4",
        ),
        (
            lambda: temporal_levels.tube_mix(np.ones((2, 1, 3)), np.array([0, 2]), np.ones(3)),
            r"partner must be in \[0, 2\), got 2",
        ),
        (
            lambda: temporal_levels.tube_mix(np.ones((2, 1, 3)), np.array([0, 1]), np.full(3, 0.4)),
            "mask must be bool",
        ),
        (
            lambda: temporal_levels.tube_mask(jax.random.key(0), 4, NAN),
            r"ratio must be in \[0, 1\], got nan",
        ),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)


def test_behind_a_mask_none_of_it_is_seen():
    assert metrics.match_detections(
        spoiled(np.ones((2, 2)), 0, 1), np.array([0.9, 0.5]), allowed=[[1, 0], [1, 1]]
    ).tolist() == [0, 1]
    assert semi.points_in_boxes([[NAN, 0.0]], BOXES, where=[False]).tolist() == [[False, False]]
    levels = hssda.box_levels(spoiled(np.ones((2, 3)), 1, 2), np.array([0, 7]), LIMITS, where=[True, False])
    assert levels.tolist() == [2, -1]
    overlap = metrics.class_overlap([0, 9], [0, 9], num_classes=3, where=[True, False])
    assert overlap.iou.tolist() == [1, 0, 0]
    loss = prototype_memory.prototype_cross_entropy(
        np.ones((2, 2)), np.array([0, 99]), np.eye(2), where=[True, False]
    )
    assert loss[1] == 0


def test_255_and_negative_labels_are_no_labels():
    overlap = metrics.class_overlap([0, 1, 1], [0, 255, -1], num_classes=3)
    assert overlap.iou.tolist() == [1, 0, 0]
    assert ev_wsss.classes_in_labels([[1, 255, -1]], num_classes=3).tolist() == [[False, True, False]]
    assert prototype_memory.prototype_cross_entropy(np.ones((2, 2)), [255, -1], np.eye(2)).tolist() == [
        0,
        0,
    ]


def test_a_nan_among_overlaps_makes_the_metric_nan():
    overlap = np.array([0.2, NAN, 0.9], np.float32)
    for metric in (metrics.localization_success, metrics.localization_auc):
        assert np.isnan(metric(overlap))
        assert np.isfinite(metric(overlap, where=[1, 0, 1]))
    for maps, truth in ((spoiled(MAPS, 1, 0, 0), MAPS), (MAPS, spoiled(MAPS, 1, 0, 0))):
        assert np.isnan(metrics.consensus_iou(maps, truth)).tolist() == [False, True]


def test_a_nan_in_a_teachers_map_is_no_consensus():
    both = dual_mean_teacher.teacher_consensus(spoiled(MAPS, 0, 1, 1), MAPS)
    assert np.isnan(both.agreement).tolist() == [True, False]
    assert both.accepted.tolist() == [False, True]
    where = np.array([[[1, 1], [1, 0]], [[1, 1], [1, 1]]])
    assert dual_mean_teacher.teacher_consensus(
        spoiled(MAPS, 0, 1, 1), MAPS, where=where
    ).agreement.tolist() == [1, 1]


def test_a_nan_in_a_box_is_a_nan_in_its_overlaps():
    for iou, boxes in (
        (semi.axis_aligned_iou, BOXES),
        (semi.bev_iou, np.pad(BOXES, ((0, 0), (0, 1)))),
    ):
        for column in range(boxes.shape[1]):
            found = jax.jit(iou)(spoiled(boxes, 0, column), boxes)
            assert np.isnan(found).tolist() == [[True, True], [False, False]], column


def test_a_nan_score_makes_the_precision_of_its_class_nan():
    assert np.isnan(metrics.average_precision(np.array([0.9, NAN]), [1, 0], 2))
    assert metrics.average_precision(np.array([0.9, NAN]), [1, 0], 2, where=[1, 0]) == 0.5
    found = lambda iou, scores: metrics.mean_average_precision(
        iou, scores, np.array([[0, 1]]), np.array([[0, 1]]), num_classes=2
    )
    iou = np.array([[[0.9, 0.0], [0.0, 0.9]]], np.float32)
    for scores in (np.array([[0.9, NAN]]), np.array([[0.9, 0.5]])):
        got = found(iou if np.isnan(scores).any() else spoiled(iou, 0, 1, 1), scores)
        assert np.isnan(got.average_precision).tolist() == [False, True]
        assert np.isnan(got.mean)
    assert found(spoiled(iou, 0, 0, 1), np.array([[0.9, 0.5]])).mean == 1  # of two classes: no pair


def test_where_a_nan_hides_the_level_the_weight_is_nan():
    measures, classes = np.full((3, 3), 0.9, np.float32), np.zeros(3, int)
    found = hssda.hierarchical_supervision(spoiled(measures, 1, 2), classes, LIMITS)
    assert np.isnan(found.weight).tolist() == [False, True, False]
    overlap = np.array([0.0, NAN, 0.3], np.float32)
    found = hssda.hierarchical_supervision(measures, classes, LIMITS, label_overlap=overlap)
    assert np.isnan(found.weight).tolist() == [False, True, False]
    assert found.level.tolist() == [2, -1, -1]
    hidden = hssda.hierarchical_supervision(measures, classes, LIMITS, label_overlap=overlap, where=[1, 0, 1])
    assert hidden.weight.tolist() == [1, 0, 0]
    assert np.isnan(hssda.hierarchical_supervision(measures, classes, spoiled(LIMITS, 0, 1, 0)).weight).all()


def test_a_nan_probability_is_remembered_and_a_pixel_of_no_weight_is_not():
    features, probs = np.ones((1, 2, 2), np.float32), np.array([[[0.9, 0.1], [0.2, 0.1]]], np.float32)
    make = lambda f, p: prototype_memory.region_prototypes(f, p, np.ones((1, 2)), min_mass=0.0)
    made, valid = make(features, spoiled(probs, 0, 1, 1))
    assert np.isnan(made).any(-1).tolist() == [[False, True]]
    assert valid.tolist() == [[True, True]]
    made, valid = make(spoiled(features, 0, 1), probs)
    np.testing.assert_allclose(made[0, 0], [0.5**0.5] * 2, rtol=1e-6)
    assert np.isnan(make(spoiled(features, 0, 0), probs)[0][0, 0]).all()


def test_thresholds_after_a_diverged_batch_are_nan():
    state = semi.AdaptiveThresholds(jnp.float32(0.5), jnp.array([0.5, NAN]))
    assert np.isnan(semi.adaptive_thresholds(state)).all()


def test_traced_a_nan_loss_is_chosen_and_comes_out():
    losses, logits = np.array([0.3, NAN, 0.1]), np.array([1.0, NAN, 2.0])
    assert np.isnan(jax.jit(lambda x, z: z[rail.best_student(x)])(losses, logits))


def test_numbers_in_a_schedule_may_be_traced():
    ramp = jax.jit(lambda w: sefar.sine_ramp_up(np.arange(6), warm_up=w, total=5.0))(2.0)
    np.testing.assert_allclose(ramp, sefar.sine_ramp_up(np.arange(6), warm_up=2, total=5), rtol=1e-6)
    rate = jax.jit(lambda c: semi.warm_up_constant_cosine(np.arange(9000, step=500), constant=c))(0.4)
    np.testing.assert_allclose(
        rate, semi.warm_up_constant_cosine(np.arange(9000, step=500), constant=0.4), rtol=1e-5
    )
