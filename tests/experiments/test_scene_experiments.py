"""Localisation and detection with few labels, from their configs: smoke runs, pictures, settings without sense."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._config import load
from experiments.semi_supervised import _box_labels, _box_teacher, _detector, detect, localize
from jaxlab.semi_supervised import dual_mean_teacher
from tests.experiments.command import changed, finish

LOCALIZE, DETECT = "configs/semi_supervised/dual_mean_teacher.py", "configs/semi_supervised/hssda.py"
METRICS = {
    LOCALIZE: ("ap50", "auc", "ap50_small", "acceptance", "pseudo_iou", "pseudo_iou_half"),
    DETECT: ("map50", "recall_pedestrian", "precision_high", "precision_middle", "precision_low"),
}
LOGGED = {
    LOCALIZE: {"dmt": ("acceptance", "pseudo_iou", "pseudo_area")},
    DETECT: {"hssda": ("label_precision", "label_recall_car", "removed_points", "stored", "score_high_car")},
}


@pytest.mark.slow
@pytest.mark.parametrize("config", METRICS)
def test_the_smoke_run_reports_every_arm_and_draws_examples(tmp_path, config):
    status, _, error = finish(tmp_path / "run", config=f"{config}:smoke")
    assert status == 0, error
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    expected = load(f"{config}:smoke").config
    assert set(result["arms"]) == set(expected.arms)
    for arm in result["arms"].values():
        for metric in METRICS[config]:
            values = arm["metrics"][f"test/{metric}"]
            assert len(values) == 2
            assert all(0 <= value <= 1 for value in values)
    assert len(result["claims"]) == len(expected.claims) > 0
    assert (tmp_path / "run" / "examples.png").read_bytes()[:4] == b"\x89PNG"
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for arm, metrics in LOGGED[config].items():
        last = [row for row in rows if row["arm"] == arm][-1]
        assert {f"train/{metric}" for metric in metrics} <= set(last)


@pytest.mark.parametrize(
    ("driver", "path", "changes", "message"),
    [
        (
            localize,
            LOCALIZE,
            {"arms__dmt__method": "vote"},
            "arm dmt: method is 'vote': it must be one of none, conf",
        ),
        (localize, LOCALIZE, {"arms__dmt__nets": ("a", "c")}, "they must be one or two of a, b"),
        (
            localize,
            LOCALIZE,
            {"arms__dmt__nets": ("a",)},
            "arm dmt: method is 'intersection': it needs 2 nets",
        ),
        (localize, LOCALIZE, {"data__labelled": 40}, "data.labelled is 40: it must be between 1 and 39"),
        (detect, DETECT, {"arms__hssda__method": "soft"}, "arm hssda: method is 'soft': it must be one of"),
        (detect, DETECT, {"data__labelled": 0}, "data.labelled is 0: it must be between 1 and 15"),
        (detect, DETECT, {"cells": 30}, "cells is 30: it must be a multiple of 4"),
    ],
)
def test_settings_that_make_no_sense_are_named(driver, path, changes, message):
    with pytest.raises(ValueError, match=message):
        driver.build(changed(path, **changes))


def test_the_grid_counts_points_and_averages_them():
    points = jnp.array(
        [[[0.5, -15.5, 0.2, 0.4], [0.75, -15.5, 0.4, 0.8], [31.9, 15.9, 1.0, 1.0], [40.0, 0.0, 1.0, 1.0]]]
    )
    got = _detector.grid(points, jnp.array([[True, True, True, True]]), size=32.0, cells=32)
    np.testing.assert_allclose(got[0, 0, 0], [0.3, 0.6, 0.125, 0.0, np.log(3)], atol=1e-6)
    np.testing.assert_allclose(got[0, 31, 31, 4], np.log(2), rtol=1e-6)
    assert (np.asarray(got[0, ..., 4]) > 0).sum() == 2
    assert _detector.grid(points, jnp.zeros((1, 4), bool), size=32.0, cells=32).sum() == 0


def _maps_of(boxes, classes, *, cells=16, size=32.0):
    """What a perfect net would say."""
    step = size / cells
    centre = (boxes[:, :2] + np.array([0, size / 2])) / step
    cell = np.floor(centre).astype(int)
    logits, objectness = np.full((1, cells, cells, 3), -9.0), np.full((1, cells, cells), -9.0)
    offset, log_size = np.zeros((1, cells, cells, 2)), np.zeros((1, cells, cells, 2))
    for (x, y), box, place, label in zip(cell, boxes, centre, classes):
        logits[0, y, x, label], objectness[0, y, x] = 9.0, 9.0
        offset[0, y, x], log_size[0, y, x] = place - (x, y) - 0.5, np.log(box[2:])
    return _detector.Maps(*(jnp.float32(m) for m in (logits, objectness, offset, log_size)))


def test_boxes_are_read_from_maps_and_cost_nothing_when_right():
    boxes = np.array([[5.3, -10.2, 6.0, 3.0], [20.0, 4.7, 2.0, 2.2], [28.9, 14.1, 2.0, 4.0]])
    classes = np.array([0, 1, 2])
    maps = _maps_of(boxes, classes)
    found = _detector.detect(maps, size=32.0, count=6)
    order = np.argsort(np.asarray(found.boxes[0, :3, 0]))
    np.testing.assert_allclose(found.boxes[0, :3][order], boxes, rtol=1e-4)
    assert found.classes[0, :3][order].tolist() == [0, 1, 2]
    assert (found.score[0, :3] > 0.99).all()
    assert (found.score[0, 3:] < 0.01).all()
    labels = _detector.Labels(jnp.float32(boxes)[None], jnp.asarray(classes)[None], jnp.ones((1, 3)))
    loss = jax.jit(lambda labels: _detector.detection_loss(maps, labels, size=32.0))
    assert loss(labels) < 1e-3
    # A label in the wrong place costs, one of weight or class nothing does not.
    moved = labels._replace(boxes=labels.boxes.at[0, 0, 0].add(4.0))
    assert loss(moved) > 1
    nothing = labels._replace(classes=jnp.full((1, 3), -1), weight=jnp.zeros((1, 3)))
    assert np.isfinite(loss(nothing))
    assert loss(nothing) > 1  # the boxes that the maps claim are background then


def test_of_two_boxes_that_overlap_the_surer_stays():
    maps = _maps_of(np.array([[9.0, 1.0, 8.0, 8.0], [15.0, 1.0, 8.0, 8.0]]), np.array([0, 0]))
    maps = maps._replace(offset=maps.offset.at[..., 0].add(jnp.where(maps.objectness > 0, 0.9, 0.0)))
    maps = maps._replace(classes=maps.classes.at[0, 8, 4, 0].set(5.0))
    near = maps._replace(log_size=maps.log_size + jnp.log(2.0))
    assert _detector.detect(maps, size=32.0, count=4).exists[0, :2].tolist() == [True, True]
    hidden = _detector.detect(near, size=32.0, count=4)
    assert hidden.exists[0, :2].tolist() == [True, False]
    assert hidden.score[0, 0] > hidden.score[0, 1]


def test_levels_use_the_labels_that_a_scene_has():
    boxes = jnp.array([[[5.0, 0.0, 4.0, 2.0], [15.0, 0.0, 4.0, 2.0], [25.0, 0.0, 4.0, 2.0]]])
    found = _detector.Detections(
        boxes, jnp.array([[0.9, 0.9, 0.2]]), jnp.ones((1, 3)), jnp.zeros((1, 3), int), jnp.ones((1, 3), bool)
    )
    measures = jnp.stack([found.score, found.objectness, jnp.ones((1, 3))], axis=-1)
    points = jnp.concatenate([jnp.tile(boxes[..., :2], (1, 5, 1)), jnp.zeros((1, 15, 2))], axis=-1)
    stored = _detector.Labels(boxes[:, :1], jnp.zeros((1, 1), int), jnp.ones((1, 1)))
    thresholds = jnp.broadcast_to(jnp.array([0.5, 0.3]), (3, 3, 2))
    levels = _box_teacher.teach(found, measures, points, jnp.ones((1, 15), bool), stored, thresholds).levels
    assert levels.level.tolist() == [[-1, 2, 0]]
    gone = _box_labels._removed(points, boxes, levels.removed, stored)
    assert gone.tolist() == [[False, False, True] * 5]


def test_one_teacher_is_believed_where_it_is_sure():
    from experiments.semi_supervised._localizers import sure_consensus

    maps = jnp.array([[[0.9, 0.7, 0.1]], [[0.6, 0.5, 0.1]], [[0.1, 0.1, 0.1]]])
    got = sure_consensus(maps, threshold=0.5, min_confidence=0.75)
    np.testing.assert_allclose(got.agreement, [0.8, 0.55, 0.0], rtol=1e-6)
    assert got.accepted.tolist() == [True, False, False]
    np.testing.assert_array_equal(
        got.union, dual_mean_teacher.teacher_consensus(maps, maps, threshold=0.5).union
    )
