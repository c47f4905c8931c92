"""ALP-GMM: the authors' progress and proportions, and a teacher that samples where its student learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core.check import InputError
from jaxlab.curriculum import alp_gmm

GOLDEN_FILE = "alp_gmm.npz"


@jax.jit
def recorded(teacher, tasks, rewards):
    """The teacher after all episodes, and the progress of each."""

    def step(teacher, x):
        slot = teacher.count % len(teacher.rewards)
        teacher = alp_gmm.record(teacher, *x)
        return teacher, teacher.progress[slot]

    return jax.lax.scan(step, teacher, (tasks, rewards))


def test_the_authors_progress(golden):
    teacher = alp_gmm.init(np.zeros(2), np.ones(2), capacity=80)
    _, found = recorded(
        teacher, golden["in_tasks"].astype(np.float32), golden["in_rewards"].astype(np.float32)
    )
    np.testing.assert_allclose(found, golden["out_alp"], rtol=1e-5, atol=1e-6)
    assert not np.asarray(found[:6]).any()
    teacher = alp_gmm.init(np.zeros(2), np.ones(2), capacity=250)
    runs = (golden[f"in_run_{name}"].astype(np.float32) for name in ("tasks", "rewards"))
    np.testing.assert_allclose(recorded(teacher, *runs)[1], golden["out_run_alps"], rtol=1e-5, atol=1e-6)


def test_the_authors_progress_with_a_short_memory(golden):
    """They forget in blocks: ten at a time move to the main memory, of which the last thirty stay."""
    tasks, rewards = golden["in_tasks"].astype(np.float32), golden["in_rewards"].astype(np.float32)
    progress = jax.jit(alp_gmm.absolute_progress)
    main, buffer = [], []
    for number, expected in enumerate(golden["out_alp_maxsize30_buf10"]):
        where = np.isin(np.arange(80), main + buffer)
        found = progress(tasks[number], rewards[number], tasks, rewards, where=where)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        if len(buffer) == 10:
            main, buffer = (main + buffer)[-30:], []
        buffer.append(number)


def test_the_authors_proportions(golden):
    means, covariances = golden["out_run_means"], golden["out_covar_covs"]
    np.testing.assert_allclose(alp_gmm.component_probs(means[:, -1]), golden["out_run_arm_probs"], rtol=1e-5)
    values = np.maximum(covariances[:, -2, -1], 0)
    np.testing.assert_allclose(values, golden["out_covar_vals"], rtol=1e-5)
    assert alp_gmm.component_probs(np.zeros(4), where=np.array([1, 0, 1, 0])).tolist() == [0.5, 0, 0.5, 0]
    assert alp_gmm.component_probs(np.array([-1.0, 2.0, np.nan]), where=np.array([1, 1, 0])).tolist() == [
        0,
        1,
        0,
    ]


def test_the_authors_progress_in_a_box(golden):
    rewards = np.broadcast_to(golden["in_riac_seq"], (9, 201)).astype(np.float32)
    count = golden["in_riac_len"].astype(np.int32)
    box = jax.jit(alp_gmm.box_progress, static_argnames="window")
    np.testing.assert_allclose(box(rewards, count), golden["out_riac_alp"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        box(rewards, count, window=40), golden["out_riac_alp_win40"], rtol=1e-5, atol=1e-7
    )
    dirty = np.where(np.arange(201) < count[:, None], rewards, np.nan)
    np.testing.assert_array_equal(box(dirty, count), box(rewards, count))


def play(progress, key, episodes=600, window=200):
    """A student in [0, 1] that learns between 0.4 and 0.6 alone: its reward there grows; elsewhere it is fixed."""
    teacher = alp_gmm.init(np.zeros(1), np.ones(1), capacity=episodes, max_components=3)

    def episode(state, key):
        teacher, skill = state
        task = alp_gmm.propose(teacher, key)
        inside = (task[0] > 0.4) & (task[0] < 0.6)
        reward = jnp.where(inside, skill, jnp.where(task[0] < 0.4, 1.0, 0.0))
        return (alp_gmm.record(teacher, task, reward), skill + 0.01 * inside), task[0]

    def block(state, key):
        (teacher, skill), tasks = jax.lax.scan(episode, state, jax.random.split(key, window))
        teacher = alp_gmm.refit(teacher, jax.random.fold_in(key, 0), window=window, progress=progress)
        return (teacher, skill), tasks

    return jax.lax.scan(block, (teacher, jnp.float32(0)), jax.random.split(key, episodes // window))


@pytest.mark.parametrize("progress", ["absolute", "covariance"])
def test_the_region_of_progress_is_sampled(progress):
    (teacher, skill), tasks = jax.jit(functools.partial(play, progress))(jax.random.key(0))
    inside = (np.asarray(tasks) > 0.4) & (np.asarray(tasks) < 0.6)
    assert abs(inside[0].mean() - 0.2) < 0.1  # before the first fit, anywhere
    assert inside[1:].mean() > 0.4
    assert ((np.asarray(tasks) >= 0) & (np.asarray(tasks) <= 1)).all()
    assert int(teacher.count) == 600
    assert skill > 1.5


def test_before_the_window_is_full_nothing_is_fitted_and_a_share_stays_random():
    teacher = alp_gmm.init(np.zeros(2), np.array([1.0, 3.0]), capacity=20, max_components=2)
    refit = jax.jit(functools.partial(alp_gmm.refit, window=20))
    tasks = jax.random.uniform(jax.random.key(0), (20, 2))
    some, _ = recorded(teacher, tasks[:19], jnp.zeros(19))
    assert not refit(some, jax.random.key(0)).mixture.components.any()
    full, _ = recorded(teacher, tasks, jnp.zeros(20))
    fitted = refit(full, jax.random.key(0))
    assert fitted.mixture.components.any()
    propose = jax.jit(
        jax.vmap(lambda key, share: alp_gmm.propose(fitted, key, random_share=share), (0, None))
    )
    keys = jax.random.split(jax.random.key(1), 300)
    assert (np.asarray(propose(keys, 1.0))[:, 1] > 1.5).mean() > 0.4
    assert (np.asarray(propose(keys, 0.0))[:, 1] > 1.5).mean() < 0.1


def test_a_memory_that_is_full_forgets_the_oldest():
    teacher = alp_gmm.init(np.zeros(1), np.ones(1), capacity=6)
    tasks, rewards = np.full((8, 1), 0.5, np.float32), np.arange(8, dtype=np.float32)
    teacher, found = recorded(teacher, tasks, rewards)
    assert found[6:].tolist() == [6.0, 1.0]  # ties go to the first slot, which has been written anew by then
    assert teacher.rewards.tolist() == [6.0, 7.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: alp_gmm.init(np.zeros(2), np.ones(3), capacity=5), "corners of a box"),
        (lambda: alp_gmm.init(np.ones(2), np.zeros(2), capacity=5), "low must be at most high"),
        (lambda: alp_gmm.init(np.zeros(1), np.ones(1), capacity=0), "at least 1"),
        (lambda: alp_gmm.refit(TEACHER, jax.random.key(0), window=6), r"window must be in \[1, capacity 5\]"),
        (
            lambda: alp_gmm.refit(TEACHER, jax.random.key(0), window=5, progress="fast"),
            "progress must be one of",
        ),
        (lambda: alp_gmm.propose(TEACHER, jax.random.key(0), random_share=2.0), "random_share must be in"),
        (lambda: alp_gmm.record(TEACHER, np.zeros(2), 0.0), r"\[d\], \[M, d\] and \[M\]"),
        (lambda: alp_gmm.box_progress(np.zeros(3), np.zeros(2, int)), "rewards"),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()


TEACHER = alp_gmm.init(np.zeros(1), np.ones(1), capacity=5)
