"""A learner compiled for many seeds: what the loop calls between two looks at the host."""

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab.core import Learner
from jaxlab.training.mesh import Rules, make_mesh, put, state_shardings


def seed_keys(seed: jax.Array, salt: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Three independent keys of one seed: for the initial state, for the batches, for the updates.

    They depend on the seed and the stage alone, so every arm of a comparison begins alike and sees the same
    batches, on any number of devices and after any interruption.
    """
    root = jax.random.fold_in(jax.random.key(seed), salt)
    init, data, update = jax.random.split(root, 3)
    return init, data, update


def _once(mesh: Mesh) -> dict[str, Any] | None:
    """How to compile what runs once: on a CPU the optimizer would take several times as long as the run."""
    cpu = next(iter(mesh.devices.flat)).platform == "cpu"
    return {"xla_backend_optimization_level": 0} if cpu else None


def _shapes(split: Any) -> Any:
    """What tells splits apart for the compiler."""
    leaves, tree = jax.tree.flatten(jax.eval_shape(lambda: split))
    return tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


class CompiledProgram:
    """A pure learner: scan over steps, seeds side by side or one after another, the batch over the mesh."""

    def __init__(
        self,
        learner: Learner,
        draw: Callable[[Any, jax.Array], Any],
        evaluate: Callable[[Any, Any], dict[str, jax.Array]] | None,
        *,
        seeds: tuple[int, ...],
        salt: int,
        seeds_by: str,
        mesh_shape: dict[str, int],
        rules: Rules,
    ):
        self._learner, self._draw = learner, draw
        self._salt, self._seeds_by, self._rules = salt, seeds_by, rules
        self.mesh = make_mesh(mesh_shape)
        self._whole = NamedSharding(self.mesh, P())
        self._by_seed = NamedSharding(self.mesh, P("seed"))
        self._seeds = put(np.asarray(seeds, np.uint32), self._by_seed)
        self._init = self._map_seeds(self._init_one, mapped=2)
        self._advance: dict[int, Callable] = {}
        self._scores: dict[Any, Callable] = {}
        self._coming: dict[Any, Future] = {}
        score = evaluate and self._map_seeds(evaluate, mapped=1)
        self._score = score and jax.jit(score, out_shardings=self._whole)

    def place(self, data: Any) -> Any:
        """Copy a split to the mesh, whole on every device."""
        return put(data, self._whole)

    def place_by_seed(self, tree: Any) -> Any:
        """Spread arrays `[S, ...]` over the seed axis."""
        return put(tree, self._by_seed)

    def abstract_state(self, context: Any) -> Any:
        """Shapes, dtypes and shardings of the state `[S, ...]`, without computing it."""
        with jax.set_mesh(self.mesh):
            shapes = jax.eval_shape(self._init, self._seeds, context)
        shardings = state_shardings(self.mesh, shapes, self._rules)
        return jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
            shapes,
            shardings,
        )

    def init(self, context: Any) -> Any:
        """The state `[S, ...]` of step 0."""
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state(context))
        with jax.set_mesh(self.mesh):
            return jax.jit(self._init, out_shardings=shardings, compiler_options=_once(self.mesh))(
                self._seeds, context
            )

    def advance(self, state: Any, train: Any, start: int, count: int) -> tuple[Any, dict[str, np.ndarray]]:
        """`count` updates from step `start`; consumes `state`, returns metrics `[S, count]` on the host."""
        with jax.set_mesh(self.mesh):
            state, trace = self._ready(state, count)(state, self._seeds, train, jnp.uint32(start))
        return state, jax.device_get(trace)

    def evaluate(self, state: Any, split: Any) -> dict[str, np.ndarray]:
        """Metrics `[S]` on the host."""
        key = _shapes(split)
        if key in self._coming:
            self._scores[key] = self._coming.pop(key).result()
        with jax.set_mesh(self.mesh):
            return jax.device_get(self._scores.get(key, self._score)(state, split))

    def compile(self, context: Any, train: Any, count: int, *, to_run: bool = True) -> Any:
        """Compile the chunk of `count` steps from shapes alone: it can be asked for its memory and its text.

        One that is not `to_run` skips the CPU's code optimizer, which changes neither.
        """
        state = self.abstract_state(context)
        start = jax.ShapeDtypeStruct((), jnp.uint32)
        with jax.set_mesh(self.mesh):
            lowered = self._chunk(state, count).lower(state, self._seeds, self._abstract(train), start)
        return lowered.compile(None if to_run else _once(self.mesh))

    def compile_ahead(
        self, threads: Executor, context: Callable[[], Any], data: Mapping[str, Any], count: int
    ) -> None:
        """Compile the chunk of `count` steps and the evaluations in the background; who needs one waits for it."""
        self._coming[count] = threads.submit(lambda: self.compile(context(), data["train"], count))
        for name, split in data.items():
            key = _shapes(split)
            if name != "train" and self._score is not None and key not in self._coming:
                self._coming[key] = threads.submit(self._compile_score, context, split)

    def _compile_score(self, context: Callable[[], Any], split: Any) -> Any:
        with jax.set_mesh(self.mesh):
            lowered = self._score.lower(self.abstract_state(context()), self._abstract(split))
        return lowered.compile()

    def _abstract(self, data: Any) -> Any:
        shapes = jax.eval_shape(lambda: data)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self._whole), shapes
        )

    def _ready(self, state: Any, count: int) -> Callable:
        if count in self._coming:
            self._advance[count] = self._coming.pop(count).result()
        elif count not in self._advance:
            self._advance[count] = self._chunk(state, count)
        return self._advance[count]

    def _chunk(self, state: Any, count: int) -> Callable:
        chunk = self._map_seeds(functools.partial(self._advance_one, count=count), mapped=2)
        out = (state_shardings(self.mesh, state, self._rules), self._whole)
        return jax.jit(chunk, donate_argnums=0, out_shardings=out)

    def _init_one(self, seed: jax.Array, context: Any) -> Any:
        return self._learner.init(seed_keys(seed, self._salt)[0], context)

    def _advance_one(self, state: Any, seed: jax.Array, train: Any, start: jax.Array, *, count: int) -> Any:
        _, data_key, update_key = seed_keys(seed, self._salt)

        def step(state: Any, index: jax.Array) -> tuple[Any, Any]:
            batch = self._split_rows(self._draw(train, jax.random.fold_in(data_key, index)))
            state, metrics = self._learner.update(state, batch, jax.random.fold_in(update_key, index))
            return state, jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), metrics)

        return jax.lax.scan(step, state, start + jnp.arange(count, dtype=jnp.uint32))

    def _split_rows(self, batch: Any) -> Any:
        if self.mesh.size == 1:
            return batch
        size = self.mesh.shape["data"]
        for leaf in jax.tree.leaves(batch):
            if leaf.ndim and leaf.shape[0] % size:
                raise ValueError(
                    f"mesh.data is {size}: it must divide the batch, which has {leaf.shape[0]} rows"
                )
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, P("data")) if x.ndim else x, batch)

    def _map_seeds(self, one: Callable, *, mapped: int) -> Callable:
        """Map `one` over the seed axis of its first `mapped` arguments, share the rest."""

        def many(*args: Any) -> Any:
            own, shared = args[:mapped], args[mapped:]
            if self._seeds_by == "vmap":
                return jax.vmap(lambda *own: one(*own, *shared))(*own)
            return jax.lax.map(lambda own: one(*own, *shared), own)

        if self.mesh.size == 1:
            return many

        def spread(*args: Any) -> Any:
            specs = (P("seed"),) * mapped + (P(),) * (len(args) - mapped)
            # Only the seed axis is manual: "data" and "model" stay with the compiler.
            return jax.shard_map(
                many,
                mesh=self.mesh,
                in_specs=specs,
                out_specs=P("seed"),
                axis_names={"seed"},
                check_vma=False,
            )(*args)

        return spread


class HostProgram:
    """A learner that stays on the host: the same interface, one seed and one step at a time."""

    def __init__(
        self, learner: Learner, draw: Callable, evaluate: Callable | None, *, seeds: tuple, salt: int
    ):
        self._learner, self._draw, self._evaluate = learner, draw, evaluate
        self._keys = [seed_keys(seed, salt) for seed in seeds]

    def place(self, data: Any) -> Any:
        """The host keeps its data where it is."""
        return data

    def place_by_seed(self, tree: Any) -> Any:
        """Likewise."""
        return tree

    def abstract_state(self, context: Any) -> Any:
        """The state of step 0, which shows its own shapes."""
        return self.init(context)

    def init(self, context: Any) -> list[Any]:
        """One state per seed."""
        own = [jax.tree.map(lambda x, i=i: x[i], context) for i in range(len(self._keys))]
        return [self._learner.init(keys[0], context) for keys, context in zip(self._keys, own)]

    def advance(
        self, state: list[Any], train: Any, start: int, count: int
    ) -> tuple[list, dict[str, np.ndarray]]:
        """`count` updates from step `start` for every seed; metrics `[S, count]`."""
        states, traces = [], []
        for (_, data_key, update_key), one in zip(self._keys, state):
            rows = []
            for step in range(start, start + count):
                batch = self._draw(train, jax.random.fold_in(data_key, step))
                one, metrics = self._learner.update(one, batch, jax.random.fold_in(update_key, step))
                rows.append(metrics)
            states.append(one)
            traces.append(rows)
        names = traces[0][0]
        trace = {name: np.asarray([[float(row[name]) for row in rows] for rows in traces]) for name in names}
        return states, trace

    def evaluate(self, state: list[Any], split: Any) -> dict[str, np.ndarray]:
        """Metrics `[S]`."""
        rows = [self._evaluate(one, split) for one in state]
        return {name: np.asarray([float(row[name]) for row in rows]) for name in rows[0]}
