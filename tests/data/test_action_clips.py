"""Action clips: only the order of frames tells the class, and reversal turns one class into another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.data import Clips, action_clips, reversed_action, swing_orders
from jaxlab.data._action_clips import _limb, _reach

KEYS = jax.random.split(jax.random.key(0), 4)
make = jax.jit(
    action_clips, static_argnums=1, static_argnames=("num_swings", "imbalance", "burst", "num_frames", "size")
)


@functools.cache
def _sets():
    """Training and test videos as numbers, and their labels."""
    sets = [make(key, 600) for key in KEYS[:2]]
    return [(np.asarray(s.video, np.float64), np.asarray(s.label)) for s in sets]


def _accuracy(train, label, test, truth, classes=6):
    """Least squares on one-hot labels with a Gaussian kernel."""
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    squared = lambda a, b: (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    width = np.median(squared(train, train))
    kernel = lambda a, b: np.exp(-squared(a, b) / width)
    weights = np.linalg.solve(
        kernel(train, train) + 0.1 * np.eye(len(train)), np.eye(classes)[label] - 1 / classes
    )
    return ((kernel(test, train) @ weights).argmax(1) == truth).mean()


def test_shapes_ranges_and_labels():
    clips = make(KEYS[0], 600)
    assert clips.video.shape == (600, 16, 12, 12, 1)
    assert clips.video.dtype == jnp.float32
    assert clips.label.dtype == jnp.int32
    assert clips.video.min() == 0
    assert clips.video.max() == 1
    assert np.bincount(clips.label).tolist() == [100] * 6


def test_some_orders_can_be_the_classes():
    all_orders, swapped = make(KEYS[0], 60), make(KEYS[0], 60, classes=jnp.array([1, 0, 2, 3, 4, 5]))
    np.testing.assert_array_equal(all_orders.label, swapped.label)
    same = np.abs(all_orders.video - swapped.video).max(axis=(1, 2, 3, 4)) == 0
    np.testing.assert_array_equal(same, all_orders.label >= 2)
    assert np.bincount(make(KEYS[0], 60, classes=jnp.array([5, 3])).label).tolist() == [30, 30]
    with pytest.raises(ValueError, match="classes"):
        action_clips(KEYS[0], 6, classes=jnp.array([6]))


def test_determined_by_its_key():
    first, again, other = make(KEYS[0], 600), make(KEYS[0], 600), make(KEYS[1], 600)
    np.testing.assert_array_equal(first.video, again.video)
    assert (first.label != other.label).any()
    assert np.abs(first.video - other.video).max() > 0.5


def test_the_order_of_frames_can_be_learned_from_and_nothing_else_can():
    (train, label), (test, truth) = _sets()
    ordered = _accuracy(train, label, test, truth)
    assert 0.55 < ordered < 0.98, "learnable, with room for something better than least squares"
    rng = np.random.default_rng(0)
    shuffle = lambda videos: np.stack([video[rng.permutation(16)] for video in videos])
    chance, spread = 1 / 6, 3 * (1 / 6 * 5 / 6 / len(truth)) ** 0.5
    assert abs(_accuracy(shuffle(train), label, shuffle(test), truth) - chance) < spread + 0.02
    assert abs(_accuracy(train.mean(1), label, test.mean(1), truth) - chance) < spread + 0.02
    any_time = lambda videos: videos[np.arange(len(videos)), rng.integers(0, 16, len(videos))]
    assert abs(_accuracy(any_time(train), label, any_time(test), truth) - chance) < spread + 0.02


def test_a_clip_played_backwards_is_a_clip_of_another_class():
    (train, label), (test, truth) = _sets()
    backwards = np.asarray(reversed_action(truth))
    assert (backwards != truth).all()
    forwards = _accuracy(train, label, test, truth)
    assert _accuracy(train, label, test[:, ::-1], backwards) > forwards - 0.08
    assert _accuracy(train, label, test[:, ::-1], truth) < 0.2


def test_swing_orders_and_their_reversal():
    for swings in (1, 2, 3, 4):
        orders = swing_orders(swings)
        assert len(np.unique(orders, axis=0)) == len(orders)
        turned = np.asarray(reversed_action(jnp.arange(len(orders)), num_swings=swings))
        np.testing.assert_array_equal(orders[turned], orders[:, ::-1])


def test_a_swing_is_the_same_forwards_and_backwards():
    # One swing from frame 2 for 4 frames: sin^2 of pi/8, 3 pi/8 and back; nothing outside.
    reach = _reach(jnp.array([[2.0]]), jnp.array([[4.0]]), 8)[0, :, 0]
    inner, outer = np.sin(3 * np.pi / 8) ** 2, np.sin(np.pi / 8) ** 2
    np.testing.assert_allclose(reach, [0, 0, outer, inner, inner, outer, 0, 0], atol=1e-6)


def test_the_limb_is_where_it_should_be():
    base, tip = jnp.array([[[4.0, 4.0]]]), jnp.array([[[0.0, 3.0]]])
    bright = _limb(base, tip, 9, 0.5)[0, 0]
    np.testing.assert_allclose(bright[4, 4:8], 1.0, atol=1e-5)
    # One pixel beside it: exp(-1 / (2 / 4)); one beyond its end likewise.
    np.testing.assert_allclose([bright[3, 5], bright[4, 8], bright[4, 3]], np.exp(-2.0), rtol=1e-4)


@pytest.mark.parametrize("imbalance", [4.0, 100.0])
def test_imbalanced_classes(imbalance):
    counts = np.bincount(make(KEYS[2], 600, imbalance=imbalance).label, minlength=6)
    share = imbalance ** (-np.arange(6) / 5)
    np.testing.assert_allclose(counts, 600 * share / share.sum(), atol=1.01)


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_difficulty_adds_noise(difficulty):
    video = make(KEYS[3], 60, difficulty=difficulty).video
    corner = np.asarray(video)[:, :, 0, 0]
    assert (corner > 0.05).mean() < 0.05 if difficulty == 0 else (corner > 0.05).mean() > 0.2


def test_a_quick_burst_leaves_the_rest_still():
    moving = lambda burst: np.abs(np.diff(make(KEYS[3], 60, difficulty=0.0, burst=burst).video, axis=1)).max(
        (2, 3, 4)
    )
    assert (moving((0.3, 0.3)) > 0.02).mean() < 0.5 < (moving((1.0, 1.0)) > 0.02).mean()


def test_other_sizes():
    clips = make(KEYS[0], 5, num_swings=2, num_frames=4, size=9)
    assert clips.video.shape == (5, 4, 9, 9, 1)
    assert clips.label.max() < 2
    assert isinstance(clips, Clips)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 7}, "1 frame of 8 pixels, got 16 of 7"),
        ({"num_swings": 6}, "num_swings must be in 1 ... 5"),
        ({"difficulty": 2.0}, r"difficulty must be in \[0, 1\]"),
        ({"burst": (0.9, 0.5)}, "burst must be two fractions"),
        ({"imbalance": 0.5}, "imbalance must be at least 1"),
    ],
)
def test_errors_are_one_line(options, message):
    with pytest.raises(ValueError, match=message) as info:
        action_clips(KEYS[0], 4, **options)
    assert "\n" not in str(info.value)
