"""What is kept of a stream: every example with one probability, balanced classes, masks, streams of any length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.continual import (
    Reservoir,
    balanced_insert,
    herding_order,
    nearest_class_mean_logits,
    reservoir_draw,
    reservoir_init,
    reservoir_insert,
)
from jaxlab.core import MASKED_LOGIT

KEY = jax.random.key(0)
insert = jax.jit(reservoir_insert)
draw = jax.jit(reservoir_draw, static_argnames="batch_size")
balanced = jax.jit(balanced_insert, static_argnames=("num_classes", "label"))
herd = jax.jit(herding_order, static_argnames="size")
RNG = np.random.default_rng(0)


def _stream(capacity, batches, key):
    """The memory after a stream of the numbers 0, 1, 2, ... in batches."""
    memory = reservoir_init(capacity, jnp.int32(0))
    for i, batch in enumerate(np.split(np.arange(batches * 5, dtype=np.int32), batches)):
        memory = insert(memory, batch, jax.random.fold_in(key, i))
    return memory


def test_every_example_is_kept_with_the_same_probability():
    worlds = 4000
    memory = jax.jit(jax.vmap(lambda key: _stream(6, 4, key)))(jax.random.split(KEY, worlds))
    kept = np.bincount(np.asarray(memory.items).ravel(), minlength=20)
    share, spread = 6 / 20, np.sqrt(6 / 20 * 14 / 20 / worlds)
    assert np.abs(kept / worlds - share).max() < 4 * spread
    assert all(len(set(row)) == 6 for row in memory.items[:200].tolist())  # nothing twice
    assert set(np.asarray(memory.seen).tolist()) == {20}


def test_rows_enter_one_by_one():
    """A batch equals its rows one after another with the same draws, slot by slot."""
    memory, reference = reservoir_init(3, jnp.int32(0)), np.zeros(3, int)
    batch = np.arange(12, dtype=np.int32) + 100
    got = insert(memory, batch, KEY)
    drawn = jax.random.randint(KEY, (12,), 0, np.arange(12) + 1)
    for n, value in enumerate(batch):
        slot = n if n < 3 else int(drawn[n])
        if slot < 3:
            reference[slot] = value
    np.testing.assert_array_equal(got.items, reference)
    np.testing.assert_array_equal(reservoir_insert(memory, batch, KEY).items, reference)


def test_masked_rows_are_dropped_rows():
    memory = reservoir_init(4, jnp.float32(0))
    rows, where = np.arange(9, dtype=np.float32), np.arange(9) % 3 != 1
    masked = insert(memory, np.where(where, rows, np.nan), KEY, where=where)
    dropped = insert(memory, rows[where], KEY)
    for a, b in zip(jax.tree.leaves(masked), jax.tree.leaves(dropped)):
        np.testing.assert_array_equal(a, b)
    nothing = insert(dropped, rows, KEY, where=np.zeros(9))
    np.testing.assert_array_equal(nothing.items, dropped.items)
    assert insert(memory, rows[:0], KEY).seen == 0


def test_a_memory_larger_than_its_stream_keeps_it_and_says_what_is_missing():
    example = {"image": jax.ShapeDtypeStruct((2,), jnp.float32), "label": jnp.int32(0)}
    memory = reservoir_init(5, example)
    assert isinstance(memory, Reservoir)
    batch = {"image": np.full((2, 2), np.nan), "label": np.array([7, 8])}
    memory = insert(memory, batch, KEY)
    items, valid = draw(memory, KEY, batch_size=4)
    assert valid.tolist() == [True, True, False, False]
    assert sorted(items["label"].tolist()) == [0, 0, 7, 8]
    assert np.isnan(items["image"][:2]).all()  # a NaN that was stored stays one
    assert np.abs(items["image"][2:]).max() == 0
    assert not draw(reservoir_init(5, example), KEY, batch_size=4)[1].any()  # from nothing comes nothing


def test_draws_are_uniform_without_replacement():
    memory = insert(reservoir_init(5, jnp.int32(0)), np.arange(4, dtype=np.int32), KEY)
    drawn, valid = jax.vmap(lambda key: draw(memory, key, batch_size=2))(jax.random.split(KEY, 4000))
    assert valid.all()
    assert (drawn[:, 0] != drawn[:, 1]).all()
    share = np.bincount(np.asarray(drawn).ravel(), minlength=4) / 4000
    assert np.abs(share - 0.5).max() < 4 * np.sqrt(0.25 / 4000)


def test_no_gradient_enters_the_memory():
    memory = reservoir_init(3, jnp.float32(0))
    entered = lambda x: jnp.sum(reservoir_insert(memory, x, KEY).items)
    assert np.abs(jax.grad(entered)(jnp.ones(5))).max() == 0


def test_a_balanced_memory_keeps_as_many_of_each_class():
    stream = np.repeat(np.arange(3), [50, 7, 2]).astype(np.int32)
    memory = balanced(reservoir_init(9, {"label": jnp.int32(0)}), {"label": stream}, KEY, num_classes=5)
    kept = np.bincount(np.asarray(memory.items["label"])[np.asarray(memory.valid)], minlength=5)
    # The second class fills up to 9 / 2, which is 5 of it; both of the third come in at the cost of the largest.
    assert kept.tolist()[2:] == [2, 0, 0]
    assert sorted(kept[:2].tolist()) == [3, 4]
    assert memory.seen == 59
    where = np.arange(59) < 50
    alone = balanced(
        reservoir_init(9, {"label": jnp.int32(0)}),
        {"label": np.where(where, stream, 99)},
        KEY,
        num_classes=5,
        where=where,
    )
    assert np.asarray(alone.items["label"]).tolist() == [0] * 9
    assert alone.seen == 50


def test_exemplars_by_hand_and_by_a_loop():
    features = RNG.normal(size=(9, 3)).astype(np.float32)
    mean, left, total = features.mean(0), list(range(9)), 0
    for k, got in enumerate(herd(features).tolist(), start=1):
        best = min(left, key=lambda i: np.linalg.norm(mean - (total + features[i]) / k))
        assert got == best
        left.remove(best)
        total = total + features[best]
    where = np.arange(9) % 4 > 0
    spoiled = np.where(where[:, None], features, np.nan)
    rows = np.flatnonzero(where)
    order = np.asarray(herd(spoiled, where=where))
    np.testing.assert_array_equal(order[: len(rows)], rows[np.asarray(herd(features[where]))])
    assert set(order[len(rows) :].tolist()) == set(np.flatnonzero(~where).tolist())
    np.testing.assert_array_equal(herd(spoiled, where=where, size=2), order[:2])
    assert herd(np.zeros((4, 2))).tolist() == [0, 1, 2, 3]
    assert len(herd(features, size=0)) == 0
    assert sorted(herd(1e4 * features).tolist()) == list(range(9))


def test_the_nearest_mean_and_a_class_that_never_appears():
    exemplars = np.array([[3.0, 0], [0.1, 0], [0, 2.0], [np.nan, 0]], np.float32)
    labels = np.array([2, 2, 0, 1])
    logits = nearest_class_mean_logits(
        np.array([[1.0, 0.1], [0.0, 5.0]]), exemplars, labels, num_classes=4, where=np.array([1, 1, 1, 0])
    )
    assert logits.argmax(-1).tolist() == [2, 0]
    assert (logits[:, [1, 3]] == MASKED_LOGIT).all()
    # Every exemplar counts by its direction: (1, 0) and (0, 1) average to the diagonal whatever their lengths.
    mean = nearest_class_mean_logits(np.ones((1, 2)), np.diag([9.0, 0.1]), np.zeros(2, int), num_classes=1)
    np.testing.assert_allclose(mean, 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reservoir_init(0, jnp.float32(0)), "capacity must be at least 1, got 0"),
        (lambda: reservoir_insert(reservoir_init(2, jnp.float32(0)), {"a": 1}, KEY), "items must have the structure"),
        (lambda: reservoir_insert(reservoir_init(2, jnp.ones(3)), np.ones((4, 2)), KEY), r"items \(4, 2\) must be"),
        (lambda: reservoir_draw(reservoir_init(2, jnp.ones(1)), KEY, batch_size=3), r"batch_size must be in \[1, 2\]"),
        (
            lambda: balanced_insert(reservoir_init(2, jnp.int32(0)), np.ones(2, int), KEY, num_classes=2),
            "items must be a dict with an entry 'label'",
        ),
        (
            lambda: balanced_insert(
                reservoir_init(2, {"label": jnp.int32(0)}), {"label": np.array([5])}, KEY, num_classes=2
            ),
            r"label must be in \[0, 2\)",
        ),
        (lambda: herding_order(np.ones(3)), r"features must be \[N, D\]"),
        (lambda: herding_order(np.ones((3, 1)), size=4), r"size must be in \[0, 3\]"),
        (lambda: herding_order(np.full((3, 1), np.nan)), "features holds NaN"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
