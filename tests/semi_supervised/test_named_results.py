"""What comes back in several parts comes back with names, of the sizes that the docstrings give."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab import data, metrics
from jaxlab.semi_supervised import dual_mean_teacher, hssda


def test_consensus_of_two_teachers():
    found = dual_mean_teacher.teacher_consensus(jnp.ones((2, 3, 3)), jnp.ones((2, 3, 3)))
    assert isinstance(found, dual_mean_teacher.Consensus)
    assert all(leaf.shape[0] == 2 for leaf in found)


def test_scores_of_a_perfect_detector():
    found = metrics.mean_average_precision(
        jnp.eye(2)[None], jnp.array([[0.9, 0.8]]), jnp.array([[0, 1]]), jnp.array([[0, 1]]), num_classes=3
    )
    assert isinstance(found, metrics.DetectionScores)
    assert float(found.mean) == 1.0
    assert found.occurs.tolist() == [True, True, False]


def test_labels_found_are_kept_in_a_store():
    store = hssda.store_init(3, 5)
    assert isinstance(store, hssda.LabelStore)
    assert store.boxes.shape == (3, 5, 4)
    assert store.count.tolist() == [0, 0, 0]


def test_levels_of_three_boxes():
    """One above both thresholds, one between them, one below: of weight 1, score times objectness, and 0."""
    measures = jnp.array([[0.9, 0.9, 0.9], [0.5, 0.6, 0.5], [0.2, 0.2, 0.2]])
    thresholds = jnp.broadcast_to(jnp.array([0.7, 0.4]), (1, 3, 2))
    found = hssda.hierarchical_supervision(measures, jnp.zeros(3, int), thresholds)
    assert isinstance(found, hssda.BoxLevels)
    assert found.level.tolist() == [2, 1, 0]
    np.testing.assert_allclose(found.weight, [1.0, 0.3, 0.0], rtol=1e-6)
    assert found.removed.tolist() == [False, False, True]


def test_scenes_are_one_named_tuple_each():
    keys = jax.random.split(jax.random.key(0))
    assert isinstance(data.audio_visual_scenes(*keys, 2), data.AudioVisualScenes)
    assert isinstance(data.point_cloud_scenes(keys[0], 2), data.PointScenes)
