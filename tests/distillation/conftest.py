"""The stored numbers of the authors' code."""

import pathlib

import numpy as np
import pytest

DATA = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def kd_golden():
    return dict(np.load(DATA / "kd_baselines.npz"))


@pytest.fixture(scope="session")
def pld_golden():
    return dict(np.load(DATA / "pld.npz"))


@pytest.fixture(scope="session")
def close_to_golden():
    """Relative to the largest entry, as 1e-5 of an entry that cancels to nothing means nothing."""

    def check(got, expected, tolerance=1e-5):
        assert np.shape(got) == np.shape(expected)
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())

    return check
