"""Parts are disjoint, cover the set, have the documented sizes, and hold their fraction of every class."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlab.data import Images, split, split_images

HALVES = (0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    ("n", "fractions", "sizes"),
    [
        (10, HALVES, [5, 3, 2]),  # ends at 5 and floor(7.5 + 0.5) = 8
        (10, (0.7, 0.15, 0.15), [7, 2, 1]),  # ends at 7 and floor(8.5 + 0.5) = 9
        (1797, (0.7, 0.15, 0.15), [1258, 269, 270]),  # 1257.9 and 1527.45
        (3, HALVES, [2, 0, 1]),  # 1.5 and 2.25: floor(2.0) and floor(2.75)
        (10, (0.35, 0.3, 0.35), [4, 3, 3]),  # 3.5 and 6.5, which in floating point is 6.499999999999999
        (5, (1.0,), [5]),
        (5, (0.0, 1.0), [0, 5]),
        (0, HALVES, [0, 0, 0]),
    ],
)
def test_sizes(n, fractions, sizes):
    assert [len(part) for part in split(n, seed=0, fractions=fractions)] == sizes


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 200),
    seed=st.integers(0, 2**32 - 1),
    weights=st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any),
    num_classes=st.none() | st.integers(1, 7),
)
def test_disjoint_covering_and_proportional(n, seed, weights, num_classes):
    fractions = np.array(weights) / sum(weights)
    labels = None if num_classes is None else np.random.default_rng(seed).integers(0, num_classes, n)
    parts = split(n, seed=seed, fractions=fractions, labels=labels)
    assert len(parts) == len(weights)
    assert sorted(np.concatenate(parts)) == list(range(n))
    for value in range(num_classes or 1):
        members = np.ones(n, bool) if labels is None else labels == value
        for part, fraction in zip(parts, fractions):
            assert abs(members[part].sum() - fraction * members.sum()) <= 1 + 1e-9


def test_determined_by_the_seed():
    first, again, other = split(50, seed=1), split(50, seed=1), split(50, seed=2)
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other))
    assert {part.dtype for part in first} == {np.dtype(np.int32)}


@pytest.mark.parametrize("labels", [None, np.repeat([0, 1], 250)])
def test_order_within_a_part_is_random(labels):
    train = split(500, seed=0, labels=labels)[0]
    # Rows in order would correlate by 1; of 350 in random order, by 0.05 or so.
    assert abs(np.corrcoef(np.arange(len(train)), train)[0, 1]) < 0.2


def test_split_images():
    label = jnp.asarray(np.repeat([0, 1], [80, 20]), jnp.int32)
    images = Images(jnp.arange(100.0).reshape(100, 1, 1, 1), label)
    parts = split_images(images, seed=0, fractions=HALVES)
    assert list(parts) == ["train", "val", "test"]
    assert [np.bincount(part.label).tolist() for part in parts.values()] == [[40, 10], [20, 5], [20, 5]]
    rows = np.concatenate([part.image.ravel() for part in parts.values()])
    assert sorted(rows) == list(range(100))
    for part in parts.values():  # image and label are still of the same row
        np.testing.assert_array_equal(part.label, (part.image.ravel() >= 80).astype(int))
    plain = split_images(images, seed=0, fractions=HALVES, stratify=False)
    np.testing.assert_array_equal(plain["train"].image.ravel(), split(100, seed=0, fractions=HALVES)[0])


def test_string_labels():
    parts = split(4, seed=0, fractions=(0.5, 0.5), labels=np.array(["a", "b", "a", "b"]))
    assert [sorted(part % 2) for part in parts] == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": (0.5, 0.4)}, r"sum to 1, got \(0.5, 0.4\)"),
        ({"fractions": (1.5, -0.5)}, "at least 0"),
        ({"fractions": ()}, "sum to 1"),
        ({"labels": np.zeros(4)}, r"labels must have shape \(5,\), got \(4,\)"),
    ],
)
def test_errors_are_one_line(options, message):
    with pytest.raises(ValueError, match=message) as info:
        split(5, seed=0, **options)
    assert "\n" not in str(info.value)


def test_split_images_needs_three_fractions():
    images = Images(jnp.zeros((4, 1, 1, 1)), jnp.zeros(4, jnp.int32))
    with pytest.raises(ValueError, match="must be three"):
        split_images(images, seed=0, fractions=(0.5, 0.5))
