"""An experiment is a comparison: arms under equal conditions, and claims about them written down beforehand."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxlab.core import Learner
from jaxlab.training.claims import Claim, check_claims
from jaxlab.training.mesh import Rules

Evaluate = Callable[[Any, Any], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Arm:
    """One contestant: a learner and its budget.

    Attributes:
      learner: the method.
      steps: updates per seed.
      evaluate: `(state, split) -> {name: scalar}`; the experiment's own when None.
      export: for a stage of `Experiment.prepare`, `state -> pytree`: what the later stages find in their context.
      sharding: `(pattern, PartitionSpec)` rules for the state, see `training.mesh.state_shardings`.
    """

    learner: Learner
    steps: int
    evaluate: Evaluate | None = None
    export: Callable[[Any], Any] = lambda state: state
    sharding: Rules = ()

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}: an arm needs at least 1")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is compared with what, on which data.

    Attributes:
      data: splits by name. Batches are drawn from "train"; splits whose name begins with "val" are evaluated
        during training; all but "train" are evaluated at the end.
      draw: `(data["train"], key) -> batch`, pure.
      arms: the contestants by name. All see the same seeds and, for a seed, the same batches in the same order.
      evaluate: `(state, split) -> {name: float32 scalar}`, pure for learners with `jit=True`.
      claims: decided by the final evaluation, see `training.claims`.
      prepare: stages run before the arms, in order, once per seed; stage `name` leaves its export in
        `context[name]` for the stages and arms that follow.
      examples: `({arm: state of the first seed}, data) -> matplotlib figure`, called once when all arms are done; it
        is saved as examples.png (examples-<task>.png). Arms that diverged are not among the states; a run of several
        processes, none of which holds all of a state, leaves it out.
    """

    data: Mapping[str, Any]
    draw: Callable[[Any, Any], Any]
    arms: Mapping[str, Arm]
    evaluate: Evaluate
    claims: tuple[Claim, ...] = ()
    prepare: Mapping[str, Arm] = dataclasses.field(default_factory=dict)
    examples: Callable[[Mapping[str, Any], Mapping[str, Any]], Any] | None = None

    def __post_init__(self) -> None:
        if "train" not in self.data:
            raise ValueError(f"data has the splits {', '.join(self.data)}: one must be called 'train'")
        for name in (*self.arms, *self.prepare):
            if not name or not set(name) <= _NAME:
                raise ValueError(f"arm name {name!r}: use letters, digits, '_', '-', '.', '+', '='")
        if both := sorted(set(self.arms) & set(self.prepare)):
            raise ValueError(
                f"{both[0]!r} names an arm and a stage of prepare: their checkpoints would be one"
            )
        check_claims(self.claims, dict.fromkeys((*self.arms, *self.prepare)))


_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+=")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the engine runs an experiment.

    Attributes:
      seeds: the seeds, any non-negative integers.
      log_every: steps per compiled chunk, which is also one line of metrics.jsonl.
      eval_every: steps between evaluations; a multiple of `log_every`, which None means.
      checkpoint_every: steps between checkpoints; likewise.
      seeds_by: "vmap" (fast where dispatch dominates) or "map" (one after the other: less memory, and faster for
        convolutions on a CPU).
      mesh: devices along "seed", "data" and "model".
    """

    seeds: tuple[int, ...]
    log_every: int = 100
    eval_every: int | None = None
    checkpoint_every: int | None = None
    seeds_by: str = "vmap"
    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("seeds is 0: at least 1 seed is needed")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat: every seed must be different")
        for seed in self.seeds:
            if not 0 <= seed < 2**32:
                raise ValueError(f"seed {seed} is out of range: seeds go from 0 to 2**32 - 1")
        if self.seeds_by not in ("vmap", "map"):
            raise ValueError(f"seeds_by is {self.seeds_by!r}: it must be 'vmap' or 'map'")
        if self.log_every < 1:
            raise ValueError(f"log_every is {self.log_every}: it must be at least 1")
        for name in ("eval_every", "checkpoint_every"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, self.log_every)
            value = getattr(self, name)
            if value < 1 or value % self.log_every:
                raise ValueError(f"{name} is {value}: it must be a multiple of log_every, {self.log_every}")
        size = dict(self.mesh).get("seed", 1)
        if size > 0 and len(self.seeds) % size:
            raise ValueError(f"mesh.seed is {size}: it must divide the {len(self.seeds)} seeds")
