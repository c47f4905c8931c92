"""What a run would be: arms, steps, parameters and memory, found by tracing and compiling, without training."""

import collections
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxlab.training._ahead import Programs
from jaxlab.training._placed import Layout, PlacedData
from jaxlab.training.experiment import Experiment, Plan
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
    programs = Programs(tasks, plan, compiles=False)
    for task, experiment in tasks.items():
        prefix, data = f"{task}/" if task else "", programs.data[task]
        for name in experiment.prepare:
            context, program = programs.contexts[prefix + name], programs.take(prefix + name)
            rows.append(_row(f"{prefix}{name} (prepare)", program, context, data, plan))
        for group in programs.groups[task]:
            first = prefix + group.names[0]
            more = f" and {len(group.names) - 1} more" if len(group.names) > 1 else ""
            rows.append(_row(first + more, programs.take(first), programs.contexts[first], data, plan))
    mesh = " x ".join(f"{name}={size}" for name, size in plan.mesh.items()) or "one device"
    return "\n".join([f"{len(plan.seeds)} seeds by {plan.seeds_by}, mesh {mesh}", "", *table(rows)])


def _row(name: str, program: Any, context: Any, data: PlacedData, plan: Plan) -> list[str]:
    steps = program.group.steps
    if program.on_host or not steps:
        return [name, str(steps), "on the host" if program.on_host else "computed", "–", "–", "–", "–"]
    context, train = program.place_shapes(context), program.place_data(data)["train"]
    state = program.abstract_state(context, train)
    compiled = program.compiled_chunk(context, train, min(plan.log_every, steps), to_run=False)
    memory = compiled.memory_analysis()
    return [
        name,
        str(steps),
        f"{_parameters(state, program.layout):,}",
        _bytes(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))),
        _bytes(memory.argument_size_in_bytes),
        _bytes(memory.temp_size_in_bytes),
        _collectives(compiled.as_text()),
    ]


def _collectives(program: str) -> str:
    """How often the compiled text names each kind of communication; a loop's body counts once."""
    found = collections.Counter(_COLLECTIVE.findall(program))
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "none"


def _parameters(state: Any, layout: Layout) -> int:
    """Numbers per seed under the first `params` of the state, or in the whole of it when it has none."""
    sizes = {
        jax.tree_util.keystr(path): leaf.size for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]
    }
    own = {path: size for path, size in sizes.items() if path.startswith((".params", "['params']"))}
    return int(np.sum(list((own or sizes).values()))) // (layout.seed_lanes * layout.setting_lanes)


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
