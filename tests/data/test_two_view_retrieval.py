"""Pairs of views: same task, same key, same data; near-duplicates are near, and noise hides."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.data import TwoViews, two_view_pairs

TASK, KEY = jax.random.key(0), jax.random.key(1)


def test_shapes_scale_and_repetition():
    pairs = two_view_pairs(TASK, KEY, 400, view_dim=6, group_size=4)
    assert isinstance(pairs, TwoViews)
    assert pairs.image.shape == pairs.text.shape == (400, 6)
    np.testing.assert_array_equal(pairs.group, np.repeat(np.arange(100), 4))
    assert 0.5 < float(pairs.image.std()) < 1.5
    chex.assert_trees_all_equal(pairs, two_view_pairs(TASK, KEY, 400, view_dim=6, group_size=4))
    other = two_view_pairs(TASK, jax.random.key(2), 400, view_dim=6)
    assert np.abs(other.image - pairs.image).max() > 0.1


def test_a_group_is_nearer_than_strangers_and_spread_zero_makes_it_one_thing():
    distance = lambda x, y: float(jnp.square(x - y).mean())
    pairs = two_view_pairs(TASK, KEY, 200, group_size=2, spread=0.3, noise=0.0)
    inside, outside = (
        distance(pairs.image[::2], pairs.image[1::2]),
        distance(pairs.image[1:-1], pairs.image[2:]),
    )
    assert inside < 0.5 * outside
    same = two_view_pairs(TASK, KEY, 200, group_size=2, spread=0.0, noise=0.0)
    np.testing.assert_allclose(same.text[::2], same.text[1::2], atol=1e-6)


def test_the_views_belong_to_the_task_and_noise_to_each_view():
    clean, loud = (two_view_pairs(TASK, KEY, 50, noise=noise) for noise in (0.0, 0.5))
    added = [np.asarray(b - a) / 0.5 for a, b in zip(clean[:2], loud[:2])]
    for noise in added:
        assert 0.9 < noise.std() < 1.1
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.1
    assert np.abs(two_view_pairs(jax.random.key(9), KEY, 50, noise=0.0).image - clean.image).max() > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"num_pairs": 0}, "num_pairs is 0"), ({"noise": -1.0}, "spread and noise must be")],
)
def test_sizes_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        two_view_pairs(TASK, KEY, **{"num_pairs": 4} | changes)
