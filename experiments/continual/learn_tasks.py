"""Learn one task after another: one arm per way of not forgetting.

A stream is a sequence of tasks made of one set of images (split classes, permuted pixels, rotations) in one of three
scenarios, which every metric names: in `class_il` all classes compete, in `task_il` those of the task, which is told,
in `domain_il` the tasks share their classes. Every task is gone through `passes` times, in an order from the seed, and
when it ends an arm's turn takes what it needs: Fisher information, exemplars, a copy of the net. Each seed has its own
split, order of classes, permutations or angles, and its own start; all arms of a seed share them.

After every task all are scored. Row i of the matrix of accuracies is what was known after task i; its summaries are
final metrics, and chart.png shows it.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments.continual._learning import Task, only_with_examples
from experiments.continual._methods import METHODS
from experiments.continual._streams import KINDS, make_stream
from experiments.continual._task_sets import Sets, load_sets
from experiments.parts.checks import check_arms, check_between, check_counts, check_name, choose
from experiments.parts.claims import claims_of
from experiments.parts.nets import make_net
from experiments.parts.pictures import draw_matrices
from jaxlab import continual, data
from jaxlab.training import Arm, Experiment, Turn

SUMMARIES: dict[str, Callable] = {
    "accuracy": continual.average_accuracy,
    "incremental_accuracy": continual.average_incremental_accuracy,
    "backward_transfer": continual.backward_transfer,
    "forgetting_max": continual.forgetting_max,
    "forgetting_mean": continual.forgetting_mean,
}

LAST = ("train/rehearsed", "train/rehearsed_oldest")  # shares of the rows of the last steps


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/continual/continual_baselines_class.py describes.

    Args:
      config: see that file for the keys.
      download: allow data sets to be fetched.
    """
    _check(config)
    sets = load_sets(config, download)
    task, scored = _task(config, sets), "test" if config.test else "val"
    matrix = functools.partial(_matrix, f"{scored}/{config.scenario}/task_", task)
    return Experiment(
        data=sets.splits,
        arms=_arms(config, sets, task),
        claims=claims_of(config),
        along=(scored,),
        summarise=lambda history: (
            _summaries(f"{scored}/{config.scenario}", matrix(history), sets)
            | {name: history[name][-1] for name in LAST if name in history}
        ),
        chart=lambda histories: draw_matrices(
            {arm: matrix(history).mean(axis=0) for arm, history in histories.items()},
            rows="after task",
            columns="accuracy on task",
        ),
        resplit=sets.resplit,
    )


def _check(config: ConfigDict) -> None:
    check_counts(config, "batch_size", "passes", "tasks_learned", "importance_examples", "seeds")
    check_between("tasks_learned", config.tasks_learned, config.data.num_tasks, "tasks")
    check_arms(config.arms, {"method": METHODS, "stream": KINDS})
    for name, arm in config.arms.items():
        check_name(f"arm {name}: scenario", config.scenario, choose("method", arm.method, METHODS).scenarios)


def _task(config: ConfigDict, sets: Sets) -> Task:
    views = config.views.to_dict()
    return Task(
        net=make_net(config.net, sets.outputs),
        image=sets.image,
        outputs=sets.outputs,
        scenario=config.scenario,
        tasks=config.tasks_learned,
        steps_per_task=sets.steps_per_task,
        batch_size=config.batch_size,
        largest=sets.largest,
        importance_examples=config.importance_examples,
        max_grad_norm=config.max_grad_norm,
        look=(lambda rows, key: data.random_views(rows, key, count=1, **views)[0]) if views else None,
    )


def _arms(config: ConfigDict, sets: Sets, task: Task) -> dict[str, Arm]:
    """Arms of one method share its function and its turn, and those of one kind of stream the stream."""

    @functools.cache
    def parts(method: str) -> tuple[Callable, Turn | None]:
        named = choose("method", method, METHODS)
        every = task.steps_per_task if named.boundaries else config.log_every
        turn = named.turn and Turn(named.turn(task), every=every)

        def make(settings: Any) -> tuple:
            learner, evaluate, export = named.make(task, settings)
            return only_with_examples(learner), evaluate, export

        return make, turn

    @functools.cache
    def stream(kind: str, **share: float) -> Callable:
        sizes = {"steps_per_task": task.steps_per_task, "largest": task.largest, "tasks": task.tasks}
        return make_stream(kind, batch_size=config.batch_size, passes=config.passes, **sizes, **share)

    made = {}
    for name, arm in config.arms.items():
        make, turn = parts(arm.method)
        share = {key: arm[key] for key in ("budget", "exponent", "scale")} if arm.stream in REHEARSED else {}
        own = stream(arm.stream, **share)
        made[name] = Arm(make, arm.to_dict(), task.tasks * task.steps_per_task, stream=own, turn=turn)
    return made


REHEARSED = ("uniform", "power_law", "exponential")


def _matrix(prefix: str, task: Task, history: Mapping[str, np.ndarray]) -> np.ndarray:
    """`[S, T, T]`, row i after task i, column j on task j."""
    ends = np.searchsorted(history["step"], task.steps_per_task * np.arange(1, task.tasks + 1))
    ends = np.minimum(ends, len(history["step"]) - 1)
    columns = [history[f"{prefix}{number}"][ends] for number in range(task.tasks)]
    return np.stack(columns, axis=-1).swapaxes(0, 1)


def _summaries(prefix: str, matrix: np.ndarray, sets: Sets) -> dict[str, np.ndarray]:
    """The numbers of a matrix; forward transfer is over chance, what an untrained net would have."""
    found = {f"{prefix}/{name}": np.asarray(of(matrix)) for name, of in SUMMARIES.items()}
    chance = np.broadcast_to(1 / sets.competing[: matrix.shape[-1]], matrix.shape[:-1])
    return found | {f"{prefix}/forward_transfer": np.asarray(continual.forward_transfer(matrix, chance))}
