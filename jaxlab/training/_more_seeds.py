"""More seeds than a workdir holds: the new ones are trained by themselves, then every arm is one again."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxlab.training.checkpoint import Checkpoints
from jaxlab.training.experiment import Experiment, PerSeed, Plan
from jaxlab.training.loop import Fit, Lane
from jaxlab.training.metrics import MetricLog, Row, read_rows, write_atomically
from jaxlab.training.workdir import Workdir, WorkdirError

Tasks = Mapping[str, Experiment]
Finished = Callable[[Tasks, Plan, Workdir, MetricLog], Mapping[str, Fit]]

_JOINED, _COMPLETE = "joined", "complete"


def train_missing_seeds(
    tasks: Tasks, plan: Plan, workdir: Workdir, finished: Finished, say: Callable[[str], None]
) -> None:
    """Bring every finished arm and stage of a workdir to the seeds of the plan; what was unfinished begins anew.

    The seeds that are missing run in a folder of their own, so that a stop there loses nothing. Then states, scores,
    histories and rows are joined beside the old ones, and take their place once all of them are on the disk.

    Args:
      tasks, plan: of the whole run.
      workdir: opened; `earlier_seeds` says how many it holds.
      finished: `(tasks, plan, workdir, log) -> {name: Fit}` runs all stages and arms, or reads them back.
      say: receives one line for what a person should know.

    Raises:
      WorkdirError: several processes, or arms in the folder that `tasks` do not have.
    """
    _take_place(workdir)
    count = workdir.earlier_seeds
    if not count:
        return
    if jax.process_count() > 1:
        raise WorkdirError(f"{workdir.path} holds {count} seeds: more are added by one process")
    old, new = workdir.of_seeds(count), workdir.of_seeds(len(plan.seeds) - count, after=count)
    done = _only(tasks, _done(tasks, old))
    say(
        f"{workdir.path} holds {count} seeds: the {len(plan.seeds) - count} that are missing are trained and joined"
    )
    if any(experiment.arms or experiment.prepare for experiment in done.values()):
        before = finished(_part(done, slice(count)), _with(plan, plan.seeds[:count]), old, MetricLog(None))
        with new.opened():
            log = MetricLog(new.metrics)
            added = finished(_part(done, slice(count, None)), _with(plan, plan.seeds[count:]), new, log)
        rows = read_rows(workdir.metrics), log.rows
        _write(
            workdir, {name: _joined(before[name], added[name]) for name in before.keys() & added.keys()}, rows
        )
    else:
        _write(workdir, {}, ([], []))
    _take_place(workdir)
    shutil.rmtree(new.path, ignore_errors=True)


def _done(tasks: Tasks, old: Workdir) -> set[str]:
    """The stages and arms whose last checkpoint is final; every other one that has checkpoints must be in `tasks`."""
    known = {
        f"{task}/{name}" if task else name
        for task, one in tasks.items()
        for name in (*one.prepare, *one.arms)
    }
    root = old.checkpoints("")
    folders = {path.parent.parent.relative_to(root).as_posix() for path in root.glob("**/state")}
    if others := sorted(folders - known):
        raise WorkdirError(
            f"{old.path} also holds {', '.join(others)}: more seeds are for all arms, leave out --arms"
        )
    facts = {
        name: Checkpoints(old.checkpoints(name), identity=old.identity_of(name)).peek() for name in folders
    }
    return {name for name, own in facts.items() if "final" in own and "diverged" not in own}


def _only(tasks: Tasks, names: set[str]) -> Tasks:
    """The tasks with these stages and arms; a task whose stages are not all there has no arms."""
    kept = {}
    for task, experiment in tasks.items():
        there = lambda name, task=task: (f"{task}/{name}" if task else name) in names
        whole = all(map(there, experiment.prepare))
        arms = {name: arm for name, arm in experiment.arms.items() if whole and there(name)}
        kept[task] = dataclasses.replace(
            experiment, arms=arms, prepare=experiment.prepare if whole else {}, claims=(), examples=None, chart=None,
            remarks=None, samples=None,
        )  # fmt: skip
    return kept


def _part(tasks: Tasks, seeds: slice) -> Tasks:
    """The tasks as these seeds see them: data that every seed has a row of are cut."""

    def cut(node: Any) -> Any:
        if not isinstance(node, PerSeed) or node.rows is None:
            return node
        return PerSeed(rows=jax.tree.map(lambda x: x[seeds], node.rows))

    own = lambda data: jax.tree.map(cut, data, is_leaf=lambda node: isinstance(node, PerSeed))
    return {task: dataclasses.replace(one, data=own(dict(one.data))) for task, one in tasks.items()}


def _with(plan: Plan, seeds: Sequence[int]) -> Plan:
    return dataclasses.replace(plan, seeds=tuple(seeds))


def _joined(one: Fit, other: Fit) -> Fit:
    """Two fits of one arm as a fit of the seeds of both."""
    if isinstance(one.state, list):
        state = [*one.state, *other.state]
    else:
        state = jax.tree.map(lambda a, b: jax.numpy.concatenate([a, b]), one.state, other.state)
    final = {name: np.concatenate([values, other.final[name]]) for name, values in one.final.items()}
    # A learner that ends by itself has no rows after its last seed has, so that two fits may share only some.
    steps = [own.history.get("step", np.zeros(0)) for own in (one, other)]
    shared, *places = np.intersect1d(*steps, return_indices=True)
    history = {
        name: shared
        if name == "step"
        else np.concatenate([values[places[0]], other.history[name][places[1]]], axis=1)
        for name, values in one.history.items()
    }
    return Fit(state, [], final, one.wall_s + other.wall_s, history)


def _joined_rows(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Rows of an arm and a step, with the numbers of all seeds."""
    added = {(row["arm"], row["step"]): row for row in new}
    rows = []
    for row in old:
        other = added.get((row["arm"], row["step"]), {})
        if row.keys() == other.keys():
            both = {name: [*row[name], *other[name]] for name in row if name not in ("arm", "step")}
            rows.append({"arm": row["arm"], "step": row["step"], **both})
    return rows


def _write(workdir: Workdir, fits: Mapping[str, Fit], rows: tuple[list[Row], list[Row]]) -> None:
    """The joined run beside the old one, whole or not at all."""
    folder = workdir.path / _JOINED
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "checkpoints").mkdir(parents=True)
    for name, fit in fits.items():
        lane = Lane()
        lane.final, lane.earlier = fit.final, fit.wall_s
        lane.history = {metric: values.tolist() for metric, values in fit.history.items()}
        saved = Checkpoints(folder / "checkpoints" / name, identity=workdir.identity_of(name))
        step = int(fit.history["step"][-1]) if len(fit.history.get("step", ())) else 0
        saved.save(step, fit.state, lane.facts(0.0, [name]))
        saved.close()
    lines = [json.dumps(row) + "\n" for row in _joined_rows(*rows)]
    write_atomically(folder / workdir.metrics.name, "".join(lines))
    write_atomically(folder / _COMPLETE, "")


def _take_place(workdir: Workdir) -> None:
    """Move a joined run to where the old one was; done again after a kill, it ends where it would have."""
    folder = workdir.path / _JOINED
    if not (folder / _COMPLETE).exists():
        return
    if (folder / "checkpoints").exists():
        shutil.rmtree(workdir.checkpoints(""), ignore_errors=True)
        os.rename(folder / "checkpoints", workdir.checkpoints(""))
    if (folder / workdir.metrics.name).exists():
        os.replace(folder / workdir.metrics.name, workdir.metrics)
    workdir.now_holds_all_seeds()
    shutil.rmtree(folder)
