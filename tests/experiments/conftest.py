"""What the tests of experiments share."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def _little_optimization():
    """A smoke run is almost all compilation, and its few steps need no optimized code."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
