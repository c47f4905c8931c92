"""The digits are the set that scikit-learn documents."""

import sys

import numpy as np
import pytest

from jaxlab.data import digits


def test_the_set():
    pytest.importorskip("sklearn")
    images = digits()
    assert images.image.shape == (1797, 8, 8, 1)
    assert images.image.dtype == np.float32
    assert images.label.dtype == np.int32
    assert (images.image.min(), images.image.max()) == (0, 1)
    # Counts per class as in its documentation; the first image is a zero, whose first row is 0 0 5 13 9 1 0 0.
    assert np.bincount(images.label).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.label[0] == 0
    np.testing.assert_array_equal(images.image[0, 0, :, 0] * 16, [0, 0, 5, 13, 9, 1, 0, 0])


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-learn$"):
        digits()
