"""The picture shows the first images under their labels, and is written only where asked."""

import numpy as np
import pytest

from jaxlab.data import Images, picture


def _images(n=7, channels=1):
    image = np.random.default_rng(0).uniform(size=(n, 4, 5, channels)).astype(np.float32)
    return Images(image, np.arange(n, dtype=np.int32))


@pytest.mark.parametrize("channels", [1, 3])
def test_grid(channels):
    images = _images(channels=channels)
    figure = picture(images, columns=3, rows=2)
    assert [axes.get_title() for axes in figure.axes] == ["0", "1", "2", "3", "4", "5"]
    for axes, image in zip(figure.axes, images.image):
        shown = axes.images[0]
        np.testing.assert_array_equal(np.asarray(shown.get_array()).reshape(image.shape), image)
        assert shown.get_clim() == (0, 1)  # a faint image looks faint


def test_writes_a_png(tmp_path):
    picture(_images(), tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


@pytest.mark.parametrize("images", [_images(n=0), _images(channels=2)])
def test_errors(images):
    with pytest.raises(ValueError, match=r"picture needs images \[N, H, W, 1 or 3\], got"):
        picture(images)
