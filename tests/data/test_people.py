"""What people see and answer: ways through a grid, triples, preferences; and all copies of an image."""

import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import data

SLA = np.load(pathlib.Path(__file__).parents[1] / "golden" / "sla.npz")
WORLD = jax.random.key(0)


def test_ways_go_from_corner_to_corner_past_the_objects():
    made = data.robot_paths(WORLD, jax.random.key(1), 2000)
    assert made.input.shape == (2000, 35)
    assert made.features.shape == (2000, 4)
    steps = np.diff(made.path, axis=1)
    assert (steps >= 0).all()
    assert (steps.sum(-1) == 1).all()
    np.testing.assert_array_equal(made.path[:, 0], np.zeros((2000, 2)))
    np.testing.assert_array_equal(made.path[:, -1], np.full((2000, 2), 4))
    assert len(np.unique(np.asarray(made.path).reshape(2000, -1), axis=0)) == 70  # of (8 over 4)
    np.testing.assert_allclose(made.input[:, :18].reshape(2000, 9, 2) * 4, made.path, atol=1e-5)
    np.testing.assert_array_equal(made.input[:, 18:25].argmax(1), made.angle)
    np.testing.assert_allclose(made.features.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(made.features.std(0), 1, atol=0.1)
    np.testing.assert_allclose(made.input[:, 25:].std(), 0.5, rtol=0.03)
    # The angle's size is the same to both sides.
    size = [float(made.features[made.angle == angle, 3].mean()) for angle in range(7)]
    np.testing.assert_allclose(size, size[::-1], atol=1e-5)


def test_a_world_is_its_key():
    first, again = (data.robot_paths(WORLD, jax.random.key(1), 50) for _ in range(2))
    chex.assert_trees_all_equal(first, again)
    other = data.robot_paths(WORLD, jax.random.key(2), 50)
    assert (np.asarray(first.path) != other.path).any()
    elsewhere = data.robot_paths(jax.random.key(3), jax.random.key(1), 50)
    np.testing.assert_array_equal(first.path, elsewhere.path)
    assert np.abs(first.features - elsewhere.features).max() > 0.1


def test_the_most_similar_pair_by_hand():
    features = np.float32(
        [[[0], [5], [1]], [[0], [1], [5]], [[9], [1], [2]], [[0], [1], [2]], [[3], [3], [3]]]
    )
    expected = [[0, 2, 1], [0, 1, 2], [1, 2, 0], [0, 1, 2], [0, 1, 2]]
    np.testing.assert_array_equal(data.most_similar_pair(features), expected)


def test_answers_are_right_as_often_as_they_should():
    features = np.float32(np.random.default_rng(0).normal(size=(30, 4)))
    rows = np.asarray(data.similarity_answers(jax.random.key(0), features, 3000))
    assert (rows[:, 0] != rows[:, 1]).all()
    assert (rows[:, 0] != rows[:, 2]).all()
    assert (rows[:, 1] != rows[:, 2]).all()
    np.testing.assert_allclose(np.bincount(rows.ravel(), minlength=30) / 9000, 1 / 30, rtol=0.25)
    right = lambda rows: (np.asarray(data.most_similar_pair(features[rows]))[:, 2] == 2).mean()
    assert right(rows) == 1
    noisy = np.asarray(data.similarity_answers(jax.random.key(0), features, 3000, error_rate=0.3))
    np.testing.assert_allclose(right(noisy), 0.7, atol=0.03)
    wrong = np.asarray(data.similarity_answers(jax.random.key(0), features, 3000, error_rate=1.0))
    assert right(wrong) == 0
    rewards = np.float32([0, 1, 1, 3])
    made = data.preference_answers(jax.random.key(0), rewards, 2000)
    gap = rewards[made.index[:, 0]] - rewards[made.index[:, 1]]
    np.testing.assert_array_equal(made.preferred, 0.5 * (1 + np.sign(gap)))
    assert (made.index[:, 0] != made.index[:, 1]).all()
    noisy = data.preference_answers(jax.random.key(0), rewards, 2000, error_rate=0.2)
    np.testing.assert_allclose(np.mean(noisy.preferred != made.preferred), 0.2 * np.mean(gap != 0), atol=0.03)


COPIES = {
    "rotation": {},
    "rotation2": {"turns": (0, 2)},
    "color_perm": {"turns": (0,), "orders": data.CHANNEL_ORDERS},
    "color_perm3": {"turns": (0,), "orders": data.CYCLIC_ORDERS},
    "rot_color_perm6": {"turns": (0, 2), "orders": data.CYCLIC_ORDERS},
    "rot_color_perm12": {"orders": data.CYCLIC_ORDERS},
    "rot_color_perm24": {"orders": data.CHANNEL_ORDERS},
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_the_authors(name):
    images = jnp.moveaxis(jnp.float32(SLA["in_img"]), 1, -1)
    copies = data.transformed_copies(images, **COPIES[name])
    np.testing.assert_array_equal(np.moveaxis(copies, -1, 1), np.float32(SLA[f"out_aug_{name}"]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.robot_paths(WORLD, WORLD, 3, size=2), "size must be from 3 to 8"),
        (lambda: data.robot_paths(WORLD, WORLD, 3, num_angles=4), "num_angles odd"),
        (lambda: data.robot_paths(WORLD, WORLD, 3, distraction=-1.0), "distraction must be at least 0"),
        (lambda: data.most_similar_pair(np.ones((2, 4))), r"features must be \[..., 3, D\], got \(2, 4\)"),
        (lambda: data.similarity_answers(WORLD, np.ones((2, 4)), 3), r"features must be \[N, D\] with N at least 3"),
        (lambda: data.similarity_answers(WORLD, np.ones((3, 4)), 3, error_rate=2.0), r"error_rate must be in \[0, 1\]"),
        (lambda: data.preference_answers(WORLD, np.ones(1), 3), r"rewards must be \[N\] with N at least 2"),
        (lambda: data.transformed_copies(np.ones((2, 3, 3))), r"images must be \[B, H, W, C\]"),
        (lambda: data.transformed_copies(np.ones((1, 2, 3, 1))), "images of 2 by 3 cannot be turned"),
        (lambda: data.transformed_copies(np.ones((1, 2, 2, 1)), turns=()), "must not be empty"),
        (lambda: data.transformed_copies(np.ones((1, 2, 2, 1)), orders=((0, 1, 2),)), "orders of 1 channels"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
