"""RIAC: regions that tile the box, that are cut where progress differs, and that are drawn where it is large."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import InputError
from jaxlab.curriculum import riac


@functools.cache
def _taught(episodes=400):
    """A student whose reward grows in the lower half of the first coordinate alone."""

    def step(state, key):
        teacher, count = state
        propose_key, record_key = jax.random.split(key)
        task = riac.propose(teacher, propose_key)
        grows = task[0] < 0.5
        count = count + grows
        teacher = riac.record(teacher, task, jnp.where(grows, count / episodes, 0.3), record_key)
        return (teacher, count), (task, teacher.used)

    start = riac.init(np.zeros(2), np.ones(2), regions=41, region_size=20), jnp.int32(0)
    keys = jax.random.split(jax.random.key(0), episodes)
    return jax.tree.map(np.asarray, jax.jit(lambda: jax.lax.scan(step, start, keys))())


def test_leaves_tile_the_box_and_hold_the_tasks_that_lie_in_them():
    (teacher, _), (tasks, used) = _taught()
    assert isinstance(teacher, riac.Regions)
    assert teacher.used > 10
    assert (np.diff(used) >= 0).all()
    assert set(np.unique(np.diff(used))) <= {0, 2}
    there = np.arange(41) < teacher.used
    leaves = there & teacher.leaf
    area = np.prod(teacher.high - teacher.low, axis=1)
    np.testing.assert_allclose(area[leaves].sum(), 1.0, rtol=1e-5)
    assert ((teacher.high - teacher.low)[there] >= 1 / 15 - 1e-6).all()
    inside = (tasks[:, None] >= teacher.low) & (tasks[:, None] <= teacher.high)
    assert (inside.all(2)[:, leaves].sum(1) == 1).all()
    assert teacher.count[0] == len(tasks)
    assert (teacher.size[there] <= 21).all()
    for row in np.flatnonzero(there):
        own = teacher.tasks[row, : min(teacher.count[row], 21)]
        assert ((own >= teacher.low[row]) & (own <= teacher.high[row])).all()


def test_tasks_come_from_where_the_reward_changes():
    _, (tasks, _) = _taught()
    assert ((tasks >= 0) & (tasks <= 1)).all()
    assert (tasks[-200:, 0] < 0.5).mean() > 0.6


def test_progress_of_a_region_is_that_of_its_rewards():
    (teacher, _), _ = _taught()
    progress = np.asarray(jax.jit(riac.region_progress)(teacher))
    rewards = np.roll(teacher.rewards[0], -(teacher.count[0] % 21))[-20:]
    np.testing.assert_allclose(progress[0], abs(rewards[:10].mean() - rewards[10:].mean()), rtol=1e-4)
    assert not progress[teacher.used :].any()


def test_a_cut_leaves_a_twentieth_of_the_size_on_either_hand():
    """Of a region for 20 tasks one is enough for a part: of the 21 that fill it, the one far from the others."""
    tasks = np.append(np.full(20, 0.9), 0.1)[:, None]
    record = lambda teacher, task: (riac.record(teacher, task, 0.0, jax.random.key(0)), None)
    teacher = riac.init(np.zeros(1), np.ones(1), regions=3, region_size=20)
    teacher, _ = jax.jit(lambda: jax.lax.scan(record, teacher, jnp.float32(tasks)))()
    assert teacher.size.tolist() == [21, 1, 20]


def test_a_task_near_the_worst_stays_in_its_region():
    """Progress is in the lower half alone, whose worst task lies at its border: as in the authors' code."""
    tasks = np.zeros((3, 5, 1), np.float32)
    tasks[1] = 0.5
    rewards = np.zeros((3, 5), np.float32)
    rewards[1, 2:] = 1.0
    regions = riac.Regions(
        low=np.float32([[0], [0], [0.5]]), high=np.float32([[1], [0.5], [1]]), leaf=np.array([0, 1, 1], bool),
        used=np.int32(3), tasks=tasks, rewards=rewards, count=np.int32([0, 4, 0]), size=np.int32([0, 4, 0]),
    )  # fmt: skip
    teacher = jax.tree.map(jnp.asarray, regions)
    keys = jax.random.split(jax.random.key(0), 400)
    found = np.asarray(jax.jit(jax.vmap(lambda key: riac.propose(teacher, key, noise=0.01)))(keys))
    kinds = np.asarray(jax.vmap(lambda key: jax.random.uniform(jax.random.split(key, 4)[0]))(keys))
    assert (kinds < 0.1).sum() > 20
    assert found[kinds < 0.1].max() <= 0.5


def _none():
    return riac.init(np.zeros(2), np.ones(2), regions=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: riac.init(np.zeros(2), np.ones(3), regions=3), "corners of a box"),
        (lambda: riac.init(np.zeros(2), np.ones(2), regions=0), "at least 1 and 4"),
        (lambda: riac.record(_none(), jnp.zeros(3), 0.0, jax.random.key(0)), r"must be \[d\]"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
