"""Paced counts equal the authors', whatever is traced; their ends, bounds and faults."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core.check import InputError
from jaxlab.curriculum import PACING_LAWS, paced_count

GOLDEN_FILE = "federated_curriculum.npz"
AUTHORS = {"linear": "linear", "quadratic": "quad", "root": "sqrt", "step": "step", "exponential": "exp",
           "logarithmic": "log"}  # fmt: skip
SETTINGS = ((0.8, 0.2), (0.5, 0.1), (1.0, 1.0))


def _count(step, size, **options):
    return paced_count(step, num_steps=100, size=size, **options)


@pytest.mark.parametrize("law", PACING_LAWS)
def test_the_authors_counts(law, golden):
    steps = golden["in_pace_steps"].astype(np.int32)
    for full_at, start in SETTINGS:
        expected = golden[f"out_pace_{AUTHORS[law]}_{full_at}_{start}"]
        count = functools.partial(_count, law=law, start=start, full_at=full_at)
        np.testing.assert_array_equal(count(steps, 500), expected)
        np.testing.assert_array_equal(jax.jit(count, static_argnums=1)(steps, 500), expected)
        np.testing.assert_array_equal(jax.jit(count)(steps, np.full(len(steps), 500)), expected)


@pytest.mark.parametrize("law", PACING_LAWS)
def test_traced_sizes_are_at_most_one_off_and_seldom(law):
    steps, size = np.arange(0, 301), 1437
    exact = paced_count(steps, law=law, num_steps=300, size=size, start=0.04, full_at=0.7)
    traced = paced_count(steps, law=law, num_steps=300, size=np.full(301, size), start=0.04, full_at=0.7)
    assert np.abs(np.asarray(exact) - traced).max() <= 1
    assert (np.asarray(exact) == traced).mean() > 0.99
    assert (np.diff(exact) >= 0).all()
    assert exact[0] == 57
    assert (np.asarray(exact)[210:] == size).all()


def test_by_hand():
    at = lambda law: paced_count(
        np.arange(5), law=law, num_steps=4, size=100, start=0.0, full_at=1.0
    ).tolist()
    assert at("linear") == [1, 25, 50, 75, 100]
    assert at("quadratic") == [1, 6, 25, 56, 100]
    assert at("root") == [1, 50, 70, 86, 100]
    assert at("step") == [1, 1, 1, 1, 100]


@pytest.mark.parametrize("law", PACING_LAWS)
def test_ends(law):
    pace = lambda step, **more: paced_count(
        np.int32(step), law=law, **{"num_steps": 10, "size": 50, **more}
    ).item()
    assert pace(0, full_at=0.0) == 50
    assert pace(10, full_at=np.inf, start=0.3) == 15
    assert pace(0, start=0.0) == 1
    assert pace(0, start=0.0, least=32) == 32
    assert pace(0, size=20, start=0.0, least=32) == 20
    assert pace(3, size=0) == 0
    assert pace(10**9) == 50
    assert pace(0, num_steps=0, start=0.5) == 25


def test_a_size_of_each_client():
    counts = paced_count(
        np.int32(5), num_steps=np.array([10, 20]), size=np.array([100, 0]), start=0.0, full_at=1.0
    )
    assert counts.tolist() == [50, 0]
    assert counts.dtype == jnp.int32


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"law": "cubic"}, "law must be one of"),
        ({"start": 1.5}, r"start must be in \[0, 1\]"),
        ({"size": -1}, "size must be at least 0"),
        ({"full_at": -0.5}, "full_at must be at least 0"),
    ],
)
def test_faults(change, line):
    with pytest.raises(InputError, match=line):
        paced_count(np.int32(0), **{"num_steps": 10, "size": 10, **change})


def test_steps_are_whole():
    with pytest.raises(InputError, match="step must be integers"):
        paced_count(np.float32(0.5), num_steps=10, size=10)
