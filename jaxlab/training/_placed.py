"""Data on the mesh: what all seeds share once, what is a seed's own by seed."""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab.core.check import InputError
from jaxlab.training.experiment import PerSeed, Streamed
from jaxlab.training.mesh import put

DATA_SALT = zlib.crc32(b"data")


class Layout(NamedTuple):
    """How the lanes of a program, seeds times settings, lie on the mesh's axis "seed".

    Attributes:
      mesh: of the run.
      seeds: of the plan.
      by_settings: whether the settings are spread over the devices, not the seeds.
      settings: how many share the program.
    """

    mesh: Mesh
    seeds: tuple[int, ...]
    by_settings: bool
    settings: int

    @classmethod
    def of(cls, mesh: Mesh, seeds: tuple[int, ...], settings: int = 1) -> "Layout":
        """Seeds over the devices if they divide them, else settings if that leaves less work to each."""
        devices = mesh.shape["seed"]
        by_seeds = -(-len(seeds) // devices) * settings
        by_settings = len(seeds) * -(-settings // devices)
        return cls(
            mesh,
            tuple(seeds),
            settings > 1 and len(seeds) % devices > 0 and by_settings <= by_seeds,
            settings,
        )

    @property
    def seed_lanes(self) -> int:
        """Seeds with padding, a multiple of the devices that share them."""
        return len(self.seeds) if self.by_settings else _up(len(self.seeds), self.mesh.shape["seed"])

    @property
    def setting_lanes(self) -> int:
        """Settings with padding."""
        return _up(self.settings, self.mesh.shape["seed"]) if self.by_settings else self.settings

    @property
    def lanes(self) -> P:
        """Of a state `[S, ...]`, or `[S, K, ...]` for several settings."""
        return P(None, "seed") if self.by_settings else P("seed") if self.settings == 1 else P("seed", None)

    @property
    def over_seeds(self) -> P:
        """Of an array `[S, ...]` that the settings share."""
        return P() if self.by_settings else P("seed")

    @property
    def over_settings(self) -> P:
        """Of an array `[K]`."""
        return P("seed") if self.by_settings else P()

    def place(self, tree: Any, spec: P) -> Any:
        """Arrays on the mesh, by `spec`."""
        return put(tree, NamedSharding(self.mesh, spec))

    def pad_seeds(self, tree: Any) -> Any:
        """Arrays `[S, ...]` with the last seed's repeated; the padding is computed and never looked at."""
        return jax.tree.map(lambda x: pad(x, self.seed_lanes, axis=0), tree)

    def place_seeds(self, tree: Any) -> Any:
        """Arrays `[S, ...]`, padded, on the mesh."""
        return self.place(self.pad_seeds(tree), self.over_seeds)


def _up(count: int, devices: int) -> int:
    return -(-count // devices) * devices


def pad(x: Any, size: int, *, axis: int) -> Any:
    """An array with its last entry along `axis` repeated up to `size`."""
    missing = size - x.shape[axis]
    if not missing:
        return x
    last = jax.lax.slice_in_dim(jnp.asarray(x), x.shape[axis] - 1, x.shape[axis], axis=axis)
    return jnp.concatenate([jnp.asarray(x)] + [last] * missing, axis=axis)


@jax.tree_util.register_pytree_node_class
class Split:
    """A split in two parts: `own`, leaves `[S, ...]`, one entry per seed, and `shared`.

    `of_seed` puts them together for one seed, inside the mapped function.
    """

    def __init__(self, own: list[Any], shared: list[Any], tree: Any, which: tuple[bool, ...]):
        self.own, self.shared, self._tree, self._which = own, shared, tree, which

    def tree_flatten(self) -> tuple[tuple, Any]:
        """Both parts are leaves, the structure is static."""
        return (self.own, self.shared), (self._tree, self._which)

    @classmethod
    def tree_unflatten(cls, static: Any, parts: tuple) -> "Split":
        """The inverse."""
        return cls(*parts, *static)

    def of_seed(self, own: list[Any], shared: list[Any]) -> Any:
        """The split of one seed, from its entry of `own` and the shared part."""
        own, shared = iter(own), iter(shared)
        return jax.tree.unflatten(self._tree, [next(own if mine else shared) for mine in self._which])

    def of_parts(self, own: Any, shared: Any) -> "Split":
        """The same structure with other arrays."""
        return Split(own, shared, self._tree, self._which)

    def first(self) -> Any:
        """The split of the first seed, on the host's side."""
        return self.of_seed(jax.tree.map(lambda x: x[0], self.own), self.shared)


def split_data(data: Any, seeds: tuple[int, ...]) -> Split:
    """A split's own and shared parts; what `PerSeed.make` makes is made here, for every seed at once.

    What is streamed has neither: a program reads it chunk by chunk.
    """
    data = None if isinstance(data, Streamed) else data
    nodes, tree = jax.tree.flatten(data, is_leaf=lambda node: isinstance(node, PerSeed))
    which = tuple(isinstance(node, PerSeed) for node in nodes)
    own = [_of_every_seed(node, seeds) for node in nodes if isinstance(node, PerSeed)]
    return Split(own, [node for node in nodes if not isinstance(node, PerSeed)], tree, which)


def _of_every_seed(data: PerSeed, seeds: tuple[int, ...]) -> Any:
    if data.make is not None:
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), DATA_SALT))
        make = jax.jit(lambda seeds: jax.vmap(data.make)(keys(seeds)))
        return make(jnp.asarray(seeds, jnp.uint32))
    for path, leaf in jax.tree_util.tree_flatten_with_path(data.rows)[0]:
        if np.ndim(leaf) < 1 or np.shape(leaf)[0] != len(seeds):
            raise InputError(
                f"PerSeed: rows{jax.tree_util.keystr(path)} has the shape {np.shape(leaf)}: its first axis must be the "
                f"{len(seeds)} seeds"
            )
    return data.rows


class PlacedData:
    """The splits of an experiment, made once and placed once for each layout of a run.

    Args:
      data: splits by name.
      seeds: of the plan.
    """

    def __init__(self, data: Mapping[str, Any], seeds: tuple[int, ...]):
        self._splits = {name: split_data(split, seeds) for name, split in data.items()}
        self._placed: dict[Any, dict[str, Split]] = {}

    def __iter__(self) -> Any:
        return iter(self._splits)

    def on(self, layout: Layout) -> dict[str, Split]:
        """The splits on the mesh."""
        key = (layout.mesh, layout.over_seeds, layout.seed_lanes)
        if key not in self._placed:
            self._placed[key] = {name: place_split(split, layout) for name, split in self._splits.items()}
        return self._placed[key]

    def shapes_on(self, layout: Layout) -> dict[str, Split]:
        """The same in shapes, for tracing."""
        lanes = layout.seed_lanes
        own = lambda leaf: jax.ShapeDtypeStruct((lanes, *leaf.shape[1:]), leaf.dtype)
        shared = lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf))
        return {
            name: split.of_parts(jax.tree.map(own, split.own), jax.tree.map(shared, split.shared))
            for name, split in self._splits.items()
        }

    def on_host(self) -> dict[str, Split]:
        """The splits as they came."""
        return self._splits

    def of_first_seed(self) -> dict[str, Any]:
        """The splits as the first seed sees them."""
        return {name: split.first() for name, split in self._splits.items()}


def place_split(split: Split, layout: Layout) -> Split:
    """A split on the mesh: its shared part whole on every device."""
    return split.of_parts(layout.place_seeds(split.own), layout.place(split.shared, P()))
