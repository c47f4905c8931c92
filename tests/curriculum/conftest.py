"""Golden arrays of this room."""

import pathlib

import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden(request):
    """The arrays that a module names by `GOLDEN_FILE`."""
    return dict(np.load(GOLDEN / request.module.GOLDEN_FILE))
