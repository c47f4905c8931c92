"""Run an experiment: prepare once per seed, train every arm alike, decide the claims, write the report."""

import io
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlab.training import curves, report, verdicts
from jaxlab.training._ahead import Programs
from jaxlab.training._more_seeds import train_missing_seeds
from jaxlab.training.checkpoint import Checkpoints
from jaxlab.training.claims import of_run
from jaxlab.training.code import sources
from jaxlab.training.experiment import Experiment, Plan
from jaxlab.training.loop import Diverged, Fit, Lane, train
from jaxlab.training.metrics import MetricLog, to_json, write_atomically
from jaxlab.training.preemption import Preempted
from jaxlab.training.provenance import commit
from jaxlab.training.tracking import Tracker, trackers
from jaxlab.training.workdir import Workdir

Tasks = Mapping[str, Experiment]


class PreemptedRun(Exception):
    """The run was asked to stop; every finished arm and the state of this one are saved.

    Attributes:
      arm: the arm or stage that was training.
      step: the step of its checkpoint.
    """

    def __init__(self, arm: str, step: int):
        super().__init__(f"stopped at step {step} of {arm}; the state is saved")
        self.arm, self.step = arm, step


def run(
    tasks: Tasks,
    plan: Plan,
    workdir: Workdir,
    *,
    name: str = "experiment",
    variant: str = "default",
    scale: str = "",
    notes: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    show: bool | None = None,
    track: Sequence[str | Tracker] = (),
    accept_code: bool = False,
    packages: Sequence[str] = ("jaxlab", "experiments"),
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run one experiment on each of its tasks and write its folder: log, checkpoints, code, curves, report, result.

    What a workdir already holds is used: finished arms are read back from their last checkpoint, an interrupted one
    goes on from its newest sound checkpoint, and the outcome is bit for bit that of an uninterrupted run.

    Args:
      tasks: experiments by task name; a single experiment is `{"": experiment}`. With a name, arms and metrics are
        reported as "task/arm".
      plan: seeds, rhythm, devices: the same for every arm.
      workdir: opened (`Workdir.opened`) by the caller.
      name, variant, scale: of the config, for the result.
      notes: what else the result is to say: `map`, the condition that the tasks are points of (`report.map_points`);
        `edges`, where the search found winners at an edge of its grid that could be widened (`verdicts.qualified`).
      stop: asked between chunks.
      show: progress bars; None shows them on a terminal.
      track: who is told as well: "tensorboard", "wandb", "trackio", or a `training.tracking.Tracker`.
      accept_code: go on in a folder that other code has trained in; the result names both.
      packages: top-level modules whose code trains here, see `training.code.sources`.
      say: receives one line for what a person should know.

    Returns:
      The content of result.json. An arm that diverged has no metrics and says where it stopped.

    Raises:
      PreemptedRun: `stop` said so.
      WorkdirError: other code has trained in the folder.
      MachineError: the folder cannot be written; what was saved stays.
    """
    main = jax.process_index() == 0
    code = workdir.keep_code(sources(packages), accept=accept_code) if main else []
    if len(plan.seeds) == workdir.config.get("seeds"):
        runner = lambda *parts: _Runner(*parts, stop, show if main else False, say)
        train_missing_seeds(tasks, plan, workdir, lambda *parts: _all_fits(runner(*parts)), say)
    told = trackers(track if main else (), workdir.path, name=f"{name}-{variant}", config=workdir.config)
    log = MetricLog(workdir.metrics if main else None, trackers=told)
    runner = _Runner(tasks, plan, workdir, log, stop, show if main else False, say)
    arms, stages = {}, {}
    try:
        for task, experiment in tasks.items():
            arms |= runner.compare(task, experiment, stages)
    except BaseException:
        log.close()
        raise
    finally:
        runner.close()
    scores = {name: facts["metrics"] for name, facts in {**stages, **arms}.items()}
    result = to_json(
        {
            "config": name,
            "variant": variant,
            "scale": scale,
            "commit": commit(),
            "code": code,
            "device": _device(plan),
            "versions": _versions(),
            "seeds": list(plan.seeds),
            "wall_s": round(runner.wall_s, 1),
            "arms": arms,
            "prepare": stages,
            "claims": _decide(tasks, plan, variant, scores, (notes or {}).get("edges", ())),
            **_remarks(tasks, log),
            **(notes or {}),
        }
    )
    if main:
        _write(workdir, result, log, tasks)
    log.close()
    return result


def _all_fits(runner: "_Runner") -> Mapping[str, Fit]:
    """Every stage and arm of a runner's tasks trained or read back, but for those that diverged."""
    runner.fits = {}
    try:
        for task, experiment in runner.tasks.items():
            runner.compare(task, experiment, {})
    finally:
        runner.close()
    return runner.fits


class _Runner:
    """What all arms of a run share."""

    def __init__(
        self, tasks: Tasks, plan: Plan, workdir: Workdir, log: MetricLog, stop: Any, show: Any, say: Any
    ):
        self.tasks = tasks
        self.fits: dict[str, Fit] | None = None  # a dict keeps them, by name
        self._plan, self._workdir, self._log = plan, workdir, log
        self._stop, self._show, self._say = stop, show, say
        self._programs = Programs(tasks, plan, self._checkpoints)
        self.wall_s = 0.0

    def close(self) -> None:
        """Let go of the threads that compile."""
        self._programs.close()

    def compare(self, task: str, experiment: Experiment, stages: dict) -> dict[str, Any]:
        """Run one task: its stages, whose facts go into `stages`, then its arms, whose facts are returned."""
        prefix = f"{task}/" if task else ""
        context, trouble = self.prepare(task, experiment, prefix, stages)
        arms, ends, histories = {}, {}, {}
        for group in self._programs.groups[task]:
            names = [prefix + name for name in group.names]
            if trouble:
                arms |= dict.fromkeys(names, trouble)
                continue
            program = self._programs.take(names[0])
            for name, (facts, done) in zip(
                group.names, self.finish(names, program, task, experiment, context)
            ):
                arms[prefix + name] = facts
                if done is not None:
                    histories[name] = done.history
                if done is not None and experiment.examples is not None and jax.process_count() == 1:
                    ends[name] = _first_seed(program, done)
        picture = lambda name: self._workdir.path / (f"{name}-{task}.png" if task else f"{name}.png")
        if ends:
            data = self._programs.data[task].of_first_seed()
            _save(picture("examples"), experiment.examples(ends, data))
        if histories and experiment.chart is not None and jax.process_index() == 0:
            _save(picture("chart"), experiment.chart(histories))
        # In the order of the experiment, not of the groups.
        return {prefix + name: arms[prefix + name] for name in experiment.arms}

    def _checkpoints(self, name: str) -> Checkpoints:
        return Checkpoints(self._workdir.checkpoints(name), identity=self._workdir.identity_of(name))

    def prepare(
        self, task: str, experiment: Experiment, prefix: str, stages: dict
    ) -> tuple[dict, dict | None]:
        """Run the stages; returns the context, or what stands in for every arm when a stage diverged."""
        context: dict[str, Any] = {}
        for stage_name in experiment.prepare:
            name = f"{prefix}{stage_name}"
            program = self._programs.take(name)
            ((facts, done),) = self.finish([name], program, task, experiment.of_stages(), context)
            stages[name] = facts
            if done is None:
                return {}, {**facts, "steps": 0, "diverged": {**facts["diverged"], "stage": name}}
            context[stage_name] = program.export(done.state)
        return context, None

    def finish(
        self, names: list[str], program: Any, task: str, experiment: Experiment, context: dict
    ) -> list[tuple[dict[str, Any], Fit | None]]:
        """Train a group to its end; returns what the result says of each arm, and its fit unless it diverged."""
        checkpoints = [self._checkpoints(name) for name in names]
        lanes = [self._lane(name, own) for name, own in zip(names, checkpoints)]
        title = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        try:
            ends = train(
                program, lanes, experiment, self._plan,
                data=self._programs.data[task], context=context, stop=self._stop, title=title, show=self._show,
            )  # fmt: skip
        except Preempted as error:
            raise PreemptedRun(names[0], error.step) from None
        finally:
            for own in checkpoints:
                own.close()
        return [self._facts(name, program, end) for name, end in zip(names, ends)]

    def _lane(self, name: str, checkpoints: Checkpoints) -> Lane:
        return Lane(
            checkpoints,
            log=lambda row: self._log.write({"arm": name, **row}),
            rewind=lambda step: self._log.rewind(name, step),
        )

    def _facts(self, name: str, program: Any, end: Fit | Diverged) -> tuple[dict[str, Any], Fit | None]:
        if isinstance(end, Diverged):
            self._say(f"{name} stopped: {end}")
            where = {"step": end.step, "seed": end.seed, "metric": end.metric}
            return {"steps": end.step, "metrics": {}, "diverged": where}, None
        self.wall_s += end.wall_s
        if self.fits is not None:
            self.fits[name] = end
        facts = {"steps": program.group.steps, "metrics": {k: v.tolist() for k, v in end.final.items()}}
        return facts, end


def _remarks(tasks: Tasks, log: MetricLog) -> dict[str, list[str]]:
    """What the experiments say about how their arms trained; nothing where they have nothing to say."""
    lines: list[str] = []
    for task, experiment in tasks.items():
        if experiment.remarks is None:
            continue
        name = {arm: f"{task}/{arm}" if task else arm for arm in experiment.arms}
        rows = {arm: [row for row in log.rows if row["arm"] == full] for arm, full in name.items()}
        lines += [f"{task}: {line}" if task else line for line in experiment.remarks(rows)]
    return {"remarks": lines} if lines else {}


def _first_seed(program: Any, done: Fit) -> Any:
    return done.state[0] if program.on_host else jax.tree.map(lambda leaf: leaf[0], done.state)


def _save(path: Path, figure: Any) -> None:
    with io.BytesIO() as picture:
        figure.savefig(picture, format="png", dpi=110)
        write_atomically(path, picture.getvalue())


def _decide(
    tasks: Tasks, plan: Plan, variant: str, scores: Mapping[str, Any], edges: Sequence[str]
) -> list[dict[str, Any]]:
    decided = verdicts.decide(
        of_run({task: experiment.claims for task, experiment in tasks.items()}),
        scores,
        seeds=plan.seeds,
        n_data={task: experiment.n_data(plan) for task, experiment in tasks.items()},
        resplit={task: experiment.resplit for task, experiment in tasks.items()},
        no_verdict="a smoke run" if variant == "smoke" else "",
    )
    return verdicts.qualified(decided, edges=edges)


def _write(workdir: Workdir, result: dict[str, Any], log: MetricLog, tasks: Tasks) -> None:
    panels = {
        task: [f"{task}/{arm}" if task else arm for arm in experiment.arms]
        for task, experiment in tasks.items()
    }
    title = f"{result['config']}, {len(result['seeds'])} seeds"
    curves.plot(
        workdir.path / "curves.png", rows=log.rows, panels=panels, claims=result["claims"], title=title
    )
    metric, profiles = report.over_tasks(result)
    if "map" in result:
        for claim in report.mapped(result):
            points, condition = report.map_points(result, claim), result["map"]["condition"]
            curves.plot_map(workdir.path / f"map-{claim}.png", points, condition=condition, title=claim)
    elif profiles:
        curves.plot_profiles(workdir.path / "profiles.png", profiles, metric=metric)
    text = report.markdown(result)
    write_atomically(workdir.path / "report.md", text)
    log.finish(text, {path.stem: path for path in sorted(workdir.path.glob("*.png"))})
    write_atomically(workdir.result, json.dumps(result, indent=1) + "\n")


def _device(plan: Plan) -> str:
    device = jax.devices()[0]
    count = int(np.prod(list(dict(plan.mesh).values()) or [1]))
    cores = f", {os.cpu_count()} cores" if device.platform == "cpu" else ""
    return f"{count} x {device.device_kind}{cores}"


def _versions() -> dict[str, str]:
    names = ("jaxlab", "jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
