"""Where things run: one mesh of three axes, and the rule that places a state on it.

The axes are `("seed", "data", "model")`: independent seeds, rows of the batch, and slices of the parameters. All
are of type Auto: what a learner computes is written for the global batch and the compiler adds the communication.
`per_device` serves the other style, an update written for one device's share of the batch.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab.core.check import InputError

AXES = ("seed", "data", "model")
BY_SEED = P("seed")
Rules = Sequence[tuple[str, P]]


def make_mesh(shape: Mapping[str, int] | None = None, *, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh `("seed", "data", "model")`, with Auto axes.

    Args:
      shape: devices along each axis, e.g. `{"data": 4}`; an axis left out has one.
      devices: what to build it from; by default the first `prod(shape)` of `jax.devices()`.

    Returns:
      A `jax.sharding.Mesh` over exactly `prod(shape)` devices.

    Raises:
      ValueError: unknown axis, a size below one, more devices than there are, or, when several processes run
        together, fewer than they have.

    Example:
      >>> dict(make_mesh({"data": 1}).shape)
      {'seed': 1, 'data': 1, 'model': 1}
    """
    shape = dict(shape or {})
    unknown = sorted(set(shape) - set(AXES))
    if unknown:
        raise InputError(f"mesh has no axis {unknown[0]!r}: the axes are {', '.join(AXES)}")
    sizes = [shape.get(name, 1) for name in AXES]
    for name, size in zip(AXES, sizes):
        if not isinstance(size, int | np.integer) or size < 1:
            raise InputError(f"mesh.{name} is {size!r}: it must be a whole number of at least 1")
    have = list(jax.devices() if devices is None else devices)
    need = int(np.prod(sizes))
    if need > len(have):
        wanted = " x ".join(f"{name}={size}" for name, size in zip(AXES, sizes))
        raise InputError(f"mesh {wanted} needs {need} devices: there are {len(have)} ({have[0].platform})")
    if jax.process_count() > 1 and devices is None and need != len(have):
        raise InputError(
            f"mesh {' x '.join(f'{name}={size}' for name, size in zip(AXES, sizes))} has {need} devices: a run of "
            f"{jax.process_count()} processes must use all {len(have)}, e.g. --config.mesh.data={len(have)}"
        )
    return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=have[:need])


# XLA ends a process whose devices wait for each other for 40 seconds: beside other work a core may take longer.
_PATIENCE = {
    "xla_cpu_collective_call_warn_stuck_timeout_seconds": 600,
    "xla_cpu_collective_call_terminate_timeout_seconds": 86_400,
}


def spread_over_cores() -> None:
    """Let a CPU count as one device per core, so that a mesh can spread seeds over the cores.

    Small products use one core however many there are; seeds on devices of their own use them all, and may wait long
    for each other. Call it before anything touches a device; what `XLA_FLAGS` already set wins, accelerators are not
    affected, and a process that joins others keeps one device, since the cores may be shared with them.
    """
    joins_others = "JAX_NUM_PROCESSES" in os.environ or os.environ.get("JAXLAB_DISTRIBUTED") == "1"
    flags = os.environ.get("XLA_FLAGS", "")
    patience = [f"--{name}={seconds}" for name, seconds in _PATIENCE.items() if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *patience]).strip()
    if not joins_others and "xla_force_host_platform_device_count" not in flags:
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def seed_devices(num_seeds: int, *, others: int = 1) -> int:
    """How many devices the seeds use best: the fewest that leave each the least work.

    Seeds that the devices do not divide are padded, so five of them on two devices take the time of three.

    Args:
      num_seeds: at least 1.
      others: devices that each share needs, the product of the mesh's other axes.

    >>> seed_devices(7) in range(1, 8)
    True
    """
    most = max(jax.device_count() // others, 1)
    least = -(-num_seeds // min(most, num_seeds))
    return -(-num_seeds // least)


def initialize_distributed() -> None:
    """Join the other processes of a multi-host run, when the environment describes one.

    Explicit: `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`. On TPU pods and under Slurm,
    `JAXLAB_DISTRIBUTED=1` lets JAX find them. Otherwise this does nothing. Call it before anything touches a device.

    Raises:
      ValueError: some of the three variables are set and others are not.
    """
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    values = [os.environ.get(name) for name in names]
    if all(values):
        jax.distributed.initialize(values[0], num_processes=int(values[1]), process_id=int(values[2]))
    elif any(values):
        missing = ", ".join(name for name, value in zip(names, values) if not value)
        raise InputError(f"a run of several processes needs {', '.join(names)}: {missing} not set")
    elif os.environ.get("JAXLAB_DISTRIBUTED") == "1":
        jax.distributed.initialize()


def state_shardings(mesh: Mesh, state: Any, rules: Rules = (), *, lead: P = BY_SEED) -> Any:
    """A `NamedSharding` for every leaf of a state whose leaves lead with the seed axis.

    A leaf `[S, ...]` is split over "seed", or as `lead` says when more axes lead; its other axes follow the first rule
    whose regular expression is found in the leaf's path, or stay whole. An axis that a mesh axis does not divide stays
    whole too.

    Args:
      mesh: from `make_mesh`.
      state: pytree of arrays or `ShapeDtypeStruct`s, `[S, ...]`.
      rules: `(pattern, PartitionSpec)` pairs; the spec speaks of the axes after the leading ones.
      lead: the leading axes.

    Returns:
      A pytree of the same structure.
    """

    def place(path: Any, leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path)
        spec = next((spec for pattern, spec in rules if re.search(pattern, name)), P())
        axes = [
            axis if _divides(mesh, axis, size) else None for axis, size in zip(spec, leaf.shape[len(lead) :])
        ]
        return NamedSharding(mesh, P(*lead, *axes))

    return jax.tree_util.tree_map_with_path(place, state)


def _divides(mesh: Mesh, axis: Any, size: int) -> bool:
    names = axis if isinstance(axis, tuple) else (axis,)
    return size % int(np.prod([mesh.shape[name] for name in names if name is not None])) == 0


def put(tree: Any, sharding: Any) -> Any:
    """Place host arrays on the mesh; every process must hold the same values.

    Args:
      tree: pytree of arrays.
      sharding: one sharding, or a pytree of them.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    shardings = jax.tree.map(lambda _: sharding, tree) if isinstance(sharding, NamedSharding) else sharding

    def place(leaf: Any, where: NamedSharding) -> jax.Array:
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, where, lambda index: leaf[index])

    return jax.tree.map(place, tree, shardings)


def per_device(
    update: Callable[..., tuple[Any, Any]],
    mesh: Mesh,
    *,
    axis_name: str = "data",
    via: str = "shard_map",
) -> Callable[..., tuple[Any, Any]]:
    """Map an update that is written for one device's share of the batch over the devices of one mesh axis.

    `update(state, batch, key) -> (state, metrics)` sees the whole state, its rows of the batch, and the same key on
    every device. It is right when it takes the *global* value of each loss and then averages gradients:
    `grads = jax.lax.pmean(jax.grad(loss)(params), axis_name)` with batch-level losses called with that `axis_name`.
    That line gives the single device's gradient under `shard_map`, with and without its varying-axis check, and
    under `pmap`. The older habit, `pmean` of the gradient of a *local* loss, is too large by the number of
    devices under `shard_map`.

    Args:
      update: the per-device function; what it returns must be equal on all devices (it comes out of `pmean`).
      mesh: from `make_mesh`.
      axis_name: the mesh axis that splits the batch.
      via: "shard_map", or "pmap" for code that is still written that way.

    Returns:
      `(state, batch, key) -> (state, metrics)` on global arrays; the batch's leading axis is split. Jitted.

    Raises:
      ValueError: unknown `via` or axis, or rows that the devices do not divide.
    """
    if via not in ("shard_map", "pmap"):
        raise InputError(f"via is {via!r}: it must be 'shard_map' or 'pmap'")
    if axis_name not in mesh.shape:
        raise InputError(f"the mesh has no axis {axis_name!r}: its axes are {', '.join(mesh.shape)}")
    count = mesh.shape[axis_name]
    mapped = (
        _via_shard_map(update, mesh, axis_name) if via == "shard_map" else _via_pmap(update, mesh, axis_name)
    )

    def call(state: Any, batch: Any, key: jax.Array) -> tuple[Any, Any]:
        for leaf in jax.tree.leaves(batch):
            if leaf.shape[0] % count:
                raise InputError(f"a batch of {leaf.shape[0]} rows cannot be split over {count} devices")
        return mapped(state, batch, key)

    return call


def _via_shard_map(update: Callable, mesh: Mesh, axis_name: str) -> Callable:
    specs = (P(), P(axis_name), P())
    return jax.jit(jax.shard_map(update, mesh=mesh, in_specs=specs, out_specs=(P(), P())))


def _via_pmap(update: Callable, mesh: Mesh, axis_name: str) -> Callable:
    index = tuple(slice(None) if name == axis_name else 0 for name in mesh.axis_names)
    devices = list(mesh.devices[index])
    mapped = jax.pmap(update, axis_name=axis_name, in_axes=(None, 0, None), out_axes=None, devices=devices)

    def call(state: Any, batch: Any, key: jax.Array) -> tuple[Any, Any]:
        split = jax.tree.map(lambda x: x.reshape(len(devices), -1, *x.shape[1:]), batch)
        return mapped(state, split, key)

    return call
