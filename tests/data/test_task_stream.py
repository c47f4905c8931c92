"""Streams of tasks: every row once a pass, disjoint tasks, three scenarios, keys that decide everything; faults."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.core import cross_entropy, gradient_learner, masked_mean
from jaxlab.core.check import InputError
from jaxlab.data import (
    SCENARIOS,
    Images,
    TaskStream,
    digits,
    image_hierarchy,
    permuted_pixels,
    split_classes,
    task_batch,
    task_examples,
    task_steps,
    turned_images,
)
from jaxlab.training import PerSeed, Plan, fit

# 30 images of 6 classes, of which class 5 has many; the first pixel is the row.
LABEL = np.array([0, 1, 2, 3, 4, 5, 5, 5, 5, 5] * 3, np.int32)
IMAGE = np.zeros((30, 4, 4, 1), np.float32)
IMAGE[:, 0, 0, 0] = np.arange(30)
SMALL = Images(IMAGE, LABEL)


def whole_stream(stream, key, *, batch_size, passes=1, extra=0):
    """All batches, stacked, in one compiled function."""
    steps = task_steps(stream, batch_size=batch_size, passes=passes)
    draw = functools.partial(task_batch, batch_size=batch_size, steps_per_task=steps, passes=passes)
    number = len(stream.size) * steps + extra
    return steps, jax.jit(jax.vmap(draw, (None, None, 0)))(stream, key, jnp.arange(number))


@pytest.mark.parametrize("passes", [1, 3])
def test_every_row_once_a_pass_and_tasks_are_disjoint(passes):
    """Tasks of 6, 6 and 18 examples, in batches of 4: the smaller ones wait."""
    stream = split_classes(SMALL, 3)
    assert stream.size.tolist() == [6, 6, 18]
    steps, batches = whole_stream(stream, jax.random.key(0), batch_size=4, passes=passes, extra=2)
    assert batches["task"].tolist() == np.repeat([0, 1, 2], steps).tolist() + [2, 2]
    for task in range(3):
        at = np.asarray(batches["task"]) == task
        rows, where = (
            np.asarray(batches["index"])[at].reshape(-1),
            np.asarray(batches["where"])[at].reshape(-1),
        )
        own = np.flatnonzero(task == LABEL // 2)
        seen = rows[where]
        assert len(seen) == passes * len(own)
        orders = seen.reshape(passes, -1)
        for order in orders:
            assert sorted(order.tolist()) == own.tolist()
        assert len({tuple(order) for order in orders}) == passes
        assert where[: len(seen)].all()
    assert not batches["where"][-2:].any()
    assert (np.asarray(batches["label"])[~np.asarray(batches["where"])] == -1).all()
    np.testing.assert_array_equal(batches["image"][..., 0, 0, 0], batches["index"])


def test_keys_determine_everything_and_jit_is_eager():
    stream = split_classes(SMALL, 2)
    draw = functools.partial(task_batch, batch_size=5, steps_per_task=5)
    compiled = jax.jit(draw)
    orders = set()
    for seed in (0, 1):
        for step in (0, 6):
            eager, fast = (
                draw(stream, jax.random.key(seed), step),
                compiled(stream, jax.random.key(seed), step),
            )
            chex.assert_trees_all_equal(eager, fast)
            orders.add(tuple(fast["index"].tolist()))
    assert len(orders) == 4


def test_labels_and_heads_of_split_classes():
    expected = {
        "class": (6, [2, 3], np.ones(6)),
        "domain": (2, [0, 1], np.ones(2)),
        "task": (6, [2, 3], np.array([0, 0, 1, 1, 0, 0])),
    }
    for scenario in SCENARIOS:
        stream = split_classes(SMALL, 3, scenario=scenario)
        outputs, labels, head = expected[scenario]
        rows = task_examples(stream, 1)
        assert sorted(set(rows["label"].tolist())) == labels
        np.testing.assert_array_equal(rows["classes"], head)
        assert stream.own.shape == stream.head.shape == (3, outputs)
        assert stream.labels[1].tolist() == [-1, -1, *labels, -1, -1]
    np.testing.assert_array_equal(stream.own[2], [0, 0, 0, 0, 1, 1])


@pytest.mark.parametrize("make", [lambda **o: permuted_pixels(SMALL, 3, jax.random.key(0), **o),
                                  lambda **o: turned_images(SMALL, (0, 90, 180), **o)])  # fmt: skip
def test_labels_and_heads_where_all_tasks_have_all_classes(make):
    expected = {
        "class": (18, 6, np.ones(18)),
        "domain": (6, 0, np.ones(6)),
        "task": (18, 6, np.arange(18) // 6 == 1),
    }
    for scenario in SCENARIOS:
        outputs, shift, head = expected[scenario]
        stream = make(scenario=scenario)
        rows = task_examples(stream, 1)
        np.testing.assert_array_equal(rows["label"], LABEL + shift)
        np.testing.assert_array_equal(rows["classes"], head)
        assert stream.own.shape == (3, outputs)
        assert stream.size.tolist() == [30, 30, 30]


def test_pixels_are_permuted_alike_in_a_task_and_kept_in_the_first():
    images = digits()
    stream = permuted_pixels(images, 3, jax.random.key(0))
    tasks = [np.asarray(task_examples(stream, task, size=50)["image"]) for task in range(3)]
    np.testing.assert_array_equal(tasks[0], images.image[:50])
    for task in (1, 2):
        order = np.asarray(stream.pixels[task])
        assert sorted(order.tolist()) == list(range(64))
        np.testing.assert_array_equal(
            tasks[task].reshape(50, 64), np.asarray(images.image[:50]).reshape(50, 64)[:, order]
        )
    assert not np.array_equal(tasks[1], tasks[2])


def test_images_are_turned():
    images = digits()
    stream = turned_images(images, (0, 90, 180, 45))
    upright, quarter, half, eighth = (
        np.asarray(task_examples(stream, t, size=20)["image"]) for t in range(4)
    )
    np.testing.assert_array_equal(upright, images.image[:20])
    np.testing.assert_allclose(half, upright[:, ::-1, ::-1], atol=1e-5)
    assert any(np.allclose(quarter, np.rot90(upright, k, (1, 2)), atol=1e-5) for k in (1, 3))
    assert not np.allclose(eighth, upright, atol=0.1)
    assert eighth.min() >= 0
    assert eighth.max() <= 1


def test_classes_in_an_order_also_traced():
    order = np.array([5, 0, 1, 2, 3, 4])
    stream = split_classes(SMALL, 3, order=order)
    assert stream.size.tolist() == [18, 6, 6]
    assert set(LABEL[task_examples(stream, 0)["index"]].tolist()) == {0, 5}
    traced = jax.jit(lambda order: split_classes(SMALL, 3, num_classes=6, order=order))(order)
    chex.assert_trees_all_equal(traced, stream)
    padded = jax.jit(lambda stream, task: task_examples(stream, task, size=20))(stream, 1)
    assert padded["where"].tolist() == [True] * 6 + [False] * 14
    np.testing.assert_array_equal(padded["index"][:6], task_examples(stream, 1)["index"])


def test_classes_that_do_not_divide_and_a_single_task():
    stream = split_classes(SMALL, 4, scenario="domain")
    assert [sorted(np.flatnonzero(row >= 0).tolist()) for row in np.asarray(stream.labels)] == [
        [0, 1],
        [2, 3],
        [4],
        [5],
    ]
    assert stream.own.tolist() == [[True, True], [True, True], [True, False], [True, False]]
    assert stream.head.all()
    one = split_classes(SMALL, 1, scenario="task")
    assert one.size.tolist() == [30]
    assert one.head.all()
    steps, batches = whole_stream(one, jax.random.key(0), batch_size=30)
    assert steps == 1
    assert sorted(batches["index"][0].tolist()) == list(range(30))


def test_steps():
    stream = split_classes(SMALL, 3)
    assert task_steps(stream, batch_size=4) == 5
    assert task_steps(stream, batch_size=4, passes=2) == 9
    assert task_steps(stream, batch_size=4, multiple_of=10) == 10


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_any_image_set(scenario):
    images = image_hierarchy(
        jax.random.key(0), jax.random.key(1), 200, num_superclasses=2, classes_per_superclass=2
    )
    stream = split_classes(images, 2, scenario=scenario)
    assert int(stream.size.sum()) == 200
    assert isinstance(stream, TaskStream)
    assert len(jax.tree.leaves(stream)) == 8


def learner():
    def start(key, context):
        return {"w": jnp.zeros((16, 6)), "b": jnp.zeros(6)}, jnp.zeros(30, jnp.int32)

    def loss(params, met, batch, step, key, context):
        logits = batch["image"].reshape(len(batch["image"]), -1) @ params["w"] + params["b"]
        value = masked_mean(
            cross_entropy(jnp.where(batch["classes"], logits, -jnp.inf), batch["label"]), where=batch["where"]
        )
        return value, (
            met.at[batch["index"]].add(batch["where"]),
            {"task": batch["task"].astype(jnp.float32)},
        )

    return gradient_learner(start, loss, optax.sgd(1e-3))


def test_a_run_of_twenty_steps_sees_every_row_once():
    stream = split_classes(Images(jnp.asarray(IMAGE), jnp.asarray(LABEL)), 2, scenario="task")
    steps = task_steps(stream, batch_size=3, multiple_of=10)
    assert steps == 10
    done = fit(
        learner(),
        data={"train": stream},
        stream=functools.partial(task_batch, batch_size=3, steps_per_task=steps),
        steps=20,
        plan=Plan(seeds=(0, 1), log_every=10),
    )
    np.testing.assert_array_equal(done.state.memory, np.ones((2, 30)))
    assert [list(row["train/task"]) for row in done.rows] == [[0.0, 0.0], [1.0, 1.0]]


def test_seeds_may_have_orders_of_their_own():
    images = Images(jnp.asarray(IMAGE), jnp.asarray(LABEL))
    make = lambda key: split_classes(images, 3, num_classes=6, order=jax.random.permutation(key, 6))
    done = fit(
        learner(),
        data={"train": PerSeed(make)},
        stream=functools.partial(task_batch, batch_size=9, steps_per_task=2),
        steps=6,
        plan=Plan(seeds=(0, 1), log_every=6),
    )
    np.testing.assert_array_equal(done.state.memory, np.ones((2, 30)))


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: split_classes(SMALL, 7), "num_tasks must be at most the 6 classes, got 7"),
        (lambda: split_classes(SMALL, 0), "num_tasks must be at least 1, got 0"),
        (lambda: split_classes(SMALL, 4, num_classes=8), "task 3 of 4 has no examples"),
        (lambda: split_classes(SMALL, 2, num_classes=5), r"label must be classes|in \[0, 5\), got 5"),
        (lambda: split_classes(Images(IMAGE, LABEL - 1), 2), r"in \[0, 5\), got -1"),
        (lambda: split_classes(Images(IMAGE[:0], LABEL[:0]), 1), "at least one row, got 0"),
        (lambda: split_classes(Images(IMAGE, LABEL[:5]), 1), r"labels \[N\], got"),
        (lambda: split_classes(SMALL, 2, scenario="time"), "scenario must be one of"),
        (lambda: split_classes(SMALL, 2, order=np.array([0, 0, 1, 2, 3, 4])), "order must be a permutation"),
        (lambda: split_classes(SMALL, 2, order=np.arange(5)), r"order must have shape \(6,\)"),
        (lambda: permuted_pixels(SMALL, 0, jax.random.key(0)), "num_tasks must be at least 1"),
        (lambda: turned_images(SMALL, ()), "num_tasks must be at least 1"),
        (lambda: turned_images(SMALL, 45.0), r"angles must be \[T\]"),
        (lambda: task_steps(split_classes(SMALL, 2), batch_size=0), "batch_size 0"),
        (
            lambda: task_batch(split_classes(SMALL, 2), jax.random.key(0), 0, batch_size=1, steps_per_task=0),
            "steps_per_task 0",
        ),
        (lambda: task_examples(split_classes(SMALL, 2), 2), r"in \[0, 2\), got 2"),
        (
            lambda: jax.jit(lambda label: split_classes(Images(IMAGE, label), 2).size)(LABEL),
            "num_classes must be given",
        ),
        (lambda: jax.jit(task_examples)(split_classes(SMALL, 2), 0), "size must be given"),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()
