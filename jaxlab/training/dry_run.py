"""What a run would be: arms, steps, parameters and memory, found by tracing and compiling, without training."""

import collections
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxlab.training._program import CompiledProgram
from jaxlab.training.experiment import Arm, Experiment, Plan
from jaxlab.training.report import table

_COLLECTIVE = re.compile(
    r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)


def dry_run(tasks: Mapping[str, Experiment], plan: Plan) -> str:
    """A table with one row per stage and arm.

    Parameters are per seed; memory is per device: the state of all its seeds with the data, and what one compiled
    chunk of `plan.log_every` steps needs besides. The last column counts the communication between devices in the
    compiled program.

    Args:
      tasks: as `training.run` takes them.
      plan: likewise.
    """
    rows = [["arm", "steps", "parameters", "state", "arguments/device", "temporary/device", "collectives"]]
    for task, experiment in tasks.items():
        prefix = f"{task}/" if task else ""
        context: dict[str, Any] = {}
        for name, stage in experiment.prepare.items():
            row, state = _row(f"{prefix}{name} (prepare)", stage, experiment, plan, context)
            context[name] = jax.eval_shape(jax.vmap(stage.export), state) if state is not None else None
            rows.append(row)
        rows += [
            _row(f"{prefix}{name}", arm, experiment, plan, context)[0]
            for name, arm in experiment.arms.items()
        ]
    mesh = " x ".join(f"{name}={size}" for name, size in plan.mesh.items()) or "one device"
    return "\n".join([f"{len(plan.seeds)} seeds by {plan.seeds_by}, mesh {mesh}", "", *table(rows)])


def _row(name: str, arm: Arm, experiment: Experiment, plan: Plan, context: Any) -> tuple[list[str], Any]:
    if not arm.learner.jit:
        return [name, str(arm.steps), "on the host", "–", "–", "–", "–"], None
    program = CompiledProgram(
        arm.learner, experiment.draw, None,
        seeds=plan.seeds, salt=0, seeds_by=plan.seeds_by, mesh_shape=dict(plan.mesh), rules=arm.sharding,
    )  # fmt: skip
    state = program.abstract_state(context)
    steps = min(plan.log_every, arm.steps)
    compiled = program.compile(context, experiment.data["train"], steps, to_run=False)
    memory = compiled.memory_analysis()
    row = [
        name,
        str(arm.steps),
        f"{_parameters(state, len(plan.seeds)):,}",
        _bytes(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))),
        _bytes(memory.argument_size_in_bytes),
        _bytes(memory.temp_size_in_bytes),
        _collectives(compiled.as_text()),
    ]
    return row, state


def _collectives(program: str) -> str:
    """How often the compiled text names each kind of communication; a loop's body counts once."""
    found = collections.Counter(_COLLECTIVE.findall(program))
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "none"


def _parameters(state: Any, seeds: int) -> int:
    """Numbers per seed under the first `params` of the state, or in the whole of it when it has none."""
    sizes = {
        jax.tree_util.keystr(path): leaf.size for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]
    }
    own = {path: size for path, size in sizes.items() if path.startswith((".params", "['params']"))}
    return int(np.sum(list((own or sizes).values()))) // seeds


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
