"""The loop: any `Learner`, many seeds at once, compiled in chunks; between chunks the host looks, writes and asks."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxlab.core import Learner
from jaxlab.training._program import CompiledProgram, HostProgram
from jaxlab.training.checkpoint import Checkpoints
from jaxlab.training.experiment import Evaluate, Plan
from jaxlab.training.mesh import Rules
from jaxlab.training.metrics import Row
from jaxlab.training.preemption import Preempted
from jaxlab.training.progress import Bar


class Fit(NamedTuple):
    """What a finished fit leaves.

    Attributes:
      state: the learner's state, leaves `[S, ...]`; for a learner with `jit=False` a list of S states.
      rows: what was logged, by step; a metric is a list with one number per seed.
      final: the last evaluation, `{name: [S] array}`, names such as "test/accuracy".
      wall_s: seconds it took, those before an interruption included.
    """

    state: Any
    rows: list[Row]
    final: dict[str, np.ndarray]
    wall_s: float


class Diverged(Exception):
    """A metric was not finite.

    Attributes:
      step: the update (counted from 1) whose metric it was.
      seed: the first seed it happened to.
      metric: its name.
    """

    def __init__(self, step: int, seed: int, metric: str):
        super().__init__(f"{metric} is not finite at step {step}, seed {seed}")
        self.step, self.seed, self.metric = step, seed, metric


def fit(
    learner: Learner,
    *,
    data: Mapping[str, Any],
    draw: Callable[[Any, Any], Any],
    steps: int,
    plan: Plan,
    context: Any = None,
    evaluate: Evaluate | None = None,
    sharding: Rules = (),
    salt: int = 0,
    program: Any = None,
    checkpoints: Checkpoints | None = None,
    log: Callable[[Row], None] | None = None,
    rewind: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    title: str = "",
    show: bool | None = None,
) -> Fit:
    """Train every seed of a learner, from the newest sound checkpoint if there is one.

    A chunk of `plan.log_every` steps is one compiled scan, mapped over seeds, its batch spread over the mesh.
    Batches and keys depend on the seed and the step alone, so an interrupted run that resumes, or the same run on
    other devices, sees the same numbers.

    Args:
      learner: the method.
      data: splits; batches come from "train", splits called "val..." are evaluated every `plan.eval_every`
        steps, all but "train" at the end.
      draw: `(data["train"], key) -> batch`.
      steps: updates per seed.
      plan: seeds, rhythm, devices.
      context: what `learner.init` is given, leaves `[S, ...]`; None is an empty one.
      evaluate: `(state, split) -> {name: scalar}`.
      sharding: rules for the state, see `training.mesh.state_shardings`.
      salt: another stream of random numbers for the same seeds (a stage that prepares something).
      program: what `make_program` returned for the same arguments, when it is being compiled already.
      checkpoints: where to save and resume; None keeps nothing.
      log: called with each row, before the checkpoint that covers it.
      rewind: called once with the step that the fit starts from, before anything is logged.
      stop: asked after every chunk; True saves and raises `Preempted`.
      title: the name beside the progress bar.
      show: the bar; None shows it on a terminal.

    Returns:
      A `Fit`.

    Raises:
      Diverged: a metric is not finite; the state is saved under the chunk's last step.
      Preempted: `stop` said so; the state is saved.
      ValueError: sizes that the mesh does not divide, checkpoints of other code.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxlab.core import Learner
      >>> from jaxlab.training import Plan, fit
      >>> learner = Learner(
      ...     init=lambda key, context: jnp.zeros(()),
      ...     update=lambda x, batch, key: (x + 0.5 * (batch - x), {"loss": (batch - x) ** 2}),
      ... )
      >>> done = fit(learner, data={"train": jnp.array(3.0)}, draw=lambda data, key: data, steps=50,
      ...            plan=Plan(seeds=(0, 1), log_every=10, eval_every=10, checkpoint_every=10))
      >>> [round(float(x), 3) for x in done.state]
      [3.0, 3.0]
    """
    began = time.monotonic()
    if program is None:
        program = make_program(learner, draw, evaluate, plan, sharding=sharding, salt=salt)
    context = program.place_by_seed({} if context is None else context)
    restored = checkpoints.restore(program.abstract_state(context)) if checkpoints else None
    if restored and "diverged" in restored.facts:
        raise Diverged(*restored.facts["diverged"])
    state, begin = (restored.state, restored.step) if restored else (program.init(context), 0)
    earlier = restored.facts.get("wall_s", 0.0) if restored else 0.0
    if rewind:
        rewind(begin)
    placed = {name: program.place(split) for name, split in data.items()}
    rows: list[Row] = []
    final: dict[str, np.ndarray] = {}
    if begin >= steps:
        final = _evaluate(program, state, placed, evaluate, only_val=False)
    with Bar(title, steps, start=begin, show=show) as bar:
        for start in range(begin, steps, plan.log_every):
            end = min(start + plan.log_every, steps)
            state, trace = program.advance(state, placed["train"], start, end - start)
            try:
                row, scores = _look(
                    program, state, placed, evaluate, trace, plan, start, end, last=end == steps
                )
                final = scores or final
            except Diverged as error:
                if checkpoints:
                    checkpoints.save(end, state, {"diverged": [error.step, error.seed, error.metric]})
                raise
            rows.append(row)
            if log:
                log(row)
            bar.advance(end - start, np.mean(row["train/loss"]) if "train/loss" in row else None)
            stopping = end < steps and stop()
            if checkpoints and (stopping or end == steps or end % plan.checkpoint_every == 0):
                checkpoints.save(end, state, {"wall_s": earlier + time.monotonic() - began})
            if stopping:
                raise Preempted(end)
    # Reading back what was finished before is no part of what it took.
    return Fit(state, rows, final, earlier + (time.monotonic() - began if begin < steps else 0.0))


def _look(
    program: Any,
    state: Any,
    placed: Mapping[str, Any],
    evaluate: Evaluate | None,
    trace: Mapping[str, np.ndarray],
    plan: Plan,
    start: int,
    end: int,
    *,
    last: bool,
) -> tuple[Row, dict[str, np.ndarray]]:
    """What the host sees after a chunk: the row to log, and the scores when it was time to evaluate."""
    _check_finite(trace, plan.seeds, start)
    row: Row = {"step": end, **{_name(name): values.mean(axis=1).tolist() for name, values in trace.items()}}
    if not last and end % plan.eval_every:
        return row, {}
    scores = _evaluate(program, state, placed, evaluate, only_val=not last)
    _check_finite({name: values[:, None] for name, values in scores.items()}, plan.seeds, end - 1)
    return row | {name: values.tolist() for name, values in scores.items()}, scores


def make_program(
    learner: Learner, draw: Any, evaluate: Any, plan: Plan, *, sharding: Rules = (), salt: int = 0
) -> Any:
    """What `fit` drives: the learner with its seeds on the mesh, or on the host when it has `jit=False`."""
    if not learner.jit:
        return HostProgram(learner, draw, evaluate, seeds=plan.seeds, salt=salt)
    return CompiledProgram(
        learner,
        draw,
        evaluate,
        seeds=plan.seeds,
        salt=salt,
        seeds_by=plan.seeds_by,
        mesh_shape=dict(plan.mesh),
        rules=sharding,
    )


def _name(metric: str) -> str:
    return metric if "/" in metric else f"train/{metric}"


def _evaluate(
    program: Any, state: Any, splits: Any, evaluate: Any, *, only_val: bool
) -> dict[str, np.ndarray]:
    if evaluate is None:
        return {}
    names = [name for name in splits if name != "train" and (name.startswith("val") or not only_val)]
    scores = {name: program.evaluate(state, splits[name]) for name in names}
    return {f"{name}/{metric}": value for name, score in scores.items() for metric, value in score.items()}


def _check_finite(trace: Mapping[str, np.ndarray], seeds: tuple[int, ...], start: int) -> None:
    """Raise `Diverged` for the earliest step at which a metric `[S, T]` is not finite."""
    found = [
        (int(step), int(seed), name != "loss", name)
        for name, values in trace.items()
        for seed, step in np.argwhere(~np.isfinite(values))
    ]
    if found:
        step, seed, _, name = min(found)
        raise Diverged(start + step + 1, seeds[seed], name)
