"""Before the first step: every program traced from shapes, what claims speak of checked, the compiler set to work."""

import os
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.training._method import Group, group_of, groups_of
from jaxlab.training._placed import PlacedData
from jaxlab.training._program import CompiledProgram, Shared, make_program
from jaxlab.training.checkpoint import Checkpoints
from jaxlab.training.claims import check_claims, of_run
from jaxlab.training.experiment import Experiment, Plan


def stage_salt(name: str) -> int:
    """A stage's own stream of random numbers; arms, which share theirs, have 0."""
    return zlib.crc32(name.encode()) | 1


def trial(tasks: Mapping[str, Experiment] | Experiment, plan: Plan) -> dict[str, set[str] | None]:
    """Trace a whole comparison, without compiling or training it, to see whether it fits together.

    Structures of states, scalar metrics, every split's evaluation, the summary of an empty history, and that every
    claim speaks of something that there is. `run` does the same before its first step.

    Args:
      tasks: experiments by task name, or one experiment.
      plan: how it would run.

    Returns:
      The names of the final metrics, by arm.

    Raises:
      ValueError: claims that cannot be decided, updates that change a state's structure, and whatever a method raises.
    """
    tasks = {"": tasks} if isinstance(tasks, Experiment) else tasks
    return Programs(tasks, plan, compiles=False).metrics


class Programs:
    """The programs of a run's stages and groups of arms, in the order of their use.

    Everything is traced at once, from shapes alone, so that an experiment that does not fit together is refused before
    its first step. What has been traced compiles in the background, which for a comparison of small networks takes as
    long as its training. Learners with `jit=False` run one real update of one seed.

    Args:
      tasks, plan: as `training.run` takes them.
      checkpoints: `name -> Checkpoints` of a stage or arm; what has no steps left is not traced. None: all have.
      compiles: False traces only.

    Raises:
      ValueError: claims of a metric that its arm does not have, and whatever a method raises.
    """

    def __init__(
        self,
        tasks: Mapping[str, Experiment],
        plan: Plan,
        checkpoints: Callable[[str], Checkpoints] | None = None,
        *,
        compiles: bool = True,
    ):
        self._plan, self._checkpoints = plan, checkpoints
        # Processes of one run would have to agree on an order.
        ahead = compiles and jax.process_count() == 1
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "compile") if ahead else None
        self._programs: dict[str, Any] = {}
        self._shared = Shared()
        self.data: dict[str, PlacedData] = {}
        self.groups: dict[str, list[Group]] = {}
        self.contexts: dict[str, Any] = {}
        self.metrics: dict[str, set[str] | None] = {}
        try:
            for task, experiment in tasks.items():
                self._add(task, experiment)
            check_claims(
                of_run({task: experiment.claims for task, experiment in tasks.items()}), self.metrics
            )
        except BaseException:
            self.close()
            raise

    def take(self, name: str) -> Any:
        """The program of a stage, or of the group whose first arm has this name; it is then no longer kept."""
        return self._programs.pop(name)

    def close(self) -> None:
        """Wait for what is being compiled, forget the rest."""
        if self._threads:
            self._threads.shutdown(cancel_futures=True)

    def _add(self, task: str, experiment: Experiment) -> None:
        prefix = f"{task}/" if task else ""
        self.data[task] = data = PlacedData(experiment.data, self._plan.seeds)
        self.groups[task] = [part for group in groups_of(experiment) for part in self._divided(prefix, group)]
        context: Any = {}
        for name, stage in experiment.prepare.items():
            self.contexts[prefix + name] = context
            group = group_of(name, stage, experiment)
            program = self._start(prefix, group, experiment.of_stages(), context, data, stage_salt(name))
            shapes = _arrays(context) if program.on_host else program.place_shapes(context)
            context = {**context, name: program.exported(shapes, program.place_data(data)["train"])}
        for group in self.groups[task]:
            self.contexts[prefix + group.names[0]] = context
            self._start(prefix, group, experiment, context, data, 0)

    def _start(
        self, prefix: str, group: Group, experiment: Experiment, context: Any, data: PlacedData, salt: int
    ) -> Any:
        program = make_program(group, self._plan, salt=salt, shared=self._shared)
        self._programs[prefix + group.names[0]] = program
        if not any(self._left(prefix + name, group.steps) for name in group.names):
            self.metrics |= dict.fromkeys(prefix + name for name in group.names)
            return program
        if program.on_host:
            found = program.one_update(_arrays(context), program.place_data(data), experiment.splits())
        else:
            found = self._trace(program, group, data, context, experiment.splits())
        along = experiment.splits_along()
        finals = {f"{split}/{metric}" for split in experiment.splits() for metric in found[split]}
        if experiment.summarise is not None:
            finals |= set(experiment.summarise(_empty_history(found, along, experiment, self._plan)))
        self.metrics |= {prefix + name: finals for name in group.names}
        return program

    def _left(self, name: str, steps: int) -> bool:
        newest = self._checkpoints(name).newest if self._checkpoints else None
        return newest is None or newest < steps

    def _divided(self, prefix: str, group: Group) -> list[Group]:
        """Arms that were not there when the others were trained are trained by themselves."""
        if self._checkpoints is None:
            return [group]
        own = {name: self._checkpoints(prefix + name) for name in group.names}
        trained_with = {other for saved in own.values() for other in saved.peek().get("group", ())}
        new = [name for name, saved in own.items() if saved.newest is None and name not in trained_with]
        rest = [name for name in group.names if name not in new]
        return [group.only(names) for names in (rest, new) if names]

    def _trace(
        self, program: CompiledProgram, group: Group, data: PlacedData, context: Any, names: tuple
    ) -> dict[str, set[str]]:
        for values in group.extremes():
            own = group.only(group.names[:1])
            concrete = own._replace(settings=({**own.settings[0], **values},))
            self._trace_one(make_program(concrete, self._plan), data, context, names)
        self._trace_one(program, data, context, names)
        if self._threads:
            program.compile_ahead(self._threads)
        return program.metrics(program.place_shapes(context), program.place_data_shapes(data), names)

    def _trace_one(self, program: CompiledProgram, data: PlacedData, context: Any, names: tuple) -> None:
        steps = program.group.steps
        counts = (min(self._plan.log_every, steps),) if steps else ()
        program.trace(program.place_shapes(context), program.place_data_shapes(data), counts, names)


def _arrays(context: Any) -> Any:
    """Zeros in the place of shapes."""
    return jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf,
        context,
    )


def _empty_history(
    found: Mapping[str, set[str]], along: tuple[str, ...], experiment: Experiment, plan: Plan
) -> dict[str, np.ndarray]:
    """What `summarise` would be given after one evaluation on the way and one at the end, all zero."""
    names = {name if "/" in name else f"train/{name}" for name in found["train"]}
    names |= {f"{split}/{metric}" for split in along for metric in found[split]}
    zeros = {name: np.zeros((2, len(plan.seeds))) for name in names}
    return zeros | {"step": np.asarray([1, 2])}
