"""Batches are uniform, determined by the key, and know the rows they came from."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxlab.data import Images, draw, take


def _images(n=6):
    return Images(jnp.arange(n * 4.0).reshape(n, 2, 2, 1), jnp.arange(n, dtype=jnp.int32) * 10)


def test_batch_is_the_rows_of_its_index():
    images = _images()
    batch = draw(images, jax.random.key(0), batch_size=9)
    assert sorted(batch) == ["image", "index", "label"]
    assert batch["index"].shape == (9,)
    assert batch["index"].dtype == jnp.int32
    np.testing.assert_array_equal(batch["image"], np.asarray(images.image)[batch["index"]])
    np.testing.assert_array_equal(batch["label"], 10 * np.asarray(batch["index"]))


def test_uniform():
    # 40,000 draws of 20 rows: 2,000 each; Pearson's statistic has 19 degrees of freedom.
    data = {"x": jnp.zeros(20)}
    index = draw(data, jax.random.key(3), batch_size=40_000)["index"]
    counts = np.bincount(index, minlength=20)
    assert len(counts) == 20
    assert ((counts - 2000) ** 2 / 2000).sum() < stats.chi2.ppf(0.999, 19)


def test_determined_by_the_key_and_jit_is_eager():
    sample = lambda key: draw(_images(), key, batch_size=16)
    first = sample(jax.random.key(1))
    chex.assert_trees_all_equal(first, sample(jax.random.key(1)))
    chex.assert_trees_all_equal(first, jax.jit(sample)(jax.random.key(1)))
    assert (first["index"] != sample(jax.random.key(2))["index"]).any()


def test_vmap_over_seeds_and_scan_over_steps_are_loops():
    keys = jax.random.split(jax.random.key(0), 3)
    sample = lambda key: draw(_images(), key, batch_size=5)
    looped = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(sample, keys))
    chex.assert_trees_all_equal(jax.vmap(sample)(keys), looped)
    scanned = jax.jit(lambda keys: jax.lax.scan(lambda _, key: (None, sample(key)), None, keys))(keys)[1]
    chex.assert_trees_all_equal(scanned, looped)


def test_a_table_of_teacher_logits_rides_along():
    data = {**_images()._asdict(), "teacher": {"logits": jnp.arange(12.0).reshape(6, 2)}}
    batch = draw(data, jax.random.key(0), batch_size=4)
    np.testing.assert_array_equal(batch["teacher"]["logits"][:, 0], 2.0 * batch["index"])


def test_one_row_and_numpy_arrays():
    data = {"x": np.array([7.0])}
    batch = jax.jit(lambda key: draw(data, key, batch_size=3))(jax.random.key(0))
    np.testing.assert_array_equal(batch["x"], [7.0] * 3)


def test_index_is_int32_under_x64():
    with jax.enable_x64(True):
        assert draw(_images(), jax.random.key(0), batch_size=2)["index"].dtype == jnp.int32


def test_take_any_pytree():
    data = (jnp.arange(4), [jnp.arange(8).reshape(4, 2)])
    rows, [pairs] = take(data, jnp.array([3, 0, 3]))
    assert rows.tolist() == [3, 0, 3]
    assert pairs.tolist() == [[6, 7], [0, 1], [6, 7]]


class _Indexed(NamedTuple):
    index: jax.Array


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": jnp.zeros((0, 2))}, "at least one row, got 0"),
        (
            {"x": jnp.zeros((3, 2)), "y": jnp.zeros(4)},
            r"share their leading axis, got shapes \[\(3, 2\), \(4,\)\]",
        ),
        ({"x": jnp.zeros(3), "y": jnp.float32(1)}, "share their leading axis"),
        ({}, "share their leading axis"),
        (_Indexed(jnp.zeros(3)), "'index' is the row drawn"),
    ],
)
def test_errors_are_one_line(data, message):
    with pytest.raises(ValueError, match=message) as info:
        draw(data, jax.random.key(0), batch_size=2)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("size", [-1, 2.5, "4", None])
def test_a_batch_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="it must be a whole number, at least 0"):
        draw(_images(), jax.random.key(0), batch_size=size)
