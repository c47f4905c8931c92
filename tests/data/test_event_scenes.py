"""Event scenes: sparse clicks, rare classes, streams that show the shapes, a longer stream that shows more."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import data
from jaxlab.data import EventScenes, event_scenes

make = jax.jit(functools.partial(event_scenes, size=24, num_shapes=3), static_argnums=1)


@pytest.fixture(scope="module")
def scenes():
    return jax.tree.map(np.asarray, make(jax.random.key(0), 120))


def test_shapes_types_and_ranges(scenes):
    assert isinstance(scenes, EventScenes)
    assert scenes.forward.shape == scenes.backward.shape == (120, 24, 24, 5)
    assert scenes.label.shape == scenes.clicked.shape == scenes.intensity.shape == (120, 24, 24)
    assert (scenes.label.dtype, scenes.clicked.dtype) == (np.int32, np.bool_)
    assert all(np.isfinite(x).all() for x in scenes)
    assert 0 < scenes.intensity.min() < scenes.intensity.max() <= 1
    assert set(np.unique(scenes.label)) == {0, 1, 2, 3, 4}


def test_one_click_per_class_of_a_scene(scenes):
    for label, clicked in zip(scenes.label, scenes.clicked):
        assert sorted(label[clicked]) == sorted(np.unique(label))
    assert scenes.clicked.mean() < 0.01  # less than one pixel in a hundred has a label


def test_classes_are_imbalanced(scenes):
    share = np.bincount(scenes.label.ravel(), minlength=5) / scenes.label.size
    assert 0.75 < share[0] < 0.95
    assert share[1] > 2 * share[3]
    assert share[1] > 2 * share[4]
    assert share.min() > 0.002


def test_events_are_where_shapes_move(scenes):
    fired = np.abs(scenes.forward).sum(-1)
    assert fired[scenes.label > 0].mean() > 4 * fired[scenes.label == 0].mean()
    # The longer stream has more events, and more of the shapes' pixels saw any.
    later = np.abs(scenes.backward).sum(-1)
    assert later.sum() > 2 * fired.sum()
    assert (later[scenes.label > 0] > 0).mean() > (fired[scenes.label > 0] > 0).mean()


def test_intensity_alone_does_not_tell_the_class(scenes):
    # Means of the classes lie within a fraction of their spread.
    means = [scenes.intensity[scenes.label == c].mean() for c in range(5)]
    assert np.ptp(means) < 1.2 * scenes.intensity.std()


def test_clicks_are_spread_over_the_class():
    label = jnp.zeros((400, 4, 4), jnp.int32).at[:, 0].set(1).at[:, 1, 0].set(7)
    clicked = np.asarray(data.class_clicks(label, jax.random.key(0), num_classes=3))
    assert (clicked.sum((1, 2)) == 2).all()  # class 2 is not there, and 7 is no class
    counts = clicked[:, 0].sum(0)
    assert counts.sum() == 400
    assert counts.min() > 60  # 100 each
    assert not clicked[:, 1, 0].any()


def test_determined_by_the_key_and_growing_with_it(scenes):
    again = make(jax.random.key(0), 120)
    chex.assert_trees_all_equal(scenes, jax.tree.map(np.asarray, again))
    other = make(jax.random.key(1), 120)
    assert np.abs(scenes.intensity - other.intensity).max() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "16 pixels, got 4, 5, 10, 5 and 8"),
        ({"bins": 0}, "at least 1 shape, bin and frame"),
        ({"class_frequencies": (1.0, 1.0)}, "class_frequencies must be 4 numbers"),
    ],
)
def test_errors_are_one_line(options, message):
    with pytest.raises(ValueError, match=message) as info:
        event_scenes(jax.random.key(0), 2, **options)
    assert "\n" not in str(info.value)
    with pytest.raises(ValueError, match=r"label must be \[N, H, W\]"):
        data.class_clicks(jnp.zeros((4, 4), int), jax.random.key(0), num_classes=2)
