"""Kinds of users by name: what they look at, and what they click on there."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from jaxlab import ranking


class Users(NamedTuple):
    """How one kind of user clicks.

    Attributes:
      sample: `(key, grades [B, L]) -> clicks [B, L]`.
      examination: `[L]`, how often each position is looked at; of the cascade the mean over training lists.
      wrong: `[L]`, the curve that the arm with wrong propensities believes in.
    """

    sample: Callable[[jax.Array, jax.Array], jax.Array]
    examination: jax.Array
    wrong: jax.Array


def _seems(task: ConfigDict) -> Callable[[jax.Array], jax.Array]:
    """How likely a document of a grade is clicked once it is looked at."""
    return lambda grade: ranking.click_probability(grade, noise=task.noise)


def _by_position(clicked: Callable, task: ConfigDict, grades: jax.Array) -> Users:
    """The examination depends on the position alone; `clicked(task)` says what is clicked."""
    length = grades.shape[-1]
    examination = ranking.position_bias_examination(length, eta=task.eta)
    sample = lambda key, grade: ranking.sample_clicks(key, clicked(task)(grade), examination)
    return Users(sample, examination, ranking.position_bias_examination(length, eta=task.wrong_eta))


def _trusting(task: ConfigDict) -> Callable[[jax.Array], jax.Array]:
    return lambda grade: ranking.trust_bias_click_probability(_seems(task)(grade), trust=task.trust)


def _cascade(task: ConfigDict, grades: jax.Array) -> Users:
    """From the top, with a chance to stop after each document."""
    going_on, seems = {"after_click": task.after_click, "after_skip": task.after_skip}, _seems(task)
    return Users(
        lambda key, grade: ranking.sample_cascade_clicks(key, seems(grade), **going_on),
        ranking.cascade_examination(seems(grades), **going_on).mean(0),
        ranking.position_bias_examination(grades.shape[-1], eta=task.wrong_eta),
    )


USERS: dict[str, Callable[[ConfigDict, jax.Array], Users]] = {
    "position": functools.partial(_by_position, _seems),
    "cascade": _cascade,
    "trust": functools.partial(_by_position, _trusting),
}
