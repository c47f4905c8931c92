"""A method compiled for many seeds and settings: what the loop calls between two looks at the host."""

import functools
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab.core import Computed
from jaxlab.core.check import InputError
from jaxlab.training._batches import batch_of, check_batches
from jaxlab.training._contracts import check_state, scalars, updated
from jaxlab.training._method import Group, Method
from jaxlab.training._placed import Layout, PlacedData, Split, pad
from jaxlab.training._streamed import Feed
from jaxlab.training.experiment import Plan
from jaxlab.training.mesh import make_mesh, put, state_shardings

_TURN_SALT = zlib.crc32(b"turn")


def seed_keys(seed: jax.Array, salt: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Three independent keys of one seed: for the initial state, for the batches, for the updates.

    They depend on the seed and the stage alone, so every arm of a comparison begins alike and sees the same
    batches, on any number of devices and after any interruption.
    """
    root = jax.random.fold_in(jax.random.key(seed), salt)
    init, data, update = jax.random.split(root, 3)
    return init, data, update


def make_feed(group: Group, plan: Plan, salt: int, layout: Layout | None = None) -> Feed | None:
    """What reads the rows of a group whose training data are streamed."""
    if group.streamed is None or not group.steps:
        return None
    key = lambda seed: seed_keys(seed, salt)[1]
    return Feed(group.streamed, plan.seeds, key, chunk=plan.log_every, steps=group.steps, layout=layout)


def turn_key(seed: jax.Array, salt: int, step: jax.Array) -> jax.Array:
    """The key of the turn after `step` updates."""
    root = jax.random.fold_in(jax.random.key(seed), salt)
    return jax.random.fold_in(jax.random.fold_in(root, _TURN_SALT), step)


class Shared:
    """Programs that are the same for several groups of arms, each compiled once: arms mostly start alike."""

    def __init__(self):
        self._programs: dict[Any, Future] = {}
        self._lock = threading.Lock()

    def compiled(self, lowered: Any, mesh: Mesh, options: dict[str, Any] | None) -> Any:
        """A lowered program compiled, or what an equal one was compiled to."""
        arguments = str(lowered.args_info)
        key = (lowered.as_text(), arguments, lowered.out_tree, mesh)
        with self._lock:
            mine = key not in self._programs
            program = self._programs.setdefault(key, Future())
        if mine:
            try:
                program.set_result(lowered.compile(options))
            except BaseException as error:
                program.set_exception(error)
        return program.result()


def make_program(group: Group, plan: Plan, *, salt: int = 0, shared: Shared | None = None) -> Any:
    """What the loop drives: seeds and settings on the mesh, or, for a learner with `jit=False`, seeds on the host."""
    if group.turn is not None:
        group.turn.check(plan.log_every, group.steps)
    on_host = not group.method().learner.jit
    if on_host:
        return HostProgram(group, plan, salt=salt)
    return CompiledProgram(group, plan, salt=salt, shared=shared or Shared())


def _cheap(mesh: Mesh) -> dict[str, Any] | None:
    """How to compile what runs once: on a CPU the optimizer would take several times as long as the run."""
    cpu = next(iter(mesh.devices.flat)).platform == "cpu"
    return {"xla_backend_optimization_level": 0} if cpu else None


def _shapes(tree: Any) -> Any:
    """What tells arguments apart for the compiler."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


class CompiledProgram:
    """A pure method: scan over steps, seeds and settings side by side or one after another, the batch over the mesh.

    States have leaves `[S, ...]`, or `[S, K, ...]` when K arms share the program; S and K include the padding that
    makes them divisible by the devices. What leaves a program has neither padding nor, by `cut`, other arms.
    """

    on_host = False

    def __init__(self, group: Group, plan: Plan, *, salt: int, shared: Shared):
        self.group, self._salt, self._shared = group, salt, shared
        self.layout = Layout.of(make_mesh(plan.mesh), plan.seeds, len(group.names))
        self.mesh = self.layout.mesh
        self._maps = (plan.seeds_by, plan.settings_by)
        self._whole = NamedSharding(self.mesh, P())
        self._seeds = self.layout.place_seeds(np.asarray(plan.seeds, np.uint32))
        self.feed = make_feed(group, plan, salt, self.layout)
        self._values = self._place_values()
        self._traced: dict[Any, Any] = {}
        self._compiled: dict[Any, Any] = {}
        self._pending: dict[Any, Future] = {}

    def place_data(self, data: PlacedData) -> dict[str, Split]:
        """The splits where this program reads them."""
        return data.on(self.layout)

    def place_data_shapes(self, data: PlacedData) -> dict[str, Split]:
        """The same in shapes."""
        return data.shapes_on(self.layout)

    def place_context(self, context: Any) -> Any:
        """Arrays `[S, ...]` of the stages before, where this program reads them."""
        context = self.layout.pad_seeds(context)
        return put(context, self._context_shardings(context))

    def place_shapes(self, context: Any) -> Any:
        """The same for shapes."""
        lanes = self.layout.seed_lanes
        return jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct((lanes, *leaf.shape[1:]), leaf.dtype, sharding=where),
            context,
            self._context_shardings(context),
        )

    def exported(self, context: Any, train: Split) -> Any:
        """Shapes `[S, ...]` of what a stage leaves."""
        state, seeds = self.abstract_state(context, train), len(self.layout.seeds)
        shapes = jax.eval_shape(jax.vmap(self.group.method().export), state)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape[1:]), leaf.dtype), shapes)

    def abstract_state(self, context: Any, train: Split) -> Any:
        """Shapes, dtypes and shardings of the state, without computing it."""
        return self._abstract_state(self._trace("init", None, context, train))

    def abstract_arm(self, context: Any, train: Split) -> Any:
        """The same for the state `[S, ...]` of one arm, as it is saved."""
        state, seeds = self.abstract_state(context, train), len(self.layout.seeds)
        if self._plain:
            return state
        lead = 1 if self.layout.settings == 1 else 2
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape[lead:]), leaf.dtype, sharding=self._whole),
            state,
        )

    def init(self, context: Any, train: Split) -> Any:
        """The state of step 0."""
        return self._run("init", None, context, train)

    def advance(
        self, state: Any, context: Any, train: Split, start: int, count: int
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """`count` updates from step `start`; consumes `state`, returns metrics `[S, K, count]` on the host.

        `train` is the split, or those rows of it that the steps take where it is streamed.
        """
        state, trace = self._run(("train_chunk", count), state, context, train, start)
        return state, self._on_host(trace)

    def turn(self, state: Any, context: Any, train: Split, step: int) -> Any:
        """The group's turn after `step` updates; consumes `state`."""
        return self._run("turn", state, context, train, step)

    def evaluate(self, state: Any, context: Any, split: Split) -> dict[str, np.ndarray]:
        """Metrics `[S, K]` on the host."""
        return self._on_host(self._run("evaluate", state, context, split))

    def export(self, state: Any) -> Any:
        """What a stage leaves of its final state, leaves `[S, ...]` without padding."""
        seeds = len(self.layout.seeds)
        export = self.group.method().export
        return jax.jit(lambda state: jax.tree.map(lambda x: x[:seeds], jax.vmap(export)(state)))(state)

    def cut(self, state: Any, arm: int) -> Any:
        """The state of one arm, leaves `[S, ...]`, without padding."""
        if self._plain:
            return state
        own = slice(len(self.layout.seeds))
        return jax.tree.map(lambda x: _take(x, own if self.layout.settings == 1 else (own, arm)), state)

    def join(self, states: list[Any], like: Any) -> Any:
        """The inverse of `cut` for all arms, placed as `like`."""
        if self._plain:
            return states[0]

        def gather(abstract: Any, *leaves: Any) -> Any:
            if self.layout.settings > 1:
                leaves = [pad(jnp.stack(leaves, axis=1), self.layout.setting_lanes, axis=1)]
            return jax.device_put(pad(leaves[0], self.layout.seed_lanes, axis=0), abstract.sharding)

        return jax.tree.map(gather, like, *states)

    @property
    def _plain(self) -> bool:
        """One arm, no padding: its state is the program's."""
        return self.layout.settings == 1 and self.layout.seed_lanes == len(self.layout.seeds)

    def trace(
        self, context: Any, data: Mapping[str, Split], counts: tuple[int, ...], along: tuple[str, ...]
    ) -> None:
        """Trace all that a run of these chunks needs, from shapes alone; mistakes of the method appear here."""
        self._trace("init", None, context, data["train"])
        state = self.abstract_state(context, data["train"])
        for count in counts:
            self._trace(("train_chunk", count), state, context, self._chunk_shapes(data["train"], count))
        if self.group.turn is not None:
            self._trace("turn", state, context, data["train"])
        for name in along:
            self._trace("evaluate", state, context, data[name])

    def metrics(
        self, context: Any, data: Mapping[str, Split], splits: tuple[str, ...]
    ) -> dict[str, set[str]]:
        """Names of what `update` reports, under "train", and of what `evaluate` reports of each split."""
        state = self.abstract_state(context, data["train"])
        found = {name: set(self._trace("evaluate", state, context, data[name]).out_info) for name in splits}
        chunks = [key for key in self._traced if isinstance(key[0], tuple)]
        return found | {"train": set(self._traced[chunks[0]].out_info[1]) if chunks else set()}

    def compile_ahead(self, threads: Executor) -> None:
        """Compile in the background what has been traced; who needs it waits for it."""
        for key in self._traced:
            if key not in self._pending and key not in self._compiled:
                self._pending[key] = threads.submit(self._compile, key)

    def compiled_chunk(self, context: Any, train: Split, count: int, *, to_run: bool = True) -> Any:
        """The compiled chunk of `count` steps: it can be asked for its memory and its text.

        One that is not `to_run` skips the CPU's code optimizer, which changes neither.
        """
        state = self.abstract_state(context, train)
        traced = self._trace(("train_chunk", count), state, context, self._chunk_shapes(train, count))
        with jax.set_mesh(self.mesh):
            return traced.lower().compile(None if to_run else _cheap(self.mesh))

    def _chunk_shapes(self, train: Split, count: int) -> Split:
        return self.feed.shapes(count) if self.feed else train

    def _place_values(self) -> dict[Any, jax.Array]:
        if self.layout.settings == 1:
            return {}
        size = self.layout.setting_lanes
        values = {path: pad(x, size, axis=0) for path, x in self.group.values().items()}
        return self.layout.place({(): jnp.arange(size)} | values, self.layout.over_settings)

    def _method(self, values: Mapping[Any, Any]) -> Method:
        return self.group.method({path: value for path, value in values.items() if path})

    def _on_host(self, metrics: Mapping[str, Any]) -> dict[str, np.ndarray]:
        seeds, arms = len(self.layout.seeds), len(self.group.names)
        host = jax.device_get(dict(metrics))
        if self.layout.settings == 1:
            host = {name: np.expand_dims(value, 1) for name, value in host.items()}
        return {name: value[:seeds, :arms] for name, value in host.items()}

    def _run(self, what: Any, state: Any, context: Any, split: Split, start: int = 0) -> Any:
        key = (what, _shapes(split))
        if key in self._pending:
            self._compiled[key] = self._pending.pop(key).result()
        elif key not in self._compiled:
            self._trace(what, state, context, split)
            self._compiled[key] = self._compile(key)
        with jax.set_mesh(self.mesh):
            return self._compiled[key](*self._arguments(state, context, split, start))

    def _arguments(self, state: Any, context: Any, split: Split, start: Any) -> tuple:
        return (state, self._values, (self._seeds, context, split.own), (split.shared, jnp.uint32(start)))

    def _trace(self, what: Any, state: Any, context: Any, split: Split) -> Any:
        """The traced program `what`, kept: tracing costs as much as compiling."""
        key = (what, _shapes(split))
        if key not in self._traced:
            name, *count = what if isinstance(what, tuple) else (what,)
            if name == "train_chunk" and not any(isinstance(known, tuple) for known, _ in self._traced):
                self._check_batches(split)
            one = functools.partial(getattr(self, f"_{name}_one"), split, *count)
            mapped = self._map(one, state is not None, name)
            arguments = self._arguments(state, context, split, 0)
            with jax.set_mesh(self.mesh):
                shapes = jax.eval_shape(mapped, *arguments) if name == "init" else None
                outs = {
                    "init": lambda: self._shardings(shapes),
                    "train_chunk": lambda: (self._shardings(state), self._whole),
                    "turn": lambda: self._shardings(state),
                    "evaluate": lambda: self._whole,
                }[name]()
                donated = (0,) if name in ("train_chunk", "turn") else ()
                # A text without the unused arguments would not tell which stage an arm starts from.
                jitted = jax.jit(
                    mapped, donate_argnums=donated, out_shardings=outs, keep_unused=name == "init"
                )
                self._traced[key] = jitted.trace(*self._abstract(arguments, state))
        return self._traced[key]

    def _check_batches(self, train: Split) -> None:
        shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
        lead = 2 if self.feed else 1  # seeds, and the steps of a chunk
        own = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[lead:], x.dtype), train.own)
        check_batches(self.group, train.of_seed(own, jax.tree.map(shape, train.shared)), jax.random.key(0))

    def _compile(self, key: Any) -> Any:
        begins = key[0] == "init" and not isinstance(self.group.method().learner, Computed)
        with jax.set_mesh(self.mesh):
            lowered = self._traced[key].lower()
            return (
                self._shared.compiled(lowered, self.mesh, _cheap(self.mesh)) if begins else lowered.compile()
            )

    def _abstract_state(self, init: Any) -> Any:
        return jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            init.out_info,
            self._shardings(init.out_info),
        )

    def _context_shardings(self, context: Any) -> Any:
        """What a stage left is spread by the stage's own rules."""
        lead = P(None) if self.layout.by_settings else P("seed")
        place = functools.partial(state_shardings, self.mesh, lead=lead)
        if not isinstance(context, dict):
            return place(context)
        return {
            name: place(left, self.group.context_sharding.get(name, ())) for name, left in context.items()
        }

    def _shardings(self, state: Any) -> Any:
        return state_shardings(self.mesh, state, self.group.sharding, lead=self.layout.lanes)

    def _abstract(self, arguments: tuple, state: Any) -> tuple:
        """Shapes, dtypes and places of a program's arguments, of which some may be shapes already."""
        _, values, own, (shared, _) = arguments

        def by(spec: P) -> Callable:
            where = NamedSharding(self.mesh, spec)
            return lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

        seeds, context, own_data = own
        as_placed = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
        over_seeds = by(self.layout.over_seeds)
        placed = lambda leaf: as_placed(leaf) if getattr(leaf, "sharding", None) else over_seeds(leaf)
        own = over_seeds(seeds), jax.tree.map(as_placed, context), jax.tree.map(placed, own_data)
        shared = jax.tree.map(by(P()), shared)
        return state, values, own, (shared, jax.ShapeDtypeStruct((), jnp.uint32))

    def _init_one(self, split: Split, state: Any, values: Any, own: Any, shared: Any) -> Any:
        (seed, context, own_data), (shared_data, _) = own, shared
        learner, key = self._method(values).learner, seed_keys(seed, self._salt)[0]
        if isinstance(learner, Computed):
            return _arrays(learner.fn(key, context, split.of_seed(own_data, shared_data)))
        return _arrays(learner.init(key, context))

    def _train_chunk_one(
        self, split: Split, count: int, state: Any, values: Any, own: Any, shared: Any
    ) -> tuple[Any, dict]:
        (seed, context, own_data), (shared_data, start) = own, shared
        _, data_key, update_key = seed_keys(seed, self._salt)
        learner, train = self._method(values).learner, split.of_seed(own_data, shared_data)

        def step(state: Any, given: Any) -> tuple[Any, Any]:
            index, rows = given
            batch = self._split_rows(batch_of(self.group, rows if self.feed else train, data_key, index))
            key = jax.random.fold_in(update_key, index)
            new, metrics = updated(learner, learner.update(state, batch, key, context))
            check_state(state, new)
            return new, metrics

        steps = start + jnp.arange(count, dtype=jnp.uint32)
        return jax.lax.scan(step, state, (steps, train if self.feed else None))

    def _turn_one(self, split: Split, state: Any, values: Any, own: Any, shared: Any) -> Any:
        (seed, context, own_data), (shared_data, step) = own, shared
        key = turn_key(seed, self._salt, step)
        train = split.of_seed(own_data, shared_data)
        new = self.group.turn.fn(state, train, step, key, context)
        check_state(state, new)
        return new

    def _evaluate_one(self, split: Split, state: Any, values: Any, own: Any, shared: Any) -> dict:
        (_, context, own_data), (shared_data, _) = own, shared
        evaluate = self._method(values).evaluate
        return scalars("evaluate", evaluate(state, split.of_seed(own_data, shared_data), context))

    def _split_rows(self, batch: Any) -> Any:
        if self.mesh.size == 1:
            return batch
        size = self.mesh.shape["data"]
        for leaf in jax.tree.leaves(batch):
            if leaf.ndim and leaf.shape[0] % size:
                raise InputError(
                    f"mesh.data is {size}: it must divide the batch, which has {leaf.shape[0]} rows"
                )
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, P("data")) if x.ndim else x, batch)

    def _map(self, one: Callable, has_state: bool, name: str) -> Callable:
        """Map `one(state, values, own, shared)` over settings and, around them, over seeds."""
        seeds_by, settings_by = self._maps

        def over_settings(state: Any, values: Any, own: Any, shared: Any) -> Any:
            if self.layout.settings == 1:
                return one(state, values, own, shared)
            return _mapped(lambda mine: one(*mine, own, shared), (state, values), settings_by)

        def over_seeds(state: Any, values: Any, own: Any, shared: Any) -> Any:
            return _mapped(
                lambda mine: over_settings(mine[0], values, mine[1], shared), (state, own), seeds_by
            )

        over_seeds.__name__ = name
        if self.mesh.size == 1:
            return over_seeds
        layout = self.layout
        # Only the seed axis is manual: "data" and "model" stay with the compiler.
        spread = jax.shard_map(
            over_seeds,
            mesh=self.mesh,
            in_specs=(layout.lanes if has_state else P(), layout.over_settings, layout.over_seeds, P()),
            out_specs=layout.lanes,
            axis_names={"seed"},
            check_vma=False,
        )
        spread.__name__ = name
        return spread


def _take(x: jax.Array, index: Any) -> Any:
    """A part of an array, in the host's memory when one process holds it all: indexing there compiles nothing."""
    if jax.process_count() > 1 or jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return x[index]
    return np.array(np.asarray(x)[index])


def _at(rows: Any, place: int) -> Any:
    """The rows of one step of a chunk."""
    return jax.tree.map(lambda x: x[place], rows)


def _mapped(one: Callable, lanes: Any, by: str) -> Any:
    return jax.vmap(one)(lanes) if by == "vmap" else jax.lax.map(one, lanes)


def _arrays(tree: Any) -> Any:
    """Python numbers as arrays, so that a state has shapes and dtypes throughout."""
    return jax.tree.map(jnp.asarray, tree)


class HostProgram:
    """A learner that stays on the host: the same interface, one seed and one step at a time.

    Its state is a list with one entry per seed.
    """

    on_host = True

    def __init__(self, group: Group, plan: Plan, *, salt: int):
        self.group, self._method = group, group.method()
        self._seeds, self._salt = plan.seeds, salt
        self._keys = [seed_keys(seed, salt) for seed in plan.seeds]
        self.feed = make_feed(group, plan, salt)

    def place_data(self, data: PlacedData) -> dict[str, Split]:
        """The host keeps its data where it is."""
        return data.on_host()

    def place_context(self, context: Any) -> Any:
        """Likewise."""
        return context

    def abstract_arm(self, context: Any, train: Split) -> Any:
        """The state of step 0, which shows its own shapes."""
        return self.init(context, train)

    def abstract_state(self, context: Any, train: Split) -> Any:
        """Likewise."""
        return self.init(context, train)

    def init(self, context: Any, train: Split) -> list[Any]:
        """One state per seed."""
        return [self._init(number, context, train) for number in range(len(self._keys))]

    def _init(self, number: int, context: Any, train: Split) -> Any:
        learner, key = self._method.learner, self._keys[number][0]
        if isinstance(learner, Computed):
            return learner.fn(key, *self._own(number, context, train))
        return learner.init(key, self._of_seed(context, number))

    def advance(
        self, state: list[Any], context: Any, train: Split, start: int, count: int
    ) -> tuple[list, dict[str, np.ndarray]]:
        """`count` updates from step `start` for every seed; metrics `[S, 1, count]`."""
        learner, states, traces = self._method.learner, [], []
        for number, ((_, data_key, update_key), one) in enumerate(zip(self._keys, state)):
            own, data = self._own(number, context, train)
            rows = []
            for step in range(start, start + count):
                read = _at(data, step - start) if self.feed else data
                batch = batch_of(self.group, read, data_key, step)
                key = jax.random.fold_in(update_key, step)
                one, metrics = updated(learner, learner.update(one, batch, key, own))
                rows.append({name: float(value) for name, value in metrics.items()})
            states.append(one)
            traces.append(rows)
        trace = {
            name: np.asarray([[[row[name] for row in rows]] for rows in traces]) for name in traces[0][0]
        }
        return states, trace

    def turn(self, state: list[Any], context: Any, train: Split, step: int) -> list[Any]:
        """The group's turn after `step` updates, seed by seed."""
        states = []
        for number, (seed, one) in enumerate(zip(self._seeds, state)):
            own, data = self._own(number, context, train)
            states.append(self.group.turn.fn(one, data, step, turn_key(seed, self._salt, step), own))
        return states

    def evaluate(self, state: list[Any], context: Any, split: Split) -> dict[str, np.ndarray]:
        """Metrics `[S, 1]`."""
        rows = []
        for number, one in enumerate(state):
            own, data = self._own(number, context, split)
            rows.append(scalars("evaluate", self._method.evaluate(one, data, own)))
        return {name: np.asarray([[float(row[name])] for row in rows]) for name in rows[0]}

    def export(self, state: list[Any]) -> Any:
        """What a stage leaves, leaves `[S, ...]`."""
        return jax.tree.map(lambda *leaves: np.stack(leaves), *[self._method.export(one) for one in state])

    def exported(self, context: Any, train: Split) -> Any:
        """Shapes `[S, ...]` of what a stage leaves, as its initial state has them."""
        left = jax.eval_shape(lambda: self._method.export(self._init(0, context, train)))
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((len(self._keys), *leaf.shape), leaf.dtype), left
        )

    def cut(self, state: list[Any], arm: int) -> list[Any]:
        """The state of its one arm."""
        return state

    def join(self, states: list[Any], like: Any) -> Any:
        """Likewise."""
        return states[0]

    def one_update(
        self, context: Any, data: Mapping[str, Split], splits: tuple[str, ...]
    ) -> dict[str, set[str]]:
        """One real update and evaluation of the first seed: the names of all metrics, as `CompiledProgram.metrics`."""
        own, train = self._own(0, context, data["train"])
        _, data_key, update_key = self._keys[0]
        state, reported = self._init(0, context, data["train"]), {}
        if self.group.steps:
            if self.feed:
                _, chunk = self._own(0, context, self.feed.read(0, 1))
                train = _at(chunk, 0)
            batch = batch_of(self.group, train, data_key, 0)
            key = jax.random.fold_in(update_key, 0)
            learner = self._method.learner
            state, reported = updated(learner, learner.update(state, batch, key, own))
        found = {}
        for name in splits:
            _, split = self._own(0, context, data[name])
            found[name] = set(scalars("evaluate", self._method.evaluate(state, split, own)))
        return found | {"train": set(reported)}

    def _of_seed(self, context: Any, number: int) -> Any:
        return jax.tree.map(lambda x: x[number], context)

    def _own(self, number: int, context: Any, split: Split) -> tuple[Any, Any]:
        own = jax.tree.map(lambda x: x[number], split.own)
        return self._of_seed(context, number), split.of_seed(own, split.shared)
