"""The methods by name: how a net learns in sequence, and what is done when a task ends."""

from collections.abc import Callable
from typing import NamedTuple

from experiments.continual._exemplars import averaged_gem, gem, herding_turn, icarl, store_turn
from experiments.continual._learning import Method, Task, finetuning
from experiments.continual._protection import (
    anchored,
    fisher_turn,
    learning_without_forgetting,
    progressive,
    sensitivity_turn,
    si_turn,
    snapshot_turn,
    synaptic_intelligence,
)
from experiments.continual._prototypes import prototype_relation
from experiments.continual._proxies import proxy_replay
from experiments.continual._refresh import refresh, weighted_fisher_turn
from experiments.continual._replay import (
    asymmetric_replay,
    dark_replay,
    experience_replay,
    gdumb,
    gdumb_turn,
)


class Named(NamedTuple):
    """A method.

    Attributes:
      make: `(task, settings) -> (learner, evaluate, None)`.
      turn: `task -> Turn.fn`, or None.
      boundaries: whether the turn is at the ends of tasks; else it is after every chunk, whatever the task.
      scenarios: where it makes sense.
    """

    make: Callable[[Task, object], Method]
    turn: Callable[[Task], Callable] | None = None
    boundaries: bool = True
    scenarios: tuple[str, ...] = ("class_il", "domain_il", "task_il")


METHODS: dict[str, Named] = {
    "sgd": Named(finetuning),
    "ewc": Named(anchored, fisher_turn),
    "ewc_unaware": Named(anchored, fisher_turn, boundaries=False),
    "mas": Named(anchored, sensitivity_turn),
    "si": Named(synaptic_intelligence, si_turn),
    "lwf": Named(learning_without_forgetting, snapshot_turn),
    "icarl": Named(icarl, herding_turn, scenarios=("class_il", "task_il")),
    "agem": Named(averaged_gem, store_turn),
    "gem": Named(gem, store_turn),
    "er": Named(experience_replay),
    "er_ace": Named(asymmetric_replay),
    "der": Named(dark_replay),
    "der_pp": Named(dark_replay),
    "gdumb": Named(gdumb, gdumb_turn),
    "pnn": Named(progressive, scenarios=("task_il",)),
    "proxy_replay": Named(proxy_replay, scenarios=("class_il",)),
    "refresh": Named(refresh, weighted_fisher_turn, scenarios=("class_il", "domain_il")),
    "prd": Named(prototype_relation, snapshot_turn, scenarios=("class_il", "task_il")),
}
