"""An experiment is a comparison: arms under equal conditions, and claims about them written down beforehand."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxlab.core import Computed, Learner
from jaxlab.core.check import InputError, called
from jaxlab.training._contracts import check_splits
from jaxlab.training.claims import Claim, check_claims
from jaxlab.training.mesh import Rules

Evaluate = Callable[[Any, Any, Any], dict[str, Any]]
Export = Callable[[Any], Any]
Draw = Callable[[Any, jax.Array], Any]
Stream = Callable[[Any, jax.Array, jax.Array], Any]
Summarise = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
Samples = Callable[[Any, Any], Sequence[Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class PerSeed:
    """Data of which every seed has its own: a split, or any part of one.

    Made once per run, mapped over seeds like the state, shared by all arms and settings. Give one of the two.

    Attributes:
      make: `key -> pytree`, pure, the same shapes for every key; the key is `fold_in(key(seed), crc32(b"data"))`.
      rows: pytree of arrays `[number of seeds, ...]`; the seed at position i of `Plan.seeds` has row i. For splits of
        one real set: `{"image": images, "row": PerSeed(rows=splits)}` shares the images.
    """

    make: Callable[[jax.Array], Any] | None = None
    rows: Any = None

    def __post_init__(self) -> None:
        if (self.make is None) == (self.rows is None):
            raise InputError("PerSeed takes make or rows, one of the two")


@dataclasses.dataclass(frozen=True)
class Streamed:
    """Training data that stay in their files: the engine reads the rows of every step, a chunk ahead, by a thread.

    It is the whole of `data["train"]`. Which rows a step takes follows from the seed and the step alone, so there is no
    place in a pass to save: a run goes on, on any number of processes, with the batches it would have had. Of a batch
    that is spread over processes each reads its own part. `draw` and `stream` are given the rows of the step,
    `{name: [B, ...], "index": [B]}`, in the place of the split, for what is random beyond their choice; without them
    the rows are the batch. Turns and computed stages are given None.

    Two chunks, of `plan.log_every` steps and all seeds each, are in memory.

    Attributes:
      source: `len(source)` and `source[row] -> {name: array}`, of one shape for all rows. Many rows are read at once
        where it has `stacked(rows) -> {name: [n, ...]}`, as `jaxlab.data`'s sources, or `__getitems__(rows) -> list`,
        as PyTorch's, Hugging Face's and grain's.
      rows: `(key, step) -> [B]` integers below `len(source)`, pure, such as `core.pass_rows` and `core.mixed_rows`; the
        key depends on the seed alone.
      decode: `source[row] -> {name: array}` where the source gives something else, such as bytes or a pair.
      timeout_s: a chunk that takes longer to read ends the run, saved up to the chunk before.
    """

    source: Any
    rows: Callable[[jax.Array, jax.Array], jax.Array]
    decode: Callable[[Any], Mapping[str, Any]] | None = None
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        if not hasattr(self.source, "__len__") or not hasattr(self.source, "__getitem__"):
            raise InputError(
                f"Streamed: source is {called(self.source)}: it needs len(source) and source[row]"
            )
        if not len(self.source):
            raise InputError("Streamed: the source is empty")
        if not callable(self.rows):
            raise InputError(
                f"Streamed: rows is {called(self.rows)}: it must be a function (key, step) -> [B]"
            )
        if not self.timeout_s > 0:
            raise InputError(f"Streamed: timeout_s is {self.timeout_s}: it must be above 0")


@dataclasses.dataclass(frozen=True)
class Turn:
    """What happens between two steps: the end of a task, a new reference, exemplars, a merge of clients.

    Called by the engine between chunks as a program of its own, before that step's evaluation and checkpoint. (In the
    update a `lax.cond` would be computed at every step, once seeds are mapped.)

    Attributes:
      fn: `(state, train, step, key, context) -> state`, pure for learners with `jit=True`; `step` counts the updates
        taken.
      every: each so many steps, a multiple of the plan's `log_every`, or None.
      at: these steps, multiples of `log_every`.
    """

    fn: Callable[[Any, Any, jax.Array, jax.Array, Any], Any]
    every: int | None = None
    at: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if (self.every is None) == (not self.at):
            raise InputError("Turn takes every or at, one of the two")
        if self.every is not None and self.every < 1:
            raise InputError(f"Turn: every is {self.every}, it must be at least 1")

    def due(self, step: int) -> bool:
        """Whether it is this turn's time after `step` updates."""
        return step % self.every == 0 if self.every else step in self.at

    def check(self, log_every: int, steps: int) -> None:
        """Refuse steps that the engine would pass over."""
        for step in (self.every,) if self.every else self.at:
            if step % log_every or not 0 < step <= steps:
                raise InputError(
                    f"a turn at step {step}: it must be a multiple of log_every, {log_every}, up to the {steps} steps"
                )


@dataclasses.dataclass(frozen=True)
class Arm:
    """One contestant: a method, its settings and its budget.

    Arms that share the method (the same function object), the static settings, steps, data, turn and sharding are one
    compiled program, with the settings in which they differ as an axis. So a method's Python floats may be traced.

    Attributes:
      method: a `Learner`, what `core.computed` returns, or a function `settings -> learner` or `settings -> (learner,
        evaluate, export)`; None in the place of either of the two stands for the arm's own.
      settings: numbers, texts, tuples and dicts of them by name; the method reads `settings.name`. Floats may be
        traced, everything else is static: zero is a value, a term that is absent is None.
      steps: updates per seed; 0 evaluates and exports the initial state.
      evaluate: `(state, split, context) -> {name: scalar}`; the experiment's own when None.
      export: for a stage of `Experiment.prepare`, `state -> pytree`: what the later stages find in their context.
      draw, stream: this arm's batches, where the treatment is the data; the experiment's own when both are None.
      turn: what happens between steps.
      sharding: `(pattern, PartitionSpec)` rules for the state, see `training.mesh.state_shardings`.
      static: names of settings that are not to be traced though they are floats.
    """

    method: Learner | Computed | Callable[[Any], Any]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps: int = 0
    _: dataclasses.KW_ONLY
    evaluate: Evaluate | None = None
    export: Export = lambda state: state
    draw: Draw | None = None
    stream: Stream | None = None
    turn: Turn | None = None
    sharding: Rules = ()
    static: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _is_whole(self.steps) or self.steps < 0:
            raise InputError(f"steps is {self.steps}: it must be a whole number, at least 0")
        if not isinstance(self.settings, Mapping):
            raise InputError(f"settings is {self.settings!r}: it must be a dict; steps come after it")
        if self.draw is not None and self.stream is not None:
            raise InputError("an arm takes draw or stream, at most one of the two")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is compared with what, on which data.

    Attributes:
      data: splits by name, each a pytree of arrays and `PerSeed`s. Batches come from "train", which may be `Streamed`;
        all others are evaluated at the end.
      draw: `(data["train"], key) -> batch`, pure; the key depends on seed and step.
      arms: the contestants by name. All see the same seeds and, for a seed, the same batches in the same order.
      evaluate: `(state, split, context) -> {name: float32 scalar}`, pure for learners with `jit=True`.
      claims: decided by the final evaluation, see `training.claims`.
      prepare: stages run before the arms, in order, once per seed; stage `name` leaves its export in
        `context[name]` for the stages and arms that follow.
      stream: `(data["train"], key, step) -> batch` in the place of `draw`, for batches that depend on the time, such as
        one pass over the data or a sequence of tasks; the key depends on the seed alone. With neither the batch is
        None: learners that make their own experience.
      along: the splits evaluated during training; those whose name begins with "val" when None.
      summarise: `history -> {name: [S]}`: final metrics of an arm made of what was measured on the way, on the host.
        The history has `"step"` `[E]` and `[E, S]` for every metric of the rows with an evaluation. A NaN is a metric
        that could not be had.
      resplit: `(test rows, training rows)` when every seed has a split of its own of one finite set: its test rows come
        back as another seed's training rows, which intervals have to know.
      data_size: examples of the one real data set of which seeds are resamples, for claims of the rule "percentile".
      examples: `({arm: state of the first seed}, data) -> matplotlib figure`, called once when all arms are done; it
        is saved as examples.png (examples-<task>.png). Arms that diverged are not among the states; a run of several
        processes, none of which holds all of a state, leaves it out.
      chart: `{arm: history} -> matplotlib figure`, the histories as `summarise` has them, drawn when all arms are done
        and saved as chart.png (chart-<task>.png); without arms that diverged.
      remarks: `{arm: rows that it logged} -> lines`, what the report is to say about how the arms trained.
      samples: `(state, context) -> [{name: plain value}]` of the first seed, on the host, whenever something is
        evaluated: texts that people want to read, say. They go to samples.jsonl beside the log, and to trackers; a run
        of several processes leaves them out.
    """

    data: Mapping[str, Any]
    draw: Draw | None = None
    _: dataclasses.KW_ONLY
    arms: Mapping[str, Arm]
    evaluate: Evaluate = lambda state, split, context: {}
    claims: tuple[Claim, ...] = ()
    prepare: Mapping[str, Arm] = dataclasses.field(default_factory=dict)
    stream: Stream | None = None
    along: tuple[str, ...] | None = None
    summarise: Summarise | None = None
    resplit: tuple[int, int] | None = None
    data_size: int | None = None
    examples: Callable[[Mapping[str, Any], Mapping[str, Any]], Any] | None = None
    chart: Callable[[Mapping[str, Mapping[str, np.ndarray]]], Any] | None = None
    remarks: Callable[[Mapping[str, Sequence[Mapping[str, Any]]]], Sequence[str]] | None = None
    samples: Samples | None = None

    def __post_init__(self) -> None:
        check_splits(self.data)
        _check_streamed(self.data)
        if self.draw is not None and self.stream is not None:
            raise InputError("an experiment takes draw or stream, at most one of the two")
        for name in self.along or ():
            if name not in self.data or name == "train":
                raise InputError(f"along names {name!r}: the splits are {', '.join(self.splits())}")
        for name in (*self.arms, *self.prepare):
            if not name or not set(name) <= _NAME:
                raise InputError(f"arm name {name!r}: use letters, digits, '_', '-', '.', '+', '='")
        if both := sorted(set(self.arms) & set(self.prepare)):
            raise InputError(
                f"{both[0]!r} names an arm and a stage of prepare: their checkpoints would be one"
            )
        check_claims(self.claims, dict.fromkeys((*self.arms, *self.prepare)))

    def n_data(self, plan: "Plan") -> int:
        """How many draws of the data a run sees: one for every seed, where seeds have their own, or one.

        Where seeds are resamples of one data set, the size of that.
        """
        if self.data_size is not None:
            return self.data_size
        leaves = jax.tree.leaves(dict(self.data), is_leaf=lambda leaf: isinstance(leaf, PerSeed))
        return len(plan.seeds) if any(isinstance(leaf, PerSeed) for leaf in leaves) else 1

    def of_stages(self) -> "Experiment":
        """The experiment as a stage sees it: what is measured of a stage is its own, and is not summarised."""
        return dataclasses.replace(self, summarise=None, samples=None)

    def splits(self) -> tuple[str, ...]:
        """The splits that are evaluated at the end: all but "train"."""
        return tuple(name for name in self.data if name != "train")

    def splits_along(self) -> tuple[str, ...]:
        """The splits that are evaluated during training."""
        return default_along(self.data) if self.along is None else self.along


def _check_streamed(data: Mapping[str, Any]) -> None:
    for name, split in data.items():
        found = jax.tree.leaves(split, is_leaf=lambda leaf: isinstance(leaf, Streamed))
        if any(isinstance(leaf, Streamed) for leaf in found) and (name != "train" or found != [split]):
            raise InputError(f"data[{name!r}] holds a Streamed: it can only be the whole of data['train']")


def default_along(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The splits whose name begins with "val"."""
    return tuple(name for name in data if name.startswith("val"))


_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+=")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the engine runs an experiment.

    Attributes:
      seeds: the seeds themselves, any non-negative integers; kept as a tuple.
      log_every: steps per compiled chunk, which is also one line of metrics.jsonl.
      eval_every: steps between evaluations; a multiple of `log_every`, which None means.
      checkpoint_every: steps between checkpoints; likewise.
      seeds_by: "vmap" (fast where dispatch dominates) or "map" (one after the other: less memory, and faster for
        convolutions on a CPU).
      mesh: devices along "seed", "data" and "model". Seeds, or else the settings of arms that share a program, are
        spread over "seed"; it need not divide them.
      settings_by: how settings that share a program run, "vmap" or "map"; None follows `seeds_by`.
      checkpoint_minutes: also a checkpoint after the first chunk that ends so many minutes after the last one.
    """

    seeds: tuple[int, ...]
    log_every: int = 100
    eval_every: int | None = None
    checkpoint_every: int | None = None
    seeds_by: str = "vmap"
    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)
    settings_by: str | None = None
    checkpoint_minutes: float | None = None

    def __post_init__(self) -> None:
        self._check_seeds()
        if self.settings_by is None:
            object.__setattr__(self, "settings_by", self.seeds_by)
        for name in ("seeds_by", "settings_by"):
            if getattr(self, name) not in ("vmap", "map"):
                raise InputError(f"{name} is {getattr(self, name)!r}: it must be 'vmap' or 'map'")
        if not isinstance(self.mesh, Mapping):
            raise InputError(f"mesh is {self.mesh!r}: it must be a dict, such as {{'data': 2}}")
        if not _is_whole(self.log_every) or self.log_every < 1:
            raise InputError(f"log_every is {self.log_every}: it must be a whole number, at least 1")
        for name in ("eval_every", "checkpoint_every"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, self.log_every)
            value = getattr(self, name)
            if not _is_whole(value) or value < 1 or value % self.log_every:
                raise InputError(f"{name} is {value}: it must be a multiple of log_every, {self.log_every}")

        minutes = self.checkpoint_minutes
        if minutes is not None and not minutes > 0:
            raise InputError(f"checkpoint_minutes is {minutes}: it must be above 0")

    def _check_seeds(self) -> None:
        try:
            seeds = tuple(self.seeds)
        except TypeError:
            raise InputError(
                f"seeds is {self.seeds!r}: it must be the seeds themselves, such as (0, 1) or range(2)"
            ) from None
        if not seeds:
            raise InputError("seeds is empty: at least 1 seed is needed")
        for seed in seeds:
            if not _is_whole(seed):
                raise InputError(f"seed {seed!r} is no whole number")
            if not 0 <= seed < 2**32:
                raise InputError(f"seed {seed} is out of range: seeds go from 0 to 2**32 - 1")
        if len(set(seeds)) != len(seeds):
            raise InputError(f"seeds {[*map(int, seeds)]} repeat: every seed must be different")
        object.__setattr__(self, "seeds", tuple(map(int, seeds)))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer)
