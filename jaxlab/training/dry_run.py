"""What a run would be: arms, steps, parameters and memory, found by tracing and compiling, without training."""

import collections
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxlab.training._ahead import Programs
from jaxlab.training._placed import PlacedData
from jaxlab.training.experiment import Experiment, Plan
from jaxlab.training.report import table

_COLLECTIVE = re.compile(
    r" (all-gather|all-reduce|all-to-all|collective-broadcast|collective-permute|reduce-scatter)(?:-start)?\("
)
_ALONE = re.compile(r"replica_groups=(?:\{(?:\{\d+\},?)*\}|\[\d+,1\])")  # every device with itself
_OUTSIDE = re.compile(r"^ENTRY .*?^}", re.MULTILINE | re.DOTALL)  # of the loop over the steps of a chunk

_COLUMNS = ("parameters", "optimizer", "other state", "context", "data", "batches", "temporary")


def dry_run(tasks: Mapping[str, Experiment], plan: Plan) -> str:
    """A table with one row per stage and arm: parameters per seed, and memory per device by what it is for.

    A device's share of all its seeds' parameters, optimizer and other state; of the context, what earlier stages left;
    of training data in memory; of the batches that are read ahead, where data are `Streamed`; and what the compiler
    plans besides for a chunk of `plan.log_every` steps: activations, gradients, batches drawn from memory. The last
    column counts how often devices talk to each other in a step, and apart from that at a chunk's beginning or end.

    Args:
      tasks: as `training.run` takes them.
      plan: likewise.
    """
    rows = [["arm", "steps", "numbers", *_COLUMNS, "collectives"]]
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
    head = f"{len(plan.seeds)} seeds by {plan.seeds_by}, mesh {mesh}; numbers: parameters of a seed; then per device:"
    return "\n".join([head, "", *table(rows)])


def _row(name: str, program: Any, context: Any, data: PlacedData, plan: Plan) -> list[str]:
    steps = program.group.steps
    if program.on_host or not steps:
        why = "on the host" if program.on_host else "computed"
        return [name, str(steps), why, *["–"] * (len(_COLUMNS) + 1)]
    context, train = program.place_shapes(context), program.place_data(data)["train"]
    state, count = program.abstract_state(context, train), min(plan.log_every, steps)
    compiled = program.compiled_chunk(context, train, count, to_run=False)
    parts = _parts(state)
    held = [*map(_held, parts), _held(context), _held((train.own, train.shared))]
    ahead = 2 * _held(program.feed.shapes(count).own) if program.feed else 0  # one trains, one is read
    size = program.layout.seed_lanes * program.layout.setting_lanes
    numbers = sum(leaf.size for leaf in parts[0]) // size
    temporary = compiled.memory_analysis().temp_size_in_bytes
    return [
        name,
        str(steps),
        f"{numbers:,}",
        *map(_bytes, [*held, ahead, temporary]),
        _collectives(compiled.as_text(), loops=count > 1),
    ]


def _parts(state: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """The state's leaves under `params`, under `opt_state`, and all others; where there are no `params`, all are."""
    parts: tuple[list[Any], ...] = ([], [], [])
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path)
        own = [name.startswith((f".{part}", f"['{part}']")) for part in ("params", "opt_state")]
        parts[own.index(True) if any(own) else 2].append(leaf)
    return parts if parts[0] else (jax.tree.leaves(state), [], [])


def _held(tree: Any) -> int:
    """Bytes of a tree's arrays on one device."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _collectives(program: str, *, loops: bool) -> str:
    """How often the compiled text names each kind of communication, in its loops and outside; a loop counts once."""
    step, chunk = (_OUTSIDE.sub("", program), "".join(_OUTSIDE.findall(program))) if loops else (program, "")
    counted = [(_counted(step) or "none", ""), (_counted(chunk), " a chunk")]
    return "; ".join(words + when for words, when in counted if words)


def _counted(program: str) -> str:
    lines = [line for line in program.splitlines() if not _ALONE.search(line)]
    found = collections.Counter(_COLLECTIVE.findall("\n".join(lines)))
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items()))


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
