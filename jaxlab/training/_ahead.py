"""Compiling ahead: while one arm trains, idle cores compile the arms that come after it."""

import functools
import os
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from jaxlab.training._program import CompiledProgram
from jaxlab.training.experiment import Arm, Experiment, Plan
from jaxlab.training.loop import make_program


def stage_salt(name: str) -> int:
    """A stage's own stream of random numbers; arms, which share theirs, have 0."""
    return zlib.crc32(name.encode()) | 1


class Programs:
    """The programs of a run's stages and arms by name, compiled in the background in the order of their use.

    Compilation is single-threaded and, for a comparison of small networks, as long as the training. It needs shapes
    alone, so nothing has to be trained before it starts.

    Args:
      tasks, plan: as `training.run` takes them.
      left: `(name, steps) -> bool`, whether a stage or arm has steps left to train.
    """

    def __init__(self, tasks: Mapping[str, Experiment], plan: Plan, left: Callable[[str, int], bool]):
        self._plan, self._left = plan, left
        # Processes of one run would have to agree on an order.
        self._several = jax.process_count() > 1
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="compile")
        self._programs: dict[str, Any] = {}
        for task, experiment in tasks.items():
            self._add(f"{task}/" if task else "", experiment)

    def take(self, name: str) -> Any:
        """The program of one stage or arm, which is then no longer kept."""
        return self._programs.pop(name)

    def close(self) -> None:
        """Wait for what is being compiled, forget the rest."""
        self._threads.shutdown(cancel_futures=True)

    def _add(self, prefix: str, experiment: Experiment) -> None:
        context: Callable[[], Any] | None = dict
        for name, stage in experiment.prepare.items():
            program = self._start(prefix + name, stage, experiment, context, stage_salt(name))
            context = _with(context, name, stage, program) if context and stage.learner.jit else None
        for name, arm in experiment.arms.items():
            self._start(prefix + name, arm, experiment, context, 0)

    def _start(
        self, name: str, arm: Arm, experiment: Experiment, context: Callable[[], Any] | None, salt: int
    ) -> Any:
        evaluate = arm.evaluate or experiment.evaluate
        program = make_program(
            arm.learner, experiment.draw, evaluate, self._plan, sharding=arm.sharding, salt=salt
        )
        self._programs[name] = program
        ahead = isinstance(program, CompiledProgram) and context is not None and not self._several
        if ahead and self._left(name, arm.steps):
            count = min(self._plan.log_every, arm.steps)
            program.compile_ahead(self._threads, context, experiment.data, count)
        return program


def _with(earlier: Callable[[], Any], name: str, stage: Arm, program: CompiledProgram) -> Callable[[], Any]:
    """The shapes of a context that has one more stage's export."""

    @functools.cache
    def context() -> Any:
        so_far = earlier()
        return {**so_far, name: jax.eval_shape(jax.vmap(stage.export), program.abstract_state(so_far))}

    return context
