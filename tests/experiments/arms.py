"""Arms as the engine makes them, for tests that look at one update."""

import jax

from jaxlab.core import Computed
from jaxlab.training import Experiment, PerSeed
from jaxlab.training._method import group_of, groups_of
from jaxlab.training._placed import DATA_SALT


def method(experiment, arm):
    """Learner, evaluation and export of one arm."""
    return group_of(arm, experiment.arms[arm], experiment).method()


def data_of(experiment, key):
    """The splits as a run has them for the seed of this key; of given rows, the first."""
    own = jax.random.fold_in(key, DATA_SALT)

    def of_seed(part):
        if not isinstance(part, PerSeed):
            return part
        return jax.jit(part.make)(own) if part.make else jax.tree.map(lambda x: x[0], part.rows)

    return jax.tree.map(of_seed, dict(experiment.data), is_leaf=lambda part: isinstance(part, PerSeed))


def start(experiment, arm, key, context):
    """The arm's initial state for one seed."""
    return _start(method(experiment, arm).learner, experiment, key, context)


def untrained(experiment, key):
    """The context that the stages leave before any step."""
    context = {}
    for name, stage in experiment.prepare.items():
        made = group_of(name, stage, experiment).method()
        context[name] = made.export(_start(made.learner, experiment, key, dict(context)))
    return context


def make_all(built):
    """Call every method with its settings, as a run does before its first step."""
    for experiment in [built] if isinstance(built, Experiment) else built.values():
        for group in groups_of(experiment):
            group.method()


def programs(built):
    """Of every task: how many arms there are, and how many programs."""
    tasks = {"": built} if isinstance(built, Experiment) else built
    return {name: (len(task.arms), len(groups_of(task))) for name, task in tasks.items()}


def compiled(built):
    """Of every task: how many programs there are, fewer than arms."""
    found = programs(built)
    assert all(arms > count for arms, count in found.values()), "no settings share a program"
    return {name: count for name, (_, count) in found.items()}


def _start(learner, experiment, key, context):
    if isinstance(learner, Computed):
        return jax.jit(learner.fn)(key, context, data_of(experiment, key)["train"])
    return jax.jit(learner.init)(key, context)
