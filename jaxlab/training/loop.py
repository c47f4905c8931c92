"""The loop: any method, many seeds and settings at once, in compiled chunks; the host looks and writes between them."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlab.core import Computed, Learner, MissingPackage
from jaxlab.core.check import InputError
from jaxlab.training._contracts import check_context, check_learner, check_splits
from jaxlab.training._method import group_of
from jaxlab.training._placed import PlacedData
from jaxlab.training._program import make_program
from jaxlab.training.checkpoint import Checkpoints, Restored
from jaxlab.training.experiment import Arm, Draw, Evaluate, Experiment, Plan, Samples, Stream, Summarise, Turn
from jaxlab.training.mesh import Rules
from jaxlab.training.metrics import Row
from jaxlab.training.preemption import Preempted, any_process, watch
from jaxlab.training.progress import Bar

History = dict[str, list]


class Fit(NamedTuple):
    """What a finished fit leaves.

    Attributes:
      state: the method's state, leaves `[S, ...]`; for a learner with `jit=False` a list of S states.
      rows: what was logged, by step; a metric is a list with one number per seed.
      final: the last evaluation and the summaries, `{name: [S] array}`, names such as "test/accuracy".
      wall_s: seconds it took, those before an interruption included.
      history: `"step"` `[E]` and `{name: [E, S]}` of every row with an evaluation, since the first step.
    """

    state: Any
    rows: list[Row]
    final: dict[str, np.ndarray]
    wall_s: float
    history: dict[str, np.ndarray]

    def __repr__(self) -> str:
        steps = [row["step"] for row in self.rows]
        seeds = [len(values) for values in self.final.values()]
        means = ", ".join(f"{name} {np.mean(values):.4g}" for name, values in self.final.items())
        names = [name for name in self.history if name != "step"]
        return "\n".join(
            (
                f"Fit of {seeds[0] if seeds else '?'} seeds, {self.wall_s:.1f} s",
                f"  rows: {len(steps)}" + (f", steps {steps[0]} to {steps[-1]}" if steps else ""),
                f"  final: {means or 'nothing was evaluated'}",
                f"  history: {', '.join(names) or 'empty'}",
                f"  state: {type(self.state).__name__} of {len(jax.tree.leaves(self.state))} arrays",
            )
        )

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame, one line per step and seed.

        Raises:
          MissingPackage: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise MissingPackage("Fit.to_pandas needs pandas: pip install pandas") from None
        lines = []
        for row in self.rows:
            values = {name: value for name, value in row.items() if name != "step"}
            for position in range(max((len(value) for value in values.values()), default=0)):
                own = {name: value[position] for name, value in values.items()}
                lines.append({"step": row["step"], "seed": position, **own})
        return pandas.DataFrame(lines)

    def plot(self, *metrics: str) -> Any:
        """A matplotlib figure of metrics over steps, the mean over seeds with all seeds behind it.

        Args:
          metrics: names in the rows; all of them when none is given.

        Raises:
          ValueError: a metric that no row has.
        """
        from jaxlab.training.curves import plot_rows

        return plot_rows(self.rows, metrics)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during `fit`: the chunk was finished and, with checkpoints, saved.

    Attributes:
      fit: the `Fit` so far.
    """

    def __init__(self, step: int, fit: Fit):
        super().__init__(f"interrupted at step {step}; the Fit so far is this exception's .fit")
        self.fit = fit


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


class Lane:
    """One arm of a group in training: where it is saved and logged, and what has been measured of it so far.

    Args:
      checkpoints: where to save and resume; None keeps nothing.
      log: called with each row, before the checkpoint that covers it.
      rewind: called once with the step that training starts from, before anything is logged.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None = None,
        log: Callable[[Row], None] | None = None,
        rewind: Callable[[int], None] | None = None,
    ):
        self.checkpoints = checkpoints
        self._log, self._rewind = log or (lambda row: None), rewind or (lambda step: None)
        self.rows: list[Row] = []
        self.history: History = {}
        self.final: dict[str, np.ndarray] | None = None
        self.earlier = 0.0
        self.diverged: Diverged | None = None

    def begin(self, restored: Restored | None, step: int) -> None:
        """Take up what a checkpoint knows."""
        facts = restored.facts if restored else {}
        self.history = facts.get("history", {})
        if "final" in facts:
            self.final = {name: np.asarray(values) for name, values in facts["final"].items()}
        self.earlier = facts.get("wall_s", 0.0)
        if "diverged" in facts:
            self.diverged = Diverged(*facts["diverged"])
        else:
            self._rewind(step)

    def log(
        self, row: Row, scores: Mapping[str, np.ndarray], samples: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Log what was measured after a chunk, and what there is to look at."""
        row = row | {name: values.tolist() for name, values in scores.items()}
        self.rows.append(row)
        self._log(row | ({"samples": list(samples)} if samples else {}))

    def remember(self, row: Row, scores: Mapping[str, np.ndarray], along: Sequence[str]) -> None:
        """Add a row to the history, with the scores of the splits that are evaluated on the way."""
        kept = {name: values.tolist() for name, values in scores.items() if name.partition("/")[0] in along}
        for name, value in (row | kept).items():
            self.history.setdefault(name, []).append(value)

    def facts(self, wall_s: float, group: Sequence[str]) -> dict[str, Any]:
        """What a checkpoint has to know besides the state; `group` are the arms that it was trained with."""
        facts: dict[str, Any] = {"wall_s": self.earlier + wall_s, "history": self.history, "group": group}
        if self.final is not None:
            facts["final"] = {name: values.tolist() for name, values in self.final.items()}
        if self.diverged:
            facts["diverged"] = [self.diverged.step, self.diverged.seed, self.diverged.metric]
        return facts

    def past(self) -> dict[str, np.ndarray]:
        """The history as arrays."""
        return {name: np.asarray(values) for name, values in self.history.items()}


def fit(
    learner: Learner | Computed,
    *,
    data: Mapping[str, Any],
    plan: Plan,
    steps: int = 0,
    draw: Draw | None = None,
    stream: Stream | None = None,
    context: Any = None,
    evaluate: Evaluate | None = None,
    along: tuple[str, ...] | None = None,
    summarise: Summarise | None = None,
    samples: Samples | None = None,
    turn: Turn | None = None,
    sharding: Rules = (),
    salt: int = 0,
    checkpoints: Checkpoints | None = None,
    log: Callable[[Row], None] | None = None,
    rewind: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    title: str = "",
    show: bool | None = None,
) -> Fit:
    """Train every seed of one learner, from the newest sound checkpoint if there is one.

    A chunk of `plan.log_every` steps is one compiled scan, mapped over seeds, its batch spread over the mesh.
    Batches and keys depend on the seed and the step alone, so an interrupted run that resumes, or the same run on
    other devices, sees the same numbers.

    Args:
      learner: the method.
      data: splits; batches come from "train", which may be `Streamed`, all others are evaluated at the end. Parts may
        be `PerSeed`.
      plan: seeds, rhythm, devices.
      steps: updates per seed; 0 evaluates the initial state.
      draw: `(data["train"], key) -> batch`.
      stream: `(data["train"], key, step) -> batch`, in the place of `draw`; with neither the batch is None.
      context: what the learner and the evaluation are given, leaves `[S, ...]`; None is an empty one.
      evaluate: `(state, split, context) -> {name: scalar}`.
      along: the splits evaluated every `plan.eval_every` steps; those called "val..." when None.
      summarise: `history -> {name: [S]}`, see `Experiment`.
      samples: `(state, context) -> [{name: plain value}]`, see `Experiment`; `log` finds them in its row, as "samples".
      turn: what happens between steps.
      sharding: rules for the state, see `training.mesh.state_shardings`.
      salt: another stream of random numbers for the same seeds (a stage that prepares something).
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
      Interrupted: Ctrl-C; the chunk ends, the state is saved, and the `Fit` so far hangs on the exception.
      ValueError: sizes that the mesh does not divide, checkpoints of other code.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxlab.core import Learner
      >>> from jaxlab.training import Plan, fit
      >>> learner = Learner(
      ...     init=lambda key, context: jnp.zeros(()),
      ...     update=lambda x, batch, key, context: (x + 0.5 * (batch - x), {"loss": (batch - x) ** 2}),
      ... )
      >>> done = fit(learner, data={"train": jnp.array(3.0)}, draw=lambda data, key: data, steps=50,
      ...            plan=Plan(seeds=(0, 1), log_every=10, eval_every=10, checkpoint_every=10))
      >>> [round(float(x), 3) for x in done.state]
      [3.0, 3.0]
    """
    check_learner(learner)
    check_splits(data)
    check_context(context, len(plan.seeds))
    scored = {} if evaluate is None else {"evaluate": evaluate}
    experiment = Experiment(
        data if evaluate is not None else {"train": data["train"]},
        draw, arms={}, stream=stream, along=along, summarise=summarise, samples=samples, **scored,
    )  # fmt: skip
    group = group_of("fit", Arm(learner, steps=steps, turn=turn, sharding=sharding), experiment)
    lane = Lane(checkpoints, log, rewind)
    program = make_program(group, plan, salt=salt)
    training = _Training(
        program,
        [lane],
        experiment,
        plan,
        PlacedData(experiment.data, plan.seeds),
        {} if context is None else context,
    )
    with _interruptible() as interrupted:
        try:
            (done,) = _train(training, lambda: interrupted() or stop(), title, show)
        except Preempted as error:
            if interrupted():
                raise Interrupted(error.step, training.so_far()) from None
            raise
        finally:
            if checkpoints:
                checkpoints.close()
    if isinstance(done, Diverged):
        raise done
    return done


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the end of the chunk, unless somebody else already handles it."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    with watch((signal.SIGINT,)) as asked:
        yield asked


def train(
    program: Any,
    lanes: Sequence[Lane],
    experiment: Experiment,
    plan: Plan,
    *,
    data: PlacedData,
    context: Any = None,
    stop: Callable[[], bool] = lambda: False,
    title: str = "",
    show: bool | None = None,
) -> list[Fit | Diverged]:
    """Train the arms of one program to their end, one lane each, in the order of the group.

    A lane that diverges is saved as such and ignored from then on; the others do not change by a bit.

    Args:
      program: from `make_program`.
      lanes: one per arm.
      experiment: what is evaluated and how it is summarised.
      plan, context, stop, title, show: as for `fit`.
      data: the experiment's.

    Returns:
      A `Fit` for every lane, or the `Diverged` that ended it.

    Raises:
      Preempted: `stop` said so; everything is saved.
    """
    run = _Training(program, lanes, experiment, plan, data, {} if context is None else context)
    return _train(run, stop, title, show)


def _train(run: "_Training", stop: Callable[[], bool], title: str, show: bool | None) -> list[Fit | Diverged]:
    try:
        return _train_to_end(run, stop, title, show)
    finally:
        run.close()


def _train_to_end(
    run: "_Training", stop: Callable[[], bool], title: str, show: bool | None
) -> list[Fit | Diverged]:
    run.begin()
    steps, plan = run.steps, run.plan
    with Bar(title, steps, start=run.step, show=show) as bar:
        while run.step < steps and run.active():
            before = run.step
            loss = run.advance(min(plan.log_every, steps - before))
            bar.advance(run.step - before, loss)
            stopping = run.step < steps and bool(run.active()) and stop()
            if stopping or run.step == steps or run.step % plan.checkpoint_every == 0 or run.overdue():
                run.save()
            if stopping:
                raise Preempted(run.step)
    return run.end()


class _Training:
    """The state of a group in training, and what happens to it."""

    def __init__(
        self,
        program: Any,
        lanes: Sequence[Lane],
        experiment: Experiment,
        plan: Plan,
        data: PlacedData,
        context: Any,
    ):
        self._program, self._lanes, self._experiment, self.plan = program, lanes, experiment, plan
        self.steps = program.group.steps
        self._data, self._context = program.place_data(data), program.place_context(context)
        self._began = self._saved = time.monotonic()
        self.step, self._state, self._finished = 0, None, False

    def active(self) -> list[int]:
        """Lanes that have not diverged."""
        return [number for number, lane in enumerate(self._lanes) if lane.diverged is None]

    def begin(self) -> None:
        """From the newest step that every lane has a sound checkpoint of, or from the start."""
        train = self._data["train"]
        restored = self._restore()
        live = [found.step for found in restored or [] if "diverged" not in found.facts]
        self.step = min(live, default=self.steps if restored else 0)
        for lane, found in zip(self._lanes, restored or [None] * len(self._lanes)):
            lane.begin(found, self.step)
        if restored:
            like = self._program.abstract_state(self._context, train)
            self._state = self._program.join([found.state for found in restored], like)
            self._finished = all(lane.final is not None or lane.diverged for lane in self._lanes)
        else:
            self._state = self._program.init(self._context, train)
        if self.step >= self.steps and not self._finished:
            self._inspect({}, self.step)
            self.save()

    def advance(self, count: int) -> float | None:
        """One chunk, the turn and the evaluation that are due after it; returns the mean loss."""
        program, train = self._program, self._data["train"]
        chunk = train if program.feed is None else self._rows(count)
        self._state, trace = program.advance(self._state, self._context, chunk, self.step, count)
        del chunk  # its memory is free while the next one is read
        start, self.step = self.step, self.step + count
        if self._at_rest(trace):
            self.step = self.steps
        if self._program.group.turn is not None and self._program.group.turn.due(self.step):
            self._state = program.turn(self._state, self._context, train, self.step)
        self._inspect(trace, start)
        return float(np.mean(trace["loss"][:, self.active()])) if "loss" in trace and self.active() else None

    def _at_rest(self, trace: Mapping[str, np.ndarray]) -> bool:
        """Whether the learner says of every seed and setting that further updates change nothing."""
        group = self._program.group
        learner = group.method().learner
        if learner.ends is None or group.turn is not None:
            return False
        return bool(np.all(trace[learner.ends][:, self.active(), -1] == 1))

    def _rows(self, count: int) -> Any:
        """What the next steps read; where that fails, the steps so far are saved."""
        try:
            return self._program.feed.chunk(self.step, count)
        except Exception:
            if self.step:
                self.save()
            raise

    def close(self) -> None:
        """Let go of the thread that reads."""
        if self._program.feed is not None:
            self._program.feed.close()

    def overdue(self) -> bool:
        """Whether `plan.checkpoint_minutes` have passed since the last checkpoint, in any process."""
        minutes = self.plan.checkpoint_minutes
        return minutes is not None and any_process(time.monotonic() - self._saved > 60 * minutes)

    def save(self) -> None:
        """A checkpoint of every lane that has not diverged."""
        self._saved = time.monotonic()
        for number in self.active():
            self._save(number)

    def end(self) -> list[Fit | Diverged]:
        """What each lane has come to."""
        # Reading back what was finished before is no part of what it took.
        wall_s = 0.0 if self._finished else self._seconds()
        return [lane.diverged or self._fit(number, wall_s) for number, lane in enumerate(self._lanes)]

    def _fit(self, number: int, wall_s: float) -> Fit:
        lane = self._lanes[number]
        state = self._program.cut(self._state, number)
        return Fit(state, lane.rows, lane.final or {}, lane.earlier + wall_s, lane.past())

    def so_far(self) -> Fit:
        """The first lane as it is."""
        return self._fit(0, self._seconds())

    def _seconds(self) -> float:
        """An arm's share of the time so far."""
        return (time.monotonic() - self._began) / len(self._lanes)

    def _inspect(self, trace: Mapping[str, np.ndarray], start: int) -> None:
        """What the host sees after a chunk whose metrics are `trace`, `[S, K, T]`: rows, scores, what is not finite."""
        for number in self.active():
            self._watch(number, {name: values[:, number] for name, values in trace.items()}, start)
        last = self.step >= self.steps
        measured = last or self.step % self.plan.eval_every == 0
        scores = self._scores(last) if measured and self.active() else {}
        for number in self.active():
            own = {name: values[:, number] for name, values in scores.items()}
            if self._watch(number, {name: values[:, None] for name, values in own.items()}, self.step - 1):
                means = {
                    _name(name): values[:, number].mean(axis=1).tolist() for name, values in trace.items()
                }
                self._record(number, means, own, measured=measured, last=last)

    def _record(self, number: int, means: dict, scores: dict, *, measured: bool, last: bool) -> None:
        lane = self._lanes[number]
        lane.log({"step": self.step, **means}, scores, self._samples(number) if measured else ())
        if measured:
            lane.remember({"step": self.step, **means}, scores, self._experiment.splits_along())
        if last:
            summarise = self._experiment.summarise
            lane.final = scores | ({} if summarise is None else _summaries(summarise(lane.past()), self.plan))

    def _samples(self, number: int) -> Sequence[Mapping[str, Any]]:
        """What there is to look at of a lane, of its first seed."""
        samples = self._experiment.samples
        if samples is None or jax.process_count() > 1:
            return ()
        first = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)
        state = self._program.cut(self._state, number)
        return samples(state[0] if self._program.on_host else first(state), first(self._context))

    def _scores(self, last: bool) -> dict[str, np.ndarray]:
        names = self._experiment.splits() if last else self._experiment.splits_along()
        scores = {
            name: self._program.evaluate(self._state, self._context, self._data[name]) for name in names
        }
        return {
            f"{name}/{metric}": value for name, score in scores.items() for metric, value in score.items()
        }

    def _watch(self, number: int, trace: Mapping[str, np.ndarray], start: int) -> bool:
        """Whether all metrics `[S, T]` of a lane are finite; one that is not ends it."""
        lane = self._lanes[number]
        lane.diverged = _first_not_finite(trace, self.plan.seeds, start)
        if lane.diverged:
            self._save(number)
        return lane.diverged is None

    def _save(self, number: int) -> None:
        lane = self._lanes[number]
        if lane.checkpoints:
            facts = lane.facts(self._seconds(), self._program.group.names)
            lane.checkpoints.save(self.step, self._program.cut(self._state, number), facts)

    def _restore(self) -> list[Restored] | None:
        if any(lane.checkpoints is None or lane.checkpoints.newest is None for lane in self._lanes):
            return None
        abstract = self._program.abstract_arm(self._context, self._data["train"])
        return restore_together([lane.checkpoints for lane in self._lanes], abstract)


def restore_together(checkpoints: Sequence[Checkpoints], abstract: Any) -> list[Restored] | None:
    """The newest sound checkpoints at one step that all arms of a group have; those that diverged stay as they are.

    Args:
      checkpoints: one per arm.
      abstract: the state of one arm.

    Returns:
      One per arm, or None when there is no such step.
    """
    found: list[Restored | None] = [own.restore(abstract) for own in checkpoints]
    while all(found):
        steps = [own.step for own in found if "diverged" not in own.facts]
        if len(set(steps)) <= 1:
            return found
        found = [
            own
            if "diverged" in own.facts or own.step == min(steps)
            else kept.restore(abstract, at_most=min(steps))
            for own, kept in zip(found, checkpoints)
        ]
    return None


def _name(metric: str) -> str:
    return metric if "/" in metric else f"train/{metric}"


def _summaries(made: Mapping[str, Any], plan: Plan) -> dict[str, np.ndarray]:
    found = {name: np.asarray(values, float) for name, values in made.items()}
    for name, values in found.items():
        if values.shape != (len(plan.seeds),):
            raise InputError(
                f"summarise: {name!r} has the shape {values.shape}: it must be [{len(plan.seeds)}], one per seed"
            )
    return found


def _first_not_finite(trace: Mapping[str, np.ndarray], seeds: tuple[int, ...], start: int) -> Diverged | None:
    """The earliest step at which a metric `[S, T]` is not finite."""
    found = [
        (int(step), int(seed), name != "loss", name)
        for name, values in trace.items()
        for seed, step in np.argwhere(~np.isfinite(values))
    ]
    if not found:
        return None
    step, seed, _, name = min(found)
    return Diverged(start + step + 1, seeds[seed], name)
