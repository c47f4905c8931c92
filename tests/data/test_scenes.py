"""Audio-visual scenes and point clouds: what they contain, what makes them hard, and their pictures."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import data
from jaxlab import semi_supervised as ss
from jaxlab.semi_supervised import sounding_maps

TASK = jax.random.key(0)
COUNT = 300
# One form of each, so that each is compiled once.
_scenes = jax.jit(
    lambda task, key, difficulty: data.audio_visual_scenes(task, key, COUNT, difficulty=difficulty)
)
_clouds = {
    aligned: jax.jit(
        lambda key, difficulty, aligned=aligned: data.point_cloud_scenes(
            key, COUNT, aligned=aligned, difficulty=difficulty
        )
    )
    for aligned in (False, True)
}
_inside = jax.jit(lambda made: ss.points_in_boxes(made.points, made.boxes, where=made.exists))


@functools.cache
def _heard(difficulty=0.5, *, task=0, seed=1):
    return jax.tree.map(np.array, _scenes(jax.random.key(task), jax.random.key(seed), difficulty))


@functools.cache
def _seen(*, aligned=False, difficulty=0.5, seed=2):
    return jax.tree.map(np.array, _clouds[aligned](jax.random.key(seed), difficulty))


def _owned(made):
    """Which points lie in which boxes, `[N, P, M]`."""
    return np.asarray(_inside(made))


def test_frames_hold_two_to_four_objects_of_different_classes():
    made = _heard()
    assert made.image.shape == (COUNT, 24, 24, 3)
    assert 0 <= made.image.min() < made.image.max() <= 1
    count = (made.classes >= 0).sum(1)
    assert sorted(set(count)) == [2, 3, 4]
    for row in made.classes:
        own = row[row >= 0]
        assert len(set(own)) == len(own)
    # The one that is heard is first, and each class is heard about as often: 37 times, a deviation of 6.
    assert np.abs(np.bincount(made.classes[:, 0], minlength=8) - 37.5).max() < 25
    nothing = made.boxes[made.classes < 0]
    np.testing.assert_array_equal(nothing, 0.0)


def test_objects_do_not_overlap_and_are_inside():
    made = _heard()
    maps = np.asarray(jax.jit(functools.partial(sounding_maps.box_map, height=24, width=24))(made.boxes))
    assert maps.sum(1).max() == 1
    y0, x0, y1, x1 = made.boxes[made.classes >= 0].T
    assert (y0 >= 0).all()
    assert (x1 <= 24).all()
    np.testing.assert_array_equal(maps.sum((2, 3))[made.classes >= 0], (y1 - y0) * (x1 - x0))
    assert min((y1 - y0).min(), (x1 - x0).min()) == 4
    assert max((y1 - y0).max(), (x1 - x0).max()) == 11


def test_the_sound_says_the_class_and_the_frame_alone_does_not():
    """The nearest class mean tells what is heard, and the largest object is the heard one no more than by chance."""
    made = _heard()
    label = made.classes[:, 0]
    means = np.stack([made.audio[:150][label[:150] == c].mean(0) for c in range(8)])
    guess = (made.audio[150:] @ means.T).argmax(1)
    assert (guess == label[150:]).mean() > 0.9
    area = (made.boxes[..., 2] - made.boxes[..., 0]) * (made.boxes[..., 3] - made.boxes[..., 1])
    chance = (1 / (made.classes >= 0).sum(1)).mean()
    assert abs((area.argmax(1) == 0).mean() - chance) < 0.08


def test_colour_alone_leaves_two_classes():
    """The mean colour of an object finds its pair of classes, and within the pair not much more than chance."""
    made = _heard(0.3)
    maps = np.asarray(sounding_maps.box_map(made.boxes[:, 0], height=24, width=24))
    colour = (made.image * maps[..., None]).sum((1, 2)) / maps.sum((1, 2))[:, None]
    label = made.classes[:, 0]
    means = np.stack([colour[:150][label[:150] == c].mean(0) for c in range(8)])
    guess = ((colour[150:, None] - means) ** 2).sum(-1).argmin(1)
    assert (guess // 2 == label[150:] // 2).mean() > 0.85
    assert (guess == label[150:]).mean() < 0.7


def test_difficulty_adds_noise_to_sound_and_frame():
    easy, hard = _heard(0.0), _heard(1.0)
    np.testing.assert_array_equal(easy.classes, hard.classes)
    np.testing.assert_allclose(np.linalg.norm(easy.audio, axis=1), 1.0, rtol=1e-5)
    assert np.linalg.norm(hard.audio - easy.audio, axis=1).mean() > 0.8
    assert np.abs(hard.image - easy.image).mean() > 0.05


def test_scenes_are_determined_by_their_keys():
    first, again = _heard(), _scenes(TASK, jax.random.key(1), 0.5)
    assert isinstance(again, data.AudioVisualScenes)
    chex.assert_trees_all_equal(first, again)
    assert not np.array_equal(_heard(seed=4).image, first.image)
    # Another task: other sounds for the same classes.
    other = _heard(task=9)
    np.testing.assert_array_equal(other.classes, first.classes)
    assert np.abs(other.audio - first.audio).mean() > 0.1


def test_clouds_hold_unequal_classes_and_clutter():
    made = _seen()
    label = made.classes[made.classes >= 0]
    shares = np.bincount(label, minlength=3) / len(label)
    np.testing.assert_allclose(shares, [0.65, 0.2, 0.15], atol=0.04)
    count = (made.classes >= 0).sum(1)
    assert (count.min(), count.max()) == (4, 8)
    inside = _owned(made)
    owned = inside.any(-1)
    assert 0.3 < owned[made.exists].mean() < 0.7  # the others are clutter
    assert (inside.sum(1)[made.classes >= 0] >= 1).mean() > 0.99
    np.testing.assert_array_equal(made.points[~made.exists], 0.0)


def test_far_objects_have_few_points():
    made = _seen()
    number = _owned(made).sum(1)
    car = made.classes == 0
    near, far = made.boxes[..., 0] < 10, made.boxes[..., 0] > 22
    assert number[car & near].mean() > 1.8 * number[car & far].mean()


def test_boxes_lie_in_the_scene_and_seldom_touch():
    for aligned in (False, True):
        made = _seen(aligned=aligned)
        real = made.classes >= 0
        x, y = made.boxes[real][:, 0], made.boxes[real][:, 1]
        assert 0 < x.min() < x.max() < 32
        assert -16 < y.min() < y.max() < 16
    iou = np.array(ss.axis_aligned_iou(made.boxes[..., :4], made.boxes[..., :4]))
    iou[:, np.arange(8), np.arange(8)] = 0
    assert iou.max() < 0.05
    np.testing.assert_array_equal(made.boxes[..., 4], 0.0)
    lying = made.boxes[..., 2] > made.boxes[..., 3]
    assert 0.3 < lying[made.classes == 0].mean() < 0.7


def test_height_tells_an_object_from_clutter_less_and_less():
    """How far the mean height of a car's points is from that of all others, in easy and hard scenes."""

    def gap(difficulty):
        made = _seen(difficulty=difficulty)
        inside = _owned(made)
        car = np.take_along_axis(inside, np.argmax(made.classes == 0, 1)[:, None, None], 2)[..., 0]
        return made.points[..., 2][car].std()

    assert gap(1.0) > 1.5 * gap(0.0)


def test_clouds_are_determined_by_their_key():
    first, again = _seen(), _clouds[False](jax.random.key(2), 0.5)
    assert isinstance(again, data.PointScenes)
    chex.assert_trees_all_equal(first, again)
    assert not np.array_equal(_seen(seed=7).points, first.points)


def test_a_border_cuts_some_objects_when_quadrants_are_shuffled():
    """The difficulty of the augmentation: points of a box that crosses a border go to different places."""
    made = _seen()
    permutation = jnp.tile(jnp.array([2, 3, 0, 1]), (COUNT, 1))
    moved, _ = data.shuffle_quadrants(made.points, permutation, x_range=(0.0, 32.0), y_range=(-16.0, 16.0))
    step = np.asarray(moved)[..., :2] - made.points[..., :2]
    inside = _owned(made)
    cut = [
        len(np.unique(np.sign(step[n][inside[n, :, m]]), axis=0)) > 1
        for n in range(COUNT) for m in range(8) if made.classes[n, m] >= 0
    ]  # fmt: skip
    assert 0.05 < np.mean(cut) < 0.5


def test_every_class_has_a_name_and_is_seen():
    classes = np.asarray(_seen().classes)
    assert np.unique(classes[classes >= 0]).tolist() == list(range(len(data.POINT_CLASSES)))


def test_sizes_that_leave_no_room_are_refused():
    with pytest.raises(ValueError, match="even size, more than 4 classes"):
        data.audio_visual_scenes(TASK, TASK, 2, num_classes=4)
    with pytest.raises(ValueError, match="got 24, 8 and 12"):
        data.audio_visual_scenes(TASK, TASK, 2, smallest=12)
    with pytest.raises(ValueError, match="16 places .* got 14 objects, 4 clusters"):
        data.point_cloud_scenes(TASK, 2, max_objects=14)
    with pytest.raises(ValueError, match="3 class_shares"):
        data.point_cloud_scenes(TASK, 2, class_shares=(0.5, 0.5))
