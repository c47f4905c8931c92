"""The labels that the package carries are those of which the authors' kappas were taken."""

import pathlib

import numpy as np

from jaxlab.data import SIGHT_CATEGORIES, RaterLabels, sight_labels

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "sight.npz")


def test_the_labels_are_the_authors():
    labels = sight_labels()
    assert isinstance(labels, RaterLabels)
    names = ("H1", "H2", "M_bin_zeroshot", "M_bin_kshot", "M_bin_kshot_reasoning")
    for name, found in zip(names, labels, strict=True):
        np.testing.assert_array_equal(found, GOLDEN[f"in_{name}"])
        assert found.shape == (289, len(SIGHT_CATEGORIES))
