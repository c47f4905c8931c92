"""Blob volumes: touching instances, boundaries that the blur hides, brightness that does not decide, slices."""

import functools

import chex
import jax
import numpy as np
import pytest

from jaxlab.data import BlobVolumes, blob_volumes, volume_slices

make = jax.jit(functools.partial(blob_volumes, size=(24, 24, 12)), static_argnums=1)


@pytest.fixture(scope="module")
def volumes():
    return jax.tree.map(np.asarray, make(jax.random.key(0), 30))


def test_shapes_types_and_shares(volumes):
    assert isinstance(volumes, BlobVolumes)
    assert volumes.image.shape == (30, 24, 24, 12, 1)
    assert volumes.label.shape == volumes.instance.shape == volumes.ambiguous.shape == (30, 24, 24, 12)
    assert np.isfinite(volumes.image).all()
    assert set(np.unique(volumes.label)) == {0, 1}
    np.testing.assert_array_equal(volumes.label > 0, volumes.instance > 0)
    assert 0.03 < volumes.label.mean() < 0.2  # the background is the great majority
    assert (volumes.label.reshape(30, -1).sum(1) > 100).all()


def test_instances_touch(volumes):
    """Most neighbours of the row share a face, so that the foreground alone does not separate them."""
    touching, pairs = 0, 0
    for instance in volumes.instance:
        sides = [(instance[1:], instance[:-1]), (instance[:, 1:], instance[:, :-1])]
        met = {frozenset(pair) for a, b in sides for pair in zip(a.ravel(), b.ravel())}
        there = set(np.unique(instance))
        for blob in range(1, 7):
            if {blob, blob + 1} <= there:
                pairs += 1
                touching += frozenset((blob, blob + 1)) in met
    assert pairs > 100
    assert touching > 0.9 * pairs


def test_brightness_does_not_decide(volumes):
    """The best threshold on brightness leaves most of the overlap to be learned, the more so over different scans."""
    image, truth = volumes.image[..., 0], volumes.label > 0
    assert image[truth].mean() > image[~truth].mean() + 0.1  # yet it does say something
    dice = [
        2 * (truth & (image > t)).sum() / (truth.sum() + (image > t).sum()) for t in np.linspace(0, 1, 41)
    ]
    assert 0.2 < max(dice) < 0.65


def test_boundaries_are_blurred(volumes):
    """Near a boundary inside and outside look alike; away from it they do not."""
    image, truth = volumes.image[..., 0], volumes.label > 0
    gap = lambda where: image[truth & where].mean() - image[~truth & where].mean()
    assert 0.03 < volumes.ambiguous.mean() < 0.3
    assert gap(volumes.ambiguous) < 0.6 * gap(~volumes.ambiguous)


def test_slices_of_a_volume(volumes):
    every = volume_slices(volumes)
    assert every.image.shape == (30 * 12, 24, 24, 1)
    np.testing.assert_array_equal(every.label[12 * 3 + 5], volumes.label[3, :, :, 5])
    one = volume_slices(volumes, index=-1)
    np.testing.assert_array_equal(one.image, volumes.image[:, :, :, -1])
    with pytest.raises(ValueError, match=r"index is 12: the last axis has 12 slices"):
        volume_slices(volumes, index=12)
    with pytest.raises(ValueError, match=r"labels \[N, D, H, W\]"):
        volume_slices(one)


def test_images_directly_and_without_spots():
    images = jax.jit(lambda key: blob_volumes(key, 3, size=(16, 20), num_spots=0, num_blobs=4))(
        jax.random.key(1)
    )
    assert images.image.shape == (3, 16, 20, 1)
    assert images.instance.max() <= 4
    assert images.label.any((1, 2)).all()


def test_determined_by_the_key(volumes):
    again = make(jax.random.key(0), 30)
    chex.assert_trees_all_equal(volumes, jax.tree.map(np.asarray, again))
    assert np.abs(volumes.image - make(jax.random.key(1), 30).image).max() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (24,)}, "two or three numbers of at least 8"),
        ({"size": (24, 4)}, "two or three numbers of at least 8"),
        ({"num_blobs": 0}, "at least 1 blob and 0 spots, got 0 and 3"),
    ],
)
def test_errors_are_one_line(options, message):
    with pytest.raises(ValueError, match=message) as info:
        blob_volumes(jax.random.key(0), 2, **options)
    assert "\n" not in str(info.value)
