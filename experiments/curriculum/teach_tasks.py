"""Teachers that choose the next task of a student: one arm per teacher, as many episodes for each.

A step is an episode: the teacher proposes a point of the box of tasks, the student plays and learns, the teacher is
told the reward. There are no data; each seed has its own student and its own draws.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.curriculum._tasked_students import STUDENTS, Student
from experiments.curriculum._teachers import TEACHERS, Teacher
from experiments.parts.checks import check_arms, check_counts, choose
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from jaxlab.core import Learner
from jaxlab.training import Arm, Experiment, Turn


class TeachingState(NamedTuple):
    """The student, its teacher, and the mean reward so far."""

    student: Any
    teacher: Any
    reward: jax.Array
    step: jax.Array


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """The comparison that configs/curriculum/alp_gmm.py describes, once for each kind of student.

    Args:
      config: see that file for the keys.
      download: unused, nothing is fetched.
    """
    check_arms(config.arms, {"method": TEACHERS})
    return {name: _experiment(task, config) for name, task in config.tasks.items()}


def _experiment(spec: ConfigDict, config: ConfigDict) -> Experiment:
    check_counts(spec, "episodes", "box")
    student = choose("student", spec.student, STUDENTS)(spec)
    make = functools.partial(_arm, spec, student)
    nothing = jnp.zeros((1,))
    return Experiment(
        data={"train": nothing, "val": nothing} | ({"test": nothing} if config.test else {}),
        arms={name: make(arm.to_dict(), _taught(spec, student, arm.method)) for name, arm in config.arms.items()},
        evaluate=lambda state, split, context: {"mastered": student.mastered(state.student), "reward": state.reward},
        claims=claims_of(config),
        summarise=_summary,
    )  # fmt: skip


def _summary(history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The share mastered on average over training, and how it changes in the last fifth."""
    return late_change("val/mastered")(history) | {"val/area": np.mean(history["val/mastered"], axis=0)}


def _arm(spec: ConfigDict, student: Student, settings: Mapping[str, Any], method: Callable) -> Arm:
    """Teachers that fit something do so in a turn, every so many episodes."""
    teacher = choose("method", settings["method"], TEACHERS)(spec.box, spec.episodes, ConfigDict(settings))
    refits = lambda state, train, step, key, context: state._replace(
        teacher=teacher.refit(state.teacher, key)
    )
    turn = Turn(refits, every=settings["every"]) if teacher.refit else None
    return Arm(method, settings, spec.episodes, turn=turn, static=("random_share",))


def _taught(spec: ConfigDict, student: Student, method: str) -> Callable[[Any], Learner]:
    def make(settings: Any) -> Learner:
        teacher: Teacher = choose("method", method, TEACHERS)(spec.box, spec.episodes, settings)

        def init(key: jax.Array, context: Any) -> TeachingState:
            return TeachingState(student.init(key), teacher.init(), jnp.float32(0), jnp.int32(0))

        def update(state: TeachingState, batch: None, key: jax.Array, context: Any) -> tuple:
            task_key, play_key, record_key = jax.random.split(key, 3)
            task = teacher.propose(state.teacher, task_key)
            learned, reward = student.play(state.student, task, play_key)
            told = teacher.record(state.teacher, task, reward, record_key)
            mean = state.reward + (reward - state.reward) / (state.step + 1)
            return TeachingState(learned, told, mean, state.step + 1), {"reward": reward}

        return Learner(init, update)

    return make
