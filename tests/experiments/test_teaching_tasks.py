"""Teachers and tasks, from the config: the authors' world step by step, and a student that cannot learn noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments._config import load
from experiments.curriculum import teach_tasks
from experiments.curriculum._tasked_students import STUDENTS
from tests.experiments.arms import programs
from tests.experiments.command import changed

PATH = "configs/curriculum/alp_gmm.py"


def _slow_cubes(tasks, side):
    """The world in plain Python."""
    grown, rewards = np.zeros((side, side)), []
    for task in tasks:
        i, j = np.minimum((task * side).astype(int), side - 1)
        before = [(a, b) for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if a >= 0 and b >= 0]
        if (i, j) == (0, 0) or any(grown[cube] >= 75 for cube in before):
            grown[i, j] = min(grown[i, j] + 1, 100)
        rewards.append(grown[i, j] / 100)
    return grown, rewards


def test_cubes_open_their_neighbours():
    student = STUDENTS["cubes"](ConfigDict({"side": 3, "dims": 2}))
    tasks = np.random.default_rng(0).random((1500, 2)).astype(np.float32)

    @jax.jit
    def run():
        play = lambda state, task: student.play(state, task, jax.random.key(0))
        state, rewards = jax.lax.scan(play, student.init(jax.random.key(0)), tasks)
        return state, rewards, student.mastered(state)

    state, rewards, mastered = run()
    grown, expected = _slow_cubes(tasks, 3)
    np.testing.assert_array_equal(state, grown)
    np.testing.assert_allclose(rewards, expected, atol=1e-6)
    assert mastered == (grown > 75).mean()
    assert 0 < mastered < 1


def test_waves_are_learned_and_noise_is_not():
    student = STUDENTS["waves"](load(PATH).config.tasks.waves)

    @functools.partial(jax.vmap, in_axes=0)
    def learn(task):
        def step(state, key):
            return student.play(state, task, key)

        keys = jax.random.split(jax.random.key(1), 400)
        return jax.lax.scan(step, student.init(jax.random.key(0)), keys)[1]

    wave, noise = np.asarray(jax.jit(learn)(jnp.array([[0.0, 0.2], [0.0, 0.8]])))
    assert wave[-50:].mean() > 0.9
    assert noise[-50:].mean() < 0.1


def test_each_teacher_is_a_program_with_a_turn_where_it_fits_something():
    built = teach_tasks.build(load(PATH).config)
    assert programs(built) == {"cubes": (4, 4), "waves": (4, 4)}
    turns = {name: arm.turn is not None for name, arm in built["cubes"].arms.items()}
    assert turns == {"random": False, "alp_gmm": True, "covar_gmm": True, "riac": False}
    assert {arm.steps for arm in built["cubes"].arms.values()} == {20_000}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms__random__method": "oracle"}, "method is 'oracle': it must be one of random, alp_gmm"),
        ({"tasks__waves__student": "walker"}, "student is 'walker': it must be one of cubes, waves"),
        ({"tasks__cubes__episodes": 0}, "episodes is 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        teach_tasks.build(changed(PATH, **changes))
