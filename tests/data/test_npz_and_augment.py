"""A user's own file, read or refused in one line; views that only move and mirror."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import MissingFile
from jaxlab.data import Images, crop_flip, cutout, draw, images_from_npz, random_affine, take


def save(path, **changes):
    image = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    arrays = {
        "train_image": image,
        "train_label": np.arange(6) % 3,
        "test_image": image[:2],
        "test_label": np.arange(2),
    }
    np.savez(path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
    return path


def test_it_reads_bytes_and_floats(tmp_path):
    found = images_from_npz(save(tmp_path / "a.npz"))
    assert found["train"].image.shape == (6, 4, 4, 1)
    np.testing.assert_allclose(found["train"].image[0, 0, :, 0], np.arange(4) / 255)
    assert found["test"].label.tolist() == [0, 1]
    half = np.full((6, 4, 4, 3), 0.5)
    floats = images_from_npz(save(tmp_path / "b.npz", train_image=half, test_image=half[:2]))
    assert floats["train"].image.shape == (6, 4, 4, 3)
    assert float(floats["train"].image.max()) == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_label": None}, "lacks test_label"),
        ({"train_label": np.arange(5)}, r"train: .*labels \[N\], got \(6, 4, 4\) and \(5,\)"),
        ({"train_label": np.zeros(6)}, "train: labels are integers from 0, got float64"),
        ({"train_label": np.arange(6) - 1}, "train: labels are integers from 0, got -1"),
        ({"train_image": np.full((6, 4, 4), 7.0)}, r"train: images are uint8, or floats in \[0, 1\]"),
        (
            {"train_image": np.full((6, 4, 4, 3), 0.5)},
            "images of test are 4 x 4 x 1, those of train 4 x 4 x 3",
        ),
        ({"train_label": np.array([{}] * 6, object)}, "cannot be read as .npz"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        images_from_npz(save(tmp_path / "bad.npz", **changes))
    assert "\n" not in str(error.value)


def test_no_file_and_no_archive(tmp_path):
    with pytest.raises(MissingFile, match="no image file"):
        images_from_npz(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(ValueError, match="cannot be read as .npz"):
        images_from_npz(tmp_path / "text.npz")


def test_a_view_is_a_shift_or_its_mirror():
    image = jnp.zeros((1, 9, 9, 1)).at[0, 4, 4].set(1.0).at[0, 4, 5].set(2.0)
    views = jax.vmap(lambda key: crop_flip(image, key, pad=2)[0])(jax.random.split(jax.random.key(0), 200))
    np.testing.assert_array_equal(views.sum(axis=(1, 2, 3)), 3.0)  # nothing falls out, nothing is copied
    ones, twos = (np.argwhere(np.asarray(views[..., 0]) == v)[:, 1:] for v in (1.0, 2.0))
    steps = twos - ones
    assert set(map(tuple, steps)) == {(0, 1), (0, -1)}
    assert 60 < (steps[:, 1] == 1).sum() < 140
    assert {tuple(row) for row in ones - 4} == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}


def test_no_pad_moves_nothing_and_bad_input_is_refused():
    image = jax.random.uniform(jax.random.key(1), (3, 5, 5, 2))
    views = crop_flip(image, jax.random.key(2), pad=0)
    same = jnp.all(views == image, axis=(1, 2, 3)) | jnp.all(views == image[:, :, ::-1], axis=(1, 2, 3))
    assert bool(same.all())
    with pytest.raises(ValueError, match="crop_flip needs images"):
        crop_flip(image[0], jax.random.key(0))


def test_channels_that_come_first_are_refused(tmp_path):
    message = (
        r"(?m)^(\S*: train|images?) \(6, 3, 8, 9\) seems to have its channels first, \[N, C, H, W\]: images are "
        r"\[N, H, W, C\], so transpose them with numpy.moveaxis\(images, 1, -1\)$"
    )
    planes = np.zeros((6, 3, 8, 9), np.uint8)
    with pytest.raises(ValueError, match=message):
        images_from_npz(save(tmp_path / "a.npz", train_image=planes))
    with pytest.raises(ValueError, match="seems to have its channels first"):
        images_from_npz(save(tmp_path / "b.npz", train_image=np.zeros((6, 1, 8, 8), np.uint8)))
    last = np.moveaxis(planes, 1, -1)
    right = images_from_npz(save(tmp_path / "c.npz", train_image=last, test_image=last[:2]))
    assert right["train"].image.shape == (6, 8, 9, 3)
    with pytest.raises(ValueError, match=message):
        crop_flip(planes, jax.random.key(0))
    for view in (
        lambda x: random_affine(x, jax.random.key(0)),
        lambda x: cutout(x, jax.random.key(0), size=2),
    ):
        with pytest.raises(ValueError, match=message):
            view(jnp.asarray(planes))
    with pytest.raises(ValueError, match=message):
        draw(Images(planes, np.zeros(6, int)), jax.random.key(0), batch_size=2)


def test_rows_that_do_not_exist_are_refused():
    rows = {"x": np.arange(3)}
    assert take(rows, [2, 0])["x"].tolist() == [2, 0]
    for index in (3, -1):
        with pytest.raises(ValueError, match=rf"index must be in \[0, 3\), got {index}"):
            take(rows, np.array([0, index]))
