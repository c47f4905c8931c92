import collections

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import Queue, queue_init, queue_items
from tests.core.compiled import (
    grad,
    queue_push,
)


def _rows(values):
    return jnp.asarray(values, jnp.float32).reshape(-1, 1) * jnp.ones((1, 2))


def _content(queue):
    items, valid = queue_items(queue)
    return sorted(np.asarray(items[valid, 0]).tolist())


def test_push_by_hand():
    queue = queue_push(queue_init(3, 2), _rows([1, 2]), labels=jnp.array([7, 8]))
    np.testing.assert_array_equal(queue.items[:, 0], [1, 2, 0])
    np.testing.assert_array_equal(queue.labels, [7, 8, -1])
    np.testing.assert_array_equal(queue_items(queue)[1], [True, True, False])
    assert (queue.cursor, queue.filled) == (2, 2)
    queue = queue_push(queue, _rows([3, 4]), labels=jnp.array([9, 10]))  # 4 wraps around onto 1
    np.testing.assert_array_equal(queue.items[:, 0], [4, 2, 3])
    np.testing.assert_array_equal(queue.labels, [10, 8, 9])
    assert (queue.cursor, queue.filled) == (1, 3)


@pytest.mark.parametrize("capacity", [1, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_it_holds_what_a_deque_holds(capacity, seed):
    # Batches from one row to more than the queue holds, with random masks that may be empty.
    rng = np.random.default_rng(seed)
    queue, deque, stamp = queue_init(capacity, 2), collections.deque(maxlen=capacity), 0
    for size in rng.permutation([1, 1, 2, 2, 9, 9]):
        values, mask = np.arange(stamp, stamp + size), rng.random(size) < 0.7
        stamp += size
        queue = queue_push(
            queue, _rows(values), labels=jnp.asarray(values, jnp.int32), where=jnp.asarray(mask)
        )
        deque.extend(values[mask].tolist())
        assert _content(queue) == sorted(deque)
        items, valid = queue_items(queue)
        np.testing.assert_array_equal(items[valid, 0], queue.labels[valid])


def test_a_batch_longer_than_the_queue_leaves_its_last_rows():
    queue = queue_push(queue_push(queue_init(3, 2), _rows([50])), _rows(range(8)))
    assert _content(queue) == [5, 6, 7]
    assert _content(queue_push(queue, _rows([9]))) == [6, 7, 9]  # and the oldest of them leaves first


def test_masked_rows_take_no_slot_and_never_leak():
    rows = jnp.array([[1.0, 1.0], [jnp.nan, jnp.inf], [2.0, 2.0]])
    queue = queue_push(queue_init(2, 2), rows, where=jnp.array([1, 0, 1]))
    np.testing.assert_array_equal(queue.items, [[1, 1], [2, 2]])
    unchanged = queue_push(queue, rows, where=jnp.zeros(3))
    chex.assert_trees_all_equal(unchanged, queue)
    chex.assert_trees_all_equal(queue_push(queue, jnp.zeros((0, 2))), queue)


def test_rows_without_labels_are_marked():
    queue = queue_push(queue_push(queue_init(2, 2), _rows([1]), labels=jnp.array([5])), _rows([2]))
    np.testing.assert_array_equal(queue.labels, [5, -1])


def test_no_gradient_flows_into_the_queue():
    push = lambda items: queue_push(queue_init(4, 2), items).items.sum()
    np.testing.assert_array_equal(grad(push)(_rows([1, 2])), np.zeros((2, 2)))


def test_the_type_of_the_queue_stays():
    queue = queue_push(queue_init(4, 2, dtype=jnp.bfloat16), _rows([1, 2]))
    assert queue.items.dtype == jnp.bfloat16
    with jax.enable_x64(True):
        queue = queue_init(4, 2)
        pushed = queue_push(queue, jnp.ones((2, 2), jnp.float64), labels=jnp.arange(2))
        assert jax.tree.map(jnp.result_type, pushed) == jax.tree.map(jnp.result_type, queue)


def test_scan_and_vmap():
    batches = jnp.arange(24.0).reshape(3, 4, 2)
    scanned, _ = jax.lax.scan(lambda q, rows: (queue_push(q, rows), None), queue_init(5, 2), batches)
    looped = queue_init(5, 2)
    for rows in batches:
        looped = queue_push(looped, rows)
    chex.assert_trees_all_equal(scanned, looped)
    many = jax.vmap(lambda rows: queue_push(queue_init(5, 2), rows))(batches)
    for i in range(3):
        one = queue_push(queue_init(5, 2), batches[i])
        chex.assert_trees_all_equal(jax.tree.map(lambda x, i=i: x[i], many), one)
    assert isinstance(many, Queue)


def test_every_device_holds_the_same_queue_through_a_scan(on_four_devices):
    batch = jnp.arange(24.0).reshape(4, 3, 2)  # one row for each device and step

    def run(queue, batch, axis_name="data"):
        push = lambda queue, rows: (queue_push(queue, rows, axis_name=axis_name), None)
        return jax.lax.scan(push, queue, jnp.swapaxes(batch, 0, 1))[0]

    start = queue_init(5, 2)
    got = on_four_devices(run, start, batch)
    chex.assert_trees_all_equal(got, run(start, batch, None))


def test_a_contrastive_loss_on_the_queue_has_the_gradient_of_one_device(assert_global):
    batch = jax.random.normal(jax.random.key(0), (8, 2))

    def loss(weight, batch, axis_name):
        features = batch * weight
        queue = queue_push(queue_init(6, 2), features, axis_name=axis_name)
        items, valid = queue_items(queue)
        distances = jnp.square(features[:, None] - items).sum(-1)
        total = jnp.sum(distances, where=valid)
        return total if axis_name is None else jax.lax.psum(total, axis_name)

    assert_global(loss, jnp.array([0.5, -2.0]), batch)


def test_errors_name_the_shapes():
    queue = queue_init(4, 2)
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        queue_init(0, 2)
    with pytest.raises(ValueError, match=r"items \(3, 5\) must be \[N, D\] with the D of the queue \(4, 2\)"):
        queue_push(queue, jnp.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"items \(2,\) must be"):
        queue_push(queue, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"labels \(2,\) must have shape \[N\] of items \(3, 2\)"):
        queue_push(queue, jnp.zeros((3, 2)), labels=jnp.zeros(2, int))
    with pytest.raises(ValueError, match=r"where \(2,\) must broadcast to the array it masks, \(3,\)"):
        queue_push(queue, jnp.zeros((3, 2)), where=jnp.ones(2))
