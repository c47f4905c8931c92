"""What the statistics of a study can tell: nothing is trained, every arm is computed at once.

An arm simulates many studies of one kind and size, in which the truth is known, and measures how often their tests are
right; or it takes real labels, resampled. What it does is its `method`, a name in `METHODS`. Seeds are independent
worlds, or resamples of the one data set: claims about these have `rule = "percentile"`.
"""

from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from experiments.education._raters import raters
from experiments.education._studies import GRADERS, grading, marks, ratings, trial
from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_name, choose
from experiments.parts.claims import claims_of
from jaxlab import data
from jaxlab.core import Computed, InputError
from jaxlab.core.check import check_fraction, check_least
from jaxlab.training import Experiment, PerSeed

# What the arms of a seed start from: a key of its own, or labels that all seeds share.
SOURCES: dict[str, Callable[[], Any]] = {
    "simulated": lambda: PerSeed(jax.random.key_data),
    "sight": data.sight_labels,
}
METHODS: dict[str, Callable[[Any], Computed]] = {
    "trial": trial,
    "grading": grading,
    "marks": marks,
    "ratings": ratings,
    "raters": raters,
}
SIZES = ("studies", "people", "answers", "course", "assignments", "submissions", "models")
SHARES = ("miss_rate", "off_rubric", "share", "follow", "correlation", "p_value")
LEAST = ("sd", "bound", "resamples")


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/education/synthetic_video_study.py, or one beside it, describes.

    Args:
      config: see these files for the keys.
      download: unused, nothing is fetched.
    """
    check_arms(config.arms, {"method": METHODS})
    for name, arm in config.arms.items():
        _check_arm(f"arm {name}: ", arm)
    train = choose("data.source", config.data.source, SOURCES)()
    splits = {"train": train}
    return Experiment(
        data=splits | ({"test": ()} if config.test else {}),
        arms=make_arms(
            config.arms, methods_of(METHODS, config.arms), 0, static=("correlation", "sd", "p_value")
        ),
        evaluate=lambda state, split, context: state,
        claims=claims_of(config),
        data_size=None if isinstance(train, PerSeed) else len(jax.tree.leaves(train)[0]),
    )


def _check_arm(where: str, arm: ConfigDict) -> None:
    for key in set(SIZES) & set(arm):
        least = 2 if key == "people" else 1
        if arm[key] < least:
            raise InputError(f"{where}{key} is {arm[key]}: it must be at least {least}")
    for key in set(SHARES) & set(arm):
        check_fraction(where + key, arm[key])
    for key in set(LEAST) & set(arm):
        check_least(where + key, arm[key], 0)
    for key, names in (("grader", tuple(GRADERS)), ("labels", data.RaterLabels._fields[2:])):
        if key in arm:
            check_name(where + key, arm[key], names)
    for key, names in (
        ("resample", ("comments", "categories")),
        ("agreed", data.SIGHT_CATEGORIES),
        ("doubtful", data.SIGHT_CATEGORIES),
    ):
        for name in arm.get(key, ()):
            check_name(where + key, name, names)
